//! What `kubectl headgate simulate` says of the examples, held against the same manifests on the cluster. The releases are
//! those of `live_traffic`, so that they need not be made twice.

use anyhow::Context;
use headgate_e2e::Cluster;
use headgate_e2e::demo::{self, NAMESPACE, Programme, Sighting, Trouble, Verdict};
use headgate_e2e::door::Door;
use headgate_e2e::plugin::plugin_fed;
use serde_json::Value;
use std::time::Duration;

/// Three in ten answers of the bad release are errors.
const BAD: &str = "success-rate=0.7";

/// Compares the good release with its forecast, and the bad one where a metric can say what is wrong with it.
pub(crate) async fn compare(cluster: &Cluster, programme: &Programme, seen: &Verdict) -> anyhow::Result<()> {
    let good = ("v2", "success-rate=1", "promoted", 0);
    let bad = (programme.troubles.first() == Some(&Trouble::Errors)).then_some(("v3", BAD, "aborted", 1));
    for (version, metric, verdict, code) in std::iter::once(good).chain(bad) {
        let told = forecast(cluster, programme.door, metric, code).await?;
        assert_eq!(told["verdict"], verdict, "{version}");
        let sightings = seen.releases.get(version).with_context(|| format!("nobody looked at {version}"))?;
        held_against(&told, sightings).with_context(|| format!("{version}: {told:#}"))?;
    }
    Ok(())
}

/// Of the very manifests that the release is made of.
async fn forecast(cluster: &Cluster, door: Door, metric: &str, code: i32) -> anyhow::Result<Value> {
    let texts: Vec<String> = demo::manifests(door)?.0.iter().map(Value::to_string).collect();
    let arguments = ["simulate", "-f", "-", "--metric", metric, "-o", "json"];
    let run = plugin_fed(cluster, NAMESPACE, &arguments, &texts.join("\n---\n")).await?;
    anyhow::ensure!(run.code == code, "exit code {code} was expected: {run:?}");
    Ok(serde_json::from_str(&run.out)?)
}

/// The same weights in the same order, each step at about the same time, and the same end at about the same time.
fn held_against(told: &Value, seen: &[Sighting]) -> anyhow::Result<()> {
    let is_aborted = told["verdict"] == "aborted";
    let under_way = || seen.iter().filter(|sighting| sighting.step.is_some());
    let foretold = told["steps"].as_array().context("no steps")?;
    // The last weight of a good release may last less than a second, and fall between two looks.
    let weights = |all: Vec<i64>| {
        let mut all: Vec<i64> = all.into_iter().filter(|weight| *weight > 0).collect();
        all.dedup();
        all
    };
    let foreseen = weights(foretold.iter().filter_map(|step| step["weight"].as_i64()).collect());
    let real = weights(under_way().map(|sighting| sighting.weight).collect());
    let fits = if is_aborted {
        foreseen == real
    } else {
        foreseen.starts_with(&real) && real.len() + 1 >= foreseen.len()
    };
    anyhow::ensure!(fits, "weights: {foreseen:?} were told, {real:?} were seen");
    for (index, step) in foretold.iter().enumerate() {
        let number = step["number"].as_u64().context("no number")?;
        match under_way().find(|sighting| sighting.step == Some(number - 1)) {
            Some(first) => near(&format!("step {number}"), &step["begins"], first.after)?,
            None => {
                // A weight that lasts less than a second falls between two looks, and may have been told to last that much
                // more. A pause or an analysis does not.
                let lasts = foretold.get(index + 1).map_or(0.0, |next| begins(next) - begins(step));
                let is_weight = step["does"].as_str().is_some_and(|does| does.starts_with("setWeight"));
                anyhow::ensure!(
                    is_weight && lasts < SLACK,
                    "step {number} lasts {lasts} s, and nobody has seen it"
                );
            }
        }
    }
    let longest = under_way().filter_map(|sighting| sighting.step).max().context("no step was seen")?;
    let entered = foretold.len() as u64;
    // After the last step its index is the number of steps; the last ones may fall between two looks.
    let fits = if is_aborted { longest + 1 == entered } else { longest + 2 >= entered && longest <= entered };
    anyhow::ensure!(fits, "{entered} steps were told, and index {longest} was the last that was seen");
    let end = seen.last().context("nobody looked")?;
    let phase = if is_aborted { "Degraded" } else { "Healthy" };
    anyhow::ensure!(end.phase == phase, "{phase} was told, {} was seen", end.phase);
    near("the end", &told["seconds"], end.after)
}

fn begins(step: &Value) -> f64 {
    step["begins"].as_f64().unwrap_or(f64::INFINITY)
}

/// Seconds by which a time may be off, beside 10 % of it.
const SLACK: f64 = 15.0;

/// Within 10 % and 15 s.
fn near(what: &str, told: &Value, seen: Duration) -> anyhow::Result<()> {
    let (told, seen) = (told.as_f64().context("no time")?, seen.as_secs_f64());
    let off = (told - seen).abs();
    anyhow::ensure!(off <= seen * 0.1 + SLACK, "{what}: {told} s were told, {seen:.1} s were seen");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_not_foretold_is_noticed() -> anyhow::Result<()> {
    let (cluster, _guard) = crate::shared().await?;
    let told = forecast(&cluster, Door::Istio, BAD, 1).await?;
    assert_eq!((&told["verdict"], &told["rollout"]["namespace"]), (&"aborted".into(), &NAMESPACE.into()));
    let moved =
        Sighting { after: Duration::from_secs(300), step: None, weight: 0, phase: "Degraded".to_owned() };
    assert!(held_against(&told, &[moved]).is_err(), "the comparison can fail");
    Ok(())
}
