//! The tree: a Rollout, its revisions, and what belongs to each.

use super::Detail;
use super::age::age;
use super::analysis;
use super::paint::{Palette, State, Text};
use super::pod;
use super::replica_set::{self, Roles};
use super::rollout;
use super::scene::{Scene, is_owned, name, revision};
use super::table::table;
use headgate_api::{AnalysisRun, Experiment};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A line of the tree, and those below it.
pub(crate) struct Node {
    pub(crate) sign: &'static str,
    pub(crate) name: Text,
    pub(crate) kind: &'static str,
    pub(crate) state: Option<State>,
    /// When it began; lines without an age have none.
    pub(crate) since: Option<Option<Time>>,
    pub(crate) info: Text,
    pub(crate) children: Vec<Node>,
}

/// The table with the tree of a Rollout.
#[must_use]
pub fn tree(scene: &Scene, detail: Detail, palette: Palette, now: Timestamp) -> String {
    let header = ["NAME", "KIND", "STATUS", "AGE", "INFO"];
    let mut rows = vec![header.map(Text::from).to_vec()];
    push_rows(&Drawn { scene, detail, now }.root(), "", "", now, &mut rows);
    table(&rows, palette)
}

fn push_rows(node: &Node, prefix: &str, below: &str, now: Timestamp, rows: &mut Vec<Vec<Text>>) {
    rows.push(vec![
        Text::from(format!("{prefix}{} ", node.sign)).then(node.name.clone()),
        node.kind.into(),
        node.state.as_ref().map(State::text).unwrap_or_default(),
        node.since.as_ref().map(|since| age(since.as_ref(), now)).unwrap_or_default().into(),
        node.info.clone(),
    ]);
    for (index, child) in node.children.iter().enumerate() {
        let (branch, indent) =
            if index + 1 == node.children.len() { ("└──", "   ") } else { ("├──", "│  ") };
        push_rows(child, &format!("{below}{branch}"), &format!("{below}{indent}"), now, rows);
    }
}

/// What is drawn, and how.
struct Drawn<'a> {
    scene: &'a Scene,
    detail: Detail,
    now: Timestamp,
}

impl Drawn<'_> {
    fn root(&self) -> Node {
        let scene = self.scene;
        let metadata = &scene.rollout.metadata;
        let uid = metadata.uid.as_ref();
        let roles = Roles::of(&scene.rollout);
        let sets: Vec<_> = scene.replica_sets.iter().filter(|set| is_owned(&set.metadata, uid)).collect();
        let runs: Vec<_> = scene.analysis_runs.iter().filter(|run| is_owned(&run.metadata, uid)).collect();
        let experiments: Vec<_> =
            scene.experiments.iter().filter(|one| is_owned(&one.metadata, uid)).collect();
        let metadatas = sets.iter().map(|set| &set.metadata);
        let metadatas = metadatas.chain(runs.iter().map(|run| &run.metadata));
        let metadatas = metadatas.chain(experiments.iter().map(|experiment| &experiment.metadata));
        let revisions: BTreeSet<_> = metadatas.map(|metadata| Reverse(revision(metadata))).collect();
        let children = revisions.into_iter().map(|Reverse(number)| {
            let of_revision = |metadata: &ObjectMeta| revision(metadata) == number;
            let sets = sorted(&sets, of_revision, |set| &set.metadata);
            let mut below: Vec<Node> = sets.into_iter().map(|set| self.set_node(set, Some(&roles))).collect();
            let experiments = sorted(&experiments, of_revision, |experiment| &experiment.metadata);
            below.extend(experiments.into_iter().map(|one| self.experiment_node(one)));
            let runs = sorted(&runs, of_revision, |run| &run.metadata);
            below.extend(runs.into_iter().map(run_node));
            Node {
                sign: "#",
                name: format!("revision:{number}").into(),
                kind: "",
                state: None,
                since: None,
                info: Text::default(),
                children: below,
            }
        });
        Node {
            sign: "⟳",
            name: name(metadata).into(),
            kind: "Rollout",
            state: Some(rollout::state(&scene.rollout)),
            since: Some(metadata.creation_timestamp.clone()),
            info: Text::default(),
            children: children.collect(),
        }
    }

    fn set_node(&self, set: &ReplicaSet, roles: Option<&Roles>) -> Node {
        let scene = self.scene;
        let uid = set.metadata.uid.as_ref();
        let pods: Vec<_> = scene.pods.iter().filter(|pod| is_owned(&pod.metadata, uid)).collect();
        let pods = sorted(&pods, |_| true, |pod| &pod.metadata);
        let tags = roles.map(|roles| roles.tags(set)).unwrap_or_default();
        let tone = tags.last().map(|tag| tag.tone()).unwrap_or_default();
        Node {
            sign: "⧉",
            name: Text::toned(name(&set.metadata), tone),
            kind: "ReplicaSet",
            state: Some(replica_set::state(set)),
            since: Some(set.metadata.creation_timestamp.clone()),
            info: replica_set::info(set, &tags, self.now),
            children: pods
                .into_iter()
                .map(|pod| Node {
                    sign: "□",
                    name: name(&pod.metadata).into(),
                    kind: "Pod",
                    state: Some(pod::state(pod)),
                    since: Some(pod.metadata.creation_timestamp.clone()),
                    info: pod::info(pod, self.detail).into(),
                    children: vec![],
                })
                .collect(),
        }
    }

    fn experiment_node(&self, experiment: &Experiment) -> Node {
        let scene = self.scene;
        let uid = experiment.metadata.uid.as_ref();
        let phase = experiment.status.as_ref().and_then(|status| status.phase);
        let sets: Vec<_> = scene.replica_sets.iter().filter(|set| is_owned(&set.metadata, uid)).collect();
        let runs: Vec<_> = scene.analysis_runs.iter().filter(|run| is_owned(&run.metadata, uid)).collect();
        let sets = sorted(&sets, |_| true, |set| &set.metadata);
        let runs = sorted(&runs, |_| true, |run| &run.metadata);
        Node {
            sign: "Σ",
            name: Text::toned(name(&experiment.metadata), analysis::tone(phase)),
            kind: "Experiment",
            state: Some(analysis::state(phase)),
            since: Some(experiment.metadata.creation_timestamp.clone()),
            info: Text::default(),
            children: sets
                .into_iter()
                .map(|set| self.set_node(set, None))
                .chain(runs.into_iter().map(run_node))
                .collect(),
        }
    }
}

/// The chosen objects, oldest first.
fn sorted<'a, K>(
    objects: &[&'a K],
    chosen: impl Fn(&ObjectMeta) -> bool,
    metadata: impl Fn(&K) -> &ObjectMeta,
) -> Vec<&'a K> {
    let mut objects: Vec<&K> = objects.iter().filter(|object| chosen(metadata(object))).copied().collect();
    objects.sort_by_key(|object| {
        let metadata = metadata(object);
        (metadata.creation_timestamp.as_ref().map(|time| time.0), name(metadata).to_owned())
    });
    objects
}

fn run_node(run: &AnalysisRun) -> Node {
    let phase = run.status.as_ref().and_then(|status| status.phase);
    Node {
        sign: "α",
        name: Text::toned(name(&run.metadata), analysis::tone(phase)),
        kind: "AnalysisRun",
        state: Some(analysis::state(phase)),
        since: Some(run.metadata.creation_timestamp.clone()),
        info: analysis::info(run),
        children: analysis::jobs(run)
            .into_iter()
            .map(|job| Node {
                sign: "⊞",
                name: Text::toned(job.name, analysis::tone(job.phase)),
                kind: "Job",
                state: Some(analysis::state(job.phase)),
                since: Some(job.started_at),
                info: Text::default(),
                children: vec![],
            })
            .collect(),
    }
}
