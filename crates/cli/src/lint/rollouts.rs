//! A Rollout, and what it names among the same files.

use super::{Around, CANARY, Notes, text, values};
use headgate_api::{RolloutAnalysis, labels};
use headgate_model::analysis::{
    AnalysisProblem, ArgumentContext, Versions, blind_metrics, check_finite, check_supported, reachable,
    resolve,
};
use headgate_model::spec::{Canary, RolloutSpec, Step};
use headgate_model::template::check_template;
use headgate_model::{
    ObjectKey, Observed, RouterConfig, RouterProblem, ServiceView, TemplateKey, TrafficRouter, WorkloadRef,
    selector, total_weight, validate,
};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Names what stands in for a template that is not among the files.
const STAND_IN: &str = "stand-in";

/// Checks a Rollout.
pub(super) fn check(rollout: &Value, around: &Around<'_>, notes: &mut Notes) {
    let Some(written) = rollout.get("spec") else { return };
    let Some((filled, pods)) = with_template(rollout, written, around, notes) else { return };
    let spec = match validate(&filled) {
        Ok(spec) => spec,
        // A wrong type is said already, in other words.
        Err(problem) if notes.has_errors_below(&problem.field) => return,
        Err(problem) => return notes.error(problem.field, problem.problem),
    };
    if let Err(problem) = filled.get("template").map_or(Ok(()), check_template) {
        let field = format!("spec.template{}", problem.path);
        if !notes.has_errors_below(&field) {
            notes.error(field, format!("Invalid value: {} is not {}", problem.found, problem.wanted));
        }
    }
    values::check(written, notes);
    let rollout = &with_spec(rollout, filled.into_owned());
    let one = One { rollout, spec: &spec, pods, around };
    for (key, service) in
        [("canaryService", &spec.canary.canary_service), ("stableService", &spec.canary.stable_service)]
    {
        if let Some(name) = service {
            one.service(&format!("{CANARY}.{key}"), name, notes);
        }
    }
    one.routes(notes);
    for (index, step) in spec.canary.steps.iter().enumerate() {
        if let Step::Analysis(analysis, _) = step {
            let place = Place { field: format!("{CANARY}.steps[{index}].analysis"), ends: Ends::ByItself };
            one.analysis(analysis, &place, &[spec.canary.weight_at(index)], notes);
        }
    }
    if let Some(background) = &spec.canary.background {
        let place = Place { field: format!("{CANARY}.analysis"), ends: Ends::WithRelease };
        one.analysis(
            &background.analysis,
            &place,
            &spec.canary.weights_from(background.starting_step),
            notes,
        );
    }
    if let Some(analysis) = spec.canary.bake.as_ref().and_then(|bake| bake.analysis.as_ref()) {
        let place = Place { field: format!("{CANARY}.bake.analysis"), ends: Ends::WithRelease };
        one.analysis(analysis, &place, &[spec.canary.total()], notes);
    }
}

/// Whether the pod template is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pods {
    Known,
    /// It is that of a workload which is not among the files.
    Elsewhere,
}

/// The spec with the template of the workload that it refers to, or with a stand-in that is right in itself. `None`: the
/// reference is wrong, which is noted.
fn with_template<'a>(
    rollout: &Value,
    written: &'a Value,
    around: &Around<'_>,
    notes: &mut Notes,
) -> Option<(Cow<'a, Value>, Pods)> {
    let workload = match WorkloadRef::read(written) {
        Ok(Some(workload)) => workload,
        Ok(None) => return Some((Cow::Borrowed(written), Pods::Known)),
        Err(problem) => {
            if !notes.has_errors_below(&problem.field) {
                notes.error(problem.field, problem.problem);
            }
            return None;
        }
    };
    let (group, kind) = (workload.kind.group(), workload.kind.as_str());
    if let Some(object) = around.find(group, kind, around.namespace_of(rollout), &workload.name) {
        return Some((Cow::Owned(workload.fill_in(written, object)), Pods::Known));
    }
    notes.warning("spec.workloadRef.name", not_given(kind, &workload.name));
    Some((Cow::Owned(with_stand_in(written)), Pods::Elsewhere))
}

/// The spec with pods of which no more is said than a template has to say. A selector of its own, which they might not have
/// the labels for, gives way, too.
fn with_stand_in(written: &Value) -> Value {
    let labels = json!({ STAND_IN: STAND_IN });
    let containers = json!([{ "name": STAND_IN, "image": STAND_IN }]);
    let mut spec = written.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.insert("selector".to_owned(), json!({ "matchLabels": labels }));
        let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": containers } });
        fields.insert("template".to_owned(), template);
    }
    spec
}

fn with_spec(rollout: &Value, spec: Value) -> Value {
    let mut rollout = rollout.clone();
    if let Some(fields) = rollout.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
    rollout
}

struct One<'a> {
    /// With the template, wherever it stands: arguments may refer to it.
    rollout: &'a Value,
    spec: &'a RolloutSpec,
    pods: Pods,
    around: &'a Around<'a>,
}

/// Where an analysis is written.
struct Place {
    field: String,
    ends: Ends,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    ByItself,
    WithRelease,
}

impl One<'_> {
    fn namespace(&self) -> &str {
        self.around.namespace_of(self.rollout)
    }

    fn canary(&self) -> &Canary {
        &self.spec.canary
    }

    fn service(&self, field: &str, name: &str, notes: &mut Notes) {
        let Some(service) = self.around.find("", "Service", self.namespace(), name) else {
            return notes.warning(field, not_given("Service", name));
        };
        let view = ServiceView {
            selector: selector::string_map(service.pointer("/spec/selector")),
            managed_by: service
                .pointer("/metadata/annotations")
                .and_then(|annotations| annotations.get(labels::MANAGED_BY_ROLLOUTS)?.as_str())
                .map(str::to_owned),
        };
        let template = match self.pods {
            Pods::Known => Cow::Borrowed(&self.spec.template),
            // They may have the labels that it asks for.
            Pods::Elsewhere => Cow::Owned(json!({ "metadata": { "labels": view.selector } })),
        };
        if let Err(problem) = view.check_fits(name, text(self.rollout, "/metadata/name"), &template) {
            notes.error(field, problem);
        }
        if let Err(problem) = view.check_finds_roles(name, self.canary()) {
            notes.error(problem.field, problem.problem);
        }
    }

    /// The routes, as their routers see them.
    fn routes(&self, notes: &mut Notes) {
        let routers = self.canary().routing.iter().flat_map(|routing| &routing.routers);
        for (name, config) in routers {
            let Some(router) = headgate_traffic::router(name) else { continue };
            let config = RouterConfig {
                router: router.name(),
                namespace: self.namespace().to_owned(),
                rollout: text(self.rollout, "/metadata/name").to_owned(),
                uid: text(self.rollout, "/metadata/uid").to_owned(),
                total: total_weight(
                    self.rollout.pointer("/spec/strategy/canary/trafficRouting").unwrap_or(&Value::Null),
                ),
                canary_service: self.canary().canary_service.clone(),
                stable_service: self.canary().stable_service.clone(),
                config: config.clone(),
                item: None,
                object: None,
            };
            for part in router.parts(&config) {
                self.route(router, &part, notes);
            }
        }
    }

    /// One object of a router, whatever is to be said about the others.
    fn route(&self, router: &dyn TrafficRouter, part: &RouterConfig, notes: &mut Notes) {
        let seen = router.references(part).and_then(|keys| {
            let objects = keys.into_iter().map(|key| (key.clone(), self.observed(&key))).collect();
            router.observe(part, &objects).map(drop)
        });
        match seen {
            Ok(()) | Err(RouterProblem::Unknown(_) | RouterProblem::Leaving(_)) => {}
            Err(RouterProblem::Missing { object, field, .. }) => {
                notes.warning(field, not_given(object.kind.kind, &object.name));
            }
            Err(RouterProblem::Invalid { field, message }) => {
                notes.error(field, format!("Invalid value: {message}"));
            }
        }
    }

    fn observed(&self, key: &ObjectKey) -> Observed<Value> {
        let found = self.around.find(key.kind.group, key.kind.kind, &key.namespace, &key.name);
        found.map_or(Observed::Absent, |object| Observed::Present(object.clone()))
    }

    fn analysis(&self, analysis: &RolloutAnalysis, place: &Place, weights: &[i32], notes: &mut Notes) {
        let field = format!("{}.templates", place.field);
        let templates = self.around.templates(self.namespace());
        let reached = reachable(analysis, &templates);
        let mut is_complete = true;
        for key in reached.iter().filter(|key| !matches!(templates.get(key), Some(Observed::Present(_)))) {
            is_complete = false;
            // One that is there and can't be read has findings of its own.
            if !templates.contains_key(key) {
                let (kind, name) = match key {
                    TemplateKey::Namespaced(name) => ("AnalysisTemplate", name),
                    TemplateKey::Cluster(name) => ("ClusterAnalysisTemplate", name),
                };
                notes.warning(field.as_str(), not_given(kind, name));
            }
        }
        if !is_complete {
            return;
        }
        let rollout = self.with_status();
        let context =
            ArgumentContext { stable_hash: "stable", latest_hash: "latest", rollout: &|| rollout.clone() };
        let resolved = resolve(analysis, &templates, &context).and_then(|spec| {
            check_supported(&spec)?;
            match place.ends {
                Ends::ByItself => check_finite(&spec),
                Ends::WithRelease => Ok(()),
            }
        });
        match resolved {
            Ok(()) => {}
            // It may well be a field of the template.
            Err(AnalysisProblem::FieldUnset(_)) if self.pods == Pods::Elsewhere => return,
            Err(problem @ AnalysisProblem::FieldUnset(_)) => {
                return notes.warning(field, format!("{problem}. The run waits until that has a value"));
            }
            Err(problem) => return notes.error(field, problem.to_string()),
        }
        let versions = Versions {
            canary_service: self.canary().canary_service.as_deref(),
            stable_service: self.canary().stable_service.as_deref(),
            rollout: &rollout,
        };
        for blind in blind_metrics(analysis, &templates, &versions).unwrap_or_default() {
            notes.warning(field.as_str(), blind.message(weights, self.canary().total()));
        }
    }

    /// The Rollout as it is once a release has begun: arguments may refer to its status.
    fn with_status(&self) -> Value {
        let mut rollout = self.rollout.clone();
        if let Some(fields) = rollout.as_object_mut() {
            let hashes = json!({ "stableRS": "stable", "currentPodHash": "latest" });
            fields.insert("status".to_owned(), hashes);
        }
        rollout
    }
}

fn not_given(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} is not among the files: if the cluster does not have it, no release begins")
}
