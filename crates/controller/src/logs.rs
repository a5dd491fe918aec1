//! Where log messages go and how they look.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};

/// The kube client writes an error for every answer above 499, whether or not somebody handles it: we do,
/// and say what it means. The others tell of every connection at level debug.
const QUIET: &str =
    "kube_client=off,kube_runtime=off,tower=off,hyper_util=off,hyper=off,rustls=warn,reqwest=warn";

/// Starts logging to standard error.
///
/// # Errors
/// `--loglevel` is no level and no filter.
pub fn init(args: &Args) -> anyhow::Result<()> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(&args.loglevel)?).with_writer(std::io::stderr);
    match args.logformat {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    // What the user says comes last, and so wins over ours.
    EnvFilter::try_new(format!("{QUIET},{level}")).with_context(|| {
        format!("--loglevel {level:?}: write error, warn, info, debug or trace, or a filter such as info,headgate_driver=debug")
    })
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_wrong_level_is_refused_with_the_right_ones() {
        assert!(filter("info").is_ok());
        assert!(filter("warn,headgate_driver=debug,kube_client=debug").is_ok());
        let error = filter("headgate=loud").unwrap_err().to_string();
        assert!(error.contains("error, warn, info, debug or trace"), "{error}");
    }
}
