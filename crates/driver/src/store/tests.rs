use super::*;
use crate::resources::{REPLICA_SETS, SERVICES};
use serde_json::json;

fn set(uid: &str, version: &str, replicas: i32) -> Value {
    json!({
        "metadata": { "name": "a", "namespace": "n", "uid": uid, "resourceVersion": version,
            "ownerReferences": [{ "uid": "owner", "controller": true }] },
        "spec": { "replicas": replicas },
    })
}

fn reference(resource: Resource) -> ObjectRef {
    ObjectRef { resource, namespace: "n".to_owned(), name: "a".to_owned() }
}

fn replicas(store: &Store) -> Option<i64> {
    store.get(&reference(REPLICA_SETS))?.pointer("/spec/replicas")?.as_i64()
}

#[test]
fn an_answer_is_never_replaced_by_an_older_event() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "10", 3), Source::Answer);
    assert!(!store.put(REPLICA_SETS, set("u", "9", 2), Source::Watch).changed);
    assert_eq!(replicas(&store), Some(3));
    assert!(store.put(REPLICA_SETS, set("u", "11", 4), Source::Watch).changed);
    assert_eq!(replicas(&store), Some(4));
}

#[test]
fn versions_that_do_not_compare_wait_for_the_very_one_that_was_answered() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "x", 3), Source::Answer);
    store.put(REPLICA_SETS, set("u", "w", 2), Source::Watch);
    assert_eq!(replicas(&store), Some(3));
    store.put(REPLICA_SETS, set("u", "x", 3), Source::Watch);
    store.put(REPLICA_SETS, set("u", "y", 4), Source::Watch);
    assert_eq!(replicas(&store), Some(4));
}

#[test]
fn what_was_deleted_stays_away_until_the_watch_has_said_so() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    store.bury(&reference(REPLICA_SETS), "u");
    store.put(REPLICA_SETS, set("u", "2", 3), Source::Watch);
    assert_eq!(replicas(&store), None);
    store.put(REPLICA_SETS, set("another", "5", 7), Source::Watch);
    assert_eq!(replicas(&store), Some(7), "another object may have the name");
    store.deleted(REPLICA_SETS, &set("u", "4", 3));
    assert_eq!(replicas(&store), Some(7), "and an old deletion does not touch it");
    assert!(store.tombstones.is_empty());
}

#[test]
fn what_a_live_read_has_not_found_is_not_brought_back_by_events_from_before_its_deletion() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    store.not_found(&reference(REPLICA_SETS));
    store.put(REPLICA_SETS, set("u", "2", 4), Source::Watch);
    assert_eq!(replicas(&store), None);
    store.deleted(REPLICA_SETS, &set("u", "3", 4));
    store.put(REPLICA_SETS, set("another", "5", 7), Source::Watch);
    assert_eq!(replicas(&store), Some(7));
    assert!(store.tombstones.is_empty());
}

#[test]
fn what_a_live_read_has_not_found_by_mistake_is_read_again_when_the_watch_shows_it() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    store.not_found(&reference(REPLICA_SETS));
    store.list_started(REPLICA_SETS);
    assert!(store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch).is_doubtful);
    store.synced(REPLICA_SETS);
    assert_eq!(replicas(&store), None, "the list may lag behind");
    assert!(store.put(REPLICA_SETS, set("u", "1", 3), Source::Answer).changed);
    assert_eq!(replicas(&store), Some(3));
    assert!(store.put(REPLICA_SETS, set("u", "2", 4), Source::Watch).changed);
    store.bury(&reference(REPLICA_SETS), "u");
    for source in [Source::Watch, Source::Answer] {
        assert_eq!(store.put(REPLICA_SETS, set("u", "2", 4), source), Change::default(), "deleted for good");
    }
}

#[test]
fn an_answer_that_was_under_way_does_not_bring_back_what_is_gone() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    store.deleted(REPLICA_SETS, &set("u", "4", 3));
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Answer);
    assert_eq!(replicas(&store), None);
    store.put(REPLICA_SETS, set("u", "5", 2), Source::Answer);
    assert_eq!(replicas(&store), Some(2), "it only did not match the watch's selector for a while");
    for number in 0..2 * GONE_MAX {
        store.deleted(REPLICA_SETS, &set(&number.to_string(), "9", 1));
    }
    assert_eq!(store.gone.len(), GONE_MAX);
}

#[test]
fn a_list_that_lags_behind_does_not_bring_back_what_is_gone() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    store.bury(&reference(REPLICA_SETS), "u");
    store.deleted(REPLICA_SETS, &set("u", "4", 3));
    store.list_started(REPLICA_SETS);
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    store.synced(REPLICA_SETS);
    assert_eq!(replicas(&store), None);
    store.put(REPLICA_SETS, set("u", "5", 2), Source::Watch);
    assert_eq!(replicas(&store), Some(2), "it only did not match the watch's selector for a while");
}

#[test]
fn what_a_list_lacks_stays_until_a_live_read_has_settled_it() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "5", 3), Source::Answer);
    store.list_started(REPLICA_SETS);
    let synced = store.synced(REPLICA_SETS);
    assert_eq!(synced.doubtful, [reference(REPLICA_SETS)]);
    assert_eq!(replicas(&store), Some(3));
    store.put(REPLICA_SETS, set("u", "5", 3), Source::Watch);
    store.list_started(REPLICA_SETS);
    let synced = store.synced(REPLICA_SETS);
    assert_eq!(synced.doubtful, [reference(REPLICA_SETS)]);
    assert_eq!(replicas(&store), Some(3), "the list may be older than what the watch has shown");
    store.not_found(&reference(REPLICA_SETS));
    assert_eq!(replicas(&store), None);
    assert!(store.children.is_empty());
    store.list_started(REPLICA_SETS);
    assert_eq!(store.synced(REPLICA_SETS).doubtful, []);
}

#[test]
fn an_object_of_others_is_unknown_until_read_and_absent_when_it_is_not_there() {
    let mut store = Store::default();
    let service = reference(SERVICES);
    assert_eq!(store.observed(&service), Observed::Unknown);
    store.synced(ROLLOUTS);
    store.synced(SERVICES);
    store.put(SERVICES, set("s", "1", 0), Source::Watch);
    assert_eq!(store.observed(&service), Observed::Unknown, "nobody names it, so it is not kept");
    assert!(store.want(service.clone()), "it must be read");
    assert_eq!(store.unread(SERVICES), [reference(SERVICES)]);
    store.not_found(&service);
    assert_eq!(store.observed(&service), Observed::Absent);
    assert_eq!(store.unread(SERVICES), []);
    store.put(SERVICES, set("s", "2", 0), Source::Watch);
    assert!(store.observed(&service).present().is_some());
    store.put(SERVICES, set("s", "3", 0), Source::Answer);
    store.not_found(&service);
    store.put(SERVICES, set("s", "2", 0), Source::Watch);
    assert_eq!(store.observed(&service), Observed::Absent, "an event from before what was known last");
    store.put(SERVICES, set("s", "3", 0), Source::Watch);
    assert!(store.observed(&service).present().is_some(), "it was not found by mistake");
    store.unwant(&service);
    assert!(store.objects.is_empty());
}

#[test]
fn an_object_of_others_that_was_deleted_while_it_was_read_is_not_there() {
    let mut store = Store::default();
    let service = reference(SERVICES);
    store.synced(ROLLOUTS);
    store.synced(SERVICES);
    store.want(service.clone());
    store.deleted(SERVICES, &set("s", "2", 0));
    assert!(store.put(SERVICES, set("s", "1", 0), Source::Answer).changed);
    assert_eq!(store.observed(&service), Observed::Absent);
    store.put(SERVICES, set("another", "3", 0), Source::Watch);
    assert!(store.observed(&service).present().is_some());
}

#[test]
fn an_old_event_of_a_former_owner_does_not_keep_the_child_listed() {
    let mut store = Store::default();
    store.put(REPLICA_SETS, set("u", "1", 3), Source::Watch);
    let mut released = set("u", "2", 3);
    released["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let change = store.put(REPLICA_SETS, released, Source::Watch);
    assert!(change.owners.contains("owner"), "the former owner is woken");
    assert_eq!(store.children("owner", REPLICA_SETS).count(), 0);
}
