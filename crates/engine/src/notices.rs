//! Kubernetes events as a function of the stored record, the new record, and what came of the effects (R11).

use crate::analysis::{self, Role};
use crate::conditions::{get, has_reason};
use crate::intent;
use crate::on_failure;
use crate::pod_health;
use crate::scene::is_recent_rollback;
use crate::steps;
use crate::waiting::speaks_of;
use headgate_api::conditions::{TRUE, reasons, types};
use headgate_api::{AnalysisPhase, RolloutStatus, TrafficWeights, events};
use headgate_model::template::check_template;
use headgate_model::{Effect, EffectKey, Failure, Notice, ReplicaSetView, Snapshot, WaitFor};

/// The events of a decision: send them once `record` is stored.
pub fn notices(snapshot: &Snapshot, record: &RolloutStatus) -> Vec<Notice> {
    let change = Change { snapshot, old: &snapshot.rollout.status, new: record };
    let mut notices = Vec::new();
    change.invalid_spec(&mut notices);
    change.weights(&mut notices);
    change.begun(&mut notices);
    change.version(&mut notices);
    change.dropped_intents(&mut notices);
    change.ended_runs(&mut notices);
    change.abort(&mut notices);
    change.deadline(&mut notices);
    change.steps(&mut notices);
    change.pause(&mut notices);
    change.overdue_pause(&mut notices);
    change.failed_analysis(&mut notices);
    change.unhealthy_pod(&mut notices);
    change.runs(&mut notices);
    change.refusals(&mut notices);
    notices
}

struct Change<'a> {
    snapshot: &'a Snapshot,
    old: &'a RolloutStatus,
    new: &'a RolloutStatus,
}

impl Change<'_> {
    fn revision(&self) -> String {
        let sets = self.snapshot.replica_sets.present().into_iter().flatten();
        let (current, older): (Vec<_>, Vec<_>) =
            sets.partition(|set| set.hash() == self.new.current_pod_hash);
        let next = older.iter().map(|set| set.revision()).max().unwrap_or(0).saturating_add(1);
        current.iter().map(|set| set.revision()).max().unwrap_or(0).max(next).to_string()
    }

    fn invalid_spec(&self, notices: &mut Vec<Notice>) {
        let message = |status| get(status, types::INVALID_SPEC).map(|condition| condition.message.as_str());
        if let Some(new) = message(self.new)
            && message(self.old) != Some(new)
        {
            notices.push(Notice::warning(events::INVALID_SPEC, new));
        }
    }

    /// Argo Rollouts tells of the release first, and then of the revision and its ReplicaSet.
    fn begun(&self, notices: &mut Vec<Notice>) {
        let is_under_way = |status: &RolloutStatus| {
            !status.current_pod_hash.is_empty() && status.stable_rs != status.current_pod_hash
        };
        // A first version counts as stable at once, and is told as one that begins all the same.
        let is_first = self.old.current_pod_hash.is_empty() && !self.new.current_pod_hash.is_empty();
        if is_first || !is_under_way(self.old) && is_under_way(self.new) {
            let message = format!(
                "Rollout not completed, started update to revision {} ({})",
                self.revision(),
                self.new.current_pod_hash
            );
            notices.push(Notice::normal(events::ROLLOUT_NOT_COMPLETED, message));
        }
    }

    fn version(&self, notices: &mut Vec<Notice>) {
        if self.old.current_pod_hash != self.new.current_pod_hash {
            // A version that only gets another name has been told already.
            let known = &self.old.current_pod_hash;
            if !intent::has_another_name(&self.snapshot.rollout, self.new.collision_count, known) {
                let message = format!("Rollout updated to revision {}", self.revision());
                notices.push(Notice::normal(events::ROLLOUT_UPDATED, message));
                self.malformed_template(notices);
            }
            let mut sets = self.snapshot.replica_sets.present().into_iter().flatten();
            if sets.all(|set| set.hash() != self.new.current_pod_hash) {
                let message = format!(
                    "Created ReplicaSet {}-{} (revision {})",
                    self.snapshot.rollout.name,
                    self.new.current_pod_hash,
                    self.revision()
                );
                notices.push(Notice::normal(events::NEW_REPLICA_SET_CREATED, message));
            }
        }
        let completed = |status: &RolloutStatus| {
            !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash
        };
        // Who goes back to the stable version in the middle of a release has completed nothing.
        if self.old.stable_rs != self.new.stable_rs && completed(self.new) {
            let message = format!(
                "Rollout completed update to revision {} ({}): {}",
                self.revision(),
                self.new.current_pod_hash,
                self.why_completed()
            );
            notices.push(Notice::normal(events::ROLLOUT_COMPLETED, message));
        }
    }

    fn why_completed(&self) -> String {
        if self.old.stable_rs.is_empty() {
            "Initial deploy".to_owned()
        } else if self.old.promote_full {
            "Full promotion requested".to_owned()
        } else if self.is_recent_rollback() {
            "Rollback within window".to_owned()
        } else if self.has_lost_stable() {
            "the ReplicaSet of the stable version is gone".to_owned()
        } else {
            format!("Completed all {} canary steps", self.new.current_step_index.unwrap_or(0))
        }
    }

    /// Somebody has deleted it: the newest version takes its place, wherever its release stands.
    fn has_lost_stable(&self) -> bool {
        let sets = self.snapshot.replica_sets.present();
        sets.is_some_and(|sets| sets.iter().all(|set| set.hash() != self.old.stable_rs))
    }

    /// Part of what the user wrote is not rolled out.
    fn malformed_template(&self, notices: &mut Vec<Notice>) {
        let template = self.snapshot.rollout.spec_raw.get("template");
        if let Some(Err(problem)) = template.map(check_template) {
            let message = format!(
                "spec.template{problem}: it is left out, and with it what follows in alphabetical order where that is a \
                 quantity, a time or a port; write it as it should be"
            );
            notices.push(Notice::warning(events::MALFORMED_TEMPLATE, message));
        }
    }

    fn is_recent_rollback(&self) -> bool {
        let (Ok(spec), Some(sets)) = (&self.snapshot.rollout.spec, self.snapshot.replica_sets.present())
        else {
            return false;
        };
        let sets: Vec<&ReplicaSetView> = sets.iter().filter(|set| !set.deleting).collect();
        let hashes = (self.new.current_pod_hash.as_str(), self.old.stable_rs.as_str());
        is_recent_rollback(&sets, hashes, spec.rollback_window)
    }

    /// The same for one that has pods still.
    fn is_back_to_pods(&self) -> bool {
        let mut sets = self.snapshot.replica_sets.present().into_iter().flatten();
        self.is_recent_rollback()
            && sets.any(|set| set.hash() == self.new.current_pod_hash && set.replicas > 0)
    }

    fn deadline(&self, notices: &mut Vec<Notice>) {
        let reason = reasons::PROGRESS_DEADLINE_EXCEEDED;
        let is_missed = |status| has_reason(status, types::PROGRESSING, reason);
        if is_missed(self.new) && !is_missed(self.old) {
            let message =
                get(self.new, types::PROGRESSING).map_or("", |condition| condition.message.as_str());
            notices.push(Notice::warning(events::PROGRESS_DEADLINE_EXCEEDED, message));
        }
    }

    fn dropped_intents(&self, notices: &mut Vec<Notice>) {
        if self.old.current_pod_hash.is_empty() || self.old.current_pod_hash == self.new.current_pod_hash {
            return;
        }
        // One of them stays when only the name of the version has changed.
        let aborts = self.old.abort && self.old.aborted_at.is_none() && !self.new.abort;
        let promotes = self.old.promote_full && !self.new.promote_full;
        let has_resumed = self.old.is_resumed();
        for (dropped, what) in [(aborts, "abort"), (promotes, "full promotion"), (has_resumed, "promotion")] {
            if dropped {
                let message = format!(
                    "The {what} was meant for version {}, but the pod template has changed: it is dropped",
                    self.old.current_pod_hash
                );
                notices.push(Notice::warning(events::INTENT_DROPPED, message));
            }
        }
    }

    fn abort(&self, notices: &mut Vec<Notice>) {
        let aborted =
            |status| get(status, types::PROGRESSING).filter(|known| known.reason == reasons::ROLLOUT_ABORTED);
        let is_new = aborted(self.old).is_none() || self.new.is_another_abort(self.old);
        if let Some(new) = aborted(self.new).filter(|_| is_new) {
            notices.push(Notice::warning(events::ROLLOUT_ABORTED, new.message.clone()));
        }
    }

    fn steps(&self, notices: &mut Vec<Notice>) {
        let Ok(spec) = &self.snapshot.rollout.spec else { return };
        let same = self.old.current_pod_hash == self.new.current_pod_hash
            && self.old.current_step_hash == self.new.current_step_hash;
        let count = spec.canary.steps.len();
        let end = steps::end(spec);
        if !same {
            let back =
                self.new.stable_rs == self.new.current_pod_hash && self.old.stable_rs == self.new.stable_rs;
            let is_another = self.old.current_pod_hash != self.new.current_pod_hash;
            let skips = [
                (back, "Rollback to stable ReplicaSets"),
                (self.is_back_to_pods(), "Rollback to active ReplicaSets within RollbackWindow"),
            ];
            let skipped = skips.into_iter().find(|(skips, _)| *skips && is_another && end.is_some());
            notices.extend(skipped.map(|(_, message)| Notice::normal(events::SKIP_STEPS, message)));
            return;
        }
        let (Some(before), Some(after)) = (self.old.current_step_index, self.new.current_step_index) else {
            return;
        };
        // A full promotion skips what is left.
        if Some(after) == before.checked_add(1) && !self.new.abort && !self.old.promote_full {
            let index = usize::try_from(before).unwrap_or(usize::MAX);
            let written = self.snapshot.rollout.spec_raw.pointer(&format!("/strategy/canary/steps/{index}"));
            let what =
                spec.canary.steps.get(index).map(|step| steps::describe(step, written)).unwrap_or_default();
            let message = format!("Rollout step {after}/{count} completed ({what})");
            notices.push(Notice::normal(events::ROLLOUT_STEP_COMPLETED, message));
        }
    }

    fn pause(&self, notices: &mut Vec<Notice>) {
        let paused = |status: &RolloutStatus| {
            let condition = get(status, types::PAUSED);
            !status.abort && condition.is_some_and(|condition| condition.status == TRUE)
        };
        match (paused(self.old), paused(self.new)) {
            (false, true) => {
                let reason = self
                    .new
                    .pause_conditions
                    .first()
                    .map_or("manually paused", |pause| pause.reason.as_str());
                notices.push(Notice::normal(events::ROLLOUT_PAUSED, format!("Rollout is paused ({reason})")));
            }
            (true, false) if !self.new.abort => {
                notices.push(Notice::normal(events::ROLLOUT_RESUMED, "Rollout is resumed"));
            }
            _ => {}
        }
    }

    /// Nobody has promoted in time, and the spec says that the release waits on.
    fn overdue_pause(&self, notices: &mut Vec<Notice>) {
        let overdue = |status: &RolloutStatus| {
            let waiting = status.waiting.as_ref()?;
            (waiting.kind == WaitFor::PauseOverdue.as_str()).then(|| waiting.message.clone())
        };
        if let Some(message) = overdue(self.new).filter(|new| overdue(self.old).as_ref() != Some(new)) {
            notices.push(Notice::warning(events::PAUSE_OVERDUE, message));
        }
    }

    /// Why a release waits for a user to look at an analysis; also when it waits for something else besides.
    fn failed_analysis(&self, notices: &mut Vec<Notice>) {
        let told = on_failure::paused_by;
        if let Some(message) = told(self.new).filter(|new| told(self.old).as_ref() != Some(new)) {
            notices.push(Notice::warning(events::ANALYSIS_FAILED, format!("Rollout is paused: {message}")));
        }
    }

    /// Why a release waits for a user to look at a pod; also when it was in another pause already.
    fn unhealthy_pod(&self, notices: &mut Vec<Notice>) {
        let problem = pod_health::problem(self.new);
        if let Some(problem) = problem.filter(|problem| pod_health::problem(self.old) != Some(problem)) {
            notices.push(Notice::warning(events::UNHEALTHY_POD, format!("Rollout is paused: {problem}")));
        }
    }

    fn weights(&self, notices: &mut Vec<Notice>) {
        let weight = |status: &RolloutStatus| weights(status).map(|weights| weights.canary.weight);
        if let (before, Some(after)) = (weight(self.old), weight(self.new))
            && before.unwrap_or(0) != after
        {
            let message = format!("Traffic weight updated from {} to {after}", before.unwrap_or(0));
            notices.push(Notice::normal(events::TRAFFIC_WEIGHT_UPDATED, message));
        }
    }

    fn runs(&self, notices: &mut Vec<Notice>) {
        for (kind, role) in roles(self.new) {
            let run_of = |record| analysis::run_of(record, role);
            let (old, Some(new)) = (run_of(self.old), run_of(self.new)) else { continue };
            if old.is_none_or(|old| old.name != new.name) {
                let blind = analysis::blind(self.snapshot, self.new, role).into_iter();
                notices.extend(blind.map(|message| {
                    let message = format!("{kind} Analysis Run '{}': {message}", new.name);
                    Notice::warning(events::BLIND_ANALYSIS, message)
                }));
            }
            let before = old.filter(|old| old.name == new.name).and_then(|old| old.status);
            let Some(after) = new.status.filter(|after| Some(*after) != before) else { continue };
            notices.push(run_notice(kind, &new.name, before, after));
        }
    }

    /// Runs that have ended and that the record names no more: an abort, or the end of their step, has come of it.
    fn ended_runs(&self, notices: &mut Vec<Notice>) {
        for (kind, role) in roles(self.old) {
            let Some(old) = analysis::run_of(self.old, role) else { continue };
            if analysis::run_of(self.new, role).is_some_and(|new| new.name == old.name) {
                continue;
            }
            let mut runs = self.snapshot.analysis_runs.present().into_iter().flatten();
            let run = runs.find(|run| run.name == old.name).map(|run| run.phase);
            let ended = run.filter(|phase| phase.is_completed() && Some(*phase) != old.status);
            notices.extend(ended.map(|phase| run_notice(kind, &old.name, old.status, phase)));
        }
    }

    /// What the API server refuses is told once, when the wait for it begins. What may come right by itself has been told
    /// by who tries it.
    fn refusals(&self, notices: &mut Vec<Notice>) {
        let Some(waiting) = self.new.waiting.as_ref() else { return };
        let name = &self.snapshot.rollout.name;
        let is_told = |(key, failure): &(&EffectKey, &Failure)| speaks_of(waiting, name, key, failure);
        let refused = self.snapshot.failures.iter().find(is_told);
        let is_known = || self.old.waiting.as_ref().is_some_and(|old| old.message == waiting.message);
        if let Some((key, failure)) = refused
            && failure.class.is_refused()
            && !is_known()
        {
            notices.push(Notice::warning(key.verb.failure_reason(), waiting.message.clone()));
        }
    }
}

fn weights(status: &RolloutStatus) -> Option<&TrafficWeights> {
    status.canary.as_ref()?.weights.as_ref()
}

/// What a record names runs for, and how events call it.
fn roles(record: &RolloutStatus) -> [(&'static str, Role); 2] {
    analysis::roles(record).map(|role| match role {
        Role::Step(_) => ("Step", role),
        Role::Background => ("Background", role),
        Role::Bake => ("Bake", role),
    })
}

fn run_notice(kind: &str, name: &str, before: Option<AnalysisPhase>, after: AnalysisPhase) -> Notice {
    let before = before.map_or("NoPreviousStatus", |before| before.as_str());
    let message = format!("{kind} Analysis Run '{name}' Status New: '{after}' Previous: '{before}'");
    if after.has_failed() {
        Notice::warning(run_reason(after), message)
    } else {
        Notice::normal(run_reason(after), message)
    }
}

fn run_reason(phase: AnalysisPhase) -> &'static str {
    match phase {
        AnalysisPhase::Pending => "AnalysisRunPending",
        AnalysisPhase::Running => "AnalysisRunRunning",
        AnalysisPhase::Successful => "AnalysisRunSuccessful",
        AnalysisPhase::Failed => "AnalysisRunFailed",
        AnalysisPhase::Error => "AnalysisRunError",
        AnalysisPhase::Inconclusive => "AnalysisRunInconclusive",
    }
}

/// The event of an effect that has succeeded, where there is one: scaled ReplicaSets and switched Services.
pub fn outcome(snapshot: &Snapshot, effect: &Effect) -> Vec<Notice> {
    match effect {
        Effect::Scale { name, from, to, .. } => {
            let sets = snapshot.replica_sets.present();
            let revision =
                sets.into_iter().flatten().find(|set| set.name == *name).map_or(0, ReplicaSetView::revision);
            let direction = if to > from { "up" } else { "down" };
            let message =
                format!("Scaled {direction} ReplicaSet {name} (revision {revision}) from {from} to {to}");
            vec![Notice::normal(events::SCALING_REPLICA_SET, message)]
        }
        Effect::ScaleWorkload { name, from, to, .. } => {
            let direction = if to > from { "up" } else { "down" };
            let message =
                format!("Scaled {direction} Deployment {name} (spec.workloadRef) from {from} to {to}");
            vec![Notice::normal(events::SCALING_REPLICA_SET, message)]
        }
        Effect::Route { config, intent, .. } => {
            let router = snapshot.routers.iter().find(|router| router.config == *config);
            let Some(Ok(state)) = router.map(|router| &router.state) else { return Vec::new() };
            let switched = [&intent.stable, &intent.canary].into_iter().filter_map(|wish| {
                let (service, hash) = (wish.service.as_ref()?, wish.hash.as_ref()?);
                let before = state.selectors.get(service)?.clone().unwrap_or_default();
                let message =
                    format!("Switched selector for service '{service}' from '{before}' to '{hash}'");
                (before != *hash)
                    .then(|| Notice::normal(events::SWITCH_SERVICE, message).once_changed(service))
            });
            switched.collect()
        }
        _ => Vec::new(),
    }
}
