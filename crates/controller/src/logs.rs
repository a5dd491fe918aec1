//! Where log messages go and how they look.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

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
    let directives = level.split(',').map(directive).collect::<anyhow::Result<Vec<_>>>();
    // What the user says comes last, and so wins over ours.
    let filter = directives.and_then(|own| Ok(EnvFilter::try_new(format!("{QUIET},{}", own.join(",")))?));
    filter.with_context(|| {
        format!(
            "--loglevel {level:?}: write error (or fatal, panic), warn (or warning), info, debug, trace or off; or a \
             filter such as info,headgate_driver=debug"
        )
    })
}

/// One part of the filter, with a level that the filter knows. A word that is no level is refused: the filter would
/// take it for the name of a part of the program, of which alone it logs.
fn directive(written: &str) -> anyhow::Result<String> {
    let written = written.trim();
    if let Some((target, level)) = written.rsplit_once('=') {
        return Ok(format!("{target}={}", known(level)));
    }
    let directive = known(written);
    let names_span = directive.contains('[');
    if !names_span && directive.parse::<LevelFilter>().is_err() {
        bail!("{written:?} is no level");
    }
    Ok(directive.to_owned())
}

/// Ours for a level that only Argo Rollouts has.
fn known(level: &str) -> &str {
    match level.to_ascii_lowercase().as_str() {
        "warning" => "warn",
        "fatal" | "panic" => "error",
        _ => level,
    }
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn a_wrong_level_is_refused_with_the_right_ones() {
        assert!(filter("info").is_ok());
        assert!(filter("warn,headgate_driver=debug,kube_client=debug").is_ok());
        for wrong in ["headgate=loud", "loud", "info,loud", "headgate_driver"] {
            let error = filter(wrong).unwrap_err().to_string();
            assert!(
                error.contains("error (or fatal, panic), warn (or warning), info, debug, trace"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_levels_of_argo_rollouts_are_understood() {
        for (argo, ours) in [
            ("panic", "error"),
            ("fatal", "error"),
            ("error", "error"),
            ("warn", "warn"),
            ("warning", "warn"),
            ("WARNING", "warn"),
            ("info", "info"),
            ("debug", "debug"),
            ("trace", "trace"),
            ("info,headgate_driver=warning", "headgate_driver=warn"),
        ] {
            let filter = filter(argo).unwrap().to_string();
            assert!(filter.split(',').any(|part| part == ours), "{argo}: {filter}");
        }
    }

    #[test]
    fn a_span_without_a_level_is_a_filter() {
        assert!(filter("info,[pass]").is_ok());
    }
}
