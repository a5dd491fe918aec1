//! A Rollout and its children as they change, through watches.

use crate::cluster::{Cluster, selector};
use crate::view::Scene;
use anyhow::{Result, anyhow};
use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use headgate_api::{AnalysisRun, Experiment, Rollout};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How long changes are gathered before they are shown: a release touches many objects at once.
const GATHER: Duration = Duration::from_millis(150);
/// How often the view is shown again although nothing has changed, so that ages move.
const TICK: Duration = Duration::from_secs(1);

/// How much is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The Rollout alone.
    Rollout,
    /// The Rollout and all that belongs to it.
    Everything,
}

/// When the view is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// After each change.
    OnChange,
    /// After each change, and every second.
    Ticking,
}

/// Objects of one kind, by name.
struct Shelf<K> {
    objects: BTreeMap<String, K>,
    /// What a list that is under way has brought so far.
    listing: BTreeMap<String, K>,
    is_complete: bool,
}

impl<K: Resource + Clone> Shelf<K> {
    fn new() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), is_complete: false }
    }

    fn apply(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => {
                self.listing.insert(object.name_any(), object);
            }
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.listing);
                self.is_complete = true;
            }
            Event::Apply(object) => {
                self.objects.insert(object.name_any(), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
            }
        }
    }

    fn all(&self) -> Vec<K> {
        self.objects.values().cloned().collect()
    }
}

/// What a watch says.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is stored at once")]
enum Change {
    Rollout(Event<Rollout>),
    ReplicaSet(Event<ReplicaSet>),
    Pod(Event<Pod>),
    AnalysisRun(Event<AnalysisRun>),
    Experiment(Event<Experiment>),
    Failed(&'static str, watcher::Error),
}

struct Live {
    rollouts: Shelf<Rollout>,
    sets: Shelf<ReplicaSet>,
    pods: Shelf<Pod>,
    runs: Shelf<AnalysisRun>,
    experiments: Shelf<Experiment>,
    extent: Extent,
    /// Kinds whose watch has failed once: shown without them, said once.
    failed: Vec<&'static str>,
}

impl Live {
    fn apply(&mut self, change: Change, say: &mut impl FnMut(&str)) {
        match change {
            Change::Rollout(event) => self.rollouts.apply(event),
            Change::ReplicaSet(event) => self.sets.apply(event),
            Change::Pod(event) => self.pods.apply(event),
            Change::AnalysisRun(event) => self.runs.apply(event),
            Change::Experiment(event) => self.experiments.apply(event),
            Change::Failed(kind, error) => {
                if !self.failed.contains(&kind) {
                    self.failed.push(kind);
                    say(&format!("Warning: the watch of {kind} failed and is tried again: {error}"));
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        let seen = |kind: &str, is_complete: bool| is_complete || self.failed.contains(&kind);
        self.rollouts.is_complete
            && (self.extent == Extent::Rollout
                || seen("replicasets", self.sets.is_complete)
                    && seen("pods", self.pods.is_complete)
                    && seen("analysisruns", self.runs.is_complete)
                    && seen("experiments", self.experiments.is_complete))
    }

    fn scene(&self, name: &str) -> Option<Scene> {
        let rollout = self.rollouts.objects.get(name)?.clone();
        Some(Scene {
            rollout,
            replica_sets: self.sets.all(),
            pods: self.pods.all(),
            analysis_runs: self.runs.all(),
            experiments: self.experiments.all(),
        })
    }
}

/// Shows a Rollout again and again until `show` breaks off with an answer.
///
/// # Errors
/// When the Rollout does not exist or is deleted, or `show` fails.
pub(crate) async fn follow<T>(
    cluster: &Cluster,
    name: &str,
    extent: Extent,
    pace: Pace,
    mut say: impl FnMut(&str),
    mut show: impl FnMut(&Scene) -> Result<ControlFlow<T>>,
) -> Result<T> {
    // A plain read first: its errors are answers, those of a watch are retried.
    let rollout = cluster.rollout(name).await?.rollout;
    let mut changes = watches(cluster, name, &rollout, extent);
    let mut live = Live {
        rollouts: Shelf::new(),
        sets: Shelf::new(),
        pods: Shelf::new(),
        runs: Shelf::new(),
        experiments: Shelf::new(),
        extent,
        failed: vec![],
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    loop {
        let shown_at = due.unwrap_or_else(Instant::now);
        tokio::select! {
            change = changes.next() => {
                let Some(change) = change else { return Err(anyhow!("the watches ended")) };
                live.apply(change, &mut say);
                due = due.or_else(|| Some(Instant::now() + GATHER));
                continue;
            }
            () = sleep_until(shown_at), if due.is_some() => due = None,
            _ = tick.tick(), if pace == Pace::Ticking => {}
        }
        if !live.is_complete() {
            continue;
        }
        let Some(scene) = live.scene(name) else { return Err(anyhow!("rollout '{name}' was deleted")) };
        if let ControlFlow::Break(answer) = show(&scene)? {
            return Ok(answer);
        }
    }
}

fn watches(
    cluster: &Cluster,
    name: &str,
    rollout: &Rollout,
    extent: Extent,
) -> SelectAll<BoxStream<'static, Change>> {
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut all = SelectAll::new();
    all.push(watch(cluster.api(), one, "rollouts", Change::Rollout));
    if extent == Extent::Rollout {
        return all;
    }
    let any = watcher::Config::default();
    let ours = match selector(rollout) {
        Some(selector) => any.clone().labels(&selector),
        None => any.clone(),
    };
    all.push(watch(cluster.api(), ours.clone(), "replicasets", Change::ReplicaSet));
    all.push(watch(cluster.api(), ours, "pods", Change::Pod));
    all.push(watch(cluster.api(), any.clone(), "analysisruns", Change::AnalysisRun));
    all.push(watch(cluster.api(), any, "experiments", Change::Experiment));
    all
}

fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    kind: &'static str,
    change: fn(Event<K>) -> Change,
) -> BoxStream<'static, Change>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone,
{
    let events: Box<dyn Stream<Item = _> + Send + Unpin> = Box::new(Box::pin(watcher(api, config)));
    events
        .default_backoff()
        .map(move |event| match event {
            Ok(event) => change(event),
            Err(error) => Change::Failed(kind, error),
        })
        .boxed()
}
