//! What a restart, and metadata that pods carry by their role, need beyond watches: pods that were just read, and evictions that their ReplicaSets do not report yet.
//!
//! The watch of pods may lag behind, or not be allowed at all, and whoever led before may just have evicted some. So each
//! decision that may evict looks at a list that was read for it alone (R3). It is read once there is nothing else to do,
//! so that nothing waits for it, and nothing of it is kept.

use crate::backoff::{is_ahead, is_recent};
use crate::io::{Call, Reply};
use crate::object::{self, texts};
use crate::outbox::{Context, Errand};
use crate::outcome::{Outcome, Refusal, outcome};
use crate::pods::{condition, owner, text, time};
use crate::resources::{PODS, REPLICA_SETS};
use crate::rollout_task::{Proves, RolloutTask, Stage};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_model::template::PodMetadata;
use headgate_model::{
    Effect, EffectKey, FailureClass, Observed, ReplicaSetView, RunningPod, Snapshot, Timestamp, Verb,
};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeMap;

/// Between two lists of one rollout lies so much time at least.
const LIST_SECONDS: i64 = 1;

/// While a restart goes on its pods are looked at again after so long: not all that happens to them shows in their
/// ReplicaSets.
const AGAIN_SECONDS: i64 = 10;

/// A list is good for so long: less than a lease lasts, so that an ex-leader that was frozen in between evicts nothing by it.
const GOOD_SECONDS: i64 = 10;

/// A call to the API server has ended after so long: the controller waits for a place as long as it may take then.
const CALL_SECONDS: i64 = 20;

/// The ReplicaSet controller has counted an eviction after so long, unless it stands still.
const REPORTED_SECONDS: i64 = 10;

/// An eviction counts no longer than this after it was sent.
const COUNTED_SECONDS: i64 = CALL_SECONDS + REPORTED_SECONDS;

/// What one rollout remembers of its restart.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    /// For the next decision, and for no other.
    listed: Option<Vec<RunningPod>>,
    listed_at: Option<Timestamp>,
    /// Available pods that the last decision knew by a list, by the name of the ReplicaSet.
    available: BTreeMap<String, i32>,
    /// By the name of the ReplicaSet.
    unreported: BTreeMap<String, Unreported>,
}

/// Evictions that a ReplicaSet may not have counted yet.
#[derive(Debug)]
struct Unreported {
    /// Its available pods in the list that the first of them was decided on.
    listed: i32,
    /// Or, if that is more, as many as it reported when the first was sent.
    before: i32,
    /// How many of the evicted were available.
    available: i32,
    /// And how many were not, but may become so before the eviction is carried out.
    unavailable: i32,
    /// Some of them may be there still: the answer was lost, perhaps with the request.
    is_unclear: bool,
    sent_at: Timestamp,
    until: Timestamp,
}

/// What a decision knew of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pods {
    /// There is nothing to do to them, or it is done once.
    Unwanted,
    /// They were not read for it, and a decision that knows them could do more.
    Wanted,
    /// They were, and are looked at again.
    Known,
}

/// Reading pods, as an act that can fail.
pub(crate) fn list_key() -> EffectKey {
    EffectKey::of(Verb::ReadPods)
}

impl Restart {
    /// Enters into a snapshot what the next decision is to know.
    pub(crate) fn lay_over(&mut self, snapshot: &mut Snapshot, now: Timestamp) {
        self.unreported.retain(|_, evicted| is_ahead(evicted.until, COUNTED_SECONDS, now));
        let listed = self.listed.take();
        self.available.clear();
        if let Observed::Present(sets) = &mut snapshot.replica_sets {
            for set in sets {
                self.lay_over_set(set, listed.as_deref(), now);
            }
        }
        if let Some(pods) = listed {
            snapshot.running = Observed::Present(pods);
        }
    }

    /// Evictions lower what a ReplicaSet reports, until a list shows that it has made up for them.
    fn lay_over_set(&mut self, set: &mut ReplicaSetView, listed: Option<&[RunningPod]>, now: Timestamp) {
        let is_available =
            |pod: &&RunningPod| pod.set_uid == set.uid && pod.is_available(set.min_ready_seconds, now);
        let available = listed.map_or(0, |pods| pods.iter().filter(is_available).count());
        let available = i32::try_from(available).unwrap_or(i32::MAX);
        if listed.is_some() {
            self.available.insert(set.name.clone(), available);
        }
        let Some(evicted) = self.unreported.get_mut(&set.name) else { return };
        let is_made_up_for = available >= evicted.before.saturating_add(evicted.unavailable).max(1);
        if is_made_up_for {
            (evicted.listed, evicted.before) = (available, available);
            (evicted.available, evicted.unavailable, evicted.is_unclear) = (0, 0, false);
        }
        let left = evicted.listed.saturating_sub(evicted.available).max(0);
        if is_made_up_for && set.available_reported <= left {
            self.unreported.remove(&set.name);
        } else {
            // A report that is older than the list may still count those that were evicted.
            let counted = set.available_reported.min(left);
            // List and report may disagree, and each speak of other pods than those of which nothing is known: all that is
            // left out may be there then.
            set.perhaps_evicted = if evicted.is_unclear { set.available_reported - counted } else { 0 };
            set.available_reported = counted;
        }
    }

    /// A pod is about to be evicted. Its ReplicaSet reports so many available ones, and may count it out before the answer is
    /// here. That report may be older than the list, or newer: then it may count a pod that was not available in the list.
    fn evicting(&mut self, set: &str, is_available: bool, reported: i32, now: Timestamp) {
        let listed = self.available.get(set).copied().unwrap_or(reported);
        let before = reported.max(listed);
        let first = Unreported {
            listed,
            before,
            available: 0,
            unavailable: 0,
            is_unclear: false,
            sent_at: now,
            until: now,
        };
        let evicted = self.unreported.entry(set.to_owned()).or_insert(first);
        let count = evicted.count(is_available);
        *count = count.saturating_add(1);
        evicted.sent_at = now;
        evicted.until = after(now, COUNTED_SECONDS);
    }

    /// It was, or may have been: before now, and before the call had to end, however long this process stood still since.
    fn evicted(&mut self, set: &str, now: Timestamp) {
        let Some(evicted) = self.unreported.get_mut(set) else { return };
        let done_at = after(evicted.sent_at, CALL_SECONDS).min(now);
        evicted.until = after(done_at, REPORTED_SECONDS);
    }

    /// Nobody knows whether it was.
    fn perhaps_evicted(&mut self, set: &str, now: Timestamp) {
        self.evicted(set, now);
        if let Some(evicted) = self.unreported.get_mut(set) {
            evicted.is_unclear = true;
        }
    }

    /// It was not.
    fn kept(&mut self, set: &str, is_available: bool) {
        let Some(evicted) = self.unreported.get_mut(set) else { return };
        let count = evicted.count(is_available);
        *count = count.saturating_sub(1);
        if evicted.available <= 0 && evicted.unavailable <= 0 {
            self.unreported.remove(set);
        }
    }

    /// Whether what was decided on the last list may still go out.
    pub(crate) fn is_list_good(&self, now: Timestamp) -> bool {
        self.listed_at.is_some_and(|at| is_recent(at, GOOD_SECONDS, now))
    }

    /// When to decide again because of it. `pods`: what the decision before knew.
    pub(crate) fn next(&self, pods: Pods, now: Timestamp) -> Option<Timestamp> {
        let reported = self.unreported.values().map(|evicted| evicted.until).min();
        let again = match pods {
            Pods::Unwanted => None,
            Pods::Wanted => self.listed_at.map(|at| after(at, LIST_SECONDS)),
            Pods::Known => Some(after(now, AGAIN_SECONDS)),
        };
        [reported, again].into_iter().flatten().filter(|at| is_ahead(*at, COUNTED_SECONDS, now)).min()
    }

    fn may_list(&self, now: Timestamp) -> bool {
        self.listed_at.is_none_or(|at| !is_ahead(after(at, LIST_SECONDS), LIST_SECONDS, now))
    }
}

impl Unreported {
    fn count(&mut self, is_available: bool) -> &mut i32 {
        if is_available { &mut self.available } else { &mut self.unavailable }
    }
}

impl RolloutTask {
    /// Reads the pods of this rollout live, if it is time. There is nothing else to do.
    pub(crate) fn list_pods(&mut self, rollout: &Value, context: &mut Context<'_>) -> bool {
        if !self.restart.may_list(context.now) || self.failures.holds(&list_key(), context.now) {
            return false;
        }
        let labels = texts(rollout, "/spec/selector/matchLabels");
        let mut selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        selector.push(POD_TEMPLATE_HASH.to_owned());
        let call = Call::List { resource: PODS, namespace: self.name.0.clone(), labels: selector.join(",") };
        self.restart.listed_at = Some(context.now);
        let id = context.send(&self.key, Errand::ListPods, call);
        self.in_flight.insert(id);
        self.stage = Stage::Looking(Proves::Some);
        true
    }

    /// The reply to a live list of pods.
    pub(crate) fn pods_listed(&mut self, reply: Reply, context: &mut Context<'_>) {
        let refusal = match reply {
            Reply::Objects(pods) => {
                self.failures.clear(&list_key());
                let sets = context.store.children(&self.uid, REPLICA_SETS).map(object::uid);
                let sets: Vec<&str> = sets.collect();
                let is_ours = |pod: &RunningPod| sets.contains(&pod.set_uid.as_str());
                self.restart.listed = Some(pods.iter().filter_map(running).filter(is_ours).collect());
                return;
            }
            other => match outcome(other) {
                Outcome::Refused(refusal) | Outcome::Unclear(refusal) => refusal,
                Outcome::Done(_) => Refusal::new(FailureClass::Bug, "an object where a list was asked for"),
            },
        };
        self.failed(&list_key(), refusal, context);
    }

    /// An eviction goes out: until its ReplicaSet reports otherwise the pod counts as gone (R7).
    pub(crate) fn count_eviction(&mut self, effect: &Effect, context: &Context<'_>) {
        let Effect::EvictPod { replica_set, is_available, .. } = effect else { return };
        let mut sets = context.store.children(&self.uid, REPLICA_SETS);
        let set = sets.find(|set| object::meta(set, "name") == replica_set);
        let available = set.map_or(0, |set| object::count(set, "/status/availableReplicas"));
        self.restart.evicting(replica_set, *is_available, available, context.now);
    }

    /// It has an answer, or none.
    pub(crate) fn eviction_answered(&mut self, effect: &Effect, outcome: &Outcome, now: Timestamp) {
        let Effect::EvictPod { replica_set, is_available, .. } = effect else { return };
        match outcome {
            Outcome::Refused(_) => self.restart.kept(replica_set, *is_available),
            Outcome::Done(_) => self.restart.evicted(replica_set, now),
            Outcome::Unclear(_) => self.restart.perhaps_evicted(replica_set, now),
        }
    }
}

/// A pod that has not ended.
fn running(pod: &Value) -> Option<RunningPod> {
    let (_, set_uid) = owner(pod)?;
    let ready = condition(pod, "Ready").filter(|condition| text(condition, "/status") == "True");
    let has_ended = ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"));
    (!has_ended).then(|| RunningPod {
        name: object::meta(pod, "name").to_owned(),
        uid: object::uid(pod).to_owned(),
        set_uid: set_uid.to_owned(),
        created_at: object::created_at(pod),
        ready_since: ready
            .map(|condition| time(condition, "/lastTransitionTime").unwrap_or(Timestamp::UNIX_EPOCH)),
        is_leaving: object::is_deleting(pod),
        resource_version: object::resource_version(pod).to_owned(),
        metadata: pod.get("metadata").map(PodMetadata::of).unwrap_or_default(),
    })
}

fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000 + seconds).unwrap()
    }

    fn pods(ready: usize) -> Vec<RunningPod> {
        let pod = |index| RunningPod {
            name: format!("a-{index}"),
            uid: format!("uid-{index}"),
            set_uid: "a".to_owned(),
            created_at: at(0),
            ready_since: Some(at(0)),
            is_leaving: false,
            resource_version: String::new(),
            metadata: PodMetadata::default(),
        };
        (0..ready).map(pod).collect()
    }

    /// ReplicaSet a, as it reports itself.
    fn four_pods() -> ReplicaSetView {
        let text = r#"{"metadata": {"name": "a", "uid": "a"}, "spec": {"replicas": 4}, "status": {"availableReplicas": 4}}"#;
        crate::view::replica_set_view(&serde_json::from_str(text).unwrap())
    }

    /// What counts as available of the four pods that ReplicaSet a reports.
    fn seen(restart: &mut Restart, now: Timestamp) -> i32 {
        let mut set = four_pods();
        let listed = restart.listed.take();
        restart.unreported.retain(|_, evicted| is_ahead(evicted.until, COUNTED_SECONDS, now));
        restart.lay_over_set(&mut set, listed.as_deref(), now);
        set.available_reported
    }

    #[test]
    fn evictions_count_until_their_replica_set_has_had_time_to_report_them() {
        let mut restart = Restart::default();
        assert_eq!(seen(&mut restart, at(0)), 4);
        for _ in 0..2 {
            restart.evicting("a", true, 4, at(0));
            restart.evicted("a", at(0));
        }
        assert_eq!(seen(&mut restart, at(9)), 2);
        assert_eq!(restart.next(Pods::Unwanted, at(9)), Some(at(10)));
        assert_eq!(seen(&mut restart, at(10)), 4);
    }

    #[test]
    fn an_eviction_counts_while_its_answer_is_awaited_and_not_if_it_was_refused() {
        let mut restart = Restart::default();
        restart.evicting("a", true, 4, at(0));
        assert_eq!(seen(&mut restart, at(5)), 3);
        restart.kept("a", true);
        assert_eq!(seen(&mut restart, at(5)), 4);
    }

    #[test]
    fn of_an_eviction_without_an_answer_it_is_known_that_it_may_not_have_been() {
        let mut restart = Restart::default();
        restart.evicting("a", true, 4, at(0));
        restart.evicted("a", at(0));
        restart.evicting("a", true, 4, at(0));
        restart.perhaps_evicted("a", at(1));
        let mut set = four_pods();
        restart.lay_over_set(&mut set, None, at(2));
        // Also the first one: four may be there again, without it.
        assert_eq!((set.available_reported, set.perhaps_evicted), (2, 2));
    }

    #[test]
    fn a_pod_that_has_become_available_since_it_was_listed_may_be_there_after_an_eviction_without_an_answer()
    {
        for (listed, evicts_available) in [(3, false), (3, true), (0, false)] {
            let mut restart = Restart { listed: Some(pods(listed)), ..Restart::default() };
            assert_eq!(seen(&mut restart, at(0)), 4);
            restart.evicting("a", evicts_available, 4, at(0));
            restart.perhaps_evicted("a", at(1));
            let mut set = four_pods();
            restart.lay_over_set(&mut set, None, at(2));
            assert_eq!(set.available_at_most(), 4, "{listed} were listed");
        }
    }

    #[test]
    fn a_pod_that_becomes_available_while_it_is_evicted_does_not_count() {
        let mut restart = Restart { listed: Some(pods(3)), ..Restart::default() };
        assert_eq!(seen(&mut restart, at(0)), 4, "the report says so");
        restart.evicting("a", false, 4, at(0));
        assert_eq!(seen(&mut restart, at(4)), 3, "the fourth has become available since the list");
        restart.listed = Some(pods(3));
        assert_eq!(seen(&mut restart, at(5)), 3, "the fourth of the list ends");
        restart.kept("a", false);
        assert_eq!(seen(&mut restart, at(6)), 4, "the eviction was refused");

        restart.listed = Some(pods(3));
        assert_eq!(seen(&mut restart, at(7)), 4);
        restart.evicting("a", false, 3, at(7));
        restart.evicted("a", at(8));
        restart.listed = Some(pods(4));
        assert_eq!(seen(&mut restart, at(9)), 4, "another has come in its place");
    }

    #[test]
    fn an_answer_that_was_read_late_does_not_make_an_eviction_young() {
        let mut restart = Restart::default();
        restart.evicting("a", true, 4, at(0));
        restart.evicted("a", at(60));
        assert_eq!(
            seen(&mut restart, at(60)),
            4,
            "its ReplicaSet has reported it long ago, and made up for it"
        );
    }

    #[test]
    fn a_list_that_shows_all_pods_again_ends_that() {
        let mut restart = Restart::default();
        restart.evicting("a", true, 4, at(0));
        restart.listed = Some(pods(3));
        assert_eq!(seen(&mut restart, at(1)), 3);
        restart.listed = Some(pods(4));
        assert_eq!(seen(&mut restart, at(2)), 4);
        assert_eq!(seen(&mut restart, at(3)), 4);
    }

    #[test]
    fn a_report_that_is_older_than_such_a_list_does_not_count_more_than_it() {
        let mut restart = Restart { listed: Some(pods(3)), ..Restart::default() };
        assert_eq!(seen(&mut restart, at(0)), 4, "the fourth has become available since");
        restart.evicting("a", true, 3, at(0));
        restart.evicted("a", at(0));
        restart.listed = Some(pods(3));
        assert_eq!(
            seen(&mut restart, at(1)),
            3,
            "one of the four that it reports is the one that was evicted"
        );
        assert_eq!(seen(&mut restart, at(9)), 3);
        restart.listed = Some(pods(4));
        assert_eq!(seen(&mut restart, at(9)), 4);
        assert!(restart.unreported.is_empty());
    }

    #[test]
    fn a_report_that_is_older_than_the_list_does_not_count_an_eviction_twice() {
        let mut restart = Restart { listed: Some(pods(4)), ..Restart::default() };
        assert_eq!(seen(&mut restart, at(0)), 4);
        restart.evicting("a", true, 3, at(0));
        assert_eq!(seen(&mut restart, at(1)), 3);
    }

    #[test]
    fn lists_are_a_second_apart_and_go_stale() {
        let mut restart = Restart::default();
        assert!(restart.may_list(at(0)) && !restart.is_list_good(at(0)));
        restart.listed_at = Some(at(0));
        assert!(!restart.may_list(at(0)) && restart.is_list_good(at(0)));
        assert_eq!(restart.next(Pods::Wanted, at(0)), Some(at(1)));
        assert_eq!(restart.next(Pods::Known, at(0)), Some(at(10)));
        assert!(restart.may_list(at(1)));
        assert!(restart.is_list_good(at(10)) && !restart.is_list_good(at(11)));
        let before = at(-3_600);
        assert!(restart.may_list(before), "the clock was set back");
        assert!(!restart.is_list_good(before), "and what was seen then proves nothing");
    }
}
