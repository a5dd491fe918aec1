//! Under which name the program was called.

use std::ffi::OsStr;
use std::path::Path;

/// The name under which the program was called: kubectl finds a plugin by its file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `kubectl headgate`.
    Headgate,
    /// `kubectl argo rollouts`, for scripts and fingers that know that name.
    ArgoRollouts,
}

impl Program {
    /// From `argv[0]`.
    pub(crate) fn from_path(path: &OsStr) -> Self {
        let stem = Path::new(path).file_stem().and_then(OsStr::to_str).unwrap_or_default();
        if stem == "kubectl-argo-rollouts" { Self::ArgoRollouts } else { Self::Headgate }
    }

    /// The program for which kubectl asks what could be typed next: it calls `kubectl_complete-NAME`.
    pub(crate) fn to_complete(path: &OsStr) -> Option<Self> {
        match Path::new(path).file_stem().and_then(OsStr::to_str)? {
            "kubectl_complete-headgate" => Some(Self::Headgate),
            "kubectl_complete-argo-rollouts" => Some(Self::ArgoRollouts),
            _ => None,
        }
    }

    /// What people type.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Headgate => "kubectl headgate",
            Self::ArgoRollouts => "kubectl argo rollouts",
        }
    }

    /// The name of the file, as `version` and shell completions use it.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Headgate => "kubectl-headgate",
            Self::ArgoRollouts => "kubectl-argo-rollouts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_name_decides_the_program() {
        for (path, program) in [
            ("kubectl-headgate", Program::Headgate),
            ("/usr/local/bin/kubectl-argo-rollouts", Program::ArgoRollouts),
            ("./kubectl-argo-rollouts.exe", Program::ArgoRollouts),
            ("anything", Program::Headgate),
        ] {
            assert_eq!(Program::from_path(OsStr::new(path)), program, "{path}");
        }
    }
}
