//! What of a status is to be written (R1, R10): the difference between the stored JSON and the record.

use crate::io::Resource;
use headgate_api::At;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Fields of a status that count pods. They move all the time, so they are written at most once a second.
const COUNTERS: [&str; 5] =
    ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "HPAReplicas"];

/// A merge patch of a status.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordPatch {
    /// The fields to write; `null` removes one.
    pub(crate) status: Map<String, Value>,
    /// What kind of change this is.
    pub(crate) weight: Weight,
}

/// How much a change of the status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Nothing differs.
    Unchanged,
    /// Only numbers of pods and what is said about them, or the times at which conditions were looked at.
    Counters,
    /// Something else.
    Change,
    /// The phase, the step, the weights or the version.
    Progress,
}

/// The patch that makes `stored`, of which our type understands `known`, say what `record` says. What the type does not know
/// survives, inside lists as long as the list itself stays the same.
pub(crate) fn patch<T: Serialize + PartialEq>(
    resource: Resource,
    stored: Option<&Value>,
    known: &T,
    record: &T,
    pruned: &Pruned,
) -> RecordPatch {
    if known == record {
        return RecordPatch { status: Map::new(), weight: Weight::Unchanged };
    }
    let empty = Value::Object(Map::new());
    let stored = stored.filter(|stored| stored.is_object()).unwrap_or(&empty);
    let mut known = json(known);
    let mut wanted = json(record);
    pruned.strip(resource, &mut known);
    pruned.strip(resource, &mut wanted);
    let status = difference(stored, &known, &wanted);
    let weight = weigh(&status, &known, &wanted);
    RecordPatch { status, weight }
}

/// Statuses are plain data with text keys: they always have a JSON form.
fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Object(Map::new()))
}

/// `known` is what our types understand of `stored`. Equal there means equal, however it is spelled.
fn difference(stored: &Value, known: &Value, wanted: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    let (Value::Object(known), Value::Object(wanted)) = (known, wanted) else { return patch };
    let none = Value::Object(Map::new());
    for (field, want) in wanted {
        let have = known.get(field);
        if have == Some(want) {
            continue;
        }
        match stored.get(field) {
            Some(inside @ Value::Object(_)) if want.is_object() => {
                let inner = difference(inside, have.unwrap_or(&none), want);
                if !inner.is_empty() {
                    patch.insert(field.clone(), Value::Object(inner));
                }
            }
            _ => {
                patch.insert(field.clone(), want.clone());
            }
        }
    }
    for (field, have) in known.iter().filter(|(field, _)| !wanted.contains_key(*field)) {
        let inside = stored.get(field).unwrap_or(&Value::Null);
        match unknown_fields(inside, have) {
            Unknown::None => {
                patch.insert(field.clone(), Value::Null);
            }
            Unknown::Some => {
                let inner = difference(inside, have, &none);
                if !inner.is_empty() {
                    patch.insert(field.clone(), Value::Object(inner));
                }
            }
        }
    }
    patch
}

/// Whether a stored object has fields that our types don't know.
enum Unknown {
    None,
    Some,
}

fn unknown_fields(stored: &Value, known: &Value) -> Unknown {
    let (Value::Object(stored), Value::Object(known)) = (stored, known) else { return Unknown::None };
    let unknown = |(field, value): (&String, &Value)| match known.get(field) {
        None => !value.is_null(),
        Some(inside) => matches!(unknown_fields(value, inside), Unknown::Some),
    };
    if stored.iter().any(unknown) { Unknown::Some } else { Unknown::None }
}

fn weigh(patch: &Map<String, Value>, known: &Value, wanted: &Value) -> Weight {
    const PROGRESS: [&str; 5] =
        ["/phase", "/currentStepIndex", "/canary/weights", "/currentPodHash", "/stableRS"];
    if patch.is_empty() {
        return Weight::Unchanged;
    }
    if PROGRESS.into_iter().any(|field| known.at(field) != wanted.at(field)) {
        return Weight::Progress;
    }
    let moves_pods = patch.keys().any(|field| counts_pods(field));
    let is_counter = |field: &String| match field.as_str() {
        "conditions" => without_update_times(known) == without_update_times(wanted),
        "headgate" => without_progress(known) == without_progress(wanted),
        // What is said about pods goes along with their number. Two leaders that see different numbers would otherwise
        // contradict each other as fast as they can.
        "message" | "waiting" => moves_pods,
        // A new template is a new version, which counts; else the workload was scaled, by us or by others.
        "workloadObservedGeneration" => true,
        _ => counts_pods(field),
    };
    if patch.keys().all(is_counter) { Weight::Counters } else { Weight::Change }
}

/// True when the patch moves a number of pods, so that something is on its way.
pub(crate) fn moves_pods(patch: &RecordPatch) -> bool {
    patch.status.keys().any(|field| counts_pods(field))
}

fn counts_pods(field: &str) -> bool {
    COUNTERS.contains(&field)
}

fn without_update_times(status: &Value) -> Option<Vec<Value>> {
    let mut conditions = status.get("conditions")?.as_array()?.clone();
    for condition in &mut conditions {
        if let Value::Object(fields) = condition {
            fields.remove("lastUpdateTime");
        }
    }
    Some(conditions)
}

/// `status.headgate` but for how many pods a release has had: those are counters too.
fn without_progress(status: &Value) -> Map<String, Value> {
    let mut memory = status.get("headgate").and_then(Value::as_object).cloned().unwrap_or_default();
    memory.remove("progress");
    memory.remove("handOver");
    memory
}

/// Fields that the API server drops from what we write, because an older CRD is installed. They are left out of
/// every comparison and write from then on; safety never depends on them. Forgotten when the process restarts.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    paths: BTreeSet<(Resource, Vec<String>)>,
}

/// Stands for any element of a list in a path.
const ELEMENT: &str = "[]";

impl Pruned {
    /// Compares what was written with the status in the answer; returns the fields newly found missing, as
    /// paths for people (`status.waiting`).
    pub(crate) fn learn(
        &mut self,
        resource: Resource,
        written: &Map<String, Value>,
        answer: &Value,
    ) -> Vec<String> {
        let mut lost = Vec::new();
        lost_fields(written, answer, &mut Vec::new(), &mut lost);
        let mut new = Vec::new();
        for path in lost {
            let name = format!("status.{}", path.join(".").replace(".[]", "[]"));
            if self.paths.insert((resource, path)) {
                new.push(name);
            }
        }
        new
    }

    /// The parts of a record that the server drops. `stored`: the status without them.
    pub(crate) fn lost<T: Serialize>(
        &self,
        resource: Resource,
        record: &T,
        stored: Option<&Value>,
    ) -> Unstored {
        let record = json(record);
        let paths = self.paths.iter().filter(|(kind, path)| *kind == resource && !in_list(path));
        let found = paths.filter_map(|(_, path)| {
            let value = path.iter().try_fold(&record, |value, field| value.get(field))?;
            Some((path.clone(), value.clone()))
        });
        let fields: Vec<_> = found.collect();
        let beside = if fields.is_empty() { None } else { stored.cloned().map(without_wishes) };
        Unstored { fields, beside }
    }

    pub(crate) fn strip(&self, resource: Resource, status: &mut Value) {
        for (_, path) in self.paths.iter().filter(|(kind, _)| *kind == resource) {
            remove(status, path);
        }
    }
}

/// What we would have stored and the server drops, kept for as long as the process lives: drain times are in there. It
/// belongs to one status: once another process has written a new one, what we remember may be long past. The wishes of a
/// user, who writes into the status, too, make no other one of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unstored {
    fields: Vec<(Vec<String>, Value)>,
    beside: Option<Value>,
}

impl Unstored {
    /// What is kept at this path below the status.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&Value> {
        self.fields.iter().find_map(|(kept, value)| {
            let rest = path.get(kept.len()..)?;
            let is_above = kept.iter().zip(path).all(|(kept, field)| kept == field);
            is_above.then(|| rest.iter().try_fold(value, |value, field| value.get(field)))?
        })
    }

    /// True when the server drops nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Lays the kept fields under an object with the status that they belong to, where it lacks them.
    pub(crate) fn lay_under(&self, object: &mut Value) {
        if self.beside != object.get("status").cloned().map(without_wishes) {
            return;
        }
        for (path, kept) in &self.fields {
            let Some((field, parents)) = path.split_last() else { continue };
            let status = object.get_mut("status");
            let parent = parents.iter().try_fold(status, |value, parent| Some(value?.get_mut(parent)));
            if let Some(Some(Value::Object(parent))) = parent {
                parent.entry(field.clone()).or_insert_with(|| kept.clone());
            }
        }
    }
}

/// Fields of a status that a user may write: all that a command of the stock plugin changes.
const WISHES: [&str; 5] = ["abort", "promoteFull", "pauseConditions", "controllerPause", "currentStepIndex"];

/// The status without what a user may write. Another process that goes to the next step could have written the same, but no
/// weight before the record of it, which tells the two apart.
pub(crate) fn without_wishes(mut status: Value) -> Value {
    if let Value::Object(fields) = &mut status {
        fields.retain(|field, _| !WISHES.contains(&field.as_str()));
    }
    status
}

/// What a user may write, of what is written.
pub(crate) fn wishes(mut written: Map<String, Value>) -> Map<String, Value> {
    written.retain(|field, _| WISHES.contains(&field.as_str()));
    written
}

fn in_list(path: &[String]) -> bool {
    path.iter().any(|field| field == ELEMENT)
}

fn lost_fields(
    written: &Map<String, Value>,
    answer: &Value,
    path: &mut Vec<String>,
    lost: &mut Vec<Vec<String>>,
) {
    for (field, value) in written.iter().filter(|(_, value)| !value.is_null()) {
        path.push(field.clone());
        match answer.get(field) {
            None => lost.push(path.clone()),
            Some(answered) => lost_values(value, answered, path, lost),
        }
        path.pop();
    }
}

fn lost_values(written: &Value, answer: &Value, path: &mut Vec<String>, lost: &mut Vec<Vec<String>>) {
    match (written, answer) {
        (Value::Object(fields), Value::Object(_)) => lost_fields(fields, answer, path, lost),
        (Value::Array(items), Value::Array(answers)) if items.len() == answers.len() => {
            path.push(ELEMENT.to_owned());
            for (item, answered) in items.iter().zip(answers) {
                lost_values(item, answered, path, lost);
            }
            path.pop();
        }
        _ => {}
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let [first, rest @ ..] = path else { return };
    match value {
        Value::Array(items) if first == ELEMENT => items.iter_mut().for_each(|item| remove(item, rest)),
        Value::Object(fields) if rest.is_empty() => {
            fields.remove(first);
        }
        Value::Object(fields) => {
            if let Some(inner) = fields.get_mut(first) {
                remove(inner, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::ROLLOUTS;
    use headgate_api::RolloutStatus;
    use serde_json::json;

    fn check(stored: impl Into<Value>, record: impl Into<Value>, expected: impl Into<Value>, weight: Weight) {
        let record: RolloutStatus = serde_json::from_value(record.into()).unwrap();
        let stored: Value = stored.into();
        let known: RolloutStatus = serde_json::from_value(stored.clone()).unwrap();
        let patch = patch(ROLLOUTS, Some(&stored), &known, &record, &Pruned::default());
        assert_eq!(Value::Object(patch.status), expected.into());
        assert_eq!(patch.weight, weight);
    }

    #[test]
    fn a_record_that_says_the_same_is_no_write() {
        check(
            json!({"replicas": 0, "phase": "Healthy"}),
            json!({"phase": "Healthy"}),
            json!({}),
            Weight::Unchanged,
        );
    }

    #[test]
    fn fields_of_ours_are_removed_and_unknown_ones_survive() {
        check(
            json!({"abort": true, "theirs": 1, "canary": {"currentExperiment": "e", "theirs": 2}}),
            json!({}),
            json!({"abort": null, "canary": {"currentExperiment": null}}),
            Weight::Change,
        );
        check(
            json!({"canary": {"currentExperiment": "e"}}),
            json!({}),
            json!({"canary": null}),
            Weight::Change,
        );
    }

    #[test]
    fn numbers_of_pods_are_counters_and_the_phase_is_progress() {
        check(json!({"replicas": 1}), json!({"replicas": 2}), json!({"replicas": 2}), Weight::Counters);
        check(
            json!({"replicas": 1}),
            json!({"replicas": 2, "phase": "Paused"}),
            json!({"replicas": 2, "phase": "Paused"}),
            Weight::Progress,
        );
        check(
            json!({"conditions": [{"type": "Progressing", "status": "True", "lastUpdateTime": "2026-01-01T00:00:00Z"}]}),
            json!({"replicas": 2, "conditions": [{"type": "Progressing", "status": "True", "lastUpdateTime": "2026-01-01T00:00:09Z"}]}),
            json!({"replicas": 2, "conditions": [{"type": "Progressing", "status": "True", "lastUpdateTime": "2026-01-01T00:00:09Z",
                "lastTransitionTime": null, "message": "", "reason": ""}]}),
            Weight::Counters,
        );
    }

    #[test]
    fn what_is_said_about_pods_is_as_light_as_their_number() {
        let message = json!({"message": "more replicas need to be updated"});
        check(json!({}), message.clone(), message, Weight::Change);
        let both = json!({"message": "updated replicas are still becoming available", "replicas": 2});
        check(json!({}), both.clone(), both, Weight::Counters);
    }

    #[test]
    fn how_far_a_release_has_come_is_a_counter_and_the_rest_of_our_memory_is_not() {
        let stored = json!({"headgate": {"progress": {"desired": 4, "updated": 1, "ready": 0, "available": 0, "old": 4}}});
        let mut record = stored.clone();
        record["headgate"]["progress"]["ready"] = json!(1);
        let patch = json!({"headgate": {"progress": {"ready": 1}}});
        check(stored.clone(), record.clone(), patch, Weight::Counters);
        record["headgate"]["abortReason"] = json!("a metric failed");
        let patch = json!({"headgate": {"abortReason": "a metric failed", "progress": {"ready": 1}}});
        check(stored, record, patch, Weight::Change);
    }

    #[test]
    fn what_the_server_drops_is_remembered_until_another_process_writes_the_status() {
        let mut pruned = Pruned::default();
        let record = json!({"phase": "Paused", "headgate": {"weightLoweredAt": "2026-01-01T00:00:00Z"}});
        let answer = json!({"phase": "Paused"});
        pruned.learn(ROLLOUTS, record.as_object().unwrap(), &answer);
        let unstored = pruned.lost(ROLLOUTS, &record, Some(&answer));
        let mut rollout = json!({ "status": answer });
        unstored.lay_under(&mut rollout);
        assert_eq!(rollout["status"], record);
        let by_another = json!({ "status": {"phase": "Paused", "currentPodHash": "another"} });
        let mut rollout = by_another.clone();
        unstored.lay_under(&mut rollout);
        assert_eq!(rollout, by_another);
    }

    #[test]
    fn a_pruned_field_is_named_once_and_left_out_afterwards() {
        let mut pruned = Pruned::default();
        let written =
            json!({"phase": "Healthy", "waiting": {"kind": "x"}, "conditions": [{"type": "a", "more": 1}]});
        let answer = json!({"phase": "Healthy", "conditions": [{"type": "a"}]});
        let written = written.as_object().unwrap();
        assert_eq!(pruned.learn(ROLLOUTS, written, &answer), ["status.conditions[].more", "status.waiting"]);
        assert!(pruned.learn(ROLLOUTS, written, &answer).is_empty());
        let mut status = Value::Object(written.clone());
        pruned.strip(ROLLOUTS, &mut status);
        assert_eq!(status, answer);
    }
}
