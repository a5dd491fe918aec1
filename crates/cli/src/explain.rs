//! Errors of the API server and of the way to it, in words that say what to do.

use anyhow::{Error, anyhow};
use std::error::Error as _;

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

/// An error and its sources, each said once. kube's own words for its layers ("ServiceError") tell users nothing.
pub(crate) fn chain(error: &kube::Error) -> String {
    let mut said: Vec<String> = vec![];
    let mut next: Option<&dyn std::error::Error> = match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => error.source(),
        error => Some(error),
    };
    while let Some(error) = next {
        let text = error.to_string();
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}
