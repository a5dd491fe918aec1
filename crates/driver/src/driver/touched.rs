//! Who is concerned by what has changed: rollouts by their children and by what they name, and tasks that begin and end with
//! their objects.

use super::{Driver, Fetch};
use crate::io::ObjectRef;
use crate::object;
use crate::orphans;
use crate::outbox::TaskKey;
use crate::references::{Name, Renamed, named};
use crate::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use crate::rollout_task::RolloutTask;
use crate::run_task::RunTask;
use crate::workload;
use jiff::SignedDuration;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

impl Driver {
    /// Wakes those whom changed objects concern.
    pub(super) fn wake_touched(&mut self) {
        for target in self.unread.drain(..) {
            // Just refused: not at once again.
            let retry_at = self.now.checked_add(SignedDuration::from_secs(1)).ok();
            self.fetches.entry(target).or_insert(Fetch { retry_at, ..Fetch::default() });
        }
        while let Some((reference, owners)) = self.touched.pop() {
            for owner in &owners {
                if let Some(name) = self.names_by_uid.get(owner) {
                    self.wakes.now(&TaskKey::Rollout(name.clone()));
                }
            }
            let naming: Vec<Name> = self.references.rollouts(&reference).cloned().collect();
            for name in naming {
                self.refer(&name);
                self.wakes.now(&TaskKey::Rollout(name));
            }
            match reference.resource {
                REPLICA_SETS => self.orphan_touched(&reference),
                ROLLOUTS => self.rollout_touched(&reference),
                ANALYSIS_RUNS => self.run_touched(&reference),
                _ => {}
            }
        }
    }

    /// Somebody may be there for whom a ReplicaSet without a controller was made.
    fn orphan_touched(&mut self, reference: &ObjectRef) {
        let Some(orphan) = self.store.get(reference) else { return };
        if object::controller(orphan).is_some() {
            return;
        }
        let namespace = reference.namespace.clone();
        let rollouts = self.rollouts.range((namespace.clone(), String::new())..);
        let beside = rollouts.take_while(|((of, _), _)| *of == namespace);
        let adopts = |task: &RolloutTask| {
            let rollout = self.store.get(&task.reference);
            rollout.is_some_and(|rollout| orphans::is_of(orphan, &workload::filled_in(rollout, &self.store)))
        };
        for (name, _) in beside.filter(|(_, task)| adopts(task)) {
            self.wakes.now(&TaskKey::Rollout(name.clone()));
        }
    }

    fn rollout_touched(&mut self, reference: &ObjectRef) {
        let name = (reference.namespace.clone(), reference.name.clone());
        let key = TaskKey::Rollout(name.clone());
        let rollout = self.store.get(reference).filter(|rollout| self.is_ours(rollout));
        let uid = rollout.map(|rollout| object::uid(rollout).to_owned());
        if let Some(task) = self.rollouts.get(&name)
            && Some(&task.uid) != uid.as_ref()
        {
            self.names_by_uid.remove(&task.uid);
            self.rollouts.remove(&name);
            self.courier.gone(&name);
            self.wakes.forget(&key);
        }
        if let (Some(uid), Some(rollout)) = (uid, self.store.get(reference)) {
            if !self.rollouts.contains_key(&name) {
                self.rollouts.insert(name.clone(), RolloutTask::new(rollout));
                self.names_by_uid.insert(uid, name.clone());
            }
            self.wakes.now(&key);
        }
        self.sweep.rollout_touched(&name);
        self.refer(&name);
    }

    fn run_touched(&mut self, reference: &ObjectRef) {
        let name = (reference.namespace.clone(), reference.name.clone());
        let key = TaskKey::Run(name.clone());
        let run = self.store.get(reference).filter(|run| self.is_ours(run));
        let uid = run.map(object::uid);
        if self.runs.get(&name).is_some_and(|task| Some(task.uid.as_str()) != uid) {
            self.runs.remove(&name);
            self.wakes.forget(&key);
            self.places.forget(&key);
        }
        if let Some(run) = self.store.get(reference).filter(|run| self.is_ours(run)) {
            self.runs.entry(name).or_insert_with(|| RunTask::new(run));
            self.wakes.now(&key);
        }
    }

    /// Whether an object is for this instance of the controller.
    pub(super) fn is_ours(&self, object: &Value) -> bool {
        object::is_of_instance(object, &self.options.instance_id)
    }

    /// Reads again what a Rollout names.
    pub(super) fn refer(&mut self, name: &Name) {
        let reference = ObjectRef { resource: ROLLOUTS, namespace: name.0.clone(), name: name.1.clone() };
        let objects = match (self.store.get(&reference), self.rollouts.get(name)) {
            (Some(rollout), Some(task)) => {
                named(&task.remembered(Cow::Borrowed(rollout)), &self.store).objects
            }
            _ => BTreeSet::new(),
        };
        let Renamed { unread, unwanted } = self.references.update(name, objects, &mut self.store);
        for unread in unread {
            self.fetches.entry(unread).or_default();
        }
        // A standby reads nothing: what is named and left again meanwhile would wait for ever.
        for unwanted in unwanted {
            if self.fetches.get(&unwanted).is_some_and(|fetch| !fetch.in_flight) {
                self.fetches.remove(&unwanted);
            }
        }
    }
}
