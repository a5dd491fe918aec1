//! A ReplicaSet as a line: how it stands and what it is for.

use super::age::human;
use super::paint::{Icon, State, Text, Tone};
use super::scene::{annotation, label};
use headgate_api::{PingPongType, Rollout, labels};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::jiff::Timestamp;

/// What a version is in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The last version released in full.
    Stable,
    /// The newest version, beside the stable one.
    Canary,
    /// The version that users reach.
    Active,
    /// The version that can be looked at before the switch.
    Preview,
    /// The version behind the ping Service.
    Ping,
    /// The version behind the pong Service.
    Pong,
}

impl Tag {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Active => "active",
            Self::Preview => "preview",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    /// Its tone.
    #[must_use]
    pub fn tone(self) -> Tone {
        match self {
            Self::Stable | Self::Active => Tone::Good,
            Self::Canary => Tone::Notice,
            Self::Preview => Tone::Moving,
            Self::Ping | Self::Pong => Tone::Plain,
        }
    }
}

/// Which version has which role, by hash.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    stable: String,
    current: String,
    active: String,
    preview: String,
    is_canary: bool,
    stable_is: Option<Tag>,
}

impl Roles {
    /// The roles in a Rollout.
    #[must_use]
    pub fn of(rollout: &Rollout) -> Self {
        let strategy = rollout.spec.strategy.as_ref();
        let canary = strategy.and_then(|strategy| strategy.canary.as_ref());
        let Some(status) = &rollout.status else { return Self::default() };
        let blue_green = strategy.and_then(|strategy| strategy.blue_green.as_ref());
        let selectors = status.blue_green.clone().filter(|_| blue_green.is_some()).unwrap_or_default();
        let stable_is = canary.and_then(|canary| canary.ping_pong.as_ref()).map(|_| {
            let which = status.canary.as_ref().and_then(|canary| canary.stable_ping_pong.as_ref());
            if which == Some(&PingPongType::Ping) { Tag::Ping } else { Tag::Pong }
        });
        Self {
            stable: status.stable_rs.clone(),
            current: status.current_pod_hash.clone(),
            active: selectors.active_selector,
            preview: selectors.preview_selector,
            is_canary: canary.is_some(),
            stable_is,
        }
    }

    /// What a ReplicaSet is for, in the order in which it is shown.
    #[must_use]
    pub fn tags(&self, set: &ReplicaSet) -> Vec<Tag> {
        let hash = label(&set.metadata, labels::POD_TEMPLATE_HASH);
        if hash.is_empty() {
            return vec![];
        }
        let mut tags = vec![];
        let is_stable = hash == self.stable;
        if is_stable {
            tags.push(Tag::Stable);
        }
        if self.is_canary {
            let is_canary = !is_stable && hash == self.current;
            if is_canary {
                tags.push(Tag::Canary);
            }
            if let (Some(stable_is), true) = (self.stable_is, is_stable || is_canary) {
                let is_ping = (stable_is == Tag::Ping) == is_stable;
                tags.push(if is_ping { Tag::Ping } else { Tag::Pong });
            }
        } else if hash == self.active {
            tags.push(Tag::Active);
        } else if hash == self.preview {
            tags.push(Tag::Preview);
        }
        tags
    }
}

/// How a ReplicaSet stands.
pub(crate) fn state(set: &ReplicaSet) -> State {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = set.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation).unwrap_or(0);
    let available = status.and_then(|status| status.available_replicas).unwrap_or(0);
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let has_failed =
        conditions.iter().any(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
    if set.metadata.generation.unwrap_or(0) > observed {
        State::new(Icon::Progressing, "Progressing")
    } else if has_failed {
        State::new(Icon::Bad, "ReplicaFailure")
    } else if available < wanted {
        State::new(Icon::Progressing, "Progressing")
    } else if wanted == 0 {
        State::new(Icon::Neutral, "ScaledDown")
    } else {
        State::new(Icon::Ok, "Healthy")
    }
}

/// What it is for, and when it goes.
pub(crate) fn info(set: &ReplicaSet, tags: &[Tag], now: Timestamp) -> Text {
    let mut pieces: Vec<Text> = tags.iter().map(|tag| Text::toned(tag.word(), tag.tone())).collect();
    let deadline = annotation(&set.metadata, labels::SCALE_DOWN_DEADLINE).filter(|text| !text.is_empty());
    if let Some(deadline) = deadline {
        pieces.push(format!("delay:{}", delay(deadline, now)).into());
    }
    Text::joined(pieces, ",")
}

fn delay(deadline: &str, now: Timestamp) -> String {
    match deadline.parse::<Timestamp>() {
        Ok(deadline) if deadline < now => "passed".to_owned(),
        Ok(deadline) => human(deadline.as_second() - now.as_second()),
        Err(_) => String::new(),
    }
}
