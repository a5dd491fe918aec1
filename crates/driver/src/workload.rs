//! `spec.workloadRef`: the template and the selector of the referenced workload are filled into the Rollout before anything
//! else looks at it. While the workload is missing, what a Rollout has already made stands in for it, so that an abort
//! still finds its way back.

use crate::io::{ObjectRef, Resource};
use crate::object::{self, count, number};
use crate::resources::{DEPLOYMENTS, POD_TEMPLATES, REPLICA_SETS, WORKLOAD_REPLICA_SETS};
use crate::store::Store;
use headgate_api::At;
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_model::spec::{RolloutSpec, WorkloadScaleDown};
use headgate_model::{
    Observed, SpecProblem, WorkloadKind, WorkloadRef, WorkloadView, filled, selector, template,
};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A Rollout whose workload was looked up.
pub(crate) struct Resolved<'a> {
    /// The Rollout with template and selector.
    pub(crate) rollout: Cow<'a, Value>,
    /// The workload, where the spec names one properly.
    pub(crate) workload: Option<Observed<WorkloadView>>,
    /// What keeps the template from being known.
    pub(crate) problem: Option<SpecProblem>,
}

/// How the API server names the workload of a Rollout.
pub(crate) fn reference(rollout: &Value) -> Option<ObjectRef> {
    let written = WorkloadRef::read(rollout.get("spec")?).ok()??;
    Some(target(&written, rollout))
}

fn target(written: &WorkloadRef, rollout: &Value) -> ObjectRef {
    ObjectRef {
        resource: resource(written.kind),
        namespace: object::meta(rollout, "namespace").to_owned(),
        name: written.name.clone(),
    }
}

fn resource(kind: WorkloadKind) -> Resource {
    match kind {
        WorkloadKind::Deployment => DEPLOYMENTS,
        WorkloadKind::ReplicaSet => WORKLOAD_REPLICA_SETS,
        WorkloadKind::PodTemplate => POD_TEMPLATES,
    }
}

/// Looks the workload up and fills it in.
pub(crate) fn resolve<'a>(rollout: &'a Value, store: &Store) -> Resolved<'a> {
    let as_it_is = |problem| Resolved { rollout: Cow::Borrowed(rollout), workload: None, problem };
    let spec = rollout.get("spec").unwrap_or(&Value::Null);
    let written = match WorkloadRef::read(spec) {
        Ok(Some(written)) => written,
        Ok(None) => return as_it_is(None),
        Err(problem) => return Resolved { rollout: stand_in(rollout, store), ..as_it_is(Some(problem)) },
    };
    let target = target(&written, rollout);
    let seen = store.observed(&target);
    let problem = match (&seen, store.refusal(&target)) {
        (Observed::Present(_), _) => None,
        (Observed::Absent, _) => Some(written.missing(&target.namespace)),
        (Observed::Unknown, why) => why.map(|why| written.unreadable(why)),
    };
    let seen = if problem.is_some() { Observed::Absent } else { seen };
    let rollout = match &seen {
        Observed::Present(workload) => with_spec(rollout, written.fill_in(spec, workload)),
        Observed::Absent | Observed::Unknown => stand_in(rollout, store),
    };
    Resolved { rollout, workload: Some(seen.map(|workload| view(&written, workload))), problem }
}

/// The Rollout with template and selector, whatever is to be said about its workload.
pub(crate) fn filled_in<'a>(rollout: &'a Value, store: &Store) -> Cow<'a, Value> {
    resolve(rollout, store).rollout
}

fn with_spec(rollout: &Value, spec: Value) -> Cow<'_, Value> {
    let mut rollout = rollout.clone();
    if let Value::Object(fields) = &mut rollout {
        fields.insert("spec".to_owned(), spec);
    }
    Cow::Owned(rollout)
}

/// The newest version's ReplicaSet, or the stable one's, has the template of the workload as it was.
fn stand_in<'a>(rollout: &'a Value, store: &Store) -> Cow<'a, Value> {
    let of = |field: &str| {
        let hash = rollout.at(field).and_then(Value::as_str).filter(|hash| !hash.is_empty())?;
        let mut sets = store.children(object::uid(rollout), REPLICA_SETS);
        sets.find(|set| object::hash(set) == hash)
    };
    let Some(set) = of("/status/currentPodHash").or_else(|| of("/status/stableRS")) else {
        return Cow::Borrowed(rollout);
    };
    let annotations = object::texts(set, "/metadata/annotations");
    let made_of = set.at("/spec/template").unwrap_or(&Value::Null);
    let mut pods = template::strip_injected(made_of, &annotations);
    if let Some(Value::Object(labels)) = pods.pointer_mut("/metadata/labels") {
        labels.remove(POD_TEMPLATE_HASH);
    }
    let mut selector = set.at("/spec/selector").cloned().unwrap_or(Value::Null);
    let mut labels = selector::match_labels(&selector);
    labels.remove(POD_TEMPLATE_HASH);
    if let Value::Object(fields) = &mut selector {
        fields.insert("matchLabels".to_owned(), json!(labels));
    }
    let spec = rollout.get("spec").unwrap_or(&Value::Null);
    with_spec(rollout, filled(spec, Some(&pods), Some(&selector)))
}

fn view(written: &WorkloadRef, workload: &Value) -> WorkloadView {
    WorkloadView {
        reference: written.clone(),
        uid: object::uid(workload).to_owned(),
        generation: number(workload, "/metadata/generation"),
        // The API server fills in 1 where nothing is written.
        replicas: (written.kind == WorkloadKind::Deployment)
            .then(|| workload.at("/spec/replicas").map_or(1, |_| count(workload, "/spec/replicas"))),
    }
}

/// A Rollout that takes the place of a Deployment and does not say how many pods it wants, wants as many.
pub(crate) fn take_over_size(spec: &mut RolloutSpec, workload: Option<&Observed<WorkloadView>>) {
    let Some(Observed::Present(workload)) = workload else { return };
    let takes_over = spec.workload_scale_down != WorkloadScaleDown::Never;
    if let Some(replicas) = workload.replicas.filter(|replicas| *replicas > 0)
        && takes_over
        && spec.replicas_unset
    {
        spec.replicas = replicas;
    }
}

/// The part of a workload that is kept: what decisions rest on.
pub(crate) fn projection(workload: &Value) -> Value {
    const KEPT: [&str; 9] = [
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/generation",
        "/spec/replicas",
        "/spec/selector",
        "/spec/template",
        "/template",
    ];
    let mut kept = json!({});
    for path in KEPT {
        let Some(value) = workload.at(path) else { continue };
        let mut place = &mut kept;
        for part in path.split('/').skip(1) {
            if place.is_null() {
                *place = json!({});
            }
            let Value::Object(fields) = place else { break };
            place = fields.entry(part).or_insert(Value::Null);
        }
        *place = value.clone();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_workload_only_what_decisions_rest_on_is_kept() {
        let kept = json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 2 },
            "spec": { "replicas": 3, "selector": {}, "template": { "spec": {} } },
        });
        let mut whole = kept.clone();
        whole["metadata"]["managedFields"] = json!(["large"]);
        whole["spec"]["strategy"] = json!({ "type": "Recreate" });
        whole["status"] = json!({ "replicas": 3 });
        assert_eq!(projection(&whole), kept);
        let pods = json!({ "metadata": { "name": "web" }, "template": { "spec": {} } });
        assert_eq!(projection(&pods), pods);
    }
}
