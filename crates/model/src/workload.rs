//! `spec.workloadRef`: a Rollout that takes its pod template, and its selector where it writes none, from a Deployment, a
//! ReplicaSet or a PodTemplate. Once they are filled in, a spec is like any other.

use crate::SpecProblem;
use headgate_api::At;
use serde_json::Value;

/// A kind of object that holds a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment, the only kind that is ever scaled.
    Deployment,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
    /// `v1` PodTemplate, which has no selector.
    PodTemplate,
}

impl WorkloadKind {
    const ALL: [Self; 3] = [Self::Deployment, Self::ReplicaSet, Self::PodTemplate];

    /// The kind, as in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::PodTemplate => "PodTemplate",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet => "apps/v1",
            Self::PodTemplate => "v1",
        }
    }

    /// Its API group; empty for the core.
    pub fn group(self) -> &'static str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    fn template_path(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet => "/spec/template",
            Self::PodTemplate => "/template",
        }
    }
}

/// The workload that a spec refers to, in the namespace of the Rollout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadRef {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

/// A referenced workload, as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadView {
    /// What the spec calls it.
    pub reference: WorkloadRef,
    /// Uid.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec.replicas` of a Deployment. `None` for the other kinds, whose pods are nobody's concern here.
    pub replicas: Option<i32>,
}

impl WorkloadRef {
    /// Reads `spec.workloadRef`; `None` for a Rollout with a template of its own.
    ///
    /// # Errors
    /// What is wrong with it, or that the Rollout has a template as well: Argo Rollouts refuses that, too.
    pub fn read(spec: &Value) -> Result<Option<Self>, SpecProblem> {
        let Some(written) = spec.get("workloadRef").filter(|written| !written.is_null()) else {
            return Ok(None);
        };
        if has_template(spec) {
            return Err(problem(
                "spec.template",
                "Forbidden: template must be empty for workload reference rollout: remove it, or remove spec.workloadRef",
            ));
        }
        let text = |key: &str| written.get(key).and_then(Value::as_str).unwrap_or_default();
        let Some(kind) = WorkloadKind::ALL.into_iter().find(|kind| kind.as_str() == text("kind")) else {
            return Err(problem(
                "spec.workloadRef.kind",
                format!(
                    "Unsupported value: \"{}\": supported values: \"Deployment\", \"ReplicaSet\", \"PodTemplate\"",
                    text("kind")
                ),
            ));
        };
        let group = text("apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
        if text("apiVersion").is_empty() || group != kind.group() {
            return Err(problem(
                "spec.workloadRef.apiVersion",
                format!(
                    "Unsupported value: \"{}\": for kind {} write {}",
                    text("apiVersion"),
                    kind.as_str(),
                    kind.api_version()
                ),
            ));
        }
        match text("name") {
            "" => Err(problem(
                "spec.workloadRef.name",
                format!(
                    "Required value: write the name of the {} that holds the pod template",
                    kind.as_str()
                ),
            )),
            name => Ok(Some(Self { kind, name: name.to_owned() })),
        }
    }

    /// How to call it: `Deployment "shop"`.
    pub fn title(&self) -> String {
        format!("{} {:?}", self.kind.as_str(), self.name)
    }

    /// The spec with the template of this workload, and with its selector where the spec has none.
    pub fn fill_in(&self, spec: &Value, workload: &Value) -> Value {
        let selector = match self.kind {
            WorkloadKind::Deployment | WorkloadKind::ReplicaSet => workload.at("/spec/selector"),
            WorkloadKind::PodTemplate => None,
        };
        filled(spec, workload.at(self.kind.template_path()), selector)
    }

    /// What is wrong while it is not there.
    pub fn missing(&self, namespace: &str) -> SpecProblem {
        let title = self.title();
        self.unusable(&format!(
            "{title} not found: create it in namespace {namespace}, or correct spec.workloadRef"
        ))
    }

    /// What is wrong while it cannot be read.
    pub fn unreadable(&self, why: &str) -> SpecProblem {
        self.unusable(&format!("{} cannot be read: {why}", self.title()))
    }

    fn unusable(&self, why: &str) -> SpecProblem {
        problem("spec.workloadRef.name", format!("Invalid value: \"{}\": {why}", self.name))
    }

    /// A problem of the template or the selector is one of the workload: that is where it is mended.
    pub fn explain(&self, found: SpecProblem) -> SpecProblem {
        let is_theirs = ["spec.template", "spec.selector"].iter().any(|field| found.field.starts_with(field));
        if !is_theirs {
            return found;
        }
        let problem =
            format!("{} (spec.workloadRef takes the template from {})", found.problem, self.title());
        SpecProblem { problem, ..found }
    }
}

/// A spec with this template and, where it has none of its own, this selector.
pub fn filled(spec: &Value, template: Option<&Value>, selector: Option<&Value>) -> Value {
    let mut fields = spec.as_object().cloned().unwrap_or_default();
    if let Some(template) = template {
        fields.insert("template".to_owned(), template.clone());
    }
    let has_selector = fields.get("selector").is_some_and(|selector| !selector.is_null());
    if let Some(selector) = selector.filter(|_| !has_selector) {
        fields.insert("selector".to_owned(), selector.clone());
    }
    Value::Object(fields)
}

/// Argo Rollouts takes a template without labels and annotations for none.
fn has_template(spec: &Value) -> bool {
    ["labels", "annotations"].iter().any(|key| {
        let entries = spec.at(&format!("/template/metadata/{key}")).and_then(Value::as_object);
        entries.is_some_and(|entries| !entries.is_empty())
    })
}

fn problem(field: &str, problem: impl Into<String>) -> SpecProblem {
    SpecProblem { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reference(kind: &str, api_version: &str) -> Value {
        json!({ "workloadRef": { "apiVersion": api_version, "kind": kind, "name": "shop" } })
    }

    #[test]
    fn every_kind_that_holds_a_template_is_read() {
        for (kind, api_version, expected) in [
            ("Deployment", "apps/v1", WorkloadKind::Deployment),
            ("ReplicaSet", "apps/v1", WorkloadKind::ReplicaSet),
            ("PodTemplate", "v1", WorkloadKind::PodTemplate),
        ] {
            let read = WorkloadRef::read(&reference(kind, api_version)).unwrap();
            assert_eq!(read, Some(WorkloadRef { kind: expected, name: "shop".to_owned() }));
        }
        assert_eq!(WorkloadRef::read(&json!({ "workloadRef": null })).unwrap(), None);
    }

    #[test]
    fn a_wrong_reference_is_told_with_what_to_write_instead() {
        let told = |spec: Value| WorkloadRef::read(&spec).unwrap_err().to_string();
        assert!(told(reference("StatefulSet", "apps/v1")).contains("\"StatefulSet\": supported values"));
        assert!(told(reference("Deployment", "v1")).ends_with("for kind Deployment write apps/v1"));
        assert!(told(reference("PodTemplate", "apps/v1")).ends_with("for kind PodTemplate write v1"));
        let nameless = json!({ "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment" } });
        assert!(told(nameless).starts_with("spec.workloadRef.name: Required value"));
        let mut both = reference("Deployment", "apps/v1");
        both["template"] = json!({ "metadata": { "labels": { "app": "shop" } } });
        assert!(told(both.clone()).starts_with("spec.template: Forbidden: template must be empty"));
        both["template"] = json!({ "metadata": {}, "spec": {} });
        assert!(WorkloadRef::read(&both).is_ok(), "as Argo Rollouts has it");
    }

    #[test]
    fn the_selector_of_the_spec_comes_before_that_of_the_workload() {
        let workload = json!({ "spec": { "selector": "theirs", "template": "pods" } });
        let deployment = WorkloadRef::read(&reference("Deployment", "apps/v1")).unwrap().unwrap();
        let spec = deployment.fill_in(&json!({ "replicas": 2 }), &workload);
        assert_eq!(spec, json!({ "replicas": 2, "selector": "theirs", "template": "pods" }));
        let spec = deployment.fill_in(&json!({ "selector": "ours" }), &workload);
        assert_eq!(spec, json!({ "selector": "ours", "template": "pods" }));
        let pods = WorkloadRef::read(&reference("PodTemplate", "v1")).unwrap().unwrap();
        let spec = pods.fill_in(&json!({}), &json!({ "template": "pods", "spec": { "selector": "x" } }));
        assert_eq!(spec, json!({ "template": "pods" }));
    }
}
