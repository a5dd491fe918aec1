//! Ingresses of ingress-nginx: beside each stable Ingress stands a canary Ingress of ours, whose annotations say how much
//! of the same hosts and paths goes to the canary Service.

use crate::objects;
use headgate_api::labels;
use headgate_model::{
    Capabilities, Kind, ObjectChange, ObjectKey, Objects, Observed, RouterConfig, RouterProblem,
    TrafficIntent, TrafficRouter, TrafficState, WeightRange,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const INGRESS: Kind =
    Kind { group: "networking.k8s.io", version: "v1", kind: "Ingress", plural: "ingresses" };

const FIELD: &str = "spec.strategy.canary.trafficRouting.nginx";

/// What ingress-nginx takes as the sum of the weights when no annotation says otherwise.
const TOTAL_DEFAULT: i64 = 100;

/// Chooses the ingress controller in the way before `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Names of Kubernetes objects are no longer than this.
const NAME_CHARACTERS_MAX: usize = 253;

const SUFFIX: &str = "-canary";

/// Stable Ingresses, and a canary Ingress of ours beside each.
pub(crate) struct Nginx;

/// One stable Ingress as the spec names it, and the canary Ingress beside it.
struct Named {
    /// The field that names it.
    field: String,
    stable: ObjectKey,
    canary: ObjectKey,
}

/// What the canary Ingress shall be. `None` stands for what must not be there.
struct Wanted {
    annotations: BTreeMap<String, Option<String>>,
    spec: BTreeMap<&'static str, Option<Value>>,
}

impl TrafficRouter for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn spec_path(&self) -> &'static [&'static str] {
        &["nginx"]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[INGRESS]
    }

    fn created_kinds(&self) -> &'static [Kind] {
        &[INGRESS]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { weights: true }
    }

    fn references(&self, config: &RouterConfig) -> Result<Vec<ObjectKey>, RouterProblem> {
        Ok(named(config)?.into_iter().flat_map(|named| [named.stable, named.canary]).collect())
    }

    fn parts(&self, config: &RouterConfig) -> Vec<RouterConfig> {
        if named(config).is_err() {
            return vec![config.clone()];
        }
        objects::parts(config, ("stableIngress", "stableIngresses"), &[], |item| {
            Map::from_iter([("stableIngress".to_owned(), item.clone())])
        })
    }

    fn owned_paths(&self) -> &'static [&'static str] {
        &[
            "the canary Ingress: spec.rules, spec.tls, spec.ingressClassName",
            "the canary Ingress: metadata.annotations[<annotationPrefix>/*], those of canaryIngressAnnotations, and \
             kubernetes.io/ingress.class",
        ]
    }

    fn plan(
        &self,
        config: &RouterConfig,
        intent: &TrafficIntent,
        objects: &Objects,
    ) -> Result<Vec<ObjectChange>, RouterProblem> {
        let mut changes = Vec::new();
        for named in named(config)? {
            let (weight, total) = (i64::from(intent.canary_weight), i64::from(intent.total));
            let wanted = objects::present(objects, &named.stable, &named.field)
                .and_then(|stable| wanted(config, &named, stable, weight, total));
            let there = canary(config, &named, objects);
            if let (Err(problem), Ok(Some(canary)), 0) = (&wanted, &there, intent.canary_weight)
                && problem.is_of_objects()
            {
                changes.extend(silence(config, &named, canary));
                continue;
            }
            let wanted = wanted?;
            match there? {
                None => changes.push(create(config, &named, wanted)),
                Some(canary) => changes.extend(patch(config, &named, canary, &wanted)),
            }
        }
        Ok(changes)
    }

    fn observe(&self, config: &RouterConfig, objects: &Objects) -> Result<TrafficState, RouterProblem> {
        let mut shares = Vec::new();
        let mut well_formed = true;
        let mut other_writer = None;
        for named in named(config)? {
            let stable = objects::present(objects, &named.stable, &named.field)?;
            let canary = canary(config, &named, objects)?;
            let shown = canary.map_or(Some(0), |canary| weight(config, canary));
            let wanted = wanted(config, &named, stable, shown.unwrap_or_default(), i64::from(config.total))?;
            well_formed &= canary.is_some_and(|canary| patch(config, &named, canary, &wanted).is_none());
            shares.push(canary.map_or(0, |canary| share(config, canary)));
            other_writer = other_writer.or_else(|| canary.and_then(|canary| writer(config, canary)));
        }
        let weights = range(config, &shares, well_formed);
        Ok(TrafficState { weights, other_writer, ..TrafficState::default() })
    }

    fn remains(
        &self,
        config: &RouterConfig,
        objects: &Objects,
    ) -> Result<Option<WeightRange>, RouterProblem> {
        let mut shares = Vec::new();
        for named in named(config)? {
            shares.extend(canary(config, &named, objects)?.map(|canary| share(config, canary)));
        }
        Ok(range(config, &shares, true))
    }
}

/// What canary Ingresses with these shares give together; `None` without one.
fn range(config: &RouterConfig, shares: &[i32], well_formed: bool) -> Option<WeightRange> {
    let (canary_min, canary_max) = (*shares.iter().min()?, *shares.iter().max()?);
    Some(WeightRange { canary_min, canary_max, total: config.total, well_formed })
}

/// Takes the share of a canary Ingress whose stable one is away: without that it gives nothing, but whoever brings that back
/// would give it pods that may be gone by then. Where that one leads elsewhere now, it may take a share of that.
fn silence(config: &RouterConfig, named: &Named, canary: &Value) -> Option<ObjectChange> {
    (share(config, canary) > 0).then(|| {
        let weight = format!("{}/canary-weight", prefix(config));
        let version = canary.pointer("/metadata/resourceVersion");
        let merge = json!({ "metadata": { "resourceVersion": version, "annotations": { weight: "0" } } });
        ObjectChange::Patch { target: named.canary.clone(), merge }
    })
}

/// The stable Ingresses that the spec names: `stableIngress` or `stableIngresses`.
fn named(config: &RouterConfig) -> Result<Vec<Named>, RouterProblem> {
    let invalid = |field: &str, message: &str| RouterProblem::Invalid {
        field: format!("{FIELD}.{field}"),
        message: message.to_owned(),
    };
    let text = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    let one = config.config.get("stableIngress").and_then(text);
    let many = config.config.get("stableIngresses").and_then(Value::as_array).filter(|list| !list.is_empty());
    let names = match (one, many) {
        (Some(one), None) => {
            vec![(config.item.clone().unwrap_or_else(|| "stableIngress".to_owned()), Some(one))]
        }
        (None, Some(many)) => many
            .iter()
            .enumerate()
            .map(|(index, name)| (format!("stableIngresses[{index}]"), text(name)))
            .collect(),
        (Some(_), Some(_)) => {
            return Err(invalid("stableIngress", "set either stableIngress or stableIngresses, not both"));
        }
        (None, None) => {
            return Err(invalid("stableIngress", "name the Ingress that leads to the stable Service"));
        }
    };
    let mut taken = BTreeSet::new();
    names
        .into_iter()
        .map(|(field, name)| {
            let Some(name) = name else { return Err(invalid(&field, "give the name of an Ingress")) };
            let canary_name = canary_name(&config.rollout, &name);
            if !taken.insert(canary_name.clone()) {
                let message = format!(
                    "Ingress {name:?} would share the canary Ingress {canary_name:?} with one before it: name each \
                     Ingress once, and keep the names of Rollout and Ingress below {} characters together",
                    NAME_CHARACTERS_MAX - SUFFIX.len()
                );
                return Err(invalid(&field, &message));
            }
            let key =
                |name: String| ObjectKey { kind: INGRESS, namespace: config.namespace.clone(), name };
            Ok(Named { field: format!("{FIELD}.{field}"), canary: key(canary_name), stable: key(name) })
        })
        .collect()
}

/// The name that Argo Rollouts gives it, so that either controller finds what the other has made.
fn canary_name(rollout: &str, stable: &str) -> String {
    let mut name: String =
        format!("{rollout}-{stable}").chars().take(NAME_CHARACTERS_MAX - SUFFIX.len()).collect();
    name.push_str(SUFFIX);
    name
}

/// The canary Ingress, if it is there. It must be ours.
fn canary<'a>(
    config: &RouterConfig,
    named: &Named,
    objects: &'a Objects,
) -> Result<Option<&'a Value>, RouterProblem> {
    let ingress = match objects.get(&named.canary) {
        Some(Observed::Present(ingress)) => ingress,
        Some(Observed::Absent) => return Ok(None),
        Some(Observed::Unknown) | None => return Err(RouterProblem::Unknown(named.canary.clone())),
    };
    let owners = ingress.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let mut owners = owners.into_iter().flatten();
    let owner = owners.find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let text = |field: &str| owner.and_then(|owner| owner.get(field)?.as_str());
    if text("uid") == Some(config.uid.as_str()) {
        return Ok(Some(ingress));
    }
    // There is one Rollout of our name, and we are it: another uid is one that is gone.
    if text("kind") == Some("Rollout") && text("name") == Some(config.rollout.as_str()) {
        return Err(RouterProblem::Leaving(named.canary.clone()));
    }
    let whose = match (text("kind"), text("name")) {
        (Some(kind), Some(name)) => format!("belongs to {kind} {name:?}"),
        _ => "was not made by this Rollout".to_owned(),
    };
    Err(RouterProblem::Invalid {
        field: named.field.clone(),
        message: format!(
            "Ingress {:?} in namespace {:?} {whose}, and this Rollout needs that name for its canary Ingress: delete \
             that Ingress, or give the Rollout or the stable Ingress another name",
            named.canary.name, named.canary.namespace
        ),
    })
}

fn prefix(config: &RouterConfig) -> &str {
    let written = config.config.get("annotationPrefix").and_then(Value::as_str);
    written.filter(|prefix| !prefix.is_empty()).unwrap_or("nginx.ingress.kubernetes.io")
}

/// What the canary Ingress of this stable one shall be at this weight.
fn wanted(
    config: &RouterConfig,
    named: &Named,
    stable: &Value,
    weight: i64,
    total: i64,
) -> Result<Wanted, RouterProblem> {
    let prefix = prefix(config);
    let class = stable.pointer("/metadata/annotations").and_then(|all| all.get(CLASS_ANNOTATION)?.as_str());
    let mut annotations: BTreeMap<String, Option<String>> =
        BTreeMap::from([(CLASS_ANNOTATION.to_owned(), class.map(str::to_owned))]);
    for (key, value) in texts(config, "additionalIngressAnnotations") {
        let key = if key.starts_with(prefix) { key.to_owned() } else { format!("{prefix}/{key}") };
        annotations.insert(key, Some(value.to_owned()));
    }
    for (key, value) in texts(config, "canaryIngressAnnotations") {
        annotations.insert(key.to_owned(), Some(value.to_owned()));
    }
    annotations.insert(format!("{prefix}/canary"), Some("true".to_owned()));
    annotations.insert(format!("{prefix}/canary-weight"), Some(weight.to_string()));
    let total = (total != TOTAL_DEFAULT).then(|| total.to_string());
    annotations.insert(format!("{prefix}/canary-weight-total"), total);
    let spec = |key: &str| stable.pointer("/spec").and_then(|spec| spec.get(key)).cloned();
    let spec = BTreeMap::from([
        ("ingressClassName", spec("ingressClassName")),
        ("rules", Some(rules(config, named, stable)?)),
        ("tls", spec("tls")),
    ]);
    Ok(Wanted { annotations, spec })
}

fn texts<'a>(config: &'a RouterConfig, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let entries = config.config.get(field).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// The paths of the stable Ingress that lead to the stable Service, leading to the canary Service instead.
fn rules(config: &RouterConfig, named: &Named, stable: &Value) -> Result<Value, RouterProblem> {
    let stable_service = config.stable_service.as_deref().unwrap_or_default();
    let canary_service = config.canary_service.as_deref().unwrap_or_default();
    let leads_to_stable =
        |path: &Value| path.pointer("/backend/service/name").and_then(Value::as_str) == Some(stable_service);
    let mut rules = Vec::new();
    for rule in stable.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
        let mut rule = rule.clone();
        let Some(Value::Array(paths)) = rule.pointer_mut("/http/paths") else { continue };
        paths.retain(leads_to_stable);
        for path in paths.iter_mut() {
            if let Some(name) = path.pointer_mut("/backend/service/name") {
                *name = json!(canary_service);
            }
        }
        if !paths.is_empty() {
            rules.push(rule);
        }
    }
    if rules.is_empty() {
        return Err(RouterProblem::Invalid {
            field: named.field.clone(),
            message: format!(
                "no rule of Ingress {:?} in namespace {:?} leads to the stable Service: add a path with\n  backend:\n    \
                 service:\n      name: {stable_service}",
                named.stable.name, named.stable.namespace
            ),
        });
    }
    Ok(Value::Array(rules))
}

fn annotation<'a>(config: &RouterConfig, canary: &'a Value, key: &str) -> Option<&'a str> {
    let annotations = canary.pointer("/metadata/annotations")?;
    annotations.get(format!("{}/{key}", prefix(config)))?.as_str()
}

/// The weight as it is written; `None` when it is no weight.
fn weight(config: &RouterConfig, canary: &Value) -> Option<i64> {
    let weight = annotation(config, canary, "canary-weight")?.parse().ok();
    weight.filter(|weight| (0..=i64::from(config.total)).contains(weight))
}

/// The share that ingress-nginx gives to the canary, of the total of the spec. An Ingress without `canary: "true"` is an
/// ordinary one for the same paths, and the older one serves them.
fn share(config: &RouterConfig, canary: &Value) -> i32 {
    if annotation(config, canary, "canary") != Some("true") {
        return 0;
    }
    let total = annotation(config, canary, "canary-weight-total").and_then(|total| total.parse().ok());
    let total: i64 = total.filter(|total| *total > 0).unwrap_or(TOTAL_DEFAULT);
    let weight = annotation(config, canary, "canary-weight").and_then(|weight| weight.parse::<i64>().ok());
    let weight = weight.unwrap_or_default().clamp(0, total);
    objects::share(total - weight, weight, config.total)
}

fn writer(config: &RouterConfig, canary: &Value) -> Option<String> {
    let weight = format!("f:{}/canary-weight", prefix(config));
    objects::writer_of(canary, &["f:metadata", "f:annotations", &weight])
        .or_else(|| objects::writer_of(canary, &["f:spec", "f:rules"]))
}

fn create(config: &RouterConfig, named: &Named, wanted: Wanted) -> ObjectChange {
    let annotations: Map<String, Value> =
        wanted.annotations.into_iter().filter_map(|(key, value)| Some((key, json!(value?)))).collect();
    let spec: Map<String, Value> =
        wanted.spec.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    let manifest = json!({
        "apiVersion": format!("{}/{}", INGRESS.group, INGRESS.version),
        "kind": INGRESS.kind,
        "metadata": {
            "name": named.canary.name,
            "namespace": named.canary.namespace,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": labels::API_VERSION,
                "kind": "Rollout",
                "name": config.rollout,
                "uid": config.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    });
    ObjectChange::Create { target: named.canary.clone(), manifest }
}

/// What must change; `None` when the canary Ingress is as wanted. Annotations of ingress-nginx that nobody wants any more
/// go: those about canaries at once, because they steer requests, all others together with the next change. A policy that
/// sets one on each Ingress would put it back with each write, without an end.
fn patch(config: &RouterConfig, named: &Named, canary: &Value, wanted: &Wanted) -> Option<ObjectChange> {
    let has = canary.pointer("/metadata/annotations").and_then(Value::as_object);
    let has = |key: &str| has.and_then(|all| all.get(key));
    let own = format!("{}/", prefix(config));
    let existing = canary.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
    let unwanted: Map<String, Value> = existing
        .filter(|(key, _)| key.starts_with(&own) && !wanted.annotations.contains_key(*key))
        .map(|(key, _)| (key.clone(), Value::Null))
        .collect();
    let steers = |key: &String| key.starts_with(&format!("{own}canary"));
    let changed: Map<String, Value> = wanted
        .annotations
        .iter()
        .filter(|(key, value)| has(key).and_then(Value::as_str) != value.as_deref())
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let spec: Map<String, Value> = wanted
        .spec
        .iter()
        .filter(|(key, value)| canary.pointer("/spec").and_then(|spec| spec.get(**key)) != value.as_ref())
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    if changed.is_empty() && spec.is_empty() && !unwanted.keys().any(steers) {
        return None;
    }
    let annotations: Map<String, Value> = changed.into_iter().chain(unwanted).collect();
    let mut merge = json!({ "metadata": { "resourceVersion": canary.pointer("/metadata/resourceVersion") } });
    for (pointer, key, part) in [("/metadata", "annotations", annotations), ("", "spec", spec)] {
        if let (false, Some(Value::Object(parent))) = (part.is_empty(), merge.pointer_mut(pointer)) {
            parent.insert(key.to_owned(), Value::Object(part));
        }
    }
    Some(ObjectChange::Patch { target: named.canary.clone(), merge })
}
