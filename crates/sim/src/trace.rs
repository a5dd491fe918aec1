//! One line for each event: seconds since the beginning, who, what. docs/simulator.md explains the columns.

use jiff::Timestamp;
use std::fmt::Display;

/// The lines so far.
#[derive(Clone, Debug)]
pub struct Trace {
    /// `None` when nobody wants to read it: most worlds are run for their verdict only.
    start: Option<Timestamp>,
    lines: Vec<String>,
}

/// A controller process, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Who(pub u32);

impl Display for Who {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(&format!("process {}", self.0))
    }
}

impl Trace {
    /// An empty trace that counts from `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { start: Some(start), lines: Vec::new() }
    }

    /// A trace that stays empty.
    pub fn none() -> Self {
        Self { start: None, lines: Vec::new() }
    }

    /// Adds a line.
    pub fn say(&mut self, who: impl Display, what: impl FnOnce() -> String, now: Timestamp) {
        let Some(start) = self.start else { return };
        let milliseconds = now.duration_since(start).as_millis();
        let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
        self.lines.push(format!("{seconds:>9}.{rest:03}  {who:<12} {}", what()));
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// A JSON value in a line: cut when it is long.
pub fn short(value: &serde_json::Value) -> String {
    const CHARACTERS_MAX: usize = 600;
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(CHARACTERS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::short;
    use serde_json::json;

    #[test]
    fn only_what_has_more_characters_than_a_line_may_hold_is_cut() {
        // 598 characters and two quotation marks; of the second kind each takes two bytes.
        for letter in ["a", "ä"] {
            let (fits, longer) = (json!(letter.repeat(598)), json!(letter.repeat(599)));
            assert_eq!(short(&fits), fits.to_string());
            assert_eq!(short(&longer), format!("\"{}…", letter.repeat(599)));
        }
    }
}
