//! A Rollout that is deleted with `--cascade=orphan` and applied again adopts its ReplicaSets.

use crate::server::refused;
use crate::world::{World, at, web};
use headgate_driver::io::{Call, ObjectRef, Patch};
use headgate_driver::resources::{REPLICA_SETS, ROLLOUTS};
use jiff::SignedDuration;
use serde_json::{Value, json};

fn sets(world: &World) -> Vec<ObjectRef> {
    world.server.objects.keys().filter(|target| target.resource == REPLICA_SETS).cloned().collect()
}

/// The only version is out.
fn released() -> (World, ObjectRef) {
    let mut world = World::new();
    world.create(ROLLOUTS, web());
    world.run(60);
    assert_eq!(world.phase(), "Healthy");
    let set = sets(&world).remove(0);
    (world, set)
}

/// The ReplicaSet is nobody's any more, which the driver learns so much later; then the Rollout goes and comes again.
fn orphan(world: &mut World, set: &ObjectRef, learns_after: SignedDuration) {
    world.watch_delay = learns_after;
    world.edit(set.clone(), json!({ "metadata": { "ownerReferences": null } }));
    world.deliver();
    world.watch_delay = SignedDuration::ZERO;
    world.server.remove(&at(ROLLOUTS, "web"));
    world.create(ROLLOUTS, web());
}

fn controller<'a>(world: &'a World, set: &ObjectRef) -> &'a Value {
    &world.get(set)["metadata"]["ownerReferences"][0]["uid"]
}

fn adopts(call: &Call) -> bool {
    matches!(call, Call::Patch { patch: Patch::Merge(body), .. } if body["metadata"].get("ownerReferences").is_some())
}

#[test]
fn orphans_are_adopted_before_anything_is_made() {
    for seconds in [0, 30] {
        let (mut world, set) = released();
        let replicas = world.get(&set)["spec"].clone();
        orphan(&mut world, &set, SignedDuration::from_secs(seconds));
        world.run(120);
        assert_eq!(world.phase(), "Healthy", "{seconds}: {:#}", world.rollout());
        assert_eq!(sets(&world), std::slice::from_ref(&set), "{seconds}");
        assert_eq!(world.get(&set)["spec"], replicas, "{seconds}");
        assert_eq!(*controller(&world, &set), world.rollout()["metadata"]["uid"], "{seconds}");
        assert_eq!(world.rollout()["status"].get("collisionCount"), None, "{seconds}");
    }
}

#[test]
fn an_owner_that_somebody_takes_away_comes_back() {
    let (mut world, set) = released();
    world.edit(set.clone(), json!({ "metadata": { "ownerReferences": null } }));
    world.run(30);
    assert_eq!(*controller(&world, &set), world.rollout()["metadata"]["uid"]);
    assert_eq!((world.phase(), sets(&world).len()), ("Healthy", 1));
}

#[test]
fn a_rollout_that_is_being_deleted_does_not_take_back_what_it_leaves() {
    let (mut world, set) = released();
    // As the garbage collector does it; the watch of Rollouts is the slower one.
    world.watch_delay = SignedDuration::from_secs(5);
    let metadata = json!({ "deletionTimestamp": "2026-11-21T09:10:00Z", "finalizers": ["orphan"] });
    world.edit(at(ROLLOUTS, "web"), json!({ "metadata": metadata }));
    world.deliver();
    world.watch_delay = SignedDuration::ZERO;
    world.edit(set.clone(), json!({ "metadata": { "ownerReferences": null } }));
    world.run(60);
    assert_eq!(controller(&world, &set), &Value::Null);
}

#[test]
fn an_adoption_that_is_refused_holds_nothing_up() {
    let (mut world, set) = released();
    world.refuse(adopts, refused(403, "Forbidden"));
    orphan(&mut world, &set, SignedDuration::ZERO);
    world.run(300);
    assert_eq!(world.phase(), "Healthy", "{:#}", world.rollout());
    assert_eq!(world.rollout()["status"]["collisionCount"], 1, "another name");
    assert_eq!(controller(&world, &set), &Value::Null);
    let tries = world.log.iter().filter(|call| adopts(call)).count();
    assert!((2..20).contains(&tries), "{tries}: ever more slowly");
}
