//! Which objects the words of a command line name.

use anyhow::{Result, bail};

/// A kind that a verb works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetKind {
    /// A Rollout.
    Rollout,
    /// An Experiment.
    Experiment,
    /// An AnalysisRun.
    AnalysisRun,
}

impl TargetKind {
    /// The kind as people write it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Experiment => "experiment",
            Self::AnalysisRun => "analysisrun",
        }
    }

    /// The resource as the API server names it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Rollout => "rollouts",
            Self::Experiment => "experiments",
            Self::AnalysisRun => "analysisruns",
        }
    }

    /// As a manifest names the kind.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Rollout => "Rollout",
            Self::Experiment => "Experiment",
            Self::AnalysisRun => "AnalysisRun",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        let bare = word.strip_suffix(".argoproj.io").unwrap_or(&word);
        match bare.strip_suffix(".v1alpha1").unwrap_or(bare) {
            "rollout" | "rollouts" | "ro" => Some(Self::Rollout),
            "experiment" | "experiments" | "exp" => Some(Self::Experiment),
            "analysisrun" | "analysisruns" | "ar" => Some(Self::AnalysisRun),
            _ => None,
        }
    }
}

/// A named object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its kind.
    pub(crate) kind: TargetKind,
    /// Its name.
    pub(crate) name: String,
}

/// Reads `NAME…`, `KIND NAME…` and `KIND/NAME…`. Without a kind it is the first of `kinds`.
pub(crate) fn targets(words: &[String], kinds: &[TargetKind]) -> Result<Vec<Target>> {
    let Some(default) = kinds.first().copied() else { return Ok(Vec::new()) };
    let (kind, names) = match words {
        [first, rest @ ..] if !rest.is_empty() => match TargetKind::parse(first) {
            Some(kind) => (allowed(kind, first, kinds)?, rest),
            None => (default, words),
        },
        _ => (default, words),
    };
    names.iter().map(|name| target(name, kind, kinds)).collect()
}

/// Reads exactly one of what [`targets`] reads, of the only kind that the verb works on.
pub(crate) fn rollout_name(words: &[String]) -> Result<String> {
    match targets(words, &[TargetKind::Rollout])?.as_slice() {
        [one] => Ok(one.name.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|target| target.name.as_str()).collect();
            bail!("one rollout at a time, please: '{}' are {} names", names.join(" "), names.len())
        }
    }
}

fn target(word: &str, kind: TargetKind, kinds: &[TargetKind]) -> Result<Target> {
    let (kind, name) = match word.split_once('/') {
        None => (kind, word),
        Some((prefix, name)) => match TargetKind::parse(prefix) {
            Some(kind) => (allowed(kind, word, kinds)?, name),
            None => bail!("'{word}': '{prefix}' is not a kind that is known here; {}", usage(kinds)),
        },
    };
    if name.is_empty() || name.contains('/') {
        bail!("'{word}' does not name an object; {}", usage(kinds));
    }
    Ok(Target { kind, name: name.to_owned() })
}

fn allowed(kind: TargetKind, word: &str, kinds: &[TargetKind]) -> Result<TargetKind> {
    if kinds.contains(&kind) {
        return Ok(kind);
    }
    bail!("'{word}': this command does not take the kind {}; {}", kind.word(), usage(kinds))
}

fn usage(kinds: &[TargetKind]) -> String {
    let forms: Vec<_> = kinds.iter().map(|kind| format!("{}/NAME", kind.word())).collect();
    format!("write NAME or {}", forms.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str, kinds: &[TargetKind]) -> String {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        match targets(&words, kinds) {
            Ok(targets) => targets
                .iter()
                .map(|target| format!("{}/{}", target.kind.word(), target.name))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_are_read_in_every_form_that_people_write() {
        use TargetKind::{AnalysisRun, Experiment, Rollout};
        for (words, kinds, expected) in [
            ("shop", &[Rollout][..], "rollout/shop"),
            ("rollout/shop", &[Rollout], "rollout/shop"),
            ("ro/shop", &[Rollout], "rollout/shop"),
            ("rollouts.argoproj.io/shop", &[Rollout], "rollout/shop"),
            ("rollouts.v1alpha1.argoproj.io/shop", &[Rollout], "rollout/shop"),
            ("rollout shop", &[Rollout, Experiment], "rollout/shop"),
            ("rollout", &[Rollout], "rollout/rollout"),
            ("shop cart", &[Rollout], "rollout/shop rollout/cart"),
            ("experiment one two", &[Rollout, Experiment], "experiment/one experiment/two"),
            ("analysisrun/x", &[AnalysisRun, Experiment], "analysisrun/x"),
        ] {
            assert_eq!(read(words, kinds), expected, "{words}");
        }
    }

    #[test]
    fn a_wrong_kind_says_which_forms_are_right() {
        let kinds = &[TargetKind::Rollout];
        assert_eq!(
            read("deployment/shop", kinds),
            "'deployment/shop': 'deployment' is not a kind that is known here; write NAME or rollout/NAME"
        );
        assert_eq!(
            read("experiment/shop", kinds),
            "'experiment/shop': this command does not take the kind experiment; write NAME or rollout/NAME"
        );
        assert_eq!(read("rollout/", kinds), "'rollout/' does not name an object; write NAME or rollout/NAME");
    }
}
