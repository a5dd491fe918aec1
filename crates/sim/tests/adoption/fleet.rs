//! The recorded Rollouts.

use headgate_driver::io::Resource;
use headgate_driver::resources::{ANALYSIS_RUNS, DEPLOYMENTS, REPLICA_SETS, ROLLOUTS, SERVICES};
use headgate_sim::adoption::{Crds, World};
pub(crate) use headgate_sim::adoption::{changes, is_ours};
use headgate_sim::world::routes::{INGRESSES, VIRTUAL_SERVICES};
use headgate_sim::world::server::{is_of, reference};
use jiff::SignedDuration;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Those that Headgate does not carry out yet, and how it says so.
pub(crate) const LEFT_OUT: [(&str, &str); 7] = [
    ("background", "provider job is not supported"),
    ("bgaborted", "spec.strategy.blueGreen: Forbidden: not supported"),
    ("bganalysis", "spec.strategy.blueGreen: Forbidden: not supported"),
    ("bgpaused", "spec.strategy.blueGreen: Forbidden: not supported"),
    ("bgswitched", "spec.strategy.blueGreen: Forbidden: not supported"),
    ("experiment", "spec.strategy.canary.steps[0].experiment: Forbidden: not supported"),
    ("stepanalysis", "provider job is not supported"),
];

/// The kinds of which every object is compared.
pub(crate) const KINDS: [Resource; 7] =
    [ROLLOUTS, REPLICA_SETS, SERVICES, VIRTUAL_SERVICES, INGRESSES, ANALYSIS_RUNS, DEPLOYMENTS];

/// Nobody acts for so long.
pub(crate) const STANDS_FOR: SignedDuration = SignedDuration::from_mins(10);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures/fleet")
}

/// The names of all.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let names = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names.filter(|name| name != "analysistemplates").collect();
    names.sort();
    names
}

/// The names of those that Headgate carries out.
pub(crate) fn carried_out() -> impl Iterator<Item = String> {
    names().into_iter().filter(|name| LEFT_OUT.iter().all(|(left_out, _)| name != left_out))
}

/// The objects of one, and the templates.
pub(crate) fn objects(name: &str) -> Vec<Value> {
    let read = |name: &str| std::fs::read_to_string(folder().join(name).with_extension("yaml")).unwrap();
    let texts = [read("analysistemplates"), read(name)];
    texts.iter().flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap()).collect()
}

/// Headgate takes over these objects.
pub(crate) fn take_over(objects: &[Value]) -> World {
    World::take_over(objects, Vec::new(), Crds::Ours).unwrap()
}

/// Each recorded object with what it is now.
pub(crate) fn before_and_after(objects: &[Value], world: &World) -> Vec<(Value, Value)> {
    let kind = |object: &Value| KINDS.into_iter().find(|kind| is_of(object, *kind));
    let compared = objects.iter().filter_map(|object| Some((object.clone(), kind(object)?)));
    compared
        .map(|(object, kind)| {
            let now = world.get(&reference(kind, &object)).cloned().unwrap_or_default();
            (object, now)
        })
        .collect()
}

/// The Rollout among the objects.
pub(crate) fn rollout(objects: &[Value]) -> &Value {
    objects.iter().find(|object| object["kind"] == "Rollout").unwrap()
}

/// The pod template of the Rollout, which may be that of a Deployment.
pub(crate) fn template(objects: &[Value]) -> &Value {
    let is_referred_to = rollout(objects)["spec"].get("workloadRef").is_some();
    let holder = objects.iter().find(|object| is_referred_to && object["kind"] == "Deployment");
    &holder.unwrap_or_else(|| rollout(objects))["spec"]["template"]
}

/// The Rollout among the objects.
pub(crate) fn rollout_mut(objects: &mut [Value]) -> &mut Value {
    objects.iter_mut().find(|object| object["kind"] == "Rollout").unwrap()
}

/// How many objects of a kind there are.
pub(crate) fn count(world: &World, kind: Resource) -> usize {
    world.all(kind).count()
}
