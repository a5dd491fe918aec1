//! Carries notifications to webhooks (R11): what stands in the outboxes of stored statuses is sent until each webhook
//! that wants it has taken it. Then the Rollout's own task removes the entry with its next record.
//!
//! Nothing in here is waited for: a webhook that is down costs no rollout any time and no write. What was sent is
//! known to this process only, so after a restart or a take-over an entry may be sent again, with the same key.

use crate::backoff::{is_ahead, varied};
use crate::facts::Counters;
use crate::io::{Call, ObjectRef, Reply};
use crate::notices::NOTIFICATION_FAILED;
use crate::outbox::{Addressee, Context};
use crate::references::Name;
use crate::resources::ROLLOUTS;
use headgate_api::OutboxEntry;
use headgate_model::{Notice, Timestamp};
use headgate_notify::{About, OUTBOX_MAX, Subscriptions, Trigger, post, taken};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// The longest time between two attempts.
const BACKOFF_SECONDS_MAX: u32 = 300;
/// No further attempt is made so long after it has happened.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// One entry of one Rollout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LetterKey {
    rollout: Name,
    key: String,
}

/// An entry on its way.
#[derive(Debug)]
struct Letter {
    entry: OutboxEntry,
    about: About,
    /// By service.
    deliveries: BTreeMap<String, Delivery>,
}

/// How far it is with one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// After so many attempts; due at this time.
    Waiting { attempts: u32, due: Timestamp },
    /// The next attempt is under way.
    Sent { attempts: u32 },
    /// Taken, or given up.
    Over,
}

/// What waits for one service, and how much of it is on its way.
#[derive(Debug, Default)]
struct Queue {
    due: BTreeSet<(Timestamp, LetterKey)>,
    in_flight: usize,
}

impl LetterKey {
    /// Whose it is.
    pub(crate) fn rollout(&self) -> &Name {
        &self.rollout
    }
}

impl Letter {
    fn is_over(&self) -> bool {
        self.pending().next().is_none()
    }

    /// The services that have not taken it yet.
    fn pending(&self) -> impl Iterator<Item = &str> {
        let pending = self.deliveries.iter().filter(|(_, delivery)| **delivery != Delivery::Over);
        pending.map(|(service, _)| service.as_str())
    }

    fn trigger(&self) -> &'static str {
        Trigger::named(&self.entry.trigger).map_or("other", Trigger::as_str)
    }
}

/// All letters.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    letters: BTreeMap<LetterKey, Letter>,
    queues: BTreeMap<String, Queue>,
}

impl Courier {
    /// The outbox that is stored of this Rollout. Letters that are not in it any more are forgotten.
    pub(crate) fn see(
        &mut self,
        about: &About,
        outbox: &[OutboxEntry],
        subscriptions: Option<&Subscriptions>,
        counters: &mut Counters,
        now: Timestamp,
    ) {
        let rollout: Name = (about.namespace.clone(), about.name.clone());
        let gone: Vec<LetterKey> = self
            .of(&rollout)
            .filter(|key| outbox.iter().all(|entry| entry.key != key.key))
            .cloned()
            .collect();
        for key in gone {
            let letter = self.forget(&key);
            if let Some(letter) = letter.filter(|_| outbox.len() >= OUTBOX_MAX) {
                for service in letter.pending() {
                    counters.notified(service, letter.trigger(), "dropped");
                }
            }
        }
        let Some(subscriptions) = subscriptions else { return };
        for entry in outbox {
            let key = LetterKey { rollout: rollout.clone(), key: entry.key.clone() };
            let letter = self.letters.entry(key.clone()).or_insert_with(|| Letter {
                entry: entry.clone(),
                about: about.clone(),
                deliveries: BTreeMap::new(),
            });
            let wanting: BTreeSet<&str> = wanting(subscriptions, entry, &about.namespace).collect();
            letter.deliveries.retain(|service, delivery| {
                let stays = wanting.contains(service.as_str());
                if let (false, Delivery::Waiting { due, .. }, Some(queue)) =
                    (stays, &*delivery, self.queues.get_mut(service))
                {
                    queue.due.remove(&(*due, key.clone()));
                }
                stays
            });
            for service in wanting {
                if !letter.deliveries.contains_key(service) {
                    let waiting = Delivery::Waiting { attempts: 0, due: now };
                    letter.deliveries.insert(service.to_owned(), waiting);
                    self.queues.entry(service.to_owned()).or_default().due.insert((now, key.clone()));
                }
            }
        }
    }

    /// A Rollout that is gone has nothing to tell.
    pub(crate) fn gone(&mut self, rollout: &Name) {
        let keys: Vec<LetterKey> = self.of(rollout).cloned().collect();
        for key in keys {
            self.forget(&key);
        }
    }

    /// The entries of a Rollout that every service has taken, or that were given up.
    pub(crate) fn over(&self, rollout: &Name) -> BTreeSet<String> {
        self.of(rollout).filter(|key| self.is_over(key)).map(|key| key.key.clone()).collect()
    }

    /// Whether every service has taken this entry, or it was given up.
    pub(crate) fn is_over(&self, key: &LetterKey) -> bool {
        self.letters.get(key).is_some_and(Letter::is_over)
    }

    /// Entries on their way, or waiting for their next attempt.
    pub(crate) fn waiting(&self) -> usize {
        self.letters.values().filter(|letter| !letter.is_over()).count()
    }

    fn of<'a>(&'a self, rollout: &'a Name) -> impl Iterator<Item = &'a LetterKey> {
        let first = LetterKey { rollout: rollout.clone(), key: String::new() };
        self.letters.range(first..).map(|(key, _)| key).take_while(move |key| key.rollout == *rollout)
    }

    fn forget(&mut self, key: &LetterKey) -> Option<Letter> {
        let letter = self.letters.remove(key)?;
        for (service, delivery) in &letter.deliveries {
            if let (Delivery::Waiting { due, .. }, Some(queue)) = (delivery, self.queues.get_mut(service)) {
                queue.due.remove(&(*due, key.clone()));
            }
        }
        Some(letter)
    }

    /// Sends what is due, for each service as much as may be on its way to it.
    pub(crate) fn step(&mut self, context: &mut Context<'_>) {
        let places = context.options.limits.notifications_per_service;
        let cluster = context.subscriptions.and_then(|subscriptions| subscriptions.cluster.as_deref());
        for (service, queue) in &mut self.queues {
            while queue.in_flight < places
                && let Some((due, key)) = queue.due.first().cloned()
                && !is_ahead(due, longest(), context.now)
            {
                queue.due.pop_first();
                let Some(letter) = self.letters.get_mut(&key) else { continue };
                let Some(delivery) = letter.deliveries.get_mut(service) else { continue };
                let Delivery::Waiting { attempts, .. } = *delivery else { continue };
                *delivery = Delivery::Sent { attempts };
                queue.in_flight += 1;
                let post = post(&letter.entry, &letter.about, cluster);
                let (namespace, name) = (letter.about.namespace.clone(), letter.about.name.clone());
                let owner = ObjectRef { resource: ROLLOUTS, namespace, name };
                let to = Addressee::Courier { letter: key, service: service.clone() };
                context.outbox.send(to, owner, Call::Notify { service: service.clone(), post });
            }
        }
    }

    /// Takes the reply to one attempt. `Some`: it was the last one, and nobody has taken it.
    pub(crate) fn reply(
        &mut self,
        key: &LetterKey,
        service: &str,
        reply: Reply,
        context: &mut Context<'_>,
    ) -> Option<Notice> {
        let queue = self.queues.get_mut(service)?;
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let letter = self.letters.get_mut(key)?;
        let trigger = letter.trigger();
        let delivery = letter.deliveries.get_mut(service)?;
        let Delivery::Sent { attempts } = *delivery else { return None };
        let attempts = attempts.saturating_add(1);
        let Err(problem) = outcome(reply) else {
            context.counters.notified(service, trigger, "delivered");
            *delivery = Delivery::Over;
            return None;
        };
        context.counters.notified(service, trigger, "failed");
        tracing::warn!(rollout = %format!("{}/{}", key.rollout.0, key.rollout.1), service, trigger, attempts, problem,
            "a webhook has not taken a notification");
        let happened_at = letter.entry.time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        if context.now.duration_since(happened_at) >= GIVEN_UP_AFTER {
            context.counters.notified(service, trigger, "given_up");
            *delivery = Delivery::Over;
            let message = format!(
                "webhook {service:?} was not told that revision {} is {trigger}: {problem}. Given up after {} hours",
                letter.entry.revision,
                GIVEN_UP_AFTER.as_hours(),
            );
            return Some(Notice::warning(NOTIFICATION_FAILED, message));
        }
        let wait = backoff(attempts, &format!("{}/{service}", key.key));
        let due = context.now.saturating_add(wait).unwrap_or(context.now);
        *delivery = Delivery::Waiting { attempts, due };
        queue.due.insert((due, key.clone()));
        None
    }

    /// When something is due next; a time that has passed means at once.
    pub(crate) fn wake_at(&self, places: usize) -> Option<Timestamp> {
        let open = self.queues.values().filter(|queue| queue.in_flight < places);
        open.filter_map(|queue| queue.due.first()).map(|(due, _)| *due).min()
    }

    /// The clock was set back: what was planned by it is due now.
    pub(crate) fn clock_set_back(&mut self, now: Timestamp) {
        for (service, queue) in &mut self.queues {
            for (_, key) in std::mem::take(&mut queue.due) {
                let letter = self.letters.get_mut(&key);
                if let Some(Delivery::Waiting { due, .. }) =
                    letter.and_then(|letter| letter.deliveries.get_mut(service))
                {
                    *due = now;
                    queue.due.insert((now, key));
                }
            }
        }
    }
}

/// The services that are to be told of an entry.
fn wanting<'a>(
    subscriptions: &'a Subscriptions,
    entry: &OutboxEntry,
    namespace: &'a str,
) -> impl Iterator<Item = &'a str> {
    let trigger = Trigger::named(&entry.trigger);
    trigger.into_iter().flat_map(move |trigger| subscriptions.wanting(trigger, namespace))
}

fn outcome(reply: Reply) -> Result<(), String> {
    match reply {
        Reply::Notified(status) => taken(status),
        Reply::Lost(message) | Reply::Refused { message, .. } => Err(message),
        Reply::Object(_) | Reply::Objects(_) | Reply::Measured(_) => {
            Err("the answer does not fit the question".to_owned())
        }
    }
}

/// 1 s, doubled with each attempt up to 5 minutes, varied by a quarter so that many do not come back at once.
fn backoff(attempts: u32, seed: &str) -> SignedDuration {
    varied(attempts.saturating_sub(1), BACKOFF_SECONDS_MAX, &format!("{seed}#{attempts}"))
}

/// The longest backoff in seconds, with what it varies by.
fn longest() -> i64 {
    i64::from(BACKOFF_SECONDS_MAX) * 5 / 4 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_less_often_up_to_five_minutes() {
        for attempts in 1..60 {
            let wait = backoff(attempts, "key/hook");
            let nominal = 2_f64.powi(i32::try_from(attempts - 1).unwrap()).min(300.0);
            assert!((0.75 * nominal..=1.25 * nominal).contains(&wait.as_secs_f64()), "{attempts}: {wait}");
        }
        assert_ne!(backoff(9, "a"), backoff(9, "b"));
    }
}
