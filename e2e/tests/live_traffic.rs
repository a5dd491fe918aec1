//! Good releases and bad ones under live traffic: what `just demo` shows, and what `simulate` has said of it.

use crate::{alone, turn};
use anyhow::{bail, ensure};
use headgate_e2e::Cluster;
use headgate_e2e::demo::{self, Programme, Trouble, Verdict};
use headgate_e2e::door::Door;
use headgate_e2e::pressure::tell;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_release_is_promoted_a_bad_one_comes_back_and_no_request_is_lost() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let programme = Programme::default();
    let verdict = good(&cluster, &programme).await?;
    crate::simulate::compare(&cluster, &programme, &verdict).await?;
    cluster.remove_namespace(demo::NAMESPACE).await
}

/// All of them are `just demo --all`: a run tries one, another one each hour; `--long` tries the first fault through every
/// router besides, so that each example is held against its forecasts.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_for_other_faults_and_through_other_routers() -> anyhow::Result<()> {
    let (cluster, _guard) = alone().await?;
    let all = Door::ALL.into_iter().flat_map(|door| Trouble::ALL.map(|trouble| (door, trouble)));
    let others: Vec<_> = all.filter(|pair| *pair != (Door::Istio, Trouble::Errors)).collect();
    let of_this_hour = others[turn(others.len())?];
    let is_long = std::env::var_os("HEADGATE_E2E_LONG").is_some();
    let is_tried = |pair: &(Door, Trouble)| *pair == of_this_hour || is_long && pair.1 == Trouble::Errors;
    for (door, trouble) in others.into_iter().filter(is_tried) {
        tell(&format!("the demo through {} with {}", door.name(), trouble.name()));
        let programme = Programme { door, troubles: vec![trouble] };
        let verdict = good(&cluster, &programme).await?;
        crate::simulate::compare(&cluster, &programme, &verdict).await?;
        cluster.remove_namespace(demo::NAMESPACE).await?;
    }
    Ok(())
}

/// A demo that went as it should. On a starved machine it says nothing, and is repeated once.
async fn good(cluster: &Cluster, programme: &Programme) -> anyhow::Result<Verdict> {
    for _ in 0..2 {
        let verdict = demo::run(cluster, programme).await?;
        if !verdict.is_inconclusive() {
            ensure!(verdict.is_good(), "{verdict}");
            return Ok(verdict);
        }
        tell(&format!("inconclusive: {verdict}"));
        cluster.remove_namespace(demo::NAMESPACE).await?;
    }
    bail!("inconclusive twice: the machine is too slow")
}
