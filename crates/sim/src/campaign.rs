//! Many seeds over all cores. Each world is one thread's own; what comes of it does not depend on how many there are.

use crate::checkers::Lost;
use crate::coverage::{Pair, impossible, pairs};
use crate::defects::Defect;
use crate::effect::{Effect, strikes};
use crate::kinds::Fault;
use crate::scenario::Scenario;
use crate::simulation::{Outcome, run};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

/// What many seeds have come to.
#[derive(Debug, Default)]
pub struct Campaign {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that broke a rule.
    pub failed: BTreeSet<u64>,
    /// Pairs of features, and how many seeds have reached them.
    pub reached: BTreeMap<Pair, u64>,
    /// Kinds of requests to which something has happened, and what.
    pub struck: BTreeSet<(Effect, Fault)>,
    /// Requests of controllers to the API server.
    pub requests: u64,
    /// Requests of clients that were lost.
    pub lost: Lost,
}

/// Runs these seeds on so many threads; `each` is told of every outcome, in no particular order.
pub fn run_all(
    seeds: Range<u64>,
    threads: usize,
    defect: Defect,
    mut each: impl FnMut(&Outcome),
) -> Campaign {
    let next = AtomicU64::new(seeds.start);
    let mut campaign = Campaign::default();
    let (send, receive) = channel();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let (send, next, end) = (send.clone(), &next, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || send.send(run(Scenario::new(seed), defect)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        for outcome in receive {
            campaign.add(&outcome);
            each(&outcome);
        }
    });
    campaign
}

impl Campaign {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.requests += outcome.requests;
        self.lost += outcome.lost;
        if !outcome.violations.is_empty() {
            self.failed.insert(outcome.seed);
        }
        for pair in &outcome.reached.pairs {
            *self.reached.entry(*pair).or_default() += 1;
        }
        self.struck.extend(&outcome.reached.struck);
    }

    /// Pairs that are possible and that no seed has reached.
    pub fn missed(&self) -> Vec<Pair> {
        let is_missed = |(one, other): &Pair| {
            impossible(*one, *other).is_none() && !self.reached.contains_key(&(*one, *other))
        };
        pairs().into_iter().filter(is_missed).collect()
    }

    /// Kinds of requests at which no process has died or stood still in this way.
    pub fn not_struck(&self) -> Vec<(Effect, Fault)> {
        strikes().filter(|strike| !self.struck.contains(strike)).collect()
    }

    /// Pairs that were said to be impossible and were reached all the same.
    pub fn surprising(&self) -> Vec<Pair> {
        self.reached.keys().copied().filter(|(one, other)| impossible(*one, *other).is_some()).collect()
    }
}

/// Pairs that cannot be, by reason.
pub fn impossible_pairs() -> BTreeMap<&'static str, Vec<Pair>> {
    let mut by_reason: BTreeMap<&'static str, Vec<Pair>> = BTreeMap::new();
    for (one, other) in pairs() {
        if let Some(reason) = impossible(one, other) {
            by_reason.entry(reason).or_default().push((one, other));
        }
    }
    by_reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Router, Step};

    #[test]
    fn a_pair_is_missed_until_a_seed_reaches_it_and_an_impossible_one_surprises() {
        let possible = (Router::Istio.into(), Step::ScaleWeight.into());
        let impossible = (Router::None.into(), Step::ScaleWeight.into());
        let mut campaign = Campaign::default();
        assert!(campaign.missed().contains(&possible) && !campaign.missed().contains(&impossible));
        assert!(campaign.surprising().is_empty());
        campaign.reached.extend([(possible, 1), (impossible, 1)]);
        assert!(!campaign.missed().contains(&possible));
        assert_eq!(campaign.surprising(), [impossible]);
    }

    #[test]
    fn a_kind_of_request_counts_as_struck_by_what_happened_to_it_alone() {
        let strike = (Effect::Record, Fault::CrashBefore);
        let mut campaign = Campaign::default();
        let all = campaign.not_struck().len();
        campaign.struck.insert(strike);
        assert_eq!(campaign.not_struck().len(), all - 1);
        assert!(!campaign.not_struck().contains(&strike));
    }
}
