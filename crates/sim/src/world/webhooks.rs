//! Webhooks: services outside of the cluster that are told of Rollouts, and sometimes don't take it.

use crate::random::Random;
use crate::scenario::FAULTS_END;
use headgate_driver::io::Reply;
use headgate_notify::{Subscription, Subscriptions, Trigger};

/// A webhook that wants to know everything, and when it has trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub name: &'static str,
    /// From when until when, in milliseconds since the first version is out, and what trouble.
    pub troubles: Vec<(i64, i64, Trouble)>,
}

/// What is wrong with a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing is there that answers.
    Down,
    /// It answers that it can't take messages now.
    Refuses,
    /// It takes a message, and the answer comes after 9 s.
    Slow,
    /// It takes a message, and the answer is lost.
    Forgetful,
}

/// An answer that comes late comes so much later, in milliseconds.
pub const SLOW: i64 = 9_000;

/// The webhooks of a seed: none, one or two.
pub fn of(seed: u64) -> Vec<Webhook> {
    let mut luck = Random::new(seed, "webhooks");
    let names: &[&'static str] = luck.pick(&["hook"], &[&["hook"], &["hook", "other"], &[]]);
    let mut webhook = |name: &&'static str| {
        let mut troubles = Vec::new();
        for _ in 0..luck.between(0, 3) {
            let from = luck.between(0, FAULTS_END);
            let until = (from + luck.between(5_000, 300_000)).min(FAULTS_END);
            let all = [Trouble::Refuses, Trouble::Slow, Trouble::Forgetful];
            troubles.push((from, until, luck.pick(Trouble::Down, &all)));
        }
        Webhook { name, troubles }
    };
    names.iter().map(&mut webhook).collect()
}

/// Who wants to know what.
pub fn subscriptions(webhooks: &[Webhook]) -> Subscriptions {
    let service = |webhook: &Webhook| Subscription {
        service: webhook.name.to_owned(),
        triggers: Trigger::ALL.into(),
        namespaces: Vec::new(),
    };
    Subscriptions { cluster: None, services: webhooks.iter().map(service).collect() }
}

impl Webhook {
    /// What is wrong with it so long after the first version is out.
    pub fn trouble(&self, at: i64) -> Option<Trouble> {
        let holds = |(from, until, _): &&(i64, i64, Trouble)| (*from..*until).contains(&at);
        self.troubles.iter().find(holds).map(|(_, _, trouble)| *trouble)
    }
}

/// What a message comes to: whether it is taken, and the reply that the process gets.
pub fn answer(trouble: Option<Trouble>) -> (bool, Reply) {
    match trouble {
        None | Some(Trouble::Slow) => (true, Reply::Notified(202)),
        Some(Trouble::Down) => (false, Reply::Lost("connection refused".to_owned())),
        Some(Trouble::Refuses) => (false, Reply::Notified(503)),
        Some(Trouble::Forgetful) => (true, Reply::Lost("no answer within 10 s".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_first_seeds_have_each_trouble_often_and_also_no_webhook_at_all() {
        let mut troubles: BTreeMap<Option<Trouble>, usize> = BTreeMap::new();
        for webhooks in (0..500).map(of) {
            if webhooks.is_empty() {
                *troubles.entry(None).or_default() += 1;
            }
            for (_, _, trouble) in webhooks.iter().flat_map(|webhook| &webhook.troubles) {
                *troubles.entry(Some(*trouble)).or_default() += 1;
            }
        }
        assert!(troubles.len() == 5 && troubles.values().all(|count| *count > 50), "{troubles:?}");
    }
}
