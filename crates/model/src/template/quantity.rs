//! Kubernetes quantities (`5m`, `1.5Gi`, `12e6`): the text that Go prints for one, which is what the hash sees.
//!
//! `resource.Quantity` keeps the text it was parsed from when that looks canonical, and prints the canonical
//! form otherwise: no fraction, and the largest suffix that loses nothing.

use std::cmp::Ordering;

/// A quantity is rounded up, away from zero, to whole 10⁻⁹.
const SMALLEST_EXPONENT: i64 = -9;
/// Digits that always fit an int64: up to here Go keeps the text as it came.
const INT64_DIGITS: i64 = 18;

/// The text of the quantity once Go has read and written it twice, as the controller does before it hashes.
///
/// Twice because once is not enough: `1.953125Ki` becomes `2000`, and that `2k`. None when it is no quantity.
pub fn canonical_quantity(text: &str) -> Option<String> {
    printed(printed(text.trim())?.trim())
}

/// The size of a quantity, the same text for all that are equal (`1Gi`, `1073741824`), rounded up to a power of ten.
pub(super) fn amount_rounded_up(text: &str, exponent: i64) -> Option<String> {
    let (parts, format, power) = Parts::read(text.trim())?;
    let mut amount = parts.amount(format, power);
    amount.round_up_to(exponent.max(SMALLEST_EXPONENT));
    Some(if parts.is_zero() { "0".to_owned() } else { amount.print(Format::DecimalExponent) })
}

/// One round trip through Go.
fn printed(text: &str) -> Option<String> {
    let (parts, format, power) = Parts::read(text)?;
    if parts.is_kept_as_written(format, power) {
        return Some(text.to_owned());
    }
    if parts.is_zero() {
        // A missing number is zero, but on its long way Go finds it missing.
        return (parts.has_digits || parts.is_short(format, power)).then(|| "0".to_owned());
    }
    let mut amount = parts.amount(format, power);
    amount.round_up_to(SMALLEST_EXPONENT);
    Some(if format == Format::BinarySi { amount.print_binary() } else { amount.print(format) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    DecimalSi,
    DecimalExponent,
    BinarySi,
}

const DECIMAL_SUFFIXES: [(&str, i64); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [(&str, i64); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// The format that a suffix asks for, and the power (of ten, or of two for binary ones) that it stands for.
fn interpret_suffix(suffix: &str) -> Option<(Format, i64)> {
    let find =
        |table: &[(&str, i64)]| table.iter().find(|(name, _)| *name == suffix).map(|(_, exponent)| *exponent);
    if let Some(exponent) = find(&DECIMAL_SUFFIXES) {
        return Some((Format::DecimalSi, exponent));
    }
    if let Some(exponent) = find(&BINARY_SUFFIXES) {
        return Some((Format::BinarySi, exponent));
    }
    let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "Go cuts the exponent to an int32 without a check")]
    let exponent = exponent as i32;
    Some((Format::DecimalExponent, i64::from(exponent)))
}

/// A quantity's text, taken apart.
struct Parts<'a> {
    negative: bool,
    /// Without leading zeros; `0` when nothing is left.
    numerator: &'a str,
    denominator: &'a str,
    suffix: &'a str,
    has_digits: bool,
}

impl<'a> Parts<'a> {
    /// A quantity's parts, its format, and the power that its suffix stands for.
    fn read(text: &'a str) -> Option<(Self, Format, i64)> {
        let parts = Parts::split(text)?;
        let (format, power) = interpret_suffix(parts.suffix)?;
        Some((parts, format, power))
    }

    fn amount(&self, format: Format, power: i64) -> Decimal {
        let mut amount = Decimal {
            negative: self.negative,
            digits: self
                .numerator
                .bytes()
                .chain(self.denominator.bytes())
                .map(|digit| digit - b'0')
                .collect(),
            exponent: -(self.denominator.len() as i64),
        };
        match format {
            Format::DecimalSi | Format::DecimalExponent => amount.exponent += power,
            Format::BinarySi => (0..power / 10).for_each(|_| amount.multiply(1024)),
        }
        amount
    }

    /// Go's scanner is lax: `+`, `.5`, `5.` and `k` are all quantities.
    fn split(text: &'a str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (numerator, rest) = split_digits(unsigned.trim_start_matches('0'));
        let (denominator, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        let after_letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let after_sign = after_letters.strip_prefix(['+', '-']).unwrap_or(after_letters);
        let well_formed = after_sign.bytes().all(|byte| byte.is_ascii_digit());
        well_formed.then_some(Parts {
            negative: text.starts_with('-'),
            numerator: if numerator.is_empty() { "0" } else { numerator },
            denominator,
            suffix,
            has_digits: unsigned.starts_with('0') || !numerator.is_empty() || !denominator.is_empty(),
        })
    }

    fn is_zero(&self) -> bool {
        self.numerator.bytes().chain(self.denominator.bytes()).all(|digit| digit == b'0')
    }

    /// Whether Go reads it on its short way, as an int64 with a scale.
    fn is_short(&self, format: Format, exponent: i64) -> bool {
        let (whole, places) = (self.numerator.len() as i64, self.denominator.len() as i64);
        if format == Format::BinarySi {
            places == 0 && 15 - whole - exponent * 3 / 10 > 0
        } else {
            whole + places <= INT64_DIGITS && exponent - places >= SMALLEST_EXPONENT
        }
    }

    /// Whether Go takes the text itself for canonical and prints it again, sign, leading zeros and all.
    fn is_kept_as_written(&self, format: Format, exponent: i64) -> bool {
        if !self.is_short(format, exponent) {
            return false;
        }
        if format == Format::BinarySi {
            return self.numerator.parse::<i64>().is_ok_and(|value| value & 7 != 0);
        }
        (exponent - self.denominator.len() as i64) % 3 == 0
            && !self.numerator.starts_with('0')
            && !format!("{}{}", self.numerator, self.denominator).ends_with("000")
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A number of any size: digits × 10^exponent. Only what printing a quantity needs.
struct Decimal {
    negative: bool,
    /// Most significant first, each 0 to 9.
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn multiply(&mut self, factor: u32) {
        let mut carry = 0;
        for digit in self.digits.iter_mut().rev() {
            let product = u32::from(*digit) * factor + carry;
            *digit = (product % 10) as u8;
            carry = product / 10;
        }
        while carry > 0 {
            self.digits.insert(0, (carry % 10) as u8);
            carry /= 10;
        }
    }

    /// Rounds away from zero to a multiple of 10^exponent.
    fn round_up_to(&mut self, exponent: i64) {
        let surplus = usize::try_from(exponent - self.exponent).unwrap_or(0);
        if surplus == 0 {
            return;
        }
        let kept = self.digits.len().saturating_sub(surplus);
        let inexact = self.digits.drain(kept..).any(|digit| digit != 0);
        self.exponent = exponent;
        if inexact {
            self.increment();
        }
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
    }

    /// Moves every factor of ten into the exponent, then lowers that to a multiple of three.
    fn canonicalise(&mut self) {
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
        while self.exponent.rem_euclid(3) != 0 {
            self.digits.push(0);
            self.exponent -= 1;
        }
    }

    /// Prints with a decimal suffix or exponent. A power beyond `E` has no suffix in Go either, and is lost.
    fn print(mut self, format: Format) -> String {
        self.canonicalise();
        let suffix = match format {
            Format::DecimalExponent if self.exponent != 0 => format!("e{}", self.exponent),
            Format::DecimalExponent => String::new(),
            Format::DecimalSi | Format::BinarySi => {
                let found = DECIMAL_SUFFIXES.iter().find(|(_, exponent)| *exponent == self.exponent);
                found.map_or("", |(name, _)| name).to_owned()
            }
        };
        format!("{}{}{suffix}", self.sign(), self.whole_digits())
    }

    /// Prints with a binary suffix, capped at the largest int64. What that would round, or is below 1024, prints decimal.
    fn print_binary(mut self) -> String {
        self.canonicalise();
        let largest = i64::MAX.unsigned_abs();
        let whole = if self.exponent >= 0 {
            Some(self.magnitude().map_or(largest, |whole| whole.min(largest)))
        } else {
            None
        };
        let Some(mut whole) = whole else {
            return if self.is_beyond(largest) {
                self.capped(largest)
            } else {
                self.print(Format::DecimalSi)
            };
        };
        if whole < 1024 {
            return self.print(Format::DecimalSi);
        }
        let mut power = 0;
        while whole % 1024 == 0 {
            whole /= 1024;
            power += 10;
        }
        let suffix =
            BINARY_SUFFIXES.iter().find(|(_, exponent)| *exponent == power).map_or("", |(name, _)| name);
        format!("{}{whole}{suffix}", self.sign())
    }

    fn capped(&self, largest: u64) -> String {
        format!("{}{largest}", self.sign())
    }

    /// Whether the whole part is at or above the limit (then a fraction above it makes it larger).
    fn is_beyond(&self, limit: u64) -> bool {
        let places = usize::try_from(-self.exponent).unwrap_or(0);
        let whole = &self.digits[..self.digits.len().saturating_sub(places)];
        let limit: Vec<u8> = limit.to_string().bytes().map(|digit| digit - b'0').collect();
        whole.len().cmp(&limit.len()).then_with(|| whole.cmp(&limit[..])) != Ordering::Less
    }

    /// The value when it is whole and fits.
    fn magnitude(&self) -> Option<u64> {
        let zeros = usize::try_from(self.exponent).ok()?;
        format!("{}{}", self.whole_digits(), "0".repeat(zeros)).parse().ok()
    }

    fn whole_digits(&self) -> String {
        self.digits.iter().map(|digit| char::from(b'0' + digit)).collect()
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }
}
