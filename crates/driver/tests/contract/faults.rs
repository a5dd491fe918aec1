//! Everything that can go wrong, at every request; the release completes all the same.

use crate::world::{Fault, World, at, released, template};
use headgate_driver::resources::ROLLOUTS;
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

fn release_completes(world: &mut World) {
    world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "template": template("2") } }));
    world.run(600);
    world.fault = Box::new(|_| Fault::None);
    world.list_lag = 0;
    world.run(300);
    let status = &world.rollout()["status"];
    assert_eq!(status["phase"], "Healthy", "{status:#}");
    assert_eq!(status["stableRS"], status["currentPodHash"], "{status:#}");
    let image = world
        .server
        .objects
        .values()
        .filter(|object| object["kind"] == "ReplicaSet" && object["spec"]["replicas"] != 0)
        .map(|set| set["spec"]["template"]["spec"]["containers"][0]["image"].clone())
        .collect::<Vec<_>>();
    assert_eq!(image, [json!("web:2")]);
}

#[test]
fn a_release_completes_without_faults() {
    let mut world = released();
    release_completes(&mut world);
}

#[test]
fn a_release_completes_when_the_process_dies_at_any_one_request() {
    let mut world = released();
    let before = world.requests;
    release_completes(&mut world);
    let requests = world.requests - before;
    assert!(requests > 10);
    for crash in [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost, Fault::RequestLost] {
        for victim in 1..=requests {
            let mut world = released();
            let first = world.requests;
            world.fault =
                Box::new(move |request| if request == first + victim { crash } else { Fault::None });
            release_completes(&mut world);
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::RequestLost),
        1 => Just(Fault::CrashBefore),
        1 => Just(Fault::CrashAfter),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// The fence is checked by the world at every write.
    #[test]
    fn a_release_completes_under_any_faults_and_never_writes_from_a_stale_snapshot(
        faults in proptest::collection::vec(fault(), 1..60),
        delay in 0..8_i64,
        lag in 0..30_usize,
    ) {
        let mut world = released();
        world.watch_delay = SignedDuration::from_secs(delay);
        world.list_lag = lag;
        let first = world.requests;
        world.fault = Box::new(move |request| {
            let index = usize::try_from(request - first).unwrap();
            faults.get(index).copied().unwrap_or(Fault::None)
        });
        release_completes(&mut world);
    }
}
