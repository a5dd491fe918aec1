//! What is wrong with manifests, told without a cluster, by the code with which the controller judges them.
//!
//! - [`fields`]: the schema that the API server holds objects against;
//! - [`templates`]: analysis templates and runs, each for itself;
//! - [`rollouts`]: Rollouts, with what they name among the same files.

mod fields;
mod rollouts;
mod suggest;
mod templates;
mod values;

use fields::Schemas;
use headgate_api::AnalysisTemplateSpec;
use headgate_api::labels::API_VERSION;
use headgate_model::{Observed, TemplateKey};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const CANARY: &str = "spec.strategy.canary";

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The API server refuses the object, or a release of it can't be carried out.
    Error,
    /// It works, perhaps not as it was meant.
    Warning,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The file of the object.
    pub file: String,
    /// The object's kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// Path of the field, such as `spec.strategy.canary.steps[2].setWeight`; empty for the whole object.
    pub field: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

/// All findings about some files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In the order of the objects.
    pub findings: Vec<Finding>,
    /// Objects of Argo Rollouts' API: those that were judged.
    pub objects: usize,
    /// Findings that would stop a release.
    pub errors: usize,
    /// The other ones.
    pub warnings: usize,
}

/// An object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// The file, as findings name it.
    pub file: String,
    /// The object.
    pub object: Value,
}

/// What one check says of one object: the field, how much it matters, and the message.
#[derive(Debug, Default)]
struct Notes(Vec<(Severity, String, String)>);

impl Notes {
    fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.note(Severity::Error, field, message);
    }

    fn warning(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.note(Severity::Warning, field, message);
    }

    fn note(&mut self, severity: Severity, field: impl Into<String>, message: impl Into<String>) {
        self.0.push((severity, field.into(), message.into()));
    }

    fn has_errors_below(&self, field: &str) -> bool {
        self.0.iter().any(|(severity, path, _)| *severity == Severity::Error && path.starts_with(field))
    }
}

/// Judges objects; what they name is looked for among them, first in the same folder: a tree may hold one thing several
/// times, once for each place that it is applied to. Objects without a namespace are taken to be in `namespace`.
#[must_use]
pub fn lint(given: &[Given], namespace: &str) -> Report {
    let schemas = Schemas::new();
    let mut report = Report { findings: Vec::new(), objects: 0, errors: 0, warnings: 0 };
    let mut seen = BTreeSet::new();
    for Given { file, object } in given {
        if !text(object, "/apiVersion").starts_with("argoproj.io/") || !schemas.knows(text(object, "/kind")) {
            continue;
        }
        report.objects += 1;
        let around = Around::of(file, given, namespace);
        let (kind, name) = (text(object, "/kind").to_owned(), text(object, "/metadata/name").to_owned());
        let mut notes = Notes::default();
        if !name.is_empty()
            && !seen.insert((
                folder(file),
                kind.clone(),
                around.namespace_of(object).to_owned(),
                name.clone(),
            ))
        {
            notes.error(
                "metadata.name",
                "another object of this folder has the same name: rename one of them",
            );
        }
        judge(object, &schemas, &around, &mut notes);
        report.findings.extend(notes.0.into_iter().map(|(severity, field, message)| Finding {
            severity,
            file: file.clone(),
            kind: kind.clone(),
            name: name.clone(),
            field,
            message,
        }));
    }
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    (report.errors, report.warnings) = (count(Severity::Error), count(Severity::Warning));
    report
}

fn judge(object: &Value, schemas: &Schemas, around: &Around<'_>, notes: &mut Notes) {
    let version = text(object, "/apiVersion");
    if version != API_VERSION {
        return notes.error("apiVersion", format!("{version} is not served: write {API_VERSION}"));
    }
    if text(object, "/metadata/name").is_empty() && text(object, "/metadata/generateName").is_empty() {
        notes.error("metadata.name", "Required value: give the object a name");
    }
    schemas.check(object, notes);
    match text(object, "/kind") {
        "Rollout" => rollouts::check(object, around, notes),
        "AnalysisTemplate" | "ClusterAnalysisTemplate" => templates::check(object, notes),
        "AnalysisRun" => templates::check_run(object, notes),
        _ => {}
    }
}

/// What the files hold, for references.
struct Around<'a> {
    objects: Vec<&'a Value>,
    namespace: &'a str,
}

impl<'a> Around<'a> {
    /// As an object of this file sees them: those of its folder come first.
    fn of(file: &str, given: &'a [Given], namespace: &'a str) -> Self {
        let (near, far): (Vec<&Given>, Vec<&Given>) =
            given.iter().partition(|other| folder(&other.file) == folder(file));
        Self { objects: near.into_iter().chain(far).map(|given| &given.object).collect(), namespace }
    }

    fn namespace_of(&self, object: &'a Value) -> &'a str {
        Some(text(object, "/metadata/namespace")).filter(|own| !own.is_empty()).unwrap_or(self.namespace)
    }

    /// The object of that group, kind and name, in any of the versions of its API.
    fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<&'a Value> {
        let group_of = |object| text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
        self.objects.iter().copied().find(|object| {
            (text(object, "/kind"), text(object, "/metadata/name")) == (kind, name)
                && group_of(object) == group
                && self.namespace_of(object) == namespace
        })
    }

    /// The analysis templates that a Rollout of that namespace may name. Those that can't be read are reported
    /// for themselves.
    fn templates(&self, namespace: &str) -> BTreeMap<TemplateKey, Observed<AnalysisTemplateSpec>> {
        let mut templates = BTreeMap::new();
        for object in &self.objects {
            let name = text(object, "/metadata/name").to_owned();
            let key = match (text(object, "/apiVersion"), text(object, "/kind")) {
                (API_VERSION, "AnalysisTemplate") if self.namespace_of(object) == namespace => {
                    TemplateKey::Namespaced(name)
                }
                (API_VERSION, "ClusterAnalysisTemplate") => TemplateKey::Cluster(name),
                _ => continue,
            };
            let spec = object.get("spec").and_then(|spec| serde_json::from_value(spec.clone()).ok());
            templates.entry(key).or_insert_with(|| spec.map_or(Observed::Unknown, Observed::Present));
        }
        templates
    }
}

/// The folder of a file.
fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The text at a pointer, empty when there is none.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
