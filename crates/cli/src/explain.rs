//! Errors of the API server and of the way to it, in words that say what to do.

use anyhow::{Error, anyhow};
use std::error::Error as StdError;

/// What a failed call means: which verb on which object, and why.
pub(crate) fn failed(error: kube::Error, verb: &str, kind: &str, name: &str) -> Error {
    match error {
        kube::Error::Api(status) => {
            let object = if name.is_empty() { kind.to_owned() } else { format!("{kind} '{name}'") };
            let message = status.message.trim_end();
            let message = if message.is_empty() { status.reason.as_str() } else { message };
            match status.code {
                401 => anyhow!(
                    "can't {verb} {object}: the API server does not know who you are ({message}). Log in again, \
                     or check the user of the current context"
                ),
                // A missing object has an answer of its own; this is a path that the server does not know.
                404 if verb == "list" || !status.is_not_found() => anyhow!(
                    "this cluster does not know {kind}: install the custom resource definitions first"
                ),
                403 => anyhow!("not allowed to {verb} {object}: {message}"),
                _ => anyhow!("can't {verb} {object}: {message}"),
            }
        }
        error => {
            // Reading again costs nothing; of a write nobody knows whether it has arrived.
            let unknown = match verb {
                "patch" => ". It is unknown whether the change was made: look before you repeat it",
                _ => "",
            };
            anyhow!("no answer from the API server: {}{unknown}", chain(&error))
        }
    }
}

/// What is said of an error: each of its causes once, although some repeat those below them.
pub(crate) fn causes(error: &Error) -> String {
    once(error.chain())
}

/// The same for an error of kube. kube's own words for its layers ("ServiceError") tell users nothing.
pub(crate) fn chain(error: &kube::Error) -> String {
    let first: Option<&(dyn StdError + 'static)> = match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => error.source(),
        error => Some(error),
    };
    let sources = first.into_iter().flat_map(anyhow::Chain::new);
    once(sources)
}

fn once<'a>(errors: impl Iterator<Item = &'a (dyn StdError + 'static)>) -> String {
    let mut said: Vec<String> = vec![];
    for error in errors {
        let text = error.to_string();
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_cause_that_is_repeated_above_it_is_said_once() {
        let error = anyhow!("No such file");
        let error =
            Err::<(), _>(error).context("can't read 'x': No such file").context("no way to a cluster");
        assert_eq!(causes(&error.unwrap_err()), "no way to a cluster: can't read 'x': No such file");
    }

    #[test]
    fn a_lost_answer_to_a_write_says_that_it_may_have_been_made() {
        let lost = || kube::Error::Service("connection reset".into());
        assert_eq!(
            failed(lost(), "get", "rollout", "x").to_string(),
            "no answer from the API server: connection reset"
        );
        assert_eq!(
            failed(lost(), "patch", "rollout", "x").to_string(),
            "no answer from the API server: connection reset. It is unknown whether the change was made: look \
             before you repeat it"
        );
    }
}
