use crate::support::{Brings, at, bring, metric, run, step};
use headgate_analysis::{RunSnapshot, decide};
use headgate_api::AnalysisPhase;
use proptest::prelude::*;
use serde_json::{Value, json};

fn metrics() -> impl Strategy<Value = Vec<Value>> {
    let fields = (
        proptest::option::of(1..5_i64),
        proptest::bool::ANY,
        -1..3_i64,
        0..3_i64,
        0..3_i64,
        0..3_i64,
        proptest::option::of(0..20_i64),
        proptest::bool::ANY,
    );
    proptest::collection::vec(fields, 1..4).prop_map(|all| {
        let written = all.into_iter().enumerate().map(|(index, fields)| {
            let (count, endless, failure, inconclusive, error, success, delay, both) = fields;
            // Both disabled is refused.
            let failure = if success == 0 { failure.max(0) } else { failure };
            let mut written = json!({
                "failureLimit": failure, "inconclusiveLimit": inconclusive, "consecutiveErrorLimit": error,
                "consecutiveSuccessLimit": success,
            });
            if endless || count.is_some_and(|count| count > 1) {
                written["interval"] = json!("5s");
            }
            if let Some(count) = count {
                written["count"] = json!(count.max(failure.max(0) + success).max(inconclusive));
                written["interval"] = json!("5s");
            }
            if let Some(delay) = delay {
                written["initialDelay"] = json!(format!("{delay}s"));
            }
            if both {
                written["failureCondition"] = json!("result < 0.5");
            }
            metric(&format!("m{index}"), written)
        });
        written.collect()
    })
}

fn brings() -> impl Strategy<Value = Brings> {
    prop_oneof![4 => Just(Brings::Success), 1 => Just(Brings::Failure), 1 => Just(Brings::Neither), 2 => Just(Brings::Outage)]
}

/// A run, dry-run rules, and what each measurement brings.
fn histories() -> impl Strategy<Value = (RunSnapshot, Vec<Brings>)> {
    (metrics(), proptest::bool::ANY, proptest::collection::vec(brings(), 0..40)).prop_map(
        |(metrics, dry, brings)| {
            let rules = if dry { json!([{"metricName": "m0"}]) } else { json!([]) };
            (run(json!({"metrics": metrics, "dryRun": rules})), brings)
        },
    )
}

/// Lives through a run: every measurement that is asked brings the next of `brings`. Gives each decision to `check`.
fn live(
    mut run: RunSnapshot,
    brings: &[Brings],
    mut check: impl FnMut(&RunSnapshot, i64) -> Result<(), TestCaseError>,
) -> Result<RunSnapshot, TestCaseError> {
    let mut brings = brings.iter();
    let mut second = 0;
    loop {
        check(&run, second)?;
        let decision = step(&mut run, at(second));
        if decision.measure.is_empty() {
            match decision.wake_at {
                Some(wake_at) => second = wake_at.as_second() - at(0).as_second(),
                None => return Ok(run),
            }
            continue;
        }
        for measure in &decision.measure {
            let Some(one) = brings.next() else { return Ok(run) };
            bring(&mut run, &measure.key.metric, *one, second);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_stored_decision_decides_nothing_new((run, brings) in histories()) {
        live(run, &brings, |run, second| {
            let first = decide(run, at(second));
            let mut stored = RunSnapshot { status: first.record.clone(), ..run.clone() };
            let again = decide(&stored, at(second));
            prop_assert_eq!(&again, &first);
            // The same holds for those outcomes being gone, and at any time before the next act.
            stored.outcomes.clear();
            prop_assert_eq!(&decide(&stored, at(second)), &first);
            if first.measure.is_empty() {
                let last = first.wake_at.map_or(second + 1000, |wake_at| wake_at.as_second() - at(0).as_second() - 1);
                if last > second {
                    prop_assert_eq!(decide(&stored, at(last)), first);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn counters_agree_with_each_other((run, brings) in histories()) {
        live(run, &brings, |run, second| {
            let record = decide(run, at(second)).record;
            for result in &record.metric_results {
                prop_assert_eq!(result.count, result.successful + result.failed + result.inconclusive);
                prop_assert!(result.consecutive_error <= result.error);
                prop_assert!(result.consecutive_success <= result.successful);
                prop_assert!(result.consecutive_error == 0 || result.consecutive_success == 0);
                prop_assert!(result.measurements.len() <= 10);
            }
            for summary in [&record.run_summary, &record.dry_run_summary].into_iter().flatten() {
                let ended = summary.successful + summary.failed + summary.inconclusive + summary.error;
                prop_assert!(ended <= summary.count);
            }
            prop_assert_eq!(record.phase.is_some_and(AnalysisPhase::is_completed), record.completed_at.is_some());
            Ok(())
        })?;
    }

    #[test]
    fn a_completed_phase_never_changes((run, brings) in histories(), terminate in proptest::bool::ANY) {
        let mut ended = live(run, &brings, |run, second| {
            let record = decide(run, at(second)).record;
            for before in &run.status.metric_results {
                let after = record.metric_results.iter().find(|after| after.name == before.name).unwrap();
                if before.phase.is_some_and(AnalysisPhase::is_completed) {
                    prop_assert_eq!(before.phase, after.phase);
                }
            }
            Ok(())
        })?;
        if ended.status.phase.is_some_and(AnalysisPhase::is_completed) {
            let record = ended.status.clone();
            ended.spec.as_mut().unwrap().terminate = Some(terminate);
            bring(&mut ended, "m0", Brings::Failure, 5000);
            prop_assert_eq!(decide(&ended, at(5000)).record, record);
        }
    }

    #[test]
    fn a_run_that_is_not_over_has_something_to_wait_for((run, brings) in histories()) {
        live(run, &brings, |run, second| {
            let decision = decide(run, at(second));
            let over = decision.record.phase.is_some_and(AnalysisPhase::is_completed);
            prop_assert!(over || !decision.measure.is_empty() || decision.wake_at.is_some());
            prop_assert!(decision.wake_at.is_none_or(|wake_at| wake_at > at(second)));
            Ok(())
        })?;
    }

    #[test]
    fn outcomes_of_several_metrics_may_come_in_any_order(
        first in brings(), second in brings(), together in proptest::bool::ANY,
    ) {
        // As long as none of them ends the run, which drops what is still in flight.
        let tolerant = json!({"interval": "5s", "failureLimit": 9, "inconclusiveLimit": 9, "consecutiveErrorLimit": 9});
        let metrics = [metric("a", tolerant.clone()), metric("b", tolerant)];
        let fresh = run(json!({"metrics": metrics}));
        let arrive = |order: [(&str, Brings); 2]| {
            let mut run = fresh.clone();
            step(&mut run, at(0));
            for (name, brings) in order {
                bring(&mut run, name, brings, 3);
                if !together {
                    step(&mut run, at(3));
                }
            }
            step(&mut run, at(3))
        };
        prop_assert_eq!(arrive([("a", first), ("b", second)]), arrive([("b", second), ("a", first)]));
    }
}
