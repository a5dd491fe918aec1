//! Rule 9, for releases: pods that come and go do not put off the deadline. Each time that the deadline's clock starts
//! anew within a step, something has got further than ever before.

use super::conditions;
use super::restarts::restart_at;
use super::{View, Write};
use crate::world::server::{number, text};
use headgate_api::At;
use headgate_api::conditions::{reasons, types};
use headgate_driver::resources::ROLLOUTS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The way of one version through one step.
#[derive(Debug, Default)]
pub(super) struct Way {
    key: Vec<String>,
    least: Marks,
    most: Marks,
    /// Pods that a restart has replaced since, and those that a user who wants fewer has taken away: others may follow.
    replaced: i64,
    /// `spec.replicas`.
    desired: i64,
    renewed: i64,
}

/// Pods of the newest version that exist, are ready and are available, and pods of older ones.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    updated: i64,
    ready: i64,
    available: i64,
    old: i64,
}

impl Marks {
    fn of(view: &View) -> Self {
        let (newest, older): (Vec<_>, Vec<_>) = view.sets.iter().partition(|set| set.hash == view.current);
        Self {
            updated: newest.iter().map(|set| set.current).sum(),
            ready: newest.iter().map(|set| set.ready).sum(),
            available: newest.iter().map(|set| set.available_reported).sum(),
            old: older.iter().map(|set| set.current).sum(),
        }
    }

    fn with(self, other: Self, pick: fn(i64, i64) -> i64) -> Self {
        Self {
            updated: pick(self.updated, other.updated),
            ready: pick(self.ready, other.ready),
            available: pick(self.available, other.available),
            old: pick(self.old, other.old),
        }
    }
}

impl Way {
    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, view: &View) {
        let fewer = |most: i64| (most - view.desired).max(0);
        if view.desired < self.desired {
            self.replaced += fewer(self.most.ready) + fewer(self.most.available);
        }
        self.desired = view.desired;
        self.least = self.least.with(Marks::of(view), i64::min);
        self.most = self.most.with(Marks::of(view), i64::max);
    }

    /// A record is written; `views` are those that the process may have decided on.
    pub(super) fn written(&mut self, write: &Write<'_>, views: &[&View]) -> Result<(), String> {
        let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
            return Ok(());
        };
        // Only a record can say what it makes of what a user has done to the step since the last one.
        if before.get("status") == after.get("status") {
            return Ok(());
        }
        if key(before) != key(after) || key(after) != self.key {
            self.begin(after, views);
            return Ok(());
        }
        let is_renewed = progressing(before, "/lastUpdateTime") != progressing(after, "/lastUpdateTime")
            && progressing(before, "/reason") == reasons::REPLICA_SET_UPDATED
            && progressing(after, "/reason") == reasons::REPLICA_SET_UPDATED;
        self.renewed += i64::from(is_renewed && !has_waited_by_nature(before, after));
        let outdated =
            |rollout: &Value| rollout.at("/status/headgate/progress/outdated").and_then(Value::as_i64);
        self.replaced +=
            outdated(before).zip(outdated(after)).map_or(0, |(before, after)| (before - after).max(0));
        let (least, most) = (self.least, self.most);
        let steps = most.updated - least.updated + most.ready - least.ready + most.available
            - least.available
            + most.old
            - least.old
            + self.replaced;
        if self.renewed <= steps {
            return Ok(());
        }
        Err(format!(
            "the deadline was put off {} times, and the release got further {steps} times",
            self.renewed
        ))
    }

    fn begin(&mut self, rollout: &Value, views: &[&View]) {
        self.key = key(rollout);
        (self.renewed, self.replaced) = (0, 0);
        let mut marks = views.iter().map(|view| Marks::of(view));
        let first = marks.next().unwrap_or_default();
        (self.least, self.most) = marks.fold((first, first), |(least, most), marks| {
            (least.with(marks, i64::min), most.with(marks, i64::max))
        });
        let noted = rollout.at("/status/headgate/progress/available").and_then(Value::as_i64);
        if let Some(available) = noted.filter(|_| is_restarting(rollout)) {
            // A pod whose eviction had no answer counts as gone, until its ReplicaSet reports otherwise.
            self.least.available = self.least.available.min(available);
        }
    }
}

/// True when the deadline passed while it did not count: a first version was analysed that has lost a pod now, or a bake
/// waited for its verdict.
fn has_waited_by_nature(before: &Value, after: &Value) -> bool {
    let updated_at = |rollout| progressing(rollout, "/lastUpdateTime").parse::<Timestamp>().ok();
    let deadline = SignedDuration::from_secs(number(after, "/spec/progressDeadlineSeconds"));
    let has_passed = updated_at(before)
        .zip(updated_at(after))
        .is_some_and(|(before, after)| after.duration_since(before) >= deadline);
    let is_first = text(after, "/status/stableRS").is_empty();
    has_passed && (is_first || before.at("/status/headgate/bake").is_some())
}

fn is_restarting(rollout: &Value) -> bool {
    let done = text(rollout, "/status/restartedAt").parse().ok();
    restart_at(rollout).is_some_and(|at| done != Some(at))
}

/// While all of this stays, the way is the same one.
fn key(rollout: &Value) -> Vec<String> {
    let fields = [
        "/metadata/uid",
        "/status/currentPodHash",
        "/status/currentStepHash",
        "/status/currentStepIndex",
        "/status/stableRS",
        "/status/abort",
    ];
    let mut key: Vec<String> =
        fields.iter().map(|field| rollout.at(field).map_or(String::new(), Value::to_string)).collect();
    if text(rollout, "/status/stableRS").is_empty() {
        // A first version that has all of its pods and is to have more begins anew.
        key.push(number(rollout, "/spec/replicas").to_string());
    }
    // Whose bake begins has come to the end of the steps.
    if rollout.at("/status/headgate/bake").is_some_and(Value::is_object) {
        key.push("bake".to_owned());
    }
    // Time in which the spec cannot be carried out does not count.
    key.push(condition(rollout, types::INVALID_SPEC, "/status").to_owned());
    // Nor does time in which the analysis in the background, which has failed, holds a release: until a fresh run is good.
    let background = text(rollout, "/status/canary/currentBackgroundAnalysisRunStatus/status");
    if ["Failed", "Error"].contains(&background)
        || rollout.at("/status/headgate/analysisHold").is_some_and(Value::is_object)
    {
        key.push("held".to_owned());
    }
    // A retry, and pods lost by a version that was out, begin a new way.
    let reason = progressing(rollout, "/reason");
    if reason != reasons::REPLICA_SET_UPDATED {
        key.push(reason.to_owned());
    }
    key
}

/// What the condition Progressing says in a field.
pub(super) fn progressing<'a>(rollout: &'a Value, field: &str) -> &'a str {
    condition(rollout, types::PROGRESSING, field)
}

fn condition<'a>(rollout: &'a Value, type_: &str, field: &str) -> &'a str {
    conditions::of_type(rollout, type_).map_or("", |condition| text(condition, field))
}
