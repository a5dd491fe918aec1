//! Who leads: the rules of client-go, as one function.
//!
//! Two rules make it safe. A lease is expired when *we* have not seen it change for its duration, by
//! our monotonic clock: the times written in it come from another host's clock and are never compared.
//! And every write carries the resourceVersion that was read, so of two takers one is refused.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

/// The times of leader election. `lease_duration` > `renew_deadline` > `retry_period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Others may take the lease when it did not change for so long.
    pub lease_duration: Duration,
    /// A leader that could not renew for so long gives up.
    pub renew_deadline: Duration,
    /// Time between attempts.
    pub retry_period: Duration,
}

/// What we saw of the lease last, and since when it is so by our monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    spec: Option<LeaseSpec>,
    since: Duration,
}

/// What to do about the lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// There is none: create this one.
    Create(Lease),
    /// It is ours, or free, or expired: replace it by this one, which carries the resourceVersion read.
    Replace(Lease),
    /// Another holds it.
    Wait {
        /// Who.
        holder: String,
    },
}

impl Seen {
    /// Notes what was read, at `monotonic` (time since any fixed instant).
    pub fn note(&mut self, lease: Option<&Lease>, monotonic: Duration) {
        let spec = lease.and_then(|lease| lease.spec.clone());
        if self.spec != spec {
            *self = Self { spec, since: monotonic };
        }
    }

    /// True when the lease has not changed for its own duration.
    fn expired(&self, monotonic: Duration) -> bool {
        let seconds = self.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        monotonic.saturating_sub(self.since) >= Duration::from_secs(seconds.max(0).unsigned_abs().into())
    }
}

/// Decides what `me` does about `lease`, which `seen` has already noted. `wall` is only written down,
/// for people.
pub fn decide(
    lease: Option<&Lease>,
    me: &str,
    seen: &Seen,
    rules: &Rules,
    monotonic: Duration,
    wall: Timestamp,
) -> Act {
    let Some(lease) = lease else {
        return Act::Create(Lease {
            metadata: ObjectMeta::default(),
            spec: Some(held(me, 0, rules, wall, wall)),
        });
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or(0);
    let next = if holder == me {
        let acquired = spec.acquire_time.as_ref().map_or(wall, |time| time.0);
        held(me, transitions, rules, acquired, wall)
    } else if holder.is_empty() || seen.expired(monotonic) {
        held(me, transitions.saturating_add(1), rules, wall, wall)
    } else {
        return Act::Wait { holder: holder.to_owned() };
    };
    Act::Replace(with_spec(lease, next))
}

/// The lease given back: the next one need not wait for it to expire.
pub fn released(lease: &Lease, wall: Timestamp) -> Lease {
    let spec = lease.spec.clone().unwrap_or_default();
    let released = LeaseSpec {
        // Empty and not absent: an absent field would leave the holder in place in a merge patch, and
        // client-go writes it so.
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(wall)),
        renew_time: Some(MicroTime(wall)),
        ..spec
    };
    with_spec(lease, released)
}

fn held(me: &str, transitions: i32, rules: &Rules, acquired: Timestamp, renewed: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(i32::try_from(rules.lease_duration.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: Some(MicroTime(acquired)),
        renew_time: Some(MicroTime(renewed)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

/// Keeps labels, annotations and, above all, the resourceVersion.
fn with_spec(lease: &Lease, spec: LeaseSpec) -> Lease {
    let mut metadata = lease.metadata.clone();
    metadata.managed_fields = None;
    Lease { metadata, spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use k8s_openapi::{
        api::coordination::v1::{Lease, LeaseSpec},
        apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    };

    use super::{Act, Rules, Seen, decide, released};

    const RULES: Rules = Rules {
        lease_duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(2),
    };

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Held by `holder` and renewed at `renewed` by that holder's clock.
    fn lease(holder: &str, renewed: i64) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some("41".into()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                acquire_time: Some(MicroTime(wall(100))),
                renew_time: Some(MicroTime(wall(renewed))),
                lease_transitions: Some(3),
                ..LeaseSpec::default()
            }),
        }
    }

    fn replaced(act: Act) -> (Option<String>, LeaseSpec) {
        let Act::Replace(lease) = act else { panic!("{act:?}") };
        (lease.metadata.resource_version, lease.spec.unwrap())
    }

    #[test]
    fn without_a_lease_one_is_created() {
        let act = decide(None, "me", &Seen::default(), &RULES, seconds(0), wall(500));
        let Act::Create(lease) = act else { panic!("{act:?}") };
        let spec = lease.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
        assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    }

    #[test]
    fn renewing_keeps_the_time_of_acquisition_and_carries_the_version_read() {
        let (version, spec) =
            replaced(decide(Some(&lease("me", 400)), "me", &Seen::default(), &RULES, seconds(0), wall(500)));
        assert_eq!(version.as_deref(), Some("41"));
        assert_eq!(spec.acquire_time, Some(MicroTime(wall(100))));
        assert_eq!(spec.renew_time, Some(MicroTime(wall(500))));
        assert_eq!(spec.lease_transitions, Some(3));
    }

    #[test]
    fn anothers_lease_is_taken_only_after_we_saw_it_unchanged_for_its_duration() {
        let mut seen = Seen::default();
        let held = lease("other", 400);
        // (our monotonic clock, is it ours now?)
        for (monotonic, taken) in [(1000, false), (1001, false), (1014, false), (1015, true), (1100, true)] {
            seen.note(Some(&held), seconds(monotonic));
            let act = decide(Some(&held), "me", &seen, &RULES, seconds(monotonic), wall(500));
            assert_eq!(matches!(act, Act::Replace(_)), taken, "at {monotonic}: {act:?}");
        }
    }

    #[test]
    fn a_renewal_seen_starts_the_wait_anew() {
        let mut seen = Seen::default();
        seen.note(Some(&lease("other", 400)), seconds(1000));
        seen.note(Some(&lease("other", 402)), seconds(1014));
        let act = decide(Some(&lease("other", 402)), "me", &seen, &RULES, seconds(1028), wall(500));
        assert_eq!(act, Act::Wait { holder: "other".into() });
        let act = decide(Some(&lease("other", 402)), "me", &seen, &RULES, seconds(1029), wall(500));
        assert!(matches!(act, Act::Replace(_)));
    }

    #[test]
    fn clocks_of_other_hosts_do_not_matter() {
        // Renewed an hour ago or an hour ahead, by our wall clock: we only just saw it.
        for renewed in [500 - 3600, 500 + 3600] {
            let mut seen = Seen::default();
            seen.note(Some(&lease("other", renewed)), seconds(1000));
            let act = decide(Some(&lease("other", renewed)), "me", &seen, &RULES, seconds(1001), wall(500));
            assert_eq!(act, Act::Wait { holder: "other".into() });
        }
    }

    #[test]
    fn a_released_lease_is_taken_at_once_and_counts_as_a_transition() {
        let free = released(&lease("other", 400), wall(450));
        assert_eq!(free.metadata.resource_version.as_deref(), Some("41"));
        let spec = free.spec.clone().unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some(""), Some(1)));
        let mut seen = Seen::default();
        seen.note(Some(&free), seconds(1000));
        let (_, spec) = replaced(decide(Some(&free), "me", &seen, &RULES, seconds(1000), wall(500)));
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
        assert_eq!(spec.lease_transitions, Some(4));
        assert_eq!(spec.acquire_time, Some(MicroTime(wall(500))));
    }

    #[test]
    fn a_lease_without_a_spec_is_free() {
        let bare = Lease { spec: None, ..lease("", 0) };
        let act = decide(Some(&bare), "me", &Seen::default(), &RULES, seconds(0), wall(500));
        assert!(matches!(act, Act::Replace(_)));
    }
}
