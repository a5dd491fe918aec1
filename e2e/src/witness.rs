//! What a scaled release looked like from outside, all the time: how many pods were wanted, who said so, and how many were
//! available. Judged at the end, in the order in which the API server stored it.

use crate::shop::Shop;
use anyhow::Context;
use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A controller may still carry out the wish of so long ago: it cannot know the newest one before it has read it.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// Something that the API server stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// `spec.replicas` of the Rollout, and whether it was written last through the scale subresource.
    Wanted {
        /// The number of pods.
        pods: i64,
        /// Through the scale subresource, as autoscalers do.
        by_scaler: bool,
    },
    /// Pods of a ReplicaSet that are available and are to stay.
    Available {
        /// The ReplicaSet's name.
        set: String,
        /// How many.
        pods: i64,
    },
}

/// A sight with its place in the order of all writes, and when it was seen.
type Entry = (u64, Instant, Sight);

/// Watches a shop's Rollout and ReplicaSets until it is asked.
pub struct Witness {
    seen: Arc<Mutex<Vec<Entry>>>,
    watch: JoinHandle<anyhow::Result<()>>,
}

impl Witness {
    /// Begins to watch.
    pub fn begin(shop: &Shop) -> Self {
        let watched = |kind: &str| {
            let objects = watcher(shop.cluster.api(kind, &shop.namespace), watcher::Config::default());
            objects.default_backoff().applied_objects().map(|object| Ok(serde_json::to_value(object?)?))
        };
        let sights = futures::stream::select(
            sights(watched("Rollout"), wanted),
            sights(watched("ReplicaSet"), available),
        );
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            let mut sights = std::pin::pin!(sights);
            while let Some(entry) = sights.next().await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(entry?);
            }
            anyhow::bail!("the watch ended")
        });
        Self { seen, watch }
    }

    /// Each number of pods that was wanted, one after the other.
    pub fn wishes(&self) -> Vec<i64> {
        let mut wishes: Vec<i64> =
            self.in_order().into_iter().filter_map(|(.., sight)| wish(&sight)).collect();
        wishes.dedup();
        wishes
    }

    /// Ends the watch, and tells what was not as it should be: see [`dips`] and [`fights`]. `asked`: the numbers that the
    /// autoscaler was led to.
    ///
    /// # Errors
    /// When it was not, or the watch has failed.
    pub fn judge(self, max_unavailable: i64, asked: &BTreeSet<i64>) -> anyhow::Result<()> {
        anyhow::ensure!(!self.watch.is_finished(), "the watch has ended early");
        self.watch.abort();
        let seen = self.in_order();
        let findings = [dips(&seen, max_unavailable), fights(&seen, asked)].concat();
        anyhow::ensure!(findings.is_empty(), "{}", findings.join("\n"));
        Ok(())
    }

    fn in_order(&self) -> Vec<Entry> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.sort_by_key(|(version, ..)| *version);
        seen
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn sights(
    objects: impl Stream<Item = anyhow::Result<Value>>,
    read: impl Fn(&Value) -> anyhow::Result<Sight>,
) -> impl Stream<Item = anyhow::Result<Entry>> {
    objects.map(move |object| {
        let object = object?;
        let version = object["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?;
        Ok((version.parse()?, Instant::now(), read(&object)?))
    })
}

fn wanted(rollout: &Value) -> anyhow::Result<Sight> {
    let entries = rollout["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut owners =
        entries.filter(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some()).peekable();
    let by_scaler = owners.peek().is_some() && owners.all(|entry| entry["subresource"] == "scale");
    Ok(Sight::Wanted { pods: rollout["spec"]["replicas"].as_i64().unwrap_or(1), by_scaler })
}

fn available(set: &Value) -> anyhow::Result<Sight> {
    let name = set["metadata"]["name"].as_str().context("no name")?.to_owned();
    let reported = set["status"]["availableReplicas"].as_i64().unwrap_or_default();
    // Those above the spec are about to go.
    let pods = reported.min(set["spec"]["replicas"].as_i64().unwrap_or_default());
    Ok(Sight::Available { set: name, pods })
}

fn wish(sight: &Sight) -> Option<i64> {
    match sight {
        Sight::Wanted { pods, .. } => Some(*pods),
        Sight::Available { .. } => None,
    }
}

/// Moments in which fewer pods were available than had been before, and than were wanted all the while, but for
/// `max_unavailable`.
pub fn dips(seen: &[Entry], max_unavailable: i64) -> Vec<String> {
    let mut sets: BTreeMap<&str, i64> = BTreeMap::new();
    let mut wishes: VecDeque<(Instant, i64)> = VecDeque::new();
    let mut floor = 0;
    let mut findings = Vec::new();
    for (version, at, sight) in seen {
        match sight {
            Sight::Wanted { pods, .. } => wishes.push_back((*at, *pods)),
            Sight::Available { set, pods } => drop(sets.insert(set, *pods)),
        }
        // A wish counts until the one after it has been known for a while.
        while wishes.get(1).is_some_and(|(since, _)| at.saturating_duration_since(*since) > KNOWN_WITHIN) {
            wishes.pop_front();
        }
        let least = wishes.iter().map(|(_, pods)| *pods).min().unwrap_or_default();
        let available = sets.values().sum::<i64>();
        floor = least.min(available.max(floor));
        if available < floor - max_unavailable {
            findings.push(format!(
                "at resourceVersion {version}: {available} pods are available where {floor} had been: {sets:?}"
            ));
        }
    }
    findings
}

/// Numbers of pods that nobody asked for, and numbers that were taken over from the autoscaler by somebody else.
pub fn fights(seen: &[Entry], asked: &BTreeSet<i64>) -> Vec<String> {
    let mut scaled = false;
    let mut findings = Vec::new();
    for (version, _, sight) in seen {
        let Sight::Wanted { pods, by_scaler } = sight else { continue };
        scaled |= by_scaler;
        if scaled && !by_scaler {
            findings.push(format!(
                "at resourceVersion {version}: spec.replicas is another's than the autoscaler's"
            ));
        }
        if scaled && !asked.contains(pods) {
            findings.push(format!(
                "at resourceVersion {version}: {pods} pods are wanted, one of {asked:?} was asked for"
            ));
        }
    }
    if !scaled {
        findings.push("the autoscaler has never scaled".to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(pods: i64) -> Sight {
        Sight::Wanted { pods, by_scaler: true }
    }

    fn available(set: &str, pods: i64) -> Sight {
        Sight::Available { set: set.to_owned(), pods }
    }

    /// One sight every ten seconds.
    fn in_turn(sights: &[Sight]) -> Vec<Entry> {
        let begin = Instant::now();
        let entry = |(number, sight): (u32, &Sight)| {
            (u64::from(number), begin + Duration::from_secs(10) * number, sight.clone())
        };
        (0..).zip(sights).map(entry).collect()
    }

    #[test]
    fn pods_that_go_before_others_have_come_are_a_dip() {
        let seen = in_turn(&[wanted(4), available("a", 4), available("a", 2), available("b", 2)]);
        assert_eq!(dips(&seen, 0).len(), 1, "{:?}", dips(&seen, 0));
        assert!(dips(&seen, 2).is_empty());
        let grown_first = in_turn(&[wanted(4), available("a", 4), available("b", 2), available("a", 2)]);
        assert!(dips(&grown_first, 0).is_empty());
    }

    #[test]
    fn fewer_pods_that_are_wanted_are_no_dip_and_more_need_time_to_come() {
        let seen = in_turn(&[wanted(4), available("a", 4), wanted(2), available("a", 2), wanted(6)]);
        assert!(dips(&seen, 0).is_empty());
        let lost = [seen, in_turn(&[available("a", 1)])].concat();
        assert_eq!(dips(&lost, 0).len(), 1, "two had been there, and at least two were wanted all the while");
    }

    #[test]
    fn a_number_that_the_autoscaler_was_not_led_to_is_a_fight() {
        let asked = BTreeSet::from([4, 6]);
        let by_others = Sight::Wanted { pods: 1, by_scaler: false };
        assert!(fights(&in_turn(&[by_others.clone(), wanted(4), wanted(6)]), &asked).is_empty());
        assert_eq!(fights(&in_turn(&[wanted(4), wanted(5)]), &asked).len(), 1);
        assert_eq!(fights(&in_turn(&[wanted(4), by_others.clone()]), &asked).len(), 2);
        assert_eq!(fights(&in_turn(&[by_others]), &asked).len(), 1, "it has never scaled");
    }

    #[test]
    fn whose_number_it_is_stands_in_the_managed_fields() -> anyhow::Result<()> {
        let owner = |subresource: &str| {
            let fields = json!({ "f:spec": { "f:replicas": {} } });
            json!({ "manager": "m", "subresource": subresource, "fieldsV1": fields })
        };
        let rollout = |owners: Vec<Value>| {
            let rollout = json!({ "metadata": { "managedFields": owners }, "spec": { "replicas": 3 } });
            super::wanted(&rollout)
        };
        assert_eq!(rollout(vec![owner("scale")])?, wanted(3));
        let not_alone = Sight::Wanted { pods: 3, by_scaler: false };
        assert_eq!(rollout(vec![owner("scale"), owner("")])?, not_alone);
        assert_eq!(rollout(vec![])?, not_alone);
        Ok(())
    }
}
