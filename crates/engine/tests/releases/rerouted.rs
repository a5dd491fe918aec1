//! Another router, or none any more, in the middle of a release.

use crate::world::{World, routed, spec};
use headgate_model::{Effect, Kind, ObjectKey, RouterProblem, TrafficState, WeightRange};
use serde_json::json;

/// Version 2 has half of the requests through Istio and waits.
fn half_way() -> World {
    let mut world =
        World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}, {"setWeight": 75}]))));
    world.release(2);
    world.settle();
    assert_eq!((world.weight(), in_use(&world)), (50, vec!["istio".to_owned()]));
    world
}

/// The routers that may give the canary something. Those that are only watched have been led back.
fn in_use(world: &World) -> Vec<String> {
    let memory = world.status().headgate.as_ref();
    let remembered = memory.map_or(&[][..], |memory| &memory.routers_in_use);
    let in_use = remembered.iter().filter(|entry| entry.led_back_at.is_none());
    in_use.map(|entry| entry.router.clone()).collect()
}

fn virtual_service() -> ObjectKey {
    let kind = Kind { group: "", version: "v1", kind: "VirtualService", plural: "virtualservices" };
    ObjectKey { kind, namespace: "store".into(), name: "shop".into() }
}

/// What is said of a VirtualService that does not exist.
pub(crate) fn gone() -> RouterProblem {
    RouterProblem::Missing { object: virtual_service(), field: String::new(), message: "it is gone".into() }
}

fn share(state: &Result<TrafficState, RouterProblem>) -> i32 {
    state.as_ref().ok().and_then(|state| state.weights).unwrap().canary_max
}

/// The API server drops them within a list, so that what is stored would never be what was meant.
#[test]
fn what_is_remembered_of_a_router_holds_no_nulls() {
    let mut world = World::running(spec(4, routed(json!([{"setWeight": 50}, {"pause": {}}]))));
    let written = json!({"annotationPrefix": null, "routes": [{"name": "shop", "rule": null}]});
    world.snapshot.routers.iter_mut().for_each(|router| router.config.config = written.clone());
    world.release(2);
    world.settle();
    let remembered = &world.status().headgate.as_ref().unwrap().routers_in_use;
    assert_eq!(remembered[0].config, json!({"routes": [{"name": "shop"}]}));
}

#[test]
fn the_router_before_is_led_back_to_stable_while_the_other_one_takes_over() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    let decision = world.decide();
    world.carry_out(&decision, usize::MAX);
    assert_eq!(world.former().into_iter().map(|state| share(state)).collect::<Vec<_>>(), [0]);
    world.settle();
    assert_eq!((world.weight(), in_use(&world)), (50, vec!["nginx".to_owned()]));
    world.pass(60);
    world.settle();
    assert!(world.former().is_empty(), "what is led back is forgotten");
    world.promote();
    world.settle_over_time();
    assert_eq!((world.phase(), world.weight()), ("Healthy", 0));
}

#[test]
fn a_write_to_the_router_before_that_lands_within_a_minute_is_taken_back() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    world.settle();
    let decision = world.decide();
    assert!(decision.wake_at.is_some_and(|at| at <= world.now + jiff::SignedDuration::from_secs(60)));
    world.pass(59);
    let late = WeightRange { canary_min: 50, canary_max: 50, total: 100, well_formed: true };
    world.former().remove(0).as_mut().unwrap().weights = Some(late);
    world.settle();
    assert_eq!((share(world.former().remove(0)), in_use(&world)), (0, vec!["nginx".to_owned()]));
    world.pass(59);
    world.settle();
    assert_eq!(world.former().len(), 1, "the minute begins again");
    world.pass(1);
    world.settle();
    assert!(world.former().is_empty());
}

#[test]
fn a_router_that_is_only_watched_may_be_deleted_and_neither_it_nor_its_weight_holds_anything_up() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    world.settle();
    let weights = world.status().canary.as_ref().and_then(|canary| canary.weights.as_ref()).unwrap();
    assert_eq!((weights.canary.weight, weights.stable.weight), (50, 50));
    *world.former().remove(0) = Err(gone());
    world.settle();
    assert!(world.former().is_empty(), "what has been led back need not be awaited");
}

#[test]
fn a_router_stays_remembered_while_the_spec_names_it_as_what_was_seen_of_it_may_be_old() {
    let mut world = half_way();
    world.abort();
    world.settle_over_time();
    assert_eq!((world.weight(), in_use(&world)), (0, vec!["istio".to_owned()]));
    world.change_router(None);
    world.settle();
    assert!(in_use(&world).is_empty());
}

#[test]
fn a_router_that_is_taken_out_of_the_spec_is_led_back_to_stable_too() {
    let mut world = half_way();
    world.change_router(None);
    world.step();
    assert_eq!(world.former().into_iter().map(|state| share(state)).collect::<Vec<_>>(), [0]);
    world.settle();
    assert!(in_use(&world).is_empty());
}

#[test]
fn between_releases_there_is_nothing_to_lead_back() {
    let mut world = half_way();
    world.abort();
    world.settle_over_time();
    world.change_router(Some("nginx"));
    let decision = world.decide();
    assert!(decision.effects.iter().all(|effect| !matches!(effect, Effect::Route { .. })), "{decision:?}");
}

#[test]
fn no_pods_go_while_the_router_before_cannot_be_read_and_may_lead_to_them() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    let unread = RouterProblem::Unknown(virtual_service());
    let hidden = std::mem::replace(world.former().remove(0), Err(unread));
    world.abort();
    world.settle_over_time();
    world.pass(600);
    world.settle();
    assert_eq!((world.weight(), world.pods(2), in_use(&world)), (0, 2, vec!["istio".to_owned()]));
    *world.former().remove(0) = hidden;
    world.settle_over_time();
    assert_eq!((world.pods(2), in_use(&world)), (0, Vec::new()));
}

#[test]
fn a_router_before_whose_objects_are_gone_holds_nothing_up() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    let message = "it is gone".to_owned();
    *world.former().remove(0) = Err(RouterProblem::Invalid { field: "spec".into(), message });
    world.abort();
    world.settle_over_time();
    assert_eq!((world.pods(2), in_use(&world)), (0, Vec::new()));
}

#[test]
fn a_router_before_whose_objects_come_back_is_led_back_then() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    let before = std::mem::replace(world.former().remove(0), Err(gone()));
    world.settle();
    assert_eq!(in_use(&world), ["nginx", "istio"]);
    *world.former().remove(0) = before;
    world.step();
    assert_eq!(share(world.former().remove(0)), 0);
    world.settle();
    assert_eq!(in_use(&world), ["nginx"]);
}

#[test]
fn the_router_before_goes_back_in_proportion_while_stable_lacks_pods() {
    let mut world = half_way();
    world.change_router(Some("nginx"));
    let stable = world.hash(1);
    world.broken.insert(stable.clone());
    world.kill_pods(&stable, 1);
    world.step();
    assert_eq!(share(world.former().remove(0)), 50, "one pod of four bears a quarter");
    world.broken.clear();
    world.settle();
    assert!(in_use(&world).iter().all(|router| router == "nginx"));
}
