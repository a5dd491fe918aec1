//! The words of an expression.

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// A number, text or bytes literal, as written.
    Literal(&'s str),
    /// A name or a keyword; `#` and `#acc` are names too.
    Name(&'s str),
    /// An operator or a bracket.
    Mark(&'s str),
}

/// Operators and brackets, longer ones before their beginnings.
const MARKS: &[&str] = &[
    "**", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "..", "+", "-", "*", "/", "%", "^", "<", ">", "!",
    "?", ":", "|", ".", ",", ";", "(", ")", "[", "]", "{", "}", "=",
];

/// The words of `source`, without spaces and comments.
///
/// # Errors
/// A character that begins no word, or a text or comment without an end.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    loop {
        rest = without_space(rest)?;
        if rest.is_empty() {
            return Ok(tokens);
        }
        let (token, length) = first(rest)?;
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default();
    }
}

fn without_space(text: &str) -> Result<&str, String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map(|(_, after)| after).ok_or("a comment /* has no end */")?;
        } else {
            return Ok(rest);
        }
    }
}

/// The word at the front of `rest`, and its length in bytes.
fn first(rest: &str) -> Result<(Token<'_>, usize), String> {
    let literal = |length: usize| Ok((Token::Literal(rest.get(..length).unwrap_or_default()), length));
    let mut characters = rest.chars();
    let front = characters.next().unwrap_or_default();
    let second = characters.next().unwrap_or_default();
    if matches!(front, '"' | '\'' | '`') {
        return literal(text_length(rest, front)?);
    }
    if matches!(front, 'b' | 'B') && matches!(second, '"' | '\'') {
        return literal(1 + text_length(rest.get(1..).unwrap_or_default(), second)?);
    }
    if front.is_ascii_digit() || (front == '.' && second.is_ascii_digit()) {
        return literal(number_length(rest));
    }
    if front.is_ascii_alphabetic() || matches!(front, '_' | '$' | '#') {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = 1 + rest.get(1..).and_then(|after| after.find(|c| !word(c))).unwrap_or(rest.len() - 1);
        return Ok((Token::Name(rest.get(..length).unwrap_or_default()), length));
    }
    match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
        Some(mark) => Ok((Token::Mark(mark), mark.len())),
        None => Err(format!("unexpected {front:?}")),
    }
}

/// The length of a quoted text with its quotes. Between backquotes nothing is escaped.
fn text_length(rest: &str, quote: char) -> Result<usize, String> {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            return Ok(index + 1);
        }
    }
    Err(format!("a text has no closing {quote}"))
}

/// The length of a number: `7`, `0xff`, `1_000`, `.5`, `1.5e-3`; in `1..3` it ends before the dots.
fn number_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    if at(0) == b'0' && matches!(at(1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B') {
        let digit = |c: char| c.is_ascii_hexdigit() || c == '_';
        return 2 + rest.get(2..).and_then(|after| after.find(|c| !digit(c))).unwrap_or(rest.len() - 2);
    }
    let digits = |from: usize| {
        let mut end = from;
        while at(end).is_ascii_digit() || at(end) == b'_' {
            end += 1;
        }
        end
    };
    let mut end = digits(0);
    if at(end) == b'.' && at(end + 1) != b'.' {
        end = digits(end + 1);
    }
    if matches!(at(end), b'e' | b'E') {
        let sign = usize::from(matches!(at(end + 1), b'+' | b'-'));
        if at(end + 1 + sign).is_ascii_digit() {
            end = digits(end + 1 + sign);
        }
    }
    end
}
