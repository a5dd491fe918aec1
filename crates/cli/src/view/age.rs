//! Durations as kubectl shows them: two units at most, the coarser the longer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// How long ago `since` was. Nothing is known: `<unknown>`.
#[must_use]
pub fn age(since: Option<&Time>, now: Timestamp) -> String {
    since.map_or_else(|| "<unknown>".to_owned(), |since| human(now.as_second() - since.0.as_second()))
}

/// A number of seconds as kubectl shows it: `95s`, `4m10s`, `3h`, `2d5h`, `400d`.
#[must_use]
pub fn human(seconds: i64) -> String {
    // A clock that runs a little behind the API server's is no reason to alarm anybody.
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let two = |coarse: i64, unit: &str, fine: i64, fine_unit: &str| match fine {
        0 => format!("{coarse}{unit}"),
        fine => format!("{coarse}{unit}{fine}{fine_unit}"),
    };
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    match seconds.max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if years < 2 => format!("{days}d"),
        _ if years < 8 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        for (seconds, expected) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (4 * MINUTE + 10, "4m10s"),
            (10 * MINUTE + 10, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR + 5 * MINUTE, "8h"),
            (2 * DAY + 5 * HOUR, "2d5h"),
            (7 * DAY, "7d"),
            (8 * DAY + 5 * HOUR, "8d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (3 * 365 * DAY + 4 * DAY, "3y4d"),
            (9 * 365 * DAY + 4 * DAY, "9y"),
        ] {
            assert_eq!(human(seconds), expected, "{seconds}");
        }
    }
}
