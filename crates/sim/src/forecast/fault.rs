//! What goes wrong in a forecast, as users write it.

use crate::faults::{Disturbance, Outage, Whose};
use headgate_api::DurationOrSeconds;
use jiff::SignedDuration;
use std::str::FromStr;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The controller dies, and another one takes over.
    Crash,
    /// It stands still for a minute while another one takes over.
    Freeze,
    /// The metric provider is away.
    Prometheus,
    /// The API server is away.
    Api,
    /// The new version's pods become unready.
    Pods,
    /// A node cannot be reached.
    Node,
    /// The new version's pods never become ready.
    Unready,
}

/// A fault at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// How long after the release began.
    pub at: SignedDuration,
    /// For how long; 0 for what has no length.
    pub lasts: SignedDuration,
}

/// How each is written, whether it has a length, and what happens.
const KINDS: [(&str, FaultKind, bool, &str); 7] = [
    ("crash", FaultKind::Crash, false, "the controller dies and another one takes over"),
    (
        "freeze",
        FaultKind::Freeze,
        false,
        "the controller stands still for a minute and another one takes over",
    ),
    ("prometheus", FaultKind::Prometheus, true, "the metric provider is away"),
    ("api", FaultKind::Api, true, "the API server is away"),
    ("pods", FaultKind::Pods, true, "the pods of the new version are unready"),
    ("node", FaultKind::Node, true, "a node cannot be reached"),
    ("unready", FaultKind::Unready, false, "the pods of the new version never become ready"),
];

impl FromStr for Fault {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let hint = |what: &str| {
            let all = KINDS.map(|(name, _, has_length, happens)| {
                let form = if has_length { format!("{name}@60s+30s") } else { format!("{name}@60s") };
                let form = if name == "unready" { "unready@0s".to_owned() } else { form };
                format!("\n  {form:<20} {happens}")
            });
            format!("'{written}' {what}. There are:{}", all.concat())
        };
        let (name, time) = written.split_once('@').unwrap_or((written, ""));
        let Some((_, kind, has_length, _)) = KINDS.into_iter().find(|(known, ..)| *known == name) else {
            return Err(hint("is no fault that is known"));
        };
        let (at, lasts) = match time.split_once('+') {
            Some((at, lasts)) => (at, Some(lasts)),
            None => (time, None),
        };
        if time.is_empty() && kind != FaultKind::Unready {
            return Err(hint("does not say when"));
        }
        if lasts.is_some() != has_length {
            return Err(hint(if has_length { "does not say for how long" } else { "has no length" }));
        }
        let read = |text: &str| {
            let text = if text.is_empty() { "0" } else { text };
            DurationOrSeconds::Text(text.to_owned()).parse().map_err(|error| format!("'{written}': {error}"))
        };
        let fault = Self { kind, at: read(at)?, lasts: read(lasts.unwrap_or_default())? };
        if kind == FaultKind::Unready && !fault.at.is_zero() {
            return Err(hint("holds from the beginning: unready@0s; for later on there is pods@TIME+LENGTH"));
        }
        Ok(fault)
    }
}

impl Fault {
    /// What happens.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        KINDS.into_iter().find(|(_, kind, ..)| *kind == self.kind).map_or("", |(.., happens)| happens)
    }

    /// What happens in the world; nothing for what the world is like from the beginning.
    pub(super) fn disturbance(&self) -> Option<Disturbance> {
        let seconds = self.lasts.as_secs();
        Some(match self.kind {
            FaultKind::Crash => Disturbance::Crash { away: 0 },
            FaultKind::Freeze => Disturbance::Freeze,
            FaultKind::Prometheus => Disturbance::Metrics { outage: Outage::Down, seconds },
            FaultKind::Api => Disturbance::ApiOutage { seconds },
            FaultKind::Pods => Disturbance::PodsUnready { of: Whose::Newest, share: 100, seconds },
            FaultKind::Node => Disturbance::NodeLost { seconds },
            FaultKind::Unready => return None,
        })
    }
}
