//! What the routers of the lab do with weights, and what they count, without Headgate: the ground that it stands on.

use crate::alone;
use anyhow::{Context, ensure};
use headgate_e2e::Cluster;
use headgate_e2e::by_hand::{Version, versions};
use headgate_e2e::course::{FALSE_ALARM, Outcome, await_share, conclusive};
use headgate_e2e::door::Door;
use headgate_e2e::install::root;
use headgate_e2e::load::{Counts, KeepAlive, Load, LoadOptions, Target};
use headgate_e2e::pressure::{Pressure, tell};
use headgate_e2e::prometheus::Prometheus;
use std::time::Duration;

/// How long a share is measured.
const MEASURED: Duration = Duration::from_secs(6);
/// Requests a second through each door.
const RATE: u32 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn through_every_door_the_clients_see_each_weight_and_the_metrics_tell_versions_apart()
-> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let through = |door: Door| {
        let cluster = &cluster;
        async move { conclusive(door.name(), async || measure(cluster, door).await).await }
    };
    futures::future::try_join_all(Door::ALL.map(through)).await?;
    Ok(())
}

async fn measure(cluster: &Cluster, door: Door) -> anyhow::Result<Outcome> {
    // A name of its own each time: the routers' counters must begin at zero.
    let namespace = format!("e2e-door-{}-{}", door.name(), jiff::Timestamp::now().as_second());
    let host = format!("{namespace}.example");
    cluster.fresh_namespace(&namespace).await?;
    cluster.apply(&namespace, &versions()).await?;
    let available =
        ["wait", "deployments", "--all", "--for=condition=Available", "--timeout=60s", "-n", &namespace];
    cluster.kubectl(&available).await?;
    cluster.apply(&namespace, &door.routes(&host, 50)).await?;
    let target = door.target(cluster, &host)?;
    let at_first = await_both(&target).await.with_context(|| format!("{door:?} does not serve both"))?;

    let options =
        LoadOptions { rate_per_second: RATE, keep_alive: KeepAlive::Mixed, ..LoadOptions::default() };
    let pressure = Pressure::begin();
    let load = Load::start(target, options)?;
    let went = weights(cluster, door, &namespace, &load).await;
    let report = load.stop().await;
    let strain = pressure.strain(report.total.max_lateness);
    let outcome = if strain.is_starved() {
        Outcome::Inconclusive(strain)
    } else {
        tell(&format!(
            "{}: clients saw each weight, counted over {MEASURED:?}, within {:.1?}; {strain}",
            door.name(),
            went?
        ));
        ensure!(report.total.lost == 0, "{door:?} lost requests: {report:?}");
        let seen = [&at_first, &report.total];
        for version in Version::ALL {
            let answered: u64 = seen.iter().map(|counts| counts.answered_by(version.name())).sum();
            await_counted(cluster, door, &namespace, version, answered).await?;
        }
        Outcome::Held(report, strain)
    };
    cluster.remove_namespace(&namespace).await?;
    Ok(outcome)
}

/// Asks until each version has answered, and tells what was answered until then.
async fn await_both(target: &Target) -> anyhow::Result<Counts> {
    let options = LoadOptions { rate_per_second: 20, ..LoadOptions::default() };
    let load = Load::start(target.clone(), options)?;
    let served = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let both =
            |counts: &Counts| Version::ALL.iter().all(|version| counts.answered_by(version.name()) > 0);
        while !both(&load.snapshot().total) {
            tick.tick().await;
        }
    };
    let served = tokio::time::timeout(Duration::from_secs(60), served).await;
    let report = load.stop().await;
    served.with_context(|| format!("not within a minute: {report:?}"))?;
    Ok(report.total)
}

/// Sets weights, and waits until the clients see each; the longest time that it took them.
async fn weights(cluster: &Cluster, door: Door, namespace: &str, load: &Load) -> anyhow::Result<Duration> {
    let canary = Version::Canary.name();
    let mut slowest = Duration::ZERO;
    let mut before = 50;
    for weight in [30, 10, 0] {
        cluster.apply(namespace, &door.routes(&format!("{namespace}.example"), weight)).await?;
        let share = |weight: u8| f64::from(weight) / 100.0;
        slowest = slowest.max(await_share(load, canary, share(weight), MEASURED).await?);
        let seen = load.window(MEASURED);
        ensure!(seen.answered > u64::from(RATE), "{door:?} at weight {weight}: too few to judge; {seen:?}");
        // Else the counts could not tell one weight from the other.
        ensure!(
            !seen.share_fits(canary, share(before), FALSE_ALARM),
            "{door:?} at weight {weight} as at {before}: {seen:?}"
        );
        before = weight;
    }
    Ok(slowest)
}

/// Waits until the router's own series and the app's count for this version exactly what the clients got from it.
async fn await_counted(
    cluster: &Cluster,
    door: Door,
    namespace: &str,
    version: Version,
    answered: u64,
) -> anyhow::Result<()> {
    let prometheus = Prometheus::of(cluster)?;
    let name = version.name();
    let by_hash = format!(
        "sum(http_requests_total{{namespace=\"{namespace}\",rollouts_pod_template_hash=\"{name}\"}})"
    );
    for query in [door.answers(namespace, version), door.timed(namespace, version), by_hash] {
        let mut last = None;
        let counted = async {
            let mut tick = tokio::time::interval(Duration::from_millis(500));
            while last != Some(answered as f64) {
                tick.tick().await;
                last = prometheus.value(&query).await?;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(Duration::from_secs(20), counted).await {
            Ok(counted) => counted?,
            Err(_) => anyhow::bail!("{door:?}, {name}: {query} is {last:?}, and clients counted {answered}"),
        }
    }
    Ok(())
}

#[test]
fn the_page_on_metrics_has_the_labels_that_were_seen_to_tell_versions_apart() -> anyhow::Result<()> {
    let page = root().join("docs/routers/metrics.md");
    let text = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    for door in Door::ALL {
        for version in Version::ALL {
            let labels = door.labels("NAMESPACE", version);
            ensure!(text.contains(&labels), "{} does not say {labels}", page.display());
        }
    }
    Ok(())
}
