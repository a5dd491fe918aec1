//! What goes wrong with pods: their containers, their nodes, and who deletes them.

use super::{BACK_OFF, Fails, Hurt, NODE_GRACE, Pod, Pods, RESTART_TAKES, State};
use crate::world::kubelet::Trouble;
use crate::world::plus;
use jiff::Timestamp;
use std::collections::BTreeSet;

impl Pods {
    /// Something goes wrong with pods of a version by their own doing. Says how many it hits.
    pub fn hurt(&mut self, hash: &str, hurt: Hurt, now: Timestamp) -> usize {
        let of_version = |pod: &&mut Pod| pod.hash == hash && matches!(pod.state, State::Ready(_));
        let most = if matches!(hurt, Hurt::Crashing(_)) { usize::MAX } else { 1 };
        let mut count = 0;
        for pod in self.pods.values_mut().filter(of_version).take(most) {
            count += 1;
            match hurt {
                Hurt::OomKilled => {
                    pod.state = State::Starting(Some(plus(now, RESTART_TAKES)));
                    pod.told.ends(137, "OOMKilled", now);
                    self.record.begins(pod.told.cause(Trouble::OomKilled, now));
                }
                Hurt::Unready(until) => pod.fail_probe(until, &mut self.record, now),
                Hurt::Crashing(until) => {
                    pod.fails = Some(Fails { until, back_off: 1_000 });
                    pod.fails_at = Some(plus(now, 100));
                    continue;
                }
            }
            self.syncs.by(&pod.set, plus(now, 200));
        }
        count
    }

    /// Takes pods that are ready out of readiness, until then: of one version, or of all; `share` in a hundred, and one at
    /// least where there is any.
    pub fn knock_out(&mut self, hash: Option<&str>, share: i64, until: Timestamp, now: Timestamp) -> usize {
        let is_meant =
            |pod: &Pod| hash.is_none_or(|hash| pod.hash == hash) && matches!(pod.state, State::Ready(_));
        let ready: Vec<u64> = self.pods.iter().filter(|(_, pod)| is_meant(pod)).map(|(id, _)| *id).collect();
        let mut hit: Vec<u64> = ready.iter().copied().filter(|_| self.luck.percent(share)).collect();
        if hit.is_empty() {
            hit.extend(ready.first());
        }
        for id in &hit {
            if let Some(pod) = self.pods.get_mut(id) {
                pod.fail_probe(until, &mut self.record, now);
                self.syncs.by(&pod.set, plus(now, 200));
            }
        }
        hit.len()
    }

    /// The oldest pod that is ready fails its readiness probe until then. False when there is none.
    pub fn fail_probe(&mut self, until: Timestamp, now: Timestamp) -> bool {
        let pod = self.pods.values_mut().find(|pod| matches!(pod.state, State::Ready(_)));
        let Some(pod) = pod else { return false };
        pod.fail_probe(until, &mut self.record, now);
        self.syncs.by(&pod.set, plus(now, 200));
        true
    }

    /// From now on until then containers of one version, or of all, end whenever they have been ready for a moment. Says of how
    /// many pods.
    pub fn make_fail(
        &mut self,
        hash: Option<&str>,
        backs_off: bool,
        until: Timestamp,
        now: Timestamp,
    ) -> usize {
        let back_off = if backs_off { BACK_OFF } else { 0 };
        let mut count = 0;
        for pod in self.pods.values_mut().filter(|pod| hash.is_none_or(|hash| pod.hash == hash)) {
            count += 1;
            pod.fails = Some(Fails { until, back_off });
            if matches!(pod.state, State::Ready(_)) {
                pod.fails_at = Some(plus(now, self.luck.between(100, 3_000)));
            }
        }
        count
    }

    /// From now on no container ends by itself.
    pub fn stop_failing(&mut self) {
        self.health.values_mut().for_each(|health| health.crashes = false);
        self.pods.values_mut().for_each(|pod| (pod.fails, pod.fails_at) = (None, None));
    }

    /// A node cannot be reached until then.
    pub fn lose_node(&mut self, until: Timestamp, now: Timestamp) -> usize {
        let node = self.node_with_pods();
        let mut count = 0;
        for pod in self.pods.values_mut().filter(|pod| pod.node == node) {
            pod.dark_until = Some(until);
            pod.doubted_at = Some(plus(now, NODE_GRACE)).filter(|at| *at < until);
            // What has started there is not heard of before the node comes back.
            if let State::Starting(Some(ready)) = pod.state {
                pod.state = State::Starting(Some(ready.max(until)));
            }
            count += 1;
        }
        count
    }

    /// One of the nodes that have pods; what befalls another one changes nothing.
    fn node_with_pods(&mut self) -> i64 {
        let alive = self.pods.values().filter(|pod| !matches!(pod.state, State::Terminating(_)));
        let nodes: Vec<i64> = alive.map(|pod| pod.node).collect::<BTreeSet<i64>>().into_iter().collect();
        let last = i64::try_from(nodes.len()).unwrap_or(0).max(1) - 1;
        let index = usize::try_from(self.luck.between(0, last)).unwrap_or(0);
        nodes.get(index).copied().unwrap_or(0)
    }

    /// A node is drained: all of its pods are told to end at once.
    pub fn drain_node(&mut self, now: Timestamp) -> usize {
        let node = self.node_with_pods();
        let end = plus(now, self.drain);
        let mut count = 0;
        for pod in self.pods.values_mut().filter(|pod| pod.node == node) {
            if !matches!(pod.state, State::Terminating(_)) {
                pod.told.evict(now);
                pod.end(end, &mut self.record, now);
                self.syncs.by(&pod.set, plus(now, 200));
                count += 1;
            }
        }
        count
    }

    /// Somebody deletes one pod.
    pub fn delete_one(&mut self, now: Timestamp) -> Option<String> {
        let alive: Vec<u64> = self
            .pods
            .iter()
            .filter(|(_, pod)| !matches!(pod.state, State::Terminating(_)))
            .map(|(id, _)| *id)
            .collect();
        let index = self.luck.between(0, i64::try_from(alive.len()).unwrap_or(1) - 1);
        let id = alive.get(usize::try_from(index).ok()?)?;
        let end = plus(now, self.drain);
        let pod = self.pods.get_mut(id)?;
        pod.end(end, &mut self.record, now);
        self.syncs.by(&pod.set, plus(now, 200));
        Some(pod.hash.clone())
    }
}
