//! Durations as users write them: Go's words for them, kept as written.

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// A duration such as `30s`, `5m` or `1h30m`, kept as it was written.
///
/// Units are `ns`, `us` (or `µs`), `ms`, `s`, `m` and `h`; a number may have a sign and a fraction.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoDuration(pub String);

impl GoDuration {
    /// The duration that the text means, as Go's `time.ParseDuration` reads it.
    ///
    /// # Errors
    /// Says what is wrong with the text and what a right one looks like.
    pub fn parse(&self) -> Result<SignedDuration, DurationError> {
        parse_go_duration(&self.0)
    }

    /// Whether nothing was written: `""` counts as absent, as in the reference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for GoDuration {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// How long a pause lasts, kept as it was written: seconds, or a duration with units.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DurationOrSeconds {
    /// A number of seconds.
    Seconds(i64),
    /// A text: a number of seconds (`"30"`) or a duration with units (`"5m"`).
    Text(String),
}

impl DurationOrSeconds {
    /// The duration that is meant, cut to whole seconds as the reference does.
    ///
    /// # Errors
    /// Says what is wrong with the text and what a right one looks like. A negative duration is an error too.
    pub fn parse(&self) -> Result<SignedDuration, DurationError> {
        let seconds = match self {
            Self::Seconds(seconds) => *seconds,
            Self::Text(text) => match text.parse::<i32>() {
                Ok(seconds) => i64::from(seconds),
                Err(_) => parse_go_duration(text)?.as_secs(),
            },
        };
        if seconds < 0 {
            return Err(DurationError { text: self.to_string(), problem: Problem::Negative });
        }
        Ok(SignedDuration::from_secs(seconds))
    }
}

impl fmt::Display for DurationOrSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for DurationOrSeconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DurationOrSeconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

/// A text that isn't a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError {
    text: String,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Empty,
    NoNumber,
    NoUnit,
    UnknownUnit,
    TooLong,
    Negative,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Empty => "nothing is written",
            Problem::NoNumber => "a number is expected before each unit",
            Problem::NoUnit => "the unit is missing",
            Problem::UnknownUnit => "there is no such unit",
            Problem::TooLong => "longer than 292 years",
            Problem::Negative => "is negative",
        };
        write!(
            f,
            "{:?} is not a duration: {problem}; write for example 30s, 5m or 1h30m (units: ns, us, ms, s, m, h)",
            self.text
        )
    }
}

impl std::error::Error for DurationError {}

/// Reads a duration as Go's `time.ParseDuration` does, to the nanosecond.
fn parse_go_duration(text: &str) -> Result<SignedDuration, DurationError> {
    let fail = |problem| DurationError { text: text.to_owned(), problem };
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(fail(if text.is_empty() { Problem::Empty } else { Problem::NoNumber }));
    }
    // Go counts in i64 nanoseconds: the most negative one exists, its opposite doesn't.
    let most: u128 = if negative { 1 << 63 } else { (1 << 63) - 1 };
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = leading_term(rest).map_err(fail)?;
        total += nanoseconds;
        if total > most {
            return Err(fail(Problem::TooLong));
        }
        rest = after;
    }
    let total = i128::try_from(total).map_err(|_| fail(Problem::TooLong))?;
    Ok(SignedDuration::from_nanos_i128(if negative { -total } else { total }))
}

/// Reads one number with its unit from the front of `text`: its nanoseconds, and what follows.
fn leading_term(text: &str) -> Result<(u128, &str), Problem> {
    let (whole, rest) = leading_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => leading_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Problem::NoNumber);
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit_nanoseconds: u128 = match unit {
        "" => return Err(Problem::NoUnit),
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return Err(Problem::UnknownUnit),
    };
    // Twenty digits exceed any duration, and anything shorter can't overflow u128 when multiplied.
    let whole = whole.trim_start_matches('0');
    if whole.len() > 19 {
        return Err(Problem::TooLong);
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Problem::TooLong)? };
    let mut nanoseconds = whole * unit_nanoseconds;
    // Digits of a fraction beyond 18 are below a nanosecond for every unit.
    let mut place = unit_nanoseconds * 1_000_000_000_000_000_000;
    let mut fraction_scaled: u128 = 0;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        fraction_scaled += u128::from(digit - b'0') * place;
    }
    nanoseconds += fraction_scaled / 1_000_000_000_000_000_000;
    Ok((nanoseconds, rest))
}

fn leading_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wanted: what Go's `time.ParseDuration` says of the text, in nanoseconds; `None` for an error.
    #[test]
    fn durations_are_read_as_go_reads_them() {
        const SECOND: i128 = 1_000_000_000;
        let table: &[(&str, Option<i128>)] = &[
            ("0", Some(0)),
            ("+0", Some(0)),
            ("-0", Some(0)),
            ("5s", Some(5 * SECOND)),
            ("30m", Some(1800 * SECOND)),
            ("1h30m", Some(5400 * SECOND)),
            ("1478s", Some(1478 * SECOND)),
            ("-5s", Some(-5 * SECOND)),
            ("+5s", Some(5 * SECOND)),
            ("5.0s", Some(5 * SECOND)),
            ("5.6s", Some(5_600_000_000)),
            ("5.s", Some(5 * SECOND)),
            (".5s", Some(SECOND / 2)),
            ("1.0040s", Some(1_004_000_000)),
            ("100.00100s", Some(100_001_000_000)),
            ("10ns", Some(10)),
            ("11us", Some(11_000)),
            ("12µs", Some(12_000)),
            ("12μs", Some(12_000)),
            ("13ms", Some(13_000_000)),
            ("3h30m", Some(12_600 * SECOND)),
            ("10.5s4m", Some(250_500_000_000)),
            ("39h9m14.425s", Some(140_954_425_000_000)),
            ("0.100000000000000000000h", Some(360 * SECOND)),
            ("0.9223372036854775807h", Some(3_320_413_933_267)),
            ("9223372036854775807ns", Some(9_223_372_036_854_775_807)),
            ("-9223372036854775808ns", Some(-9_223_372_036_854_775_808)),
            ("9223372036854775808ns", None),
            ("9223372036s1000000000ns", None),
            ("99999999999999999999999999h", None),
            ("", None),
            ("3", None),
            ("-", None),
            ("s", None),
            (".", None),
            ("-.", None),
            (".s", None),
            ("+.s", None),
            ("1d", None),
            ("1h 30m", None),
            ("--5s", None),
            ("5S", None),
        ];
        for (text, wanted) in table {
            let parsed = GoDuration::from(*text).parse().ok().map(|duration| duration.as_nanos());
            assert_eq!(parsed, *wanted, "{text:?}");
        }
    }

    #[test]
    fn a_pause_counts_in_whole_seconds_and_takes_bare_numbers() {
        let seconds = |duration: DurationOrSeconds| duration.parse().ok().map(|duration| duration.as_secs());
        assert_eq!(seconds(DurationOrSeconds::Seconds(30)), Some(30));
        assert_eq!(seconds(DurationOrSeconds::Seconds(-1)), None);
        for (text, wanted) in [
            ("30", Some(30)),
            ("1h", Some(3600)),
            ("1.9s", Some(1)),
            ("-1s", None),
            ("", None),
            ("ten", None),
        ] {
            assert_eq!(seconds(DurationOrSeconds::Text(text.to_owned())), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_wrong_duration_is_told_with_what_to_write() {
        let told = |text: &str| GoDuration::from(text).parse().unwrap_err().to_string();
        let mend = "write for example 30s, 5m or 1h30m (units: ns, us, ms, s, m, h)";
        assert_eq!(told("5d"), format!("\"5d\" is not a duration: there is no such unit; {mend}"));
        assert_eq!(told("30"), format!("\"30\" is not a duration: the unit is missing; {mend}"));
        assert_eq!(told(""), format!("\"\" is not a duration: nothing is written; {mend}"));
    }
}
