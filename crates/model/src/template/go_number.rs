//! JSON numbers as Kubernetes' Go code holds them: an int64 when the number is whole and fits, else a float64.

use serde_json::Number;

/// The number as Go's `encoding/json` writes it back.
pub(super) fn text(number: &Number) -> String {
    number.as_i64().map_or_else(|| float_text(number.as_f64().unwrap_or_default()), |whole| whole.to_string())
}

/// The number as an int64, by Go's conversion: None when it has a fraction.
pub(super) fn converted_to_int(number: &Number) -> Option<i64> {
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let float = number.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "checked right here")]
    let whole = float as i64;
    let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float);
    // On amd64 an overflowing conversion gives the smallest int64.
    (float == float.trunc()).then_some(if in_range { whole } else { i64::MIN })
}

/// The shortest text that reads back as the same float; an exponent below 1e-6 and from 1e21 on.
fn float_text(float: f64) -> String {
    let magnitude = float.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        return float.to_string();
    }
    let scientific = format!("{float:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => format!("{mantissa}e+{exponent}"),
        _ => scientific,
    }
}
