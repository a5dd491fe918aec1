//! Whether a measured share is what chance allows.

/// Whether `count` of `n` requests is compatible with each of them having had the chance `p`.
///
/// The exact two-sided binomial test with equal tails (the acceptance region of the Clopper–Pearson
/// interval): it refuses a count when P(X ≤ count) or P(X ≥ count) is below `false_alarm` / 2, so a split
/// that is right is refused with a probability of at most `false_alarm`. It holds where requests are
/// routed independently of each other, as Envoy does per request; connections that are kept alive
/// through a proxy that splits per connection are not.
///
/// `p` and `false_alarm` are from 0 to 1. With `n` = 0 nothing contradicts anything and it is true: ask
/// for enough requests first. More than `n`, or a `p` that is no probability, is false.
pub fn within_binomial(count: u64, n: u64, p: f64, false_alarm: f64) -> bool {
    if count > n || !(0.0..=1.0).contains(&p) {
        return false;
    }
    let mean = n as f64 * p;
    // Of the two tails only the one on the count's side of the mean can be the small one: the other
    // holds the median, hence a half at least.
    let tail = if (count as f64) < mean {
        // P(X ≤ count) is P(n − X ≥ n − count), the same question with the roles exchanged.
        upper_tail(n - count, n, 1.0 - p)
    } else if count as f64 > mean {
        upper_tail(count, n, p)
    } else {
        return true;
    };
    tail >= false_alarm / 2.0
}

/// P(X ≥ count) for a count above the mean, where the terms only fall. Relative error below 1e-9.
fn upper_tail(count: u64, n: u64, p: f64) -> f64 {
    if p == 0.0 {
        return 0.0;
    }
    let odds = p / (1.0 - p);
    let mut term = point_probability(count, n, p);
    let mut sum = term;
    for k in count..n {
        term *= (n - k) as f64 / (k + 1) as f64 * odds;
        sum += term;
        if term <= sum * 1e-15 {
            break;
        }
    }
    sum
}

/// P(X = count), through logarithms because its factors overflow.
fn point_probability(count: u64, n: u64, p: f64) -> f64 {
    let few = count.min(n - count);
    let choices: f64 = (1..=few).map(|i| ((n - few + i) as f64 / i as f64).ln()).sum();
    // p is neither 0 nor 1 here, except where the exponent is 0 and the factor is 1.
    let power = |base: f64, exponent: u64| if exponent == 0 { 0.0 } else { base.ln() * exponent as f64 };
    (choices + power(p, count) + power(1.0 - p, n - count)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        // 20 tosses of a coin: P(X ≥ 15) = 21700/2^20 and P(X ≥ 16) = 6196/2^20.
        assert!((upper_tail(15, 20, 0.5) - 21_700.0 / 1_048_576.0).abs() < 1e-12);
        assert!((upper_tail(16, 20, 0.5) - 6_196.0 / 1_048_576.0).abs() < 1e-12);
        assert!((upper_tail(3, 3, 0.1) - 0.001).abs() < 1e-15);
        assert_eq!(upper_tail(1, 10, 0.0), 0.0);
    }

    #[test]
    fn shares_are_judged_as_one_would() {
        for (count, n, p, expected) in [
            (0, 0, 0.1, true),
            (0, 1000, 0.0, true),
            (1, 1000, 0.0, false),
            (1000, 1000, 1.0, true),
            (999, 1000, 1.0, false),
            (100, 1000, 0.1, true),
            (120, 1000, 0.1, true),
            (150, 1000, 0.1, false),
            (55, 1000, 0.1, false),
            (250_000, 1_000_000, 0.25, true),
            (253_000, 1_000_000, 0.25, false),
            (11, 10, 0.5, false),
            (5, 10, f64::NAN, false),
        ] {
            assert_eq!(within_binomial(count, n, p, 1e-6), expected, "{count} of {n} at {p}");
        }
    }

    #[test]
    fn a_right_split_is_refused_no_more_often_than_promised() {
        for n in [1, 7, 50, 400] {
            for p in [0.01, 0.1, 0.25, 0.5, 0.9] {
                for false_alarm in [0.2, 0.05, 0.001] {
                    let probability = |count: &u64| point_probability(*count, n, p);
                    let refused = |count: &u64| !within_binomial(*count, n, p, false_alarm);
                    let alarms: f64 = (0..=n).filter(refused).map(|count| probability(&count)).sum();
                    assert!(alarms <= false_alarm, "{alarms} > {false_alarm} for n {n}, p {p}");
                    let all: f64 = (0..=n).map(|count| probability(&count)).sum();
                    assert!((all - 1.0).abs() < 1e-9);
                }
            }
        }
    }
}
