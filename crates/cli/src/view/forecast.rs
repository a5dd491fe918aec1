//! What a release would do, as a table of time.

use super::paint::{Icon, Palette, Text, Tone};
use super::table::table;
use headgate_sim::forecast::{Event, EventKind, Forecast, PodCount, Verdict};

/// The timeline, the verdict, and what was assumed.
#[must_use]
pub fn view(forecast: &Forecast, palette: Palette) -> String {
    let subject = &forecast.rollout;
    let head = format!(
        "Rollout {} in namespace {}: {} pods, {} steps\n\n",
        subject.name,
        subject.namespace,
        subject.replicas,
        subject.steps.len()
    );
    let mut rows = vec![["TIME", "STEP", "WEIGHT", "OLD", "NEW", "WHAT HAPPENS"].map(Text::from).to_vec()];
    rows.extend(forecast.events.iter().map(|event| row(event, subject.steps.len())));
    let mut text = head + &table(&rows, palette) + "\n";
    if let Some(traffic) = &forecast.traffic {
        text += &format!(
            "Of {} requests a second {} went to the old version, {} to the new one, and {} were lost.\n",
            traffic.rate, traffic.old, traffic.new, traffic.lost
        );
    }
    for note in &forecast.notes {
        text += &format!("Note: {note}\n");
    }
    text + &verdict(forecast).painted(palette) + "\n"
}

fn row(event: &Event, steps: usize) -> Vec<Text> {
    let pods = |count: PodCount| format!("{}/{}", count.available, count.desired);
    vec![
        clock(event.seconds).into(),
        event.step.map_or("-".to_owned(), |step| format!("{}/{steps}", step.min(steps))).into(),
        event.weight.to_string().into(),
        pods(event.old).into(),
        pods(event.new).into(),
        Text::toned(event.message.clone(), tone(event)),
    ]
}

fn tone(event: &Event) -> Tone {
    match event.kind {
        EventKind::Promoted | EventKind::Healthy => Tone::Good,
        EventKind::Aborted | EventKind::Degraded => Tone::Bad,
        EventKind::Fault | EventKind::Waits | EventKind::Promotion => Tone::Notice,
        EventKind::Step | EventKind::Release => Tone::Moving,
        EventKind::Measurement if !event.message.contains("Successful") => Tone::Notice,
        EventKind::Pods | EventKind::Weight | EventKind::Analysis | EventKind::Measurement => Tone::Plain,
    }
}

fn verdict(forecast: &Forecast) -> Text {
    let after = length(forecast.seconds);
    let steps = forecast.rollout.steps.len();
    let step = forecast.step.map_or(String::new(), |step| format!("step {step}/{steps}, "));
    let place = format!("{step}weight {}: {}", forecast.weight, forecast.message);
    let (icon, words, tone) = match forecast.verdict {
        Verdict::Promoted => (Icon::Ok, format!("would be promoted after {after}"), Tone::Good),
        Verdict::Aborted => (Icon::Bad, format!("would abort after {after} at {place}"), Tone::Bad),
        Verdict::Degraded => (Icon::Bad, format!("would be Degraded after {after} at {place}"), Tone::Bad),
        Verdict::Inconclusive => {
            (Icon::Bad, format!("would stop after {after}, until somebody looks, at {place}"), Tone::Bad)
        }
        Verdict::Hangs => {
            (Icon::Bad, format!("would go neither on nor back after {after} at {place}"), Tone::Bad)
        }
        Verdict::Waits => {
            (Icon::Paused, format!("would wait for a person after {after} at {place}"), Tone::Notice)
        }
    };
    icon.text().then(" ").then(Text::toned(words, tone))
}

/// A time of the timeline: `0:05.3`, `12:35.0`, `1:02:03.4`.
fn clock(seconds: f64) -> String {
    let tenths = tenths(seconds);
    let (minutes, rest) = (tenths / 600, tenths % 600);
    let end = format!("{:02}.{}", rest / 10, rest % 10);
    match minutes / 60 {
        0 => format!("{minutes}:{end}"),
        hours => format!("{hours}:{:02}:{end}", minutes % 60),
    }
}

/// A length of time, to a second: `26s`, `2m35s`, `1h2m3s`.
fn length(seconds: f64) -> String {
    let seconds = (tenths(seconds) + 5) / 10;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Forecasts are of weeks at most, so nothing is cut.
fn tenths(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds + 0.05).map_or(0, |length| length.as_millis() as u64 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, expected) in
            [(0.0, "0:00.0"), (5.3, "0:05.3"), (65.2, "1:05.2"), (755.0, "12:35.0"), (3_723.4, "1:02:03.4")]
        {
            assert_eq!(clock(seconds), expected);
        }
        for (seconds, expected) in [(0.2, "0s"), (26.5, "27s"), (155.0, "2m35s"), (3_723.4, "1h2m3s")] {
            assert_eq!(length(seconds), expected);
        }
    }
}
