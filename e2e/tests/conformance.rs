//! The simulator's virtual world answers as a real one: the same script of calls against both.

use crate::long;
use futures::{StreamExt, TryStreamExt};
use headgate_e2e::conformance::RealWorld;
use headgate_sim::conformance::{Difference, cases, differences, in_virtual};

/// Cases at a time: they wait most of the time.
const CASES_AT_A_TIME: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_virtual_world_answers_the_script_as_a_real_one() -> anyhow::Result<()> {
    let (cluster, _guard) = long().await?;
    let world = RealWorld::new(&cluster).await?;
    let compared = futures::stream::iter(cases::all()).map(|case| {
        let world = &world;
        async move { anyhow::Ok(differences(&case, &in_virtual::run(&case), &world.run(&case).await?)) }
    });
    let found: Vec<Vec<Difference>> = compared.buffer_unordered(CASES_AT_A_TIME).try_collect().await?;
    let found: Vec<String> = found.concat().iter().map(Difference::to_string).collect();
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    Ok(())
}
