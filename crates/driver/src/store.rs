//! What is known of the cluster: one entry an object, our own writes laid over what the watches deliver (R3).
//!
//! - An answer of the API server (to a write, or to a live read) is never replaced by an older watch event.
//! - What a list lacks stays, until a live read has settled it: the list may lag behind.
//! - What we deleted stays away, by uid, until the watch has delivered the deletion.
//! - What a live read has not found stays away likewise, but a watch that shows it all the same has it read once more.
//! - Objects of others are kept only while a Rollout names them.

use crate::io::{ObjectRef, Resource};
use crate::object::{self, Age};
use crate::pods::Pods;
use crate::resources::{PODS, REPLICA_SETS, ROLLOUTS, is_foreign, is_workload};
use headgate_model::Observed;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where an object comes from, which decides what may replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A watch or its list: may be old.
    Watch,
    /// An answer of the API server to a call of ours: was true when it was given.
    Answer,
}

#[derive(Clone, Debug)]
enum Entry {
    Present {
        object: Value,
        /// Not delivered by the watch yet.
        expected: bool,
    },
    /// Read live, and not there. Only for objects of others, which we keep no full list of. A server that is just starting
    /// says so of what is there, so events bring it back, but none from before what was last known of it.
    Absent(Option<Version>),
}

/// An object as it was at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    uid: String,
    resource_version: String,
}

impl Version {
    fn of(object: &Value) -> Self {
        Self {
            uid: object::uid(object).to_owned(),
            resource_version: object::resource_version(object).to_owned(),
        }
    }

    /// True of an older state of the same object.
    fn is_after(&self, object: &Value) -> bool {
        let age = object::age(object::resource_version(object), &self.resource_version);
        self.uid == object::uid(object) && age == Age::Older
    }
}

/// Whether a kind is known as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Completeness {
    #[default]
    Unknown,
    Synced,
    NotInstalled,
}

#[derive(Debug, Default)]
struct KindState {
    completeness: Completeness,
    /// Names seen in the list in progress.
    listing: Option<BTreeSet<(String, String)>>,
}

/// What became of an incoming object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Whether anything is different now.
    pub(crate) changed: bool,
    /// Controller owners of the object, before and after.
    pub(crate) owners: BTreeSet<String>,
    /// The watch shows an object that a live read has not found: it is to be read again.
    pub(crate) is_doubtful: bool,
}

/// Why an object stays away although events about it may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The API server has deleted it: for good.
    Deletion,
    /// A live read has not found it: so it is until another one finds it.
    Absence,
}

/// Answers are under way for seconds; in that time far fewer objects are deleted.
const GONE_MAX: usize = 512;

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<ObjectRef, Entry>,
    kinds: BTreeMap<Resource, KindState>,
    children: BTreeMap<String, BTreeSet<ObjectRef>>,
    /// ReplicaSets without a controller, by namespace.
    orphans: BTreeMap<String, BTreeSet<ObjectRef>>,
    /// By uid.
    tombstones: BTreeMap<String, (ObjectRef, Proof)>,
    /// Uid and last resourceVersion of what a watch has said to be gone, the latest [`GONE_MAX`]: neither an answer that was
    /// under way meanwhile nor a list of a server that lags behind may bring it back.
    gone: VecDeque<(String, String)>,
    /// Objects of others that some Rollout names.
    wanted: BTreeSet<ObjectRef>,
    /// Why objects of others could not be read, last.
    refusals: BTreeMap<ObjectRef, String>,
    /// What is known of pods, which are kept apart: there may be very many.
    pub(crate) pods: Pods,
}

impl Store {
    /// Whether the same object, and not another one of its name, is stored in some version.
    pub(crate) fn knows(&self, resource: Resource, object: &Value) -> bool {
        let known = self.get(&object::reference(resource, object));
        known.is_some_and(|known| object::uid(known) == object::uid(object))
    }

    pub(crate) fn get(&self, reference: &ObjectRef) -> Option<&Value> {
        match self.objects.get(reference)? {
            Entry::Present { object, .. } => Some(object),
            Entry::Absent(_) => None,
        }
    }

    /// What is known of one object.
    pub(crate) fn observed(&self, reference: &ObjectRef) -> Observed<&Value> {
        match self.objects.get(reference) {
            Some(Entry::Present { object, .. }) => Observed::Present(object),
            Some(Entry::Absent(_)) => Observed::Absent,
            None => match self.completeness(reference.resource) {
                Completeness::NotInstalled => Observed::Absent,
                Completeness::Synced if !is_foreign(reference.resource) => Observed::Absent,
                Completeness::Synced | Completeness::Unknown => Observed::Unknown,
            },
        }
    }

    /// Objects of a kind whose controller owner has this uid.
    pub(crate) fn children(&self, owner: &str, resource: Resource) -> impl Iterator<Item = &Value> {
        let children = self.children.get(owner).into_iter().flatten();
        children.filter(move |child| child.resource == resource).filter_map(|child| self.get(child))
    }

    /// ReplicaSets of a namespace that nobody controls.
    pub(crate) fn orphans(&self, namespace: &str) -> impl Iterator<Item = &Value> {
        self.orphans.get(namespace).into_iter().flatten().filter_map(|orphan| self.get(orphan))
    }

    /// All objects of a kind.
    pub(crate) fn all(&self, resource: Resource) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        let first = ObjectRef { resource, namespace: String::new(), name: String::new() };
        self.objects
            .range(first..)
            .take_while(move |(reference, _)| reference.resource == resource)
            .filter_map(|(reference, entry)| match entry {
                Entry::Present { object, .. } => Some((reference, object)),
                Entry::Absent(_) => None,
            })
    }

    /// True once a whole list of the kind has been seen, or the kind is known not to exist.
    pub(crate) fn is_synced(&self, resource: Resource) -> bool {
        self.completeness(resource) != Completeness::Unknown
    }

    /// True once a whole list of the kind has been seen: what is not known does not exist, as far as a watch can tell.
    pub(crate) fn is_listed(&self, resource: Resource) -> bool {
        self.completeness(resource) == Completeness::Synced
    }

    fn completeness(&self, resource: Resource) -> Completeness {
        self.kinds.get(&resource).map(|state| state.completeness).unwrap_or_default()
    }

    /// Takes an object in, unless something newer is known.
    pub(crate) fn put(&mut self, resource: Resource, object: Value, source: Source) -> Change {
        let reference = object::reference(resource, &object);
        if let Some(state) = self.kinds.get_mut(&resource)
            && let (Source::Watch, Some(listing)) = (source, &mut state.listing)
        {
            listing.insert((reference.namespace.clone(), reference.name.clone()));
        }
        if !self.is_kept(&reference) {
            return Change::default();
        }
        if self.is_older_than_its_deletion(&object) {
            // What was there when it was read is gone by now, and nobody will say so once more.
            let is_news = is_foreign(resource) && source == Source::Answer;
            let is_unknown = is_news && !self.objects.contains_key(&reference);
            return if is_unknown { self.absent(&reference) } else { Change::default() };
        }
        if let Some(proof) = self.kept_away_by(&object, source) {
            return Change { is_doubtful: proof == Proof::Absence, ..Change::default() };
        }
        match (self.age(&reference, &object, source), source) {
            (Age::Older, _) | (Age::Same, Source::Answer) => return Change::default(),
            (Age::Same, Source::Watch) => {
                self.confirm(&reference);
                return Change::default();
            }
            (Age::Newer | Age::Unknown, _) => {}
        }
        let kept = object::projection(resource, object);
        let is_news = !is_workload(resource) || self.get(&reference).is_none_or(|known| !same(known, &kept));
        let mut change = self.forget(&reference);
        change.changed = is_news;
        self.refusals.remove(&reference);
        match object::controller_uid(&kept).filter(|_| !is_foreign(resource)) {
            Some(owner) => {
                change.owners.insert(owner.to_owned());
                self.children.entry(owner.to_owned()).or_default().insert(reference.clone());
            }
            None if resource == REPLICA_SETS => {
                self.orphans.entry(reference.namespace.clone()).or_default().insert(reference.clone());
            }
            None => {}
        }
        self.objects.insert(reference, Entry::Present { object: kept, expected: source == Source::Answer });
        change
    }

    /// The tombstone that keeps this object away. An answer that finds it after all takes away that of a live read.
    fn kept_away_by(&mut self, object: &Value, source: Source) -> Option<Proof> {
        let uid = object::uid(object);
        let proof = self.tombstones.get(uid).map(|(_, proof)| *proof)?;
        if proof == Proof::Absence && source == Source::Answer {
            self.tombstones.remove(uid);
            return None;
        }
        Some(proof)
    }

    /// How an incoming object relates to what is known under its name.
    fn age(&self, reference: &ObjectRef, object: &Value, source: Source) -> Age {
        match self.objects.get(reference) {
            Some(Entry::Present { object: stored, expected }) => {
                match object::age(object::resource_version(object), object::resource_version(stored)) {
                    // Not comparable: what we were answered holds until the watch delivers just that.
                    Age::Unknown if *expected && source == Source::Watch => Age::Older,
                    age => age,
                }
            }
            Some(Entry::Absent(Some(last))) if source == Source::Watch && last.is_after(object) => Age::Older,
            Some(Entry::Absent(_)) | None => Age::Newer,
        }
    }

    /// The watch says that this object is gone.
    pub(crate) fn deleted(&mut self, resource: Resource, object: &Value) -> Change {
        let reference = object::reference(resource, object);
        self.tombstones.remove(object::uid(object));
        self.gone.truncate(GONE_MAX - 1);
        self.gone.push_front((object::uid(object).to_owned(), object::resource_version(object).to_owned()));
        let Some(stored) = self.get(&reference) else { return Change::default() };
        let same = object::uid(stored) == object::uid(object);
        let older =
            object::age(object::resource_version(object), object::resource_version(stored)) == Age::Older;
        if !same && older {
            return Change::default();
        }
        self.absent(&reference)
    }

    /// A watch with a selector also says "gone" of an object that no longer matches: what is newer than that counts.
    fn is_older_than_its_deletion(&self, object: &Value) -> bool {
        let (uid, version) = (object::uid(object), object::resource_version(object));
        self.gone.iter().any(|(gone, last)| gone == uid && object::age(version, last) == Age::Older)
    }

    /// The API server has deleted this object on our demand.
    pub(crate) fn bury(&mut self, reference: &ObjectRef, uid: &str) -> Change {
        if let Some((_, proof)) = self.tombstones.get_mut(uid) {
            *proof = Proof::Deletion;
        }
        match self.get(reference) {
            Some(stored) if object::uid(stored) == uid => {
                self.tombstones.insert(uid.to_owned(), (reference.clone(), Proof::Deletion));
                self.absent(reference)
            }
            // The watch was faster.
            _ => Change::default(),
        }
    }

    /// A live read has not found this object. Events from before its deletion may still be on their way: of a kind of ours
    /// they do not bring it back. But a server that is just starting says "not found" of what is there, so they are a
    /// reason to read it again.
    pub(crate) fn not_found(&mut self, reference: &ObjectRef) -> Change {
        if let Some(stored) = self.get(reference).filter(|_| !is_foreign(reference.resource)) {
            let uid = object::uid(stored).to_owned();
            self.tombstones.insert(uid, (reference.clone(), Proof::Absence));
        }
        self.absent(reference)
    }

    /// True of an object that a live read has not found and of which the watch has not said that it is gone.
    pub(crate) fn is_doubted(&self, reference: &ObjectRef) -> bool {
        self.tombstones.values().any(|(buried, proof)| buried == reference && *proof == Proof::Absence)
    }

    /// This object is not there.
    fn absent(&mut self, reference: &ObjectRef) -> Change {
        self.refusals.remove(reference);
        let last = match self.objects.get(reference) {
            Some(Entry::Present { object, .. }) => Some(Version::of(object)),
            Some(Entry::Absent(last)) => last.clone(),
            None => None,
        };
        let mut change = self.forget(reference);
        if is_foreign(reference.resource) && self.is_kept(reference) {
            self.objects.insert(reference.clone(), Entry::Absent(last));
        }
        change.changed = true;
        change
    }

    /// A live read was refused: nothing is known of this object.
    pub(crate) fn unknown(&mut self, reference: &ObjectRef) {
        self.forget(reference);
    }

    fn forget(&mut self, reference: &ObjectRef) -> Change {
        let mut change = Change::default();
        if let Some(Entry::Present { object, .. }) = self.objects.remove(reference) {
            change.changed = true;
            if let Some(owner) = object::controller_uid(&object) {
                change.owners.insert(owner.to_owned());
                leave(&mut self.children, owner, reference);
            } else if reference.resource == REPLICA_SETS {
                leave(&mut self.orphans, &reference.namespace, reference);
            }
        }
        change
    }

    fn confirm(&mut self, reference: &ObjectRef) {
        if let Some(Entry::Present { expected, .. }) = self.objects.get_mut(reference) {
            *expected = false;
        }
    }

    pub(crate) fn list_started(&mut self, resource: Resource) {
        self.kinds.entry(resource).or_default().listing = Some(BTreeSet::new());
    }

    /// The kind does not exist, and neither do objects of it.
    pub(crate) fn not_installed(&mut self, resource: Resource) -> Synced {
        let state = self.kinds.entry(resource).or_default();
        (state.completeness, state.listing) = (Completeness::NotInstalled, None);
        let gone: Vec<ObjectRef> = self.all(resource).map(|(reference, _)| reference.clone()).collect();
        let gone = gone.into_iter().map(|reference| (reference.clone(), self.absent(&reference)));
        let synced = Synced { gone: gone.collect(), ..Synced::default() };
        self.settle(resource, &BTreeSet::new());
        synced
    }

    /// A list is complete. What it lacks may be gone; but a server that lags behind lists the past, in which an object may
    /// not have been there yet, so it is read live.
    pub(crate) fn synced(&mut self, resource: Resource) -> Synced {
        let state = self.kinds.entry(resource).or_default();
        state.completeness = Completeness::Synced;
        let Some(listed) = state.listing.take() else { return Synced::default() };
        let is_missing =
            |reference: &&ObjectRef| !listed.contains(&(reference.namespace.clone(), reference.name.clone()));
        let missing = self.all(resource).map(|(reference, _)| reference).filter(is_missing);
        let synced = Synced { doubtful: missing.cloned().collect(), ..Synced::default() };
        self.settle(resource, &listed);
        synced
    }

    /// What was buried and is not in this list needs no tombstone any more.
    fn settle(&mut self, resource: Resource, listed: &BTreeSet<(String, String)>) {
        self.tombstones.retain(|_, (reference, _)| {
            reference.resource != resource
                || listed.contains(&(reference.namespace.clone(), reference.name.clone()))
        });
        if resource == ROLLOUTS {
            self.drop_unwanted();
        }
    }

    /// Whether an object is kept at all. Before the Rollouts are known, everything is: nobody can say yet
    /// what they name.
    fn is_kept(&self, reference: &ObjectRef) -> bool {
        !is_foreign(reference.resource) || !self.is_synced(ROLLOUTS) || self.wanted.contains(reference)
    }

    /// Some Rollout names this object of others from now on. True when it must be read live to be known.
    pub(crate) fn want(&mut self, reference: ObjectRef) -> bool {
        // A watch of workloads begins when one is named: what it will deliver is not waited for.
        let is_readable =
            self.completeness(reference.resource) == Completeness::Synced || is_workload(reference.resource);
        let missing = !self.objects.contains_key(&reference) && is_readable;
        self.wanted.insert(reference);
        missing
    }

    /// True while some Rollout names an object of this kind.
    pub(crate) fn is_demanded(&self, resource: Resource) -> bool {
        self.wanted.iter().any(|reference| reference.resource == resource)
    }

    /// A live read of an object of others was refused, for this reason. True when that is news.
    pub(crate) fn refused(&mut self, reference: &ObjectRef, why: &str) -> bool {
        let is_news = self.refusals.get(reference).is_none_or(|known| known != why);
        self.refusals.insert(reference.clone(), why.to_owned());
        is_news
    }

    /// Why this object could not be read, last.
    pub(crate) fn refusal(&self, reference: &ObjectRef) -> Option<&str> {
        self.refusals.get(reference).map(String::as_str)
    }

    /// No Rollout names this object any more.
    pub(crate) fn unwant(&mut self, reference: &ObjectRef) {
        self.wanted.remove(reference);
        self.refusals.remove(reference);
        if !self.is_kept(reference) {
            self.objects.remove(reference);
        }
    }

    fn drop_unwanted(&mut self) {
        let wanted = &self.wanted;
        self.objects.retain(|reference, _| !is_foreign(reference.resource) || wanted.contains(reference));
    }

    /// Objects of others that are named but not known although their kind is: to be read live.
    pub(crate) fn unread(&self, resource: Resource) -> Vec<ObjectRef> {
        let unread = |reference: &&ObjectRef| {
            reference.resource == resource
                && self.completeness(resource) == Completeness::Synced
                && !self.objects.contains_key(*reference)
        };
        self.wanted.iter().filter(unread).cloned().collect()
    }

    /// How many objects are held, by kind.
    pub(crate) fn sizes(&self) -> BTreeMap<Resource, usize> {
        let mut sizes = BTreeMap::new();
        for reference in self.objects.keys() {
            *sizes.entry(reference.resource).or_insert(0) += 1;
        }
        sizes.insert(PODS, self.pods.len());
        sizes
    }
}

/// What a complete list has shown.
#[derive(Debug, Default)]
pub(crate) struct Synced {
    /// Objects that are gone.
    pub(crate) gone: Vec<(ObjectRef, Change)>,
    /// Objects of ours that the list lacks although the API server has confirmed them: to be read live.
    pub(crate) doubtful: Vec<ObjectRef>,
}

/// Whether two states of an object differ in nothing but their versions: most changes of a workload are of its status.
fn same(one: &Value, other: &Value) -> bool {
    let generation = |object: &Value| object::number(object, "/metadata/generation");
    object::uid(one) == object::uid(other)
        && generation(one) == generation(other)
        && ["spec", "template"].iter().all(|key| one.get(key) == other.get(key))
}

/// Takes an object out of the set that is kept under this key.
fn leave(index: &mut BTreeMap<String, BTreeSet<ObjectRef>>, key: &str, reference: &ObjectRef) {
    if let Some(kept) = index.get_mut(key) {
        kept.remove(reference);
        if kept.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
