//! What `/metrics` says of a Rollout in each of its states, and of its releases when they have ended: the same as its status
//! and its events.

use crate::shared;
use anyhow::{Context, bail, ensure};
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::controllers::Controller;
use headgate_e2e::install::Instance;
use headgate_e2e::scrape::Scrape;
use headgate_e2e::shop::{Manifests, NAME};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const NAMESPACE: &str = "e2e-metrics";

/// What tells this Rollout from others.
const OURS: [(&str, &str); 2] = [("namespace", NAMESPACE), ("name", NAME)];

/// The pause that ends by itself.
const TIMED: SignedDuration = SignedDuration::from_secs(10);

/// For at least so long the other one waits for a person.
const HELD: SignedDuration = SignedDuration::from_secs(4);

/// Times in the status are whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_a_release_what_its_status_and_its_events_tell() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    // A process that looks after this Rollout alone: of the ends of releases it is not counted whose they are.
    let instance = Instance::new(&cluster, "metrics").await?;
    instance.start(&cluster).await?;
    let controller = Controller::only(&cluster, &instance.namespace()).await?;

    let pauses = json!([{ "setWeight": 50 }, { "pause": { "duration": "10s" } }, { "pause": {} }]);
    let mut manifests = Manifests::plain(NAMESPACE, &pauses)?;
    manifests.change("Rollout", |rollout| {
        rollout["metadata"]["labels"] =
            json!({ "argo-rollouts.argoproj.io/controller-instance-id": "metrics" });
    });
    let shop = Shop::open(&cluster, NAMESPACE, &manifests).await?;
    let metrics = Metrics { shop: &shop, namespace: instance.namespace(), controller };
    metrics.show("Healthy", "Completed").await?;
    let first = Release::of(&shop.status().await?)?;
    first.ended("Promoted")?;
    metrics.count("Promoted", &[&first]).await?;

    // Aborted while it waits for a person.
    shop.release("v2", &[]).await?;
    waits_twice(&metrics).await?;
    shop.plugin(&["abort", NAME]).await?;
    let aborted = Release::of(&shop.await_phase("Degraded").await?)?;
    aborted.ended("Aborted")?;
    metrics.show("Degraded", "Abort").await?;
    metrics.count("Aborted", &[&aborted]).await?;
    metrics.count("Promoted", &[&first]).await?;

    // The same again counts as a release of its own.
    shop.plugin(&["retry", "rollout", NAME]).await?;
    let again = Release::of(&waits_twice(&metrics).await?)?;
    ensure!(again.finished.is_none() && again.status.is_none(), "{again:?} goes on");
    ensure!(Some(again.started) >= aborted.finished, "{again:?} begins after {aborted:?}");
    shop.plugin(&["promote", NAME]).await?;
    let promoted = Release::of(&shop.await_phase("Healthy").await?)?;
    ensure!(promoted.started == again.started, "{promoted:?} is {again:?}");
    promoted.ended("Promoted")?;
    metrics.show("Healthy", "Completed").await?;
    metrics.count("Promoted", &[&first, &promoted]).await?;
    metrics.count("Aborted", &[&aborted]).await?;
    for release in [&aborted, &promoted] {
        ensure!(release.held >= HELD - SECOND, "{release:?} was held for {HELD:?}");
        // Nobody was waited for in the other pause.
        ensure!(
            release.took()? - release.held >= TIMED - SECOND,
            "{release:?} had a pause of {TIMED:?}, too"
        );
    }
    events_are_counted(&metrics).await?;

    // What is about the Rollout goes with it, and what releases took stays.
    cluster.kubectl(&["delete", "rollout", NAME, "-n", NAMESPACE]).await?;
    let is_gone = |scrape: &Scrape| {
        let about = ["rollout_info", "rollout_events_total", "headgate_rollout_phase"];
        about.iter().all(|name| scrape.all(name, &OURS).next().is_none())
    };
    metrics.until("nothing about a Rollout that is gone", is_gone).await?;
    metrics.count("Promoted", &[&first, &promoted]).await?;
    shop.close().await?;
    instance.end(&cluster).await
}

/// Goes through the pause that ends by itself into the one that a person ends, and stays there for a while.
async fn waits_twice(metrics: &Metrics<'_>) -> anyhow::Result<Value> {
    let shop = metrics.shop;
    let timed = shop.await_pause(1).await?;
    ensure!(timed["duration"]["manualPauseStartedAt"].is_null(), "nobody is waited for: {timed}");
    metrics.show("Paused", "Paused").await?;
    let held = shop.await_pause(2).await?;
    let began = time(&held["duration"], "manualPauseStartedAt")?.context("nobody is waited for")?;
    let step = |scrape: &Scrape| scrape.value("headgate_rollout_step", &OURS);
    metrics.until("the last step", |scrape| step(scrape) == Some(2.0)).await?;
    // It stays: no condition tells that nothing comes.
    while Timestamp::now().duration_since(began) < HELD + SECOND {
        metrics.show("Paused", "Paused").await?;
        ensure!(step(&metrics.scrape().await?) == Some(2.0), "a pause without an end is over");
    }
    shop.await_pause(2).await
}

/// Of every reason as many are counted as there are events, and there is one for each thing that happened.
async fn events_are_counted(metrics: &Metrics<'_>) -> anyhow::Result<()> {
    let told = [
        // Of both versions, and of the second once more.
        (("Normal", "RolloutUpdated"), 2),
        (("Normal", "RolloutCompleted"), 2),
        (("Warning", "RolloutAborted"), 1),
        // Up to the last pause, and then all of them.
        (("Normal", "RolloutStepCompleted"), 2 + 3),
        (("Normal", "RolloutPaused"), 2 + 2),
    ];
    let counted = |scrape: &Scrape| {
        let series = scrape.all("rollout_events_total", &OURS);
        let counted = series.map(|series| {
            ((series.label("type").to_owned(), series.label("reason").to_owned()), series.value as u64)
        });
        counted.collect::<BTreeMap<_, _>>()
    };
    let are_told = |scrape: &Scrape| {
        let counted = counted(scrape);
        told.iter().all(|((kind, reason), count)| {
            counted.get(&((*kind).to_owned(), (*reason).to_owned())) == Some(count)
        })
    };
    let scrape = metrics.until("as many events of each reason as were told", are_told).await?;
    let stored = events(metrics.shop).await?;
    ensure!(counted(&scrape) == stored, "{:?} are counted, and {stored:?} are there", counted(&scrape));
    Ok(())
}

/// The events of the Rollout that the API server has, by type and reason.
async fn events(shop: &Shop) -> anyhow::Result<BTreeMap<(String, String), u64>> {
    let selector = format!("involvedObject.name={NAME},involvedObject.kind=Rollout");
    let arguments = ["get", "events", "-n", &shop.namespace, "--field-selector", &selector, "-o", "json"];
    let list: Value = serde_json::from_str(&shop.cluster.kubectl(&arguments).await?)?;
    let mut counts = BTreeMap::new();
    for event in list["items"].as_array().into_iter().flatten() {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        *counts.entry((text("type"), text("reason"))).or_default() += event["count"].as_u64().unwrap_or(1);
    }
    Ok(counts)
}

/// What the controller says.
struct Metrics<'a> {
    shop: &'a Shop,
    namespace: String,
    controller: Controller,
}

impl Metrics<'_> {
    async fn scrape(&self) -> anyhow::Result<Scrape> {
        Scrape::of(&self.shop.cluster, &self.namespace, &self.controller).await
    }

    /// Scrapes until it is so: what a scrape shows is renewed now and then.
    async fn until(&self, what: &str, is_so: impl Fn(&Scrape) -> bool) -> anyhow::Result<Scrape> {
        let mut last = None;
        let looked = async {
            let mut tick = tokio::time::interval(Duration::from_millis(500));
            loop {
                tick.tick().await;
                let scrape = self.scrape().await?;
                if is_so(&scrape) {
                    return anyhow::Ok(scrape);
                }
                last = Some(scrape);
            }
        };
        match tokio::time::timeout(PATIENCE, looked).await {
            Ok(scrape) => scrape,
            Err(_) => bail!("not within {PATIENCE:?}: {what}; {}", about_releases(last.as_ref())),
        }
    }

    /// Waits until the Rollout is shown in this phase, in the words of the status and in those of Argo Rollouts' metrics, and
    /// in no other.
    async fn show(&self, phase: &str, in_metrics: &str) -> anyhow::Result<()> {
        let is_shown = |scrape: &Scrape| {
            let only = |name: &str| {
                let phases = scrape.all(name, &OURS).filter(|series| series.value != 0.0);
                phases.map(|series| series.label("phase").to_owned()).collect::<Vec<_>>()
            };
            only("rollout_info") == [in_metrics]
                && only("rollout_phase") == [in_metrics]
                && only("headgate_rollout_phase") == [phase]
        };
        let scrape = self.until(&format!("phase {phase}, in metrics {in_metrics}"), is_shown).await?;
        let labels = [OURS.as_slice(), &[("strategy", "canary"), ("traffic_router", "")]].concat();
        ensure!(scrape.value("rollout_info", &labels) == Some(1.0), "{}", about_releases(Some(&scrape)));
        Ok(())
    }

    /// Waits until exactly these releases are counted as having ended so, each with its times.
    async fn count(&self, status: &str, releases: &[&Release]) -> anyhow::Result<()> {
        let labels = [("status", status)];
        let is_counted = |scrape: &Scrape| {
            scrape.value("rollout_duration_seconds_count", &labels) == Some(releases.len() as f64)
        };
        let scrape = self.until(&format!("{} releases {status}", releases.len()), is_counted).await?;
        let took = releases.iter().map(|release| release.took()).collect::<anyhow::Result<Vec<_>>>()?;
        let held: Vec<_> = releases.iter().map(|release| release.held).collect();
        let moved = took.iter().zip(&held).map(|(took, held)| *took - *held).collect();
        for (name, times) in [
            ("rollout_duration_seconds", took),
            ("rollout_manual_pause_duration_seconds", held),
            ("rollout_progression_duration_seconds", moved),
        ] {
            let sum = times.iter().map(|time| time.as_secs_f64()).sum::<f64>();
            let shown = scrape.value(&format!("{name}_sum"), &labels);
            ensure!(shown == Some(sum), "{name} of {status}: {shown:?} s where the status says {sum}");
            let bucket = format!("{name}_bucket");
            let mut buckets = 0;
            for part in scrape.all(&bucket, &labels) {
                let bound: f64 = part.label("le").parse()?;
                let within = times.iter().filter(|time| time.as_secs_f64() <= bound).count();
                ensure!(part.value == within as f64, "{part:?} of {times:?}");
                buckets += 1;
            }
            ensure!(buckets > 1, "{name} has no parts");
        }
        Ok(())
    }
}

/// The series that this is about.
fn about_releases(scrape: Option<&Scrape>) -> String {
    let names = ["rollout_info", "rollout_phase", "headgate_rollout_phase", "rollout_events_total"];
    let counts = ["rollout_duration_seconds_count", "rollout_manual_pause_duration_seconds_sum"];
    let series = scrape.map(|scrape| {
        let shown = names.iter().chain(&counts).flat_map(|name| scrape.all(name, &[]));
        shown.map(|series| format!("\n{series:?}")).collect::<String>()
    });
    series.unwrap_or_else(|| "it was never scraped".to_owned())
}

/// `status.duration`.
#[derive(Debug)]
struct Release {
    started: Timestamp,
    finished: Option<Timestamp>,
    held: SignedDuration,
    status: Option<String>,
}

impl Release {
    fn of(status: &Value) -> anyhow::Result<Self> {
        let duration = &status["duration"];
        let held = duration["totalManualPauseDurationSeconds"].as_i64().unwrap_or(0);
        Ok(Self {
            started: time(duration, "rolloutStartedAt")?.context("no begin")?,
            finished: time(duration, "finishedAt")?,
            held: SignedDuration::from_secs(held),
            status: duration["completionStatus"].as_str().map(str::to_owned),
        })
    }

    fn took(&self) -> anyhow::Result<SignedDuration> {
        Ok(self.finished.context("no end")?.duration_since(self.started))
    }

    /// It has ended so, and just now.
    fn ended(&self, status: &str) -> anyhow::Result<()> {
        ensure!(self.status.as_deref() == Some(status), "{self:?} was to be {status}");
        let since = Timestamp::now().duration_since(self.finished.context("no end")?);
        ensure!(since >= SignedDuration::ZERO && since.as_secs() < 60, "{self:?} ended {since:?} ago");
        Ok(())
    }
}

fn time(duration: &Value, field: &str) -> anyhow::Result<Option<Timestamp>> {
    Ok(duration[field].as_str().map(str::parse).transpose()?)
}
