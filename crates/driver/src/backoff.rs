//! What failed, since when, and when it is tried again (R4).

use crate::outcome::Refusal;
use headgate_api::Waiting;
use headgate_model::{Effect, EffectKey, Failure, FailureClass, Timestamp};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// The longest time between two attempts of the same act.
const BACKOFF_SECONDS_MAX: u32 = 60;

/// A failure is forgotten when its act is not tried again for so long: it is no longer wanted.
const FORGET_SECONDS: i64 = 120;

/// The failures of one owner.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    tried: BTreeMap<EffectKey, Tried>,
}

#[derive(Debug)]
struct Tried {
    failure: Failure,
    retry_at: Timestamp,
}

impl Failures {
    /// Remembers a failure; returns it with its count of attempts. `owner` varies the delays.
    pub(crate) fn add(&mut self, key: EffectKey, refusal: Refusal, owner: &str, now: Timestamp) -> Failure {
        let before = self.tried.remove(&key).map(|tried| tried.failure);
        let attempts = before.as_ref().map_or(0, |before| before.attempts);
        let failure = Failure {
            class: refusal.class,
            message: refusal.message,
            since: before.as_ref().map_or_else(|| whole_seconds(now), |before| before.since),
            attempts: attempts.saturating_add(1),
            told: false,
            held: before.map(|before| before.held).unwrap_or_default(),
        };
        let delay = delay(&failure, &format!("{owner}/{}/{}", key.verb.as_str(), key.object));
        let retry_at = now.saturating_add(delay).unwrap_or(now);
        self.tried.insert(key, Tried { failure: failure.clone(), retry_at });
        failure
    }

    /// The failure that was just added is of this effect.
    pub(crate) fn is_of(&mut self, effect: &Effect) {
        if let Some(tried) = self.tried.get_mut(&effect.key()) {
            tried.failure.hold(effect);
        }
    }

    /// Whether the effect must wait for its next attempt: see [`Failure::holds`].
    pub(crate) fn holds_effect(&self, effect: &Effect, now: Timestamp) -> bool {
        self.tried.get(&effect.key()).is_some_and(|tried| tried.waits(now) && tried.failure.holds(effect))
    }

    /// The act has succeeded.
    pub(crate) fn clear(&mut self, key: &EffectKey) {
        self.tried.remove(key);
    }

    /// The stored record says that this is what the Rollout of this name waits for.
    pub(crate) fn told(&mut self, rollout: &str, waiting: Option<&Waiting>) {
        let Some(waiting) = waiting else { return };
        for (key, tried) in &mut self.tried {
            tried.failure.told |= headgate_engine::speaks_of(waiting, rollout, key, &tried.failure);
        }
    }

    /// Whether this wait is for the act. Such a failure is forgotten in its time and not before, because nothing else would
    /// take back what the status says.
    pub(crate) fn is_awaited(&self, rollout: &str, key: &EffectKey, waiting: Option<&Waiting>) -> bool {
        let tried = self.tried.get(key);
        tried
            .zip(waiting)
            .is_some_and(|(tried, waiting)| headgate_engine::speaks_of(waiting, rollout, key, &tried.failure))
    }

    /// Whether the act must wait for its next attempt.
    pub(crate) fn holds(&self, key: &EffectKey, now: Timestamp) -> bool {
        self.tried.get(key).is_some_and(|tried| tried.waits(now))
    }

    /// Whether the act has failed and not succeeded since.
    pub(crate) fn has(&self, key: &EffectKey) -> bool {
        self.tried.contains_key(key)
    }

    /// How often the act has failed and not succeeded since.
    pub(crate) fn attempts(&self, key: &EffectKey) -> u32 {
        self.tried.get(key).map_or(0, |tried| tried.failure.attempts)
    }

    /// The failures as input of a decision.
    pub(crate) fn view(&self, now: Timestamp) -> BTreeMap<EffectKey, Failure> {
        self.tried.iter().map(|(key, tried)| (key.clone(), tried.view(now))).collect()
    }

    /// The next time at which an act may be tried again, or at which its failure is forgotten because it was not.
    pub(crate) fn next_retry(&self, now: Timestamp) -> Option<Timestamp> {
        let retries = self.tried.values().map(|tried| (tried.retry_at, i64::from(BACKOFF_SECONDS_MAX)));
        let ends = self.tried.values().map(|tried| (forgotten_at(tried), FORGET_SECONDS));
        retries.chain(ends).filter(|(at, most)| is_ahead(*at, *most, now)).map(|(at, _)| at).min()
    }

    /// Forgets failures of acts that are no longer tried.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.tried.retain(|_, tried| now < forgotten_at(tried));
    }
}

impl Tried {
    fn waits(&self, now: Timestamp) -> bool {
        !is_tried_at_once(&self.failure) && is_ahead(self.retry_at, i64::from(BACKOFF_SECONDS_MAX), now)
    }

    fn view(&self, now: Timestamp) -> Failure {
        let held = if self.waits(now) { self.failure.held.clone() } else { Vec::new() };
        Failure { held, ..self.failure.clone() }
    }
}

/// Tells an effect from every other one, also of the same key.
pub(crate) fn fingerprint_of(effect: &Effect) -> u64 {
    fingerprint(&format!("{effect:?}"))
}

fn forgotten_at(tried: &Tried) -> Timestamp {
    tried.retry_at.saturating_add(SignedDuration::from_secs(FORGET_SECONDS)).unwrap_or(Timestamp::MAX)
}

/// The first conflict is no failure of anybody: look again and try at once, also when the clock is set back meanwhile.
fn is_tried_at_once(failure: &Failure) -> bool {
    failure.class == FailureClass::Conflict && failure.attempts == 1
}

/// 1 s, doubled with each attempt up to a minute, varied by a quarter so that many rollouts do not come back
/// at once. See also [`is_tried_at_once`].
fn delay(failure: &Failure, seed: &str) -> SignedDuration {
    let doublings = match (failure.class, failure.attempts) {
        _ if is_tried_at_once(failure) => return SignedDuration::ZERO,
        (FailureClass::Conflict, attempts) => attempts.saturating_sub(2),
        (_, attempts) => attempts.saturating_sub(1),
    };
    let delay = varied(doublings, BACKOFF_SECONDS_MAX, &format!("{seed}#{}", failure.attempts));
    delay.min(SignedDuration::from_secs(i64::from(BACKOFF_SECONDS_MAX)))
}

/// 1 s, doubled so often up to `longest` seconds, and varied by up to a quarter: the same seed, the same time.
pub(crate) fn varied(doublings: u32, longest: u32, seed: &str) -> SignedDuration {
    let seconds = 1_u32.checked_shl(doublings).unwrap_or(longest).min(longest);
    let share = fingerprint(seed) % 500;
    SignedDuration::from_millis(i64::try_from(u64::from(seconds) * (750 + share)).unwrap_or(i64::MAX))
}

/// Whether a time is in the past, by at most so many seconds. A time in the future is none of ours: the clock was
/// set back since.
pub(crate) fn is_recent(at: Timestamp, seconds: i64, now: Timestamp) -> bool {
    (SignedDuration::ZERO..=SignedDuration::from_secs(seconds)).contains(&now.duration_since(at))
}

/// Whether a time that was set at most so many seconds ahead is still to come. One that is further away was set
/// before the clock was set back, and does not count.
pub(crate) fn is_ahead(at: Timestamp, seconds: i64, now: Timestamp) -> bool {
    at > now && at.duration_since(now) <= SignedDuration::from_secs(seconds)
}

/// Cut to whole seconds, as Kubernetes stores times.
pub(crate) fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// FNV-1a: the same text has the same number in every process, and there is no randomness in here.
pub(crate) fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quiet::tests::route;
    use headgate_model::{Direction, Verb};

    fn failed(class: FailureClass, times: u32) -> (Failures, Timestamp) {
        let mut failures = Failures::default();
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..times {
            failures.add(EffectKey::record(), Refusal::new(class, "m"), "ns/r", now);
        }
        (failures, now)
    }

    #[test]
    fn delays_double_up_to_a_minute() {
        let mut before = SignedDuration::ZERO;
        for times in 1..=10 {
            let (failures, now) = failed(FailureClass::Forbidden, times);
            let delay = failures.next_retry(now).unwrap().duration_since(now);
            assert!(delay >= before.min(SignedDuration::from_secs(45)), "{times}: {delay}");
            assert!(delay <= SignedDuration::from_secs(60));
            before = delay;
        }
    }

    #[test]
    fn the_first_conflict_is_tried_again_at_once() {
        let (failures, now) = failed(FailureClass::Conflict, 1);
        assert!(!failures.holds(&EffectKey::record(), now));
        let set_back = now - SignedDuration::from_secs(4);
        assert!(
            !failures.holds(&EffectKey::record(), set_back),
            "nothing waits until the clock has caught up"
        );
        let (failures, now) = failed(FailureClass::Conflict, 2);
        assert!(failures.holds(&EffectKey::record(), now));
    }

    #[test]
    fn ways_back_that_take_turns_do_not_go_past_the_wait_of_each_other() {
        let mut failures = Failures::default();
        let (one, other) = (route(25, Direction::TowardsStable), route(0, Direction::TowardsStable));
        let mut tried = 0;
        for second in 0..60 {
            let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            for effect in [&one, &other] {
                if !failures.holds_effect(effect, now) {
                    failures.add(effect.key(), Refusal::new(FailureClass::Forbidden, "m"), "ns/r", now);
                    failures.is_of(effect);
                    tried += 1;
                }
            }
        }
        assert!((2..=8).contains(&tried), "{tried}");
    }

    #[test]
    fn a_way_back_does_not_wait_for_the_way_there_nor_for_what_was_tried_before_it() {
        let mut failures = Failures::default();
        let (now, back) = (Timestamp::UNIX_EPOCH, route(0, Direction::TowardsStable));
        let there = route(25, Direction::TowardsCanary);
        for effect in [&back, &there] {
            failures.add(effect.key(), Refusal::new(FailureClass::Forbidden, "m"), "ns/r", now);
            failures.is_of(effect);
        }
        assert!(failures.holds_effect(&there, now));
        assert!(!failures.holds_effect(&back, now), "it was tried in another release");
    }

    #[test]
    fn of_two_acts_that_fail_with_the_same_words_only_the_one_that_is_named_has_been_told() {
        let mut failures = Failures::default();
        let now = Timestamp::UNIX_EPOCH;
        let [one, other] = ["shop-1", "shop-2"].map(|set| EffectKey::new(Verb::Scale, set));
        for key in [&one, &other] {
            failures.add(key.clone(), Refusal::new(FailureClass::Forbidden, "quota"), "ns/shop", now);
        }
        let waiting = Waiting {
            kind: "ApiServer".to_owned(),
            message: "Scale of shop-1 is refused: quota".to_owned(),
            ..Waiting::default()
        };
        failures.told("shop", Some(&waiting));
        let told = |key: &EffectKey| failures.view(now)[key].told;
        assert_eq!((told(&one), told(&other)), (true, false));
    }

    #[test]
    fn a_clock_that_is_set_back_lets_nothing_wait_for_hours() {
        let (failures, now) = failed(FailureClass::Forbidden, 5);
        let before = now - SignedDuration::from_hours(1);
        assert!(failures.holds(&EffectKey::record(), now));
        assert!(!failures.holds(&EffectKey::record(), before));
        assert_eq!(failures.next_retry(before), None);
    }

    #[test]
    fn what_is_no_longer_tried_is_forgotten() {
        let (mut failures, now) = failed(FailureClass::Forbidden, 1);
        failures.expire(now + SignedDuration::from_secs(60));
        assert_eq!(failures.view(now).len(), 1);
        failures.expire(now + SignedDuration::from_secs(200));
        assert!(failures.view(now).is_empty());
    }
}
