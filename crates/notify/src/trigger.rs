/// What can be told of a Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// Its phase became Degraded, for another reason than an abort.
    Degraded,
    /// The release was aborted, by a user, by its analysis, by the health of its pods, at its deadline, or at the
    /// end of a pause (`onTimeout: abort`).
    Aborted,
    /// The version was released in full, and is Healthy for the first time since.
    Completed,
    /// It waits for a person: at a pause step without a duration, after an inconclusive analysis or one that has failed
    /// (`onFailure: pause`), or for an unhealthy pod (`podHealth.action: pause`).
    Paused,
}

impl Trigger {
    /// All triggers.
    pub const ALL: [Self; 4] = [Self::Degraded, Self::Aborted, Self::Completed, Self::Paused];

    /// The word in configuration, status, messages and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::Aborted => "aborted",
            Self::Completed => "completed",
            Self::Paused => "paused",
        }
    }

    /// The trigger of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == name)
    }
}
