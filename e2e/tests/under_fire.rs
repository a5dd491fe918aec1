//! Releases while something breaks: each fault, through each router. All of them take an hour: a run tries one, another
//! one each hour; `HEADGATE_FIRE=all`, or pairs, routers and faults such as `istio/frozen,update`, choose.

mod faults;
mod writer;

use crate::{alone, turn};
use anyhow::Context;
use faults::Fault;
use headgate_e2e::course::{self, Course, Outcome, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::pressure::tell;
use headgate_e2e::shop::Manifests;
use headgate_e2e::{Cluster, Shop};
use serde_json::{Value, json};
use std::time::Duration;

/// Requests per second: enough to see a loss of a tenth of a second.
const RATE: u32 = 50;

/// A release and its fault end within this.
const ENDS_WITHIN: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_release_ends_right_although_something_breaks_in_the_middle() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    if cluster.lab()?.is_none() {
        tell("left out: faults are made in a lab only");
        return Ok(());
    }
    let mut broken = Vec::new();
    for (door, fault) in chosen(std::env::var("HEADGATE_FIRE").ok().as_deref())? {
        let name = format!("{}/{}", door.name(), fault.name());
        tell(&name);
        match conclusive(&name, async || release(&cluster, door, fault).await).await {
            Ok((report, strain)) => {
                tell(&format!("  {} requests, {} lost; {strain}", report.total.sent, report.total.lost));
            }
            Err(error) => broken.push(format!("{error:#}")),
        }
    }
    anyhow::ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// Every fault through every router where it makes sense.
fn pairs() -> Vec<(Door, Fault)> {
    let all = Door::ALL.into_iter().flat_map(|door| Fault::ALL.map(|fault| (door, fault)));
    all.filter(|(door, fault)| fault.concerns(*door)).collect()
}

/// The pairs that are asked for; without a word the one whose turn it is, by the hour.
fn chosen(word: Option<&str>) -> anyhow::Result<Vec<(Door, Fault)>> {
    let pairs = pairs();
    match word.filter(|word| !word.is_empty()) {
        None => {
            let turn = turn(pairs.len())?;
            Ok(pairs.into_iter().skip(turn).take(1).collect())
        }
        Some("all") => Ok(pairs),
        Some(word) => {
            let is_meant = |(door, fault): &(Door, Fault)| {
                let full = format!("{}/{}", door.name(), fault.name());
                word.split(',').any(|word| full == word || fault.name() == word || door.name() == word)
            };
            let found: Vec<_> = pairs.into_iter().filter(is_meant).collect();
            anyhow::ensure!(!found.is_empty(), "HEADGATE_FIRE={word}: there is no such router or fault");
            Ok(found)
        }
    }
}

async fn release(cluster: &Cluster, door: Door, fault: Fault) -> anyhow::Result<Outcome> {
    let namespace = format!("e2e-fire-{}-{}", door.name(), fault.name());
    let shop = Shop::open(cluster, &namespace, &manifests(door, fault, &namespace)?).await?;
    let course = Course::begin(&shop, RATE, "v1").await?;
    shop.release("v2", &[]).await?;
    shop.await_weight(20).await.context("before the fault")?;
    let struck = fault.strike(&shop, &course).await;
    let ended = match &struck {
        Ok(_) => ends_right(&shop, &course).await,
        Err(_) => Ok(()),
    };
    let outcome = course.end(struck.as_ref().map_or(0, |forgiven| *forgiven)).await;
    course::judge(outcome, struck.context("the fault").and(ended.context("after the fault")), shop).await
}

fn manifests(door: Door, fault: Fault, namespace: &str) -> anyhow::Result<Manifests> {
    let mut manifests = Manifests::through(door, namespace)?;
    let pause = json!({ "pause": { "duration": fault.pause() } });
    let weights = [20, 40, 60, 80].map(|weight| json!({ "setWeight": weight }));
    let steps: Vec<Value> = weights.into_iter().flat_map(|weight| [weight, pause.clone()]).collect();
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(3);
        rollout["spec"]["strategy"]["canary"]["steps"] = json!(steps);
    });
    if fault == Fault::PrometheusGone {
        measured_at_the_end(&mut manifests);
    } else {
        manifests.without_analysis();
    }
    Ok(manifests)
}

/// The release does not end before it was measured, and has the patience for an outage, which is the user's to choose.
fn measured_at_the_end(manifests: &mut Manifests) {
    let name = |template: &str| format!("{template}-at-the-end");
    manifests.change("AnalysisTemplate", |template| {
        template["spec"]["metrics"][0]["consecutiveErrorLimit"] = json!(60);
    });
    manifests.copy("AnalysisTemplate", |template| {
        template["metadata"]["name"] = json!(name(template["metadata"]["name"].as_str().unwrap_or_default()));
        template["spec"]["metrics"][0]["count"] = json!(3);
    });
    manifests.change("Rollout", |rollout| {
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        let mut analysis = canary["analysis"].clone();
        analysis["startingStep"] = Value::Null;
        for template in analysis["templates"].as_array_mut().into_iter().flatten() {
            template["templateName"] = json!(name(template["templateName"].as_str().unwrap_or_default()));
        }
        if let Some(steps) = canary["steps"].as_array_mut() {
            steps.push(json!({ "analysis": analysis }));
        }
    });
}

/// The newest version is not the stable one yet.
fn is_under_way(status: &Value) -> bool {
    status["stableRS"] != status["currentPodHash"]
}

/// The newest version is promoted and has all the traffic, the route is back at stable, no old pod is left over.
async fn ends_right(shop: &Shop, course: &Course<'_>) -> anyhow::Result<()> {
    let is_over = |rollout: &Value| {
        let status = &rollout["status"];
        let generation = rollout["metadata"]["generation"].to_string();
        status["phase"] == "Healthy"
            && status["observedGeneration"].as_str() == Some(&generation)
            && !is_under_way(status)
            && status["replicas"] == rollout["spec"]["replicas"]
    };
    let what = "Healthy with the newest version, without old pods";
    let rollout =
        shop.cluster.await_object("Rollout", &shop.namespace, "shop", ENDS_WITHIN, what, is_over).await?;
    shop.await_weight(0).await?;
    let newest = rollout["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"].as_str();
    course.is_alone(newest.context("no VERSION in the template")?).await
}
