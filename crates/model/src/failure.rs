use crate::{Effect, Timestamp};

/// How an effect failed last, kept until it succeeds: outcomes are input of the next decision (R4).
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of failure, which says who can mend it.
    pub class: FailureClass,
    /// What the API server or the shell said, shortened to 1,024 characters, without secrets.
    pub message: String,
    /// When this effect began to fail without a success in between.
    pub since: Timestamp,
    /// How often it has failed since then, at least 1.
    pub attempts: u32,
    /// Whether the stored record has said so since it failed last. Another process does not know of it and may have
    /// said something else since: to say it again would be a dispute.
    pub told: bool,
    /// What failed under this key and waits for the next attempt, the latest last; none when that is due. Several when ways
    /// back to stable take turns.
    pub held: Vec<Effect>,
}

impl Failure {
    /// Whether an effect of this key does not go out now. A way back to stable waits only for what it has tried itself, not
    /// for another routing that failed.
    pub fn holds(&self, effect: &Effect) -> bool {
        if effect.leads_back() { self.held.contains(effect) } else { !self.held.is_empty() }
    }

    /// Holds an effect that has just failed. Ways back that take turns are held together: else each of them would be tried
    /// past the wait of the one before.
    pub fn hold(&mut self, effect: &Effect) {
        if !effect.leads_back() {
            self.held.clear();
        }
        self.held.retain(|failed| failed != effect);
        self.held.drain(..self.held.len().saturating_sub(HELD_MAX - 1));
        self.held.push(effect.clone());
    }
}

/// Effects held under one key, at most: an abort that goes in steps has a way back for each.
const HELD_MAX: usize = 8;

/// Who can mend a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureClass {
    /// Somebody else wrote first (409, or a failed `test` of a JSON patch): look again.
    Conflict,
    /// 429, 5xx, a timeout: the same act may succeed later.
    Transient,
    /// The object is gone (404).
    NotFound,
    /// An object of that name exists and is not ours (409 AlreadyExists of a create).
    AlreadyExists,
    /// The API server refuses the content (400, 422, an admission webhook): a user must act.
    Invalid,
    /// RBAC or a quota refuses (403): an administrator must act.
    Forbidden,
    /// We broke our own rule: a decision that breaks one is not carried out, and an effect that its guard does not fit is not sent.
    Bug,
}

impl FailureClass {
    /// Whether the API server has refused the act for a reason that time does not mend: it was not carried out, and is not
    /// under way.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Forbidden | Self::Invalid)
    }

    /// The name used in metrics labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::Transient => "Transient",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Invalid => "Invalid",
            Self::Forbidden => "Forbidden",
            Self::Bug => "Bug",
        }
    }
}
