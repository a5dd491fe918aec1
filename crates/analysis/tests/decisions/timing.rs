use crate::support::{Brings, at, bring, key, metric, run, run_of, step};
use Brings::{Outage as E, Success as S};
use headgate_analysis::RunSnapshot;
use headgate_model::Timestamp;
use serde_json::{Value, json};

/// When, after a first measurement at 100 s, the next is due.
fn next_after(fields: Value, first: Brings) -> Option<Timestamp> {
    let mut run = run_of([metric("m", fields)]);
    step(&mut run, at(100));
    bring(&mut run, "m", first, 100);
    step(&mut run, at(100)).wake_at
}

#[test]
fn the_next_measurement_is_due_after_the_interval_or_ten_seconds_after_an_error() {
    for (fields, first, due) in [
        (json!({"interval": "30s"}), S, Some(130)),
        (json!({"interval": "1h30m"}), S, Some(100 + 5400)),
        (json!({"interval": "30s"}), E, Some(110)),
        (json!({"interval": "2s"}), E, Some(110)),
        (json!({}), E, Some(110)),
        (json!({}), S, None),
        (json!({"interval": "0s"}), S, Some(101)),
        (json!({"interval": "1500ms"}), S, Some(102)),
    ] {
        assert_eq!(next_after(fields.clone(), first), due.map(at), "{fields} {first:?}");
    }
}

#[test]
fn the_first_measurement_is_due_at_once_or_after_its_delay() {
    let mut run = run_of([metric("now", json!({})), metric("later", json!({"initialDelay": "30s"}))]);
    let decision = step(&mut run, at(7));
    assert_eq!(decision.measure.iter().map(|measure| &measure.key).collect::<Vec<_>>(), vec![&key("now", 0)]);
    assert_eq!(decision.wake_at, Some(at(37)));
    // The delay counts from when the run began, not from when it is looked at.
    run.in_flight.insert(key("now", 0), at(7));
    assert_eq!(step(&mut run, at(36)).measure, vec![]);
    let decision = step(&mut run, at(37));
    assert_eq!(
        decision.measure.iter().map(|measure| &measure.key).collect::<Vec<_>>(),
        vec![&key("later", 0)]
    );
}

/// When the next measurement is due, after a first one at 100 s and with the clock set to `now` since.
fn due_after_set_back(fields: Value, first: Brings, now: Timestamp) -> Option<Timestamp> {
    let mut run = run_of([metric("m", fields)]);
    step(&mut run, at(0));
    bring(&mut run, "m", first, 100);
    step(&mut run, at(100));
    let decision = step(&mut run, now);
    if decision.measure.is_empty() { decision.wake_at } else { Some(now) }
}

#[test]
fn a_clock_that_is_set_back_makes_no_measurement_wait_for_much_longer_than_its_interval() {
    let (half_a_minute, endless) = (json!({"interval": "30s"}), json!({"interval": "0s"}));
    for (fields, first, now, due) in [
        (half_a_minute.clone(), S, at(100), at(130)),
        (half_a_minute.clone(), S, at(129), at(130)),
        // Another process may be a little behind.
        (half_a_minute.clone(), S, at(99), at(130)),
        (half_a_minute.clone(), S, at(40), at(130)),
        (half_a_minute.clone(), S, at(39), at(39)),
        (half_a_minute.clone(), S, at(100 - 3600), at(100 - 3600)),
        (half_a_minute, E, at(-3600), at(-3600)),
        (json!({"interval": "1500ms"}), S, at(100), at(102)),
        (json!({"interval": "1500ms"}), S, at(-3600), at(-3600)),
        (endless, S, at(-3600), at(-3600)),
    ] {
        assert_eq!(due_after_set_back(fields.clone(), first, now), Some(due), "{fields} {first:?} {now}");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_no_first_measurement_wait_for_much_longer_than_its_delay() {
    for (delay, now, due) in [
        ("30s", at(0), at(30)),
        ("30s", at(-5), at(30)),
        ("30s", at(-3600), at(-3600)),
        ("0s", at(-3600), at(-3600)),
    ] {
        let mut run = run_of([metric("m", json!({"initialDelay": delay})), metric("n", json!({}))]);
        step(&mut run, at(0));
        run.in_flight.insert(key("n", 0), at(0));
        let decision = step(&mut run, now);
        let is_asked = decision.measure.iter().any(|measure| measure.key == key("m", 0));
        assert_eq!(if is_asked { Some(now) } else { decision.wake_at }, Some(due), "{delay} {now}");
    }
}

#[test]
fn nothing_is_asked_twice_while_it_is_in_flight() {
    let mut run = run_of([metric("m", json!({"interval": "5s"}))]);
    assert_eq!(step(&mut run, at(0)).measure.len(), 1);
    run.in_flight.insert(key("m", 0), at(0));
    let decision = step(&mut run, at(60));
    assert_eq!((decision.measure.len(), decision.wake_at), (0, None));
}

#[test]
fn ordinals_count_on_when_old_measurements_are_trimmed() {
    let mut run = run(json!({
        "metrics": [metric("m", json!({"interval": "1s"}))],
        "measurementRetention": [{"metricName": "m", "limit": 1}],
    }));
    let mut second = 0;
    for ordinal in 0..4 {
        let decision = step(&mut run, at(second));
        assert_eq!(decision.measure[0].key, key("m", ordinal));
        bring(&mut run, "m", if ordinal == 1 { E } else { S }, second);
        second += 10;
        step(&mut run, at(second - 10));
    }
}

#[test]
fn an_outcome_that_is_recorded_already_changes_nothing() {
    let mut run = run_of([metric("m", json!({"interval": "5s"}))]);
    step(&mut run, at(0));
    bring(&mut run, "m", S, 1);
    let outcomes = run.outcomes.clone();
    let recorded = step(&mut run, at(1)).record;
    run.outcomes = outcomes;
    assert_eq!(step(&mut run, at(2)).record, recorded);
}

fn ended(strategy: Value, brings: Brings) -> RunSnapshot {
    let mut run = run(json!({
        "metrics": [metric("m", json!({"consecutiveErrorLimit": 0}))], "ttlStrategy": strategy,
    }));
    step(&mut run, at(0));
    bring(&mut run, "m", brings, 10);
    step(&mut run, at(10));
    run
}

#[test]
fn a_finished_run_is_deleted_when_its_time_to_live_is_over() {
    let all = json!({"secondsAfterCompletion": 100, "secondsAfterFailure": 200, "secondsAfterSuccess": 300});
    for (strategy, brings, end) in [
        (all.clone(), S, 310),
        (all.clone(), Brings::Failure, 210),
        (all, E, 110),
        (json!({"secondsAfterCompletion": 100}), S, 110),
        (json!({"secondsAfterCompletion": 0}), S, 10),
    ] {
        let mut run = ended(strategy.clone(), brings);
        if end > 10 {
            let waiting = step(&mut run, at(end - 1));
            assert_eq!((waiting.delete, waiting.wake_at), (false, Some(at(end))), "{strategy} {brings:?}");
        }
        assert!(step(&mut run, at(end)).delete, "{strategy} {brings:?}");
    }
    for strategy in [json!({}), json!({"secondsAfterFailure": 1})] {
        let decision = step(&mut ended(strategy.clone(), S), at(1_000_000));
        assert_eq!((decision.delete, decision.wake_at), (false, None), "{strategy}");
    }
}
