/// What is known of one object: "not there" and "not known" are never the same.
///
/// Nothing shrinks while something that it needs is [`Observed::Unknown`]: a cache that has not
/// synced and an API server that does not answer look like that, and an empty cluster does not.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Observed<T> {
    /// Seen, and this is what it looks like.
    Present(T),
    /// Looked for, and it does not exist.
    Absent,
    /// Not looked at yet, or the look failed.
    #[default]
    Unknown,
}

impl<T> Observed<T> {
    /// The value when it is present.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unknown => None,
        }
    }

    /// True only for [`Observed::Absent`]: known not to exist.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// True only for [`Observed::Unknown`].
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// Applies `f` to a present value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Present(value) => Observed::Present(f(value)),
            Self::Absent => Observed::Absent,
            Self::Unknown => Observed::Unknown,
        }
    }
}
