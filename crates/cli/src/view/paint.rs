//! Colours and signs.

/// What a piece of text says beyond its words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Look here.
    Notice,
    /// On its way.
    Moving,
}

/// How tones are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// Not at all.
    Plain,
    /// As ANSI colours.
    Ansi,
}

impl Palette {
    fn paint(self, text: &str, tone: Tone) -> String {
        let code = match (self, tone) {
            (Self::Plain, _) | (_, Tone::Plain) => return text.to_owned(),
            (Self::Ansi, Tone::Good) => 32,
            (Self::Ansi, Tone::Bad) => 31,
            (Self::Ansi, Tone::Notice) => 33,
            (Self::Ansi, Tone::Moving) => 94,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Text of which parts have a tone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<(String, Tone)>);

impl Text {
    /// Text in one tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self(vec![(text.into(), tone)])
    }

    /// The same with more behind it.
    #[must_use]
    pub fn then(mut self, more: impl Into<Self>) -> Self {
        self.0.extend(more.into().0);
        self
    }

    /// Pieces with commas between.
    pub fn joined(pieces: Vec<Self>, separator: &str) -> Self {
        let mut joined = Self::default();
        for (index, piece) in pieces.into_iter().enumerate() {
            if index > 0 {
                joined = joined.then(separator);
            }
            joined = joined.then(piece);
        }
        joined
    }

    /// Number of columns on the screen: names are ASCII and our signs are one column wide.
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text.chars().count()).sum()
    }

    /// As it is printed.
    #[must_use]
    pub fn painted(&self, palette: Palette) -> String {
        self.0.iter().map(|(text, tone)| palette.paint(text, *tone)).collect()
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A sign for a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// Healthy, successful, running.
    Ok,
    /// On its way.
    Progressing,
    /// Waiting.
    Waiting,
    /// Paused.
    Paused,
    /// Degraded, failed.
    Bad,
    /// An error of the environment.
    Warning,
    /// Nobody can say.
    Unknown,
    /// Neither good nor bad.
    Neutral,
    /// A state without a sign.
    None,
}

impl Icon {
    /// The sign.
    #[must_use]
    pub fn text(self) -> Text {
        let (sign, tone) = match self {
            Self::Ok => ("✔", Tone::Good),
            Self::Progressing => ("◌", Tone::Moving),
            Self::Waiting => ("◷", Tone::Notice),
            Self::Paused => ("॥", Tone::Plain),
            Self::Bad => ("✖", Tone::Bad),
            Self::Warning => ("⚠", Tone::Bad),
            Self::Unknown => ("?", Tone::Notice),
            Self::Neutral => ("•", Tone::Plain),
            Self::None => (" ", Tone::Plain),
        };
        Text::toned(sign, tone)
    }
}

/// The state of an object: a sign and a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The sign.
    pub icon: Icon,
    /// The word.
    pub word: String,
}

impl State {
    /// A state.
    pub fn new(icon: Icon, word: impl Into<String>) -> Self {
        Self { icon, word: word.into() }
    }

    /// As it is shown.
    #[must_use]
    pub fn text(&self) -> Text {
        self.icon.text().then(format!(" {}", self.word))
    }
}
