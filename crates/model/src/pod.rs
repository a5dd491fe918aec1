use crate::Timestamp;
use crate::template::PodMetadata;
use k8s_openapi::jiff::SignedDuration;

/// Ends of a container that are remembered: one more than a spec may allow.
pub const ENDS_MAX: usize = 31;

/// A pod, as far as its health goes: small, because there may be very many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its node took it up, by the node's clock.
    pub started_at: Option<Timestamp>,
    /// True of a pod that says nothing about its version: it is being deleted, was evicted or preempted, has ended, or its
    /// node is lost.
    pub is_excused: bool,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerView>,
}

/// A pod, as far as a restart goes, and its labels and annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningPod {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Uid of the ReplicaSet that controls it.
    pub set_uid: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it became ready, by its node's clock; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// It has been told to end.
    pub is_leaving: bool,
    /// Resource version of what was seen.
    pub resource_version: String,
    /// Its labels and annotations.
    pub metadata: PodMetadata,
}

impl RunningPod {
    /// True when it counts as available: not leaving, and ready for `min_ready_seconds`. By a clock that is behind the
    /// node's this cannot be told of a ready pod: then it does.
    pub fn is_available(&self, min_ready_seconds: i32, now: Timestamp) -> bool {
        let least = SignedDuration::from_secs(i64::from(min_ready_seconds));
        let is_ready = |since: Timestamp| since > now || now.duration_since(since) >= least;
        !self.is_leaving && self.ready_since.is_some_and(is_ready)
    }
}

/// A container, as far as its health goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// How often it has ended although it should run: restarts, and the one that is due.
    pub ends: i32,
    /// Its last ends as far as they were seen, the oldest first, at most [`ENDS_MAX`].
    pub last_ends: Vec<End>,
    /// It runs, has been ready in this run, and is not any more.
    pub unready: Option<Unready>,
    /// Its image cannot be pulled.
    pub unpulled: Option<Unpulled>,
    /// Its memory limit, noted once it was killed for want of memory.
    pub memory_limit: Option<Box<str>>,
}

/// One end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// Exit code of its first process.
    pub exit_code: i32,
    /// True when the kernel killed it for want of memory (reason `OOMKilled`).
    pub oom_killed: bool,
}

/// Readiness that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unready {
    /// Since then, by the node's clock.
    pub since: Timestamp,
    /// `periodSeconds` of the readiness probe.
    pub period_seconds: i32,
    /// `failureThreshold` of the readiness probe: so many had failed in a row by then.
    pub failure_threshold: i32,
}

/// An image that cannot be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpulled {
    /// When that was first seen; a process that has just started sees it first then.
    pub since: Timestamp,
    /// The kubelet's word, the first one that was seen: it goes on between `ErrImagePull` and `ImagePullBackOff`.
    pub reason: Box<str>,
    /// The image.
    pub image: Box<str>,
}
