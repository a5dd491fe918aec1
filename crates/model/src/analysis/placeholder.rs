//! What stands for a secret until the shell fills it in.
//!
//! A secret has two placeholders, and either one in a [`crate::HttpQuery`] is filled in by the shell: the plain one
//! with the value as it is, and the one that begins with `%` with the value percent-encoded ([`percent_encoded`]).
//! The second is the first percent-encoded, so code that encodes a text for a URL gets it without knowing.

use std::fmt::Write;

/// Marks the ends of a placeholder: a character that nobody writes. Who does gets no more than the secrets that the
/// run names anyway.
const MARK: char = '\u{1}';

/// What stands in messages where a secret was.
pub(super) const MASK: &str = "*****";

/// The placeholder of the secret argument `index` of its spec.
pub(super) fn placeholder(index: usize) -> String {
    format!("{MARK}secret:{index}{MARK}")
}

/// Whether a text holds a placeholder.
pub(super) fn in_text(text: &str) -> bool {
    text.contains(MARK)
}

/// The text with every placeholder masked.
pub(super) fn masked(text: &str) -> String {
    let mut result = String::new();
    for (index, part) in text.split(MARK).enumerate() {
        result.push_str(if index % 2 == 0 { part } else { MASK });
    }
    result
}

/// A text as part of a URL: every byte that isn't a letter, a digit or one of `-._~` as `%XX` (RFC 3986).
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
