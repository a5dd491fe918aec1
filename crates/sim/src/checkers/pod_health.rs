//! Unhealthy pods: a release is aborted or paused by them only for what truly happened to a container, never for what a node,
//! an eviction or a user did; and what truly happened leads to an abort in time.

use super::Write;
use super::clocks::FROM_THE_TRUTH;
use super::conditions;
use super::view::{is_recent_rollback, rollout};
use crate::world::kubelet::{Cause, FAILURE_THRESHOLD, PROBE_PERIOD, Trouble};
use crate::world::plus;
use crate::world::server::{Server, text};
use headgate_api::At;
use headgate_api::conditions::reasons::ROLLOUT_ABORTED;
use headgate_driver::resources::ROLLOUTS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// So long after the last fault that held controllers up, as for any abort.
const SOON: SignedDuration = SignedDuration::from_secs(120);
/// The defaults: 3 failed probes in a row, 5 ends, 120 s without the image.
const FAILED_PROBES: i64 = 3;
/// A container that has just become unready has failed some of them already, and one more is waited for.
const UNREADY_FOR: SignedDuration =
    SignedDuration::from_secs((FAILED_PROBES - FAILURE_THRESHOLD + 1) * PROBE_PERIOD);
/// All of them fail anew once a release is tried again.
const UNREADY_AGAIN_FOR: SignedDuration = SignedDuration::from_secs(FAILED_PROBES * PROBE_PERIOD);
const ENDS_MAX: i64 = 5;
const ENDS_WITHIN: SignedDuration = SignedDuration::from_secs(300);
const NO_IMAGE_FOR: SignedDuration = SignedDuration::from_secs(120);

/// The release whose pods count.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Uid and version, while it goes on and an unhealthy pod is to abort it.
    release: Option<(String, String)>,
    since: Timestamp,
    /// When a process started last: what it has not seen by itself, it counts from there.
    started: Timestamp,
    /// By how many milliseconds clocks were set back at most, and forward.
    clocks: (i64, i64),
}

/// For which pod and cause a release is aborted or paused, as `pod NAME, container NAME: CAUSE`.
fn said(rollout: &Value) -> Option<&str> {
    let aborted = conditions::for_reason(rollout, ROLLOUT_ABORTED);
    let message = aborted.map(|one| text(one, "/message")).and_then(|message| message.split_once(": pod "));
    // While a spec is invalid the conditions say so, and the memory alone why an abort has begun.
    let of_pod = |field: &str| text(rollout, field).strip_prefix("pod ");
    let problem = of_pod("/status/headgate/podHealth/problem");
    let is_aborted = rollout.at("/status/abort") == Some(&Value::Bool(true));
    let reason = of_pod("/status/headgate/abortReason").filter(|_| is_aborted);
    message.map(|(_, why)| why).or(problem).or(reason)
}

/// True when the record of an abort names a pod.
pub(super) fn is_said(rollout: &Value) -> bool {
    said(rollout).is_some()
}

impl Health {
    /// What is newly said of a pod is true of it.
    pub(super) fn check(&self, write: &Write<'_>, causes: &[Cause], now: Timestamp) -> Result<(), String> {
        let (ROLLOUTS, Some(before), Some(after)) = (write.target.resource, write.before, write.after) else {
            return Ok(());
        };
        let Some(why) = said(after).filter(|why| said(before) != Some(why)) else { return Ok(()) };
        let pod = why.split(',').next().unwrap_or_default();
        let (back, forward) = self.clocks;
        // Where clocks were set more than once, by more.
        let differ = SignedDuration::from_millis(forward - back).max(FROM_THE_TRUTH);
        let is_true = causes.iter().filter(|cause| cause.pod == pod).any(|cause| {
            let lasted = cause.until.unwrap_or(now).duration_since(cause.since);
            let for_so_long = |time: SignedDuration| lasted >= time.saturating_sub(differ);
            match cause.trouble {
                Trouble::OomKilled => why.contains("OOMKilled"),
                Trouble::Ended(times) => why.contains(" ended ") && times > ENDS_MAX,
                Trouble::Unready => {
                    why.contains("was ready and has not been since") && for_so_long(UNREADY_FOR)
                }
                Trouble::NoImage => why.contains("cannot be pulled") && for_so_long(NO_IMAGE_FOR),
            }
        });
        let hash = text(after, "/status/currentPodHash");
        let is_of_version = causes.iter().any(|cause| cause.pod == pod && cause.hash == hash);
        if is_true && is_of_version {
            return Ok(());
        }
        Err(format!("it is said that {why}, which is not true of version {hash}"))
    }

    /// The clock of a process was set, by so many milliseconds from the truth.
    pub(super) fn clock_set(&mut self, skew: i64) {
        self.clocks = (self.clocks.0.min(skew), self.clocks.1.max(skew));
    }

    /// A process starts.
    pub(super) fn started(&mut self, now: Timestamp) {
        self.started = now;
    }

    /// Looks at the world as it is from now on.
    pub(super) fn look(&mut self, server: &Server, now: Timestamp) {
        let release = rollout(server).and_then(|(_, rollout)| judged(rollout, server));
        if self.release != release {
            (self.release, self.since) = (release, now);
        }
    }

    /// Time has passed: what went wrong with a pod of this release a while ago has ended it by now. `held_until`: controllers
    /// are kept from seeing or acting until then.
    pub(super) fn wait(
        &self,
        causes: &[Cause],
        held_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), String> {
        let Some((_, hash)) = &self.release else { return Ok(()) };
        // By a clock that is ahead of those of the nodes the release has begun later.
        let begun = plus(self.since, self.clocks.1);
        let is_overdue = |cause: &&Cause| {
            let takes = match cause.trouble {
                Trouble::OomKilled => SignedDuration::ZERO,
                Trouble::Ended(_) if self.has_ended_too_often(causes, cause) => SignedDuration::ZERO,
                Trouble::Ended(_) => return false,
                Trouble::Unready if cause.since < self.since => UNREADY_AGAIN_FOR,
                Trouble::Unready => UNREADY_FOR,
                Trouble::NoImage => NO_IMAGE_FOR,
            };
            let lasts = matches!(cause.trouble, Trouble::Unready | Trouble::NoImage);
            let since = if lasts { cause.since.max(begun) } else { cause.since };
            let is_over = cause.gone_at.is_some() || lasts && cause.until.is_some();
            let from = if cause.trouble == Trouble::NoImage { since.max(self.started) } else { since };
            let due = from.saturating_add(takes).map(|due| due.max(held_until.unwrap_or(due)));
            let is_late = due.and_then(|due| due.saturating_add(SOON)).is_ok_and(|due| due < now);
            cause.hash == *hash && since >= begun && !is_over && is_late
        };
        match causes.iter().find(is_overdue) {
            None => Ok(()),
            Some(cause) => {
                let (pod, trouble, since) = (&cause.pod, cause.trouble, cause.since);
                Err(format!("pod {pod} is unhealthy ({trouble:?}) since {since}, and its release goes on"))
            }
        }
    }

    /// True when this end is one too many of the pod: what was before a release was tried again does not count, and the
    /// back-off may spread the others over more time than counts. Nor does what happened before a process started, unless the
    /// pod is so young then that all of its ends count, and of this release: its status tells the time of the last one alone.
    fn has_ended_too_often(&self, causes: &[Cause], last: &Cause) -> bool {
        let window = ENDS_WITHIN.saturating_sub(FROM_THE_TRUTH);
        let is_end = |cause: &&Cause| matches!(cause.trouble, Trouble::Ended(_)) && cause.pod == last.pod;
        let was_young = last.created >= plus(self.since, self.clocks.1)
            && self.started.duration_since(last.created) < window;
        let counts = |cause: &&Cause| {
            (self.since..=last.since).contains(&cause.since)
                && last.since.duration_since(cause.since) < window
                && (was_young || cause.since >= self.started)
        };
        let ends = causes.iter().filter(is_end).filter(counts).count();
        i64::try_from(ends).is_ok_and(|ends| ends > ENDS_MAX)
    }
}

/// The release that unhealthy pods are to abort: uid and version.
fn judged(rollout: &Value, server: &Server) -> Option<(String, String)> {
    let is = |field: &str| rollout.at(field) == Some(&Value::Bool(true));
    let (current, stable) = (text(rollout, "/status/currentPodHash"), text(rollout, "/status/stableRS"));
    let action = text(rollout, "/spec/strategy/canary/podHealth/action");
    // A retry of a release whose spec waits to be mended begins when it is.
    let is_retried_later = !text(rollout, "/status/abortedAt").is_empty();
    let is_aborted = is("/status/abort") || is_retried_later;
    let is_forced = is("/status/promoteFull") || is_recent_rollback(rollout, (stable, current), server);
    let is_under_way = current != stable && !is_aborted && !is_forced;
    // Where the server does not store what Headgate remembers, a process that starts anew knows of no release's beginning.
    let is_remembered = text(rollout, "/status/headgate/podHealth/hash") == current;
    let aborts = matches!(action, "" | "abort");
    (is_under_way && aborts && is_remembered)
        .then(|| (text(rollout, "/metadata/uid").to_owned(), current.to_owned()))
}
