//! Defects of decisions: the real deciders, with something done to what they see ([`seen`]) or to what they say.

use super::Defect;
use super::recording::spoil_record;
use super::seeing::{forget_drain, seen};
use super::wire::{Extra, Reported};
use headgate_analysis::RunSnapshot;
use headgate_api::{OutboxEntry, RolloutStatus, labels};
use headgate_driver::Deciders;
use headgate_driver::io::{Call, ObjectRef, Patch};
use headgate_driver::resources::{ANALYSIS_RUNS, EVENTS, REPLICA_SETS};
use headgate_model::spec::{AbortPolicy, WorkloadScaleDown};
use headgate_model::{
    Decision, Destination, Direction, Effect, EffectClass, Notice, NoticeKind, Observed, ReplicaSetView,
    Reply, RunningPod, Snapshot, Timestamp, TrafficIntent,
};
use headgate_notify::{About, Subscriptions, post};
use jiff::SignedDuration;
use serde_json::json;

/// The deciders of a defect. `extra` takes calls that go out beside the driver's own.
pub(super) fn deciders(defect: Defect, extra: &Extra, reported: &Reported) -> Deciders {
    let real = Deciders::default();
    if defect == Defect::None {
        return real;
    }
    let (decide, tell, find_news, run) = (real.rollout, real.notices, real.news, real.run);
    let (beside, early, at_once, reported) = (extra.clone(), extra.clone(), extra.clone(), reported.clone());
    let rollout = move |snapshot: &Snapshot, now: Timestamp| {
        let mut decision = decide(&seen(defect, snapshot, &reported), now);
        if matches!(defect, Defect::ShiftAndShrink | Defect::ShiftAndShrinkDecided)
            && decision.effects.iter().any(|effect| effect.class() == EffectClass::Shift)
        {
            let shrinks = shrinks_after(&decide(&as_shifted(snapshot, &decision), now));
            if defect == Defect::ShiftAndShrink {
                beside.add(shrinks.iter().filter_map(|effect| scale(effect, snapshot)));
            } else {
                decision.effects.extend(shrinks);
            }
        }
        beside.add(sent_beside(defect, snapshot, &decision));
        spoil(defect, &mut decision, snapshot, now);
        decision
    };
    let notices = move |snapshot: &Snapshot, record: &RolloutStatus| {
        let mut notices = tell(snapshot, record);
        match defect {
            Defect::EventBeforeRecord => {
                early.add(notices.drain(..).map(|notice| event(&notice, snapshot)));
            }
            Defect::DroppedSilently => {
                notices.retain(|notice| notice.reason != headgate_api::events::INTENT_DROPPED);
            }
            _ => {}
        }
        notices
    };
    let news = move |snapshot: &Snapshot, record: &RolloutStatus, wanted: &Subscriptions, now: Timestamp| {
        let mut news = find_news(snapshot, record, wanted, now);
        match defect {
            Defect::NotifiedFromDecision => {
                at_once.add(news.entries.drain(..).map(|entry| message(&entry, snapshot)));
            }
            Defect::OutboxDropped => news.entries.clear(),
            _ => {}
        }
        news
    };
    let run = move |snapshot: &RunSnapshot, now| {
        let mut snapshot = snapshot.clone();
        snapshot.outcomes.values_mut().for_each(|outcome| mistake(defect, &mut outcome.reply));
        run(&snapshot, now)
    };
    Deciders {
        rollout: Box::new(rollout),
        notices: Box::new(notices),
        news: Box::new(news),
        run: Box::new(run),
        ..real
    }
}

/// Calls that no decision holds.
fn sent_beside(defect: Defect, snapshot: &Snapshot, decision: &Decision) -> Vec<Call> {
    let resized = |effect: Option<Effect>| effect.and_then(|effect| scale(&effect, snapshot));
    match defect {
        Defect::StableGoesWithWish => resized(stable_as_wished(snapshot, decision)).into_iter().collect(),
        Defect::HeldReleaseBegun => resized(first_pod(snapshot, decision)).into_iter().collect(),
        Defect::RunEndedUnrecorded => {
            decision.effects.iter().filter_map(|effect| end_of_run(effect, snapshot)).collect()
        }
        _ => Vec::new(),
    }
}

/// The world as it will be once the shifts of this decision have been seen and every delay has passed.
fn as_shifted(snapshot: &Snapshot, decision: &Decision) -> Snapshot {
    let mut after = snapshot.clone();
    after.rollout.status = decision.record.clone();
    for effect in &decision.effects {
        let Effect::Route { config, intent, .. } = effect else { continue };
        let all = after.routers.iter_mut().chain(&mut after.former_routers);
        let routers = all.filter(|router| router.config == *config);
        for state in routers.filter_map(|router| router.state.as_mut().ok()) {
            if let Some(range) = &mut state.weights {
                (range.canary_min, range.canary_max) = (intent.canary_weight, intent.canary_weight);
                let weights = after.rollout.status.canary.as_mut().and_then(|canary| canary.weights.as_mut());
                if let Some(weights) = weights {
                    weights.canary.weight = intent.canary_weight;
                }
            }
        }
    }
    let stable = after.rollout.status.stable_rs.clone();
    for state in after.routers.iter_mut().filter_map(|router| router.state.as_mut().ok()) {
        state.selectors.values_mut().for_each(|selected| *selected = Some(stable.clone()));
    }
    let Observed::Present(sets) = &mut after.replica_sets else { return after };
    for set in sets.iter_mut().filter(|set| set.hash() != stable) {
        set.annotations.insert(labels::SCALE_DOWN_DEADLINE.to_owned(), String::new());
    }
    forget_drain(&mut after);
    after
}

/// Stable with the pods for the weight that the step sets, while it has more.
fn stable_as_wished(snapshot: &Snapshot, decision: &Decision) -> Option<Effect> {
    let spec = snapshot.rollout.spec.as_ref().ok()?;
    let is_dynamic = spec.canary.routing.as_ref().is_some_and(|routing| routing.dynamic_stable_scale);
    let record = &decision.record;
    let index = usize::try_from(record.current_step_index?).ok()?;
    if !is_dynamic || record.abort || index >= spec.canary.steps.len() {
        return None;
    }
    let total = spec.canary.total();
    let rest = total - spec.canary.weight_at(index);
    let to = (spec.replicas * rest + total - 1) / total;
    let is_stable = |set: &&ReplicaSetView| {
        set.hash() == record.stable_rs && set.hash() != record.current_pod_hash && set.replicas > to
    };
    let stable = snapshot.replica_sets.present()?.iter().find(is_stable)?;
    Some(Effect::Scale { name: stable.name.clone(), uid: stable.uid.clone(), from: stable.replicas, to })
}

/// The first pod of a release that is held.
fn first_pod(snapshot: &Snapshot, decision: &Decision) -> Option<Effect> {
    let record = &decision.record;
    let is_held = snapshot.rollout.spec.as_ref().is_ok_and(|spec| spec.paused) && !record.abort;
    let is_newest = |set: &&ReplicaSetView| {
        set.hash() == record.current_pod_hash && set.hash() != record.stable_rs && set.replicas == 0
    };
    let newest = snapshot.replica_sets.present()?.iter().filter(|_| is_held).find(is_newest)?;
    Some(Effect::Scale { name: newest.name.clone(), uid: newest.uid.clone(), from: 0, to: 1 })
}

fn shrinks_after(decision: &Decision) -> Vec<Effect> {
    let shrinks = decision.effects.iter().filter(|effect| effect.class() == EffectClass::Shrink);
    shrinks.filter(|effect| matches!(effect, Effect::Scale { .. })).cloned().collect()
}

/// A change of size as the driver sends it.
fn scale(effect: &Effect, snapshot: &Snapshot) -> Option<Call> {
    let Effect::Scale { name, uid, from, to } = effect else { return None };
    let target = ObjectRef {
        resource: REPLICA_SETS,
        namespace: snapshot.rollout.namespace.clone(),
        name: name.clone(),
    };
    let operations = json!([
        { "op": "test", "path": "/metadata/uid", "value": uid },
        { "op": "test", "path": "/spec/replicas", "value": from },
        { "op": "replace", "path": "/spec/replicas", "value": to },
    ]);
    Some(Call::Patch { target, status: false, patch: Patch::Json(operations) })
}

/// The end of a run as the driver orders it.
fn end_of_run(effect: &Effect, snapshot: &Snapshot) -> Option<Call> {
    let Effect::TerminateAnalysisRun { name, uid } = effect else { return None };
    let namespace = snapshot.rollout.namespace.clone();
    let target = ObjectRef { resource: ANALYSIS_RUNS, namespace, name: name.clone() };
    let body = json!({ "metadata": { "uid": uid }, "spec": { "terminate": true } });
    Some(Call::Patch { target, status: false, patch: Patch::Merge(body) })
}

/// An event, with as much of it as rules look at.
fn event(notice: &Notice, snapshot: &Snapshot) -> Call {
    let rollout = &snapshot.rollout;
    let name = format!("{}.{}.{}", rollout.name, rollout.resource_version, notice.reason);
    let kind = if notice.kind == NoticeKind::Normal { "Normal" } else { "Warning" };
    let body = json!({
        "metadata": { "name": name, "namespace": rollout.namespace },
        "involvedObject": { "kind": "Rollout", "name": rollout.name, "uid": rollout.uid },
        "type": kind, "reason": notice.reason, "message": notice.message,
    });
    Call::Create { target: ObjectRef { resource: EVENTS, namespace: rollout.namespace.clone(), name }, body }
}

/// A message to the webhook that every seed with webhooks has.
fn message(entry: &OutboxEntry, snapshot: &Snapshot) -> Call {
    let rollout = &snapshot.rollout;
    let about =
        About { namespace: rollout.namespace.clone(), name: rollout.name.clone(), uid: rollout.uid.clone() };
    Call::Notify { service: "hook".to_owned(), post: post(entry, &about, None) }
}

/// What becomes of a decision.
fn spoil(defect: Defect, decision: &mut Decision, snapshot: &Snapshot, now: Timestamp) {
    match defect {
        Defect::NoWakeUp => decision.wake_at = None,
        Defect::OldPodsKept => decision.effects.retain(|effect| effect.class() != EffectClass::Shrink),
        Defect::AbortedPodsKept if decision.record.abort => {
            let sets = snapshot.replica_sets.present().into_iter().flatten();
            let aborted = sets.filter(|set| set.hash() == decision.record.current_pod_hash);
            let aborted: Vec<&str> = aborted.map(|set| set.name.as_str()).collect();
            decision.effects.retain(
                |effect| !matches!(effect, Effect::Scale { name, to: 0, .. } if aborted.contains(&name.as_str())),
            );
        }
        Defect::NeverHandsOver => {
            decision.effects.retain(|effect| !matches!(effect, Effect::ScaleWorkload { .. }));
        }
        Defect::RouteNotWritten => decision.effects.retain(|effect| effect.class() != EffectClass::Shift),
        Defect::VersionsKept => {
            decision.effects.retain(|effect| !matches!(effect, Effect::DeleteReplicaSet { .. }));
        }
        Defect::RunsKept => {
            decision.effects.retain(|effect| !matches!(effect, Effect::DeleteAnalysisRun { .. }));
        }
        Defect::RunsGoOn => {
            decision.effects.retain(|effect| !matches!(effect, Effect::TerminateAnalysisRun { .. }));
        }
        Defect::WeightFollowsPods => follow_pods(decision, snapshot),
        Defect::ShrunkToNothing => resize(decision, |from, to| if to < from { 0 } else { to }),
        Defect::HandsOverAtOnce => hand_over_at_once(decision, snapshot),
        Defect::SurgeIgnored => resize(decision, |from, to| if to > from { to + 2 } else { to }),
        Defect::AbortForgetsServices if decision.record.abort => {
            decision.effects.retain(|effect| router(effect) != Some("services"));
        }
        Defect::AbortForgetsOneRouter if decision.record.abort && snapshot.routers.len() > 2 => {
            decision.effects.retain(|effect| router(effect) != Some("nginx"));
        }
        Defect::AbortTooFast if decision.record.abort => go_back_at_once(decision, snapshot),
        Defect::AbortForgetsWeights if decision.record.abort => {
            decision.effects.retain(|effect| router(effect).is_none_or(|router| router == "services"));
        }
        Defect::NeverStill => moving_number(decision, now, 1),
        Defect::NeverQuiet => moving_number(decision, now, 60),
        Defect::WaitUnnamed => decision.record.waiting = None,
        Defect::AllRestartedAtOnce if decision.effects.iter().any(evicts) => {
            decision.effects = snapshot.running.present().into_iter().flatten().map(evict).collect();
        }
        Defect::RestartTakenForDone if snapshot.running.present().is_some() => {
            let at = snapshot.rollout.spec.as_ref().ok().and_then(|spec| spec.restart_at);
            decision.record.restarted_at = at.map(headgate_api::Time);
        }
        Defect::PodsStayAsMade => {
            decision.effects.retain(|effect| !matches!(effect, Effect::PatchPod { .. }));
        }
        Defect::PodsTakenForRight => {
            for effect in &mut decision.effects {
                if let Effect::PatchReplicaSet(patch) = effect {
                    patch.annotations.remove(labels::FORMER_POD_METADATA);
                }
            }
        }
        _ => spoil_record(defect, decision, snapshot, now),
    }
}

/// The share of a canary that lacks pods goes down with them.
fn follow_pods(decision: &mut Decision, snapshot: &Snapshot) {
    let record = &decision.record;
    let sets = snapshot.replica_sets.present().into_iter().flatten();
    let canary = sets.into_iter().find(|set| set.hash() == record.current_pod_hash);
    let is_release = !record.abort && record.stable_rs != record.current_pod_hash;
    let moves = |effect: &Effect| effect.class() != EffectClass::Grow;
    let Some(canary) = canary.filter(|_| is_release && !decision.effects.iter().any(moves)) else { return };
    for router in snapshot.routers.iter().filter(|router| router.capabilities.weights) {
        let Some(range) = router.state.as_ref().ok().and_then(|state| state.weights) else { continue };
        let weight = range.canary_max * canary.available() / canary.replicas.max(1);
        if canary.available() > 0 && weight < range.canary_max {
            let to = |service: &Option<String>| Destination { service: service.clone(), hash: None };
            let intent = TrafficIntent {
                stable: to(&router.config.stable_service),
                canary: to(&router.config.canary_service),
                canary_weight: weight,
                total: range.total,
            };
            let (config, direction) = (router.config.clone(), Direction::TowardsStable);
            decision.effects.push(Effect::Route { config, intent, direction });
        }
    }
}

fn go_back_at_once(decision: &mut Decision, snapshot: &Snapshot) {
    let policy = snapshot.rollout.spec.as_ref().map(|spec| spec.canary.abort_policy);
    if policy != Ok(AbortPolicy::Instant) {
        return;
    }
    for effect in &mut decision.effects {
        if let Effect::Route { intent, direction: Direction::TowardsStable, .. } = effect {
            intent.canary_weight = 0;
        }
    }
}

fn hand_over_at_once(decision: &mut Decision, snapshot: &Snapshot) {
    let (Ok(spec), Some(Observed::Present(deployment))) =
        (&snapshot.rollout.spec, &snapshot.rollout.workload)
    else {
        return;
    };
    let is_wanted = spec.workload_scale_down != WorkloadScaleDown::Never;
    let shifts = decision.effects.iter().any(|effect| effect.class() == EffectClass::Shift);
    if let Some(from) = deployment.replicas.filter(|from| is_wanted && !shifts && *from > 0) {
        let (name, uid) = (deployment.reference.name.clone(), deployment.uid.clone());
        decision.effects.retain(|effect| !matches!(effect, Effect::ScaleWorkload { .. }));
        decision.effects.push(Effect::ScaleWorkload { name, uid, from, to: 0 });
    }
}

fn evicts(effect: &Effect) -> bool {
    matches!(effect, Effect::EvictPod { .. })
}

fn evict(pod: &RunningPod) -> Effect {
    let (name, uid) = (pod.name.clone(), pod.uid.clone());
    Effect::EvictPod { name, uid, replica_set: pod.set_uid.clone(), is_available: pod.ready_since.is_some() }
}

fn router(effect: &Effect) -> Option<&'static str> {
    match effect {
        Effect::Route { config, .. } => Some(config.router),
        _ => None,
    }
}

fn resize(decision: &mut Decision, size: impl Fn(i32, i32) -> i32) {
    for effect in &mut decision.effects {
        if let Effect::Scale { from, to, .. } = effect {
            *to = size(*from, *to);
        }
    }
}

fn moving_number(decision: &mut Decision, now: Timestamp, seconds: i64) {
    decision.record.message = format!("it is {}", now.as_second() / seconds);
    decision.wake_at = now.checked_add(SignedDuration::from_secs(seconds)).ok();
}

/// What becomes of the answer to a measurement.
fn mistake(defect: Defect, reply: &mut Reply) {
    let value = match (defect, &*reply) {
        (Defect::OutageTakenForFailure, Reply::Failed(_) | Reply::Http { status: 400.., .. }) => "0.0",
        (Defect::NoDataTakenForGood, Reply::Http { body, .. }) if body.contains("\"result\":[]") => "0.9999",
        _ => return,
    };
    let series = json!([{ "metric": {}, "value": [0, value] }]);
    let body = json!({ "status": "success", "data": { "resultType": "vector", "result": series } });
    *reply = Reply::Http { status: 200, body: body.to_string(), truncated: false };
}
