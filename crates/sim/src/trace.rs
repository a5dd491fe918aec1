//! One line for each event: seconds since the beginning, who, what. the crate's documentation explains the columns.

use jiff::Timestamp;

/// The lines so far.
#[derive(Clone, Debug)]
pub struct Trace {
    start: Timestamp,
    lines: Vec<String>,
}

impl Trace {
    /// An empty trace that counts from `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { start, lines: Vec::new() }
    }

    /// Adds a line.
    pub fn say(&mut self, who: &str, what: &str, now: Timestamp) {
        let milliseconds = now.duration_since(self.start).as_millis();
        self.lines.push(format!("{:>9}.{:03}  {who:<12} {what}", milliseconds / 1000, milliseconds % 1000));
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// A JSON value in a line: cut when it is long.
pub fn short(value: &serde_json::Value) -> String {
    const CHARACTERS_MAX: usize = 600;
    let text = value.to_string();
    if text.len() <= CHARACTERS_MAX {
        return text;
    }
    let cut: String = text.chars().take(CHARACTERS_MAX).collect();
    format!("{cut}…")
}
