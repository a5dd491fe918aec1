/// A Kubernetes event as data. Which events there are is a function of (old record, new record,
/// outcomes) and of nothing else (R11); the driver sends them after the record is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Normal or Warning.
    pub kind: NoticeKind,
    /// A reason of the reference (`headgate_api::events`): people alert on these.
    pub reason: &'static str,
    /// What happened, where, and for a warning how to mend it.
    pub message: String,
    /// The object whose change it tells of, where one effect changes several: it is told once that one was changed.
    pub change_of: Option<String>,
}

/// The type field of a Kubernetes event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Things go as wished.
    Normal,
    /// Somebody may want to act.
    Warning,
}

impl Notice {
    /// A Normal event.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: NoticeKind::Normal, reason, message: message.into(), change_of: None }
    }

    /// A Warning event.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: NoticeKind::Warning, reason, message: message.into(), change_of: None }
    }

    /// The same, of one of the objects that an effect changes.
    #[must_use]
    pub fn once_changed(self, object: &str) -> Self {
        Self { change_of: Some(object.to_owned()), ..self }
    }
}
