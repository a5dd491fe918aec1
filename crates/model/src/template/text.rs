//! Small rules of Go's standard library about text: JSON escapes, case folding, RFC 3339 times.

use jiff::Timestamp;
use std::fmt::Write as _;

/// Appends a JSON string as Go's `encoding/json` writes it: HTML characters and the line separators are escaped.
pub(super) fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Whether Go's `encoding/json` takes one name for the other: ASCII case, the long s and the Kelvin sign do not matter.
pub(super) fn equal_folded(left: &str, right: &str) -> bool {
    let folded = |name: &str| -> Vec<char> {
        let fold = |character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        };
        name.chars().map(fold).collect()
    };
    folded(left) == folded(right)
}

/// Go's zero time, which is written as `null`.
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// An RFC 3339 time in UTC, cut to whole seconds, as `metav1.Time` writes it. None when it is no such time.
pub(super) fn whole_seconds_utc(text: &str) -> Option<String> {
    let seconds_in_range = text.get(17..19)?.parse::<u8>().is_ok_and(|seconds| seconds < 60);
    let shaped = text.is_char_boundary(10) && text.get(10..11) == Some("T") && seconds_in_range;
    let time: Timestamp = if shaped { text.parse().ok()? } else { return None };
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
