//! What goes wrong: the kinds of faults that there are, and single faults of each.

use crate::user::Act;
use headgate_driver::io::Resource;

/// What happens to one request of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It does not arrive within the time that it has; perhaps long after.
    RequestLost,
    /// It never arrives, and the process dies.
    CrashBefore,
    /// It is carried out, and the process dies.
    CrashAfter,
    /// The server refuses it with this code and reason. One that is out of order may have carried it out all the same.
    Refused(u16, &'static str),
    /// It arrives this many milliseconds late.
    Slow(i64),
    /// Just before it arrives somebody else changes the same object.
    Raced,
    /// It is carried out, and the process stands still for a minute while another one takes the lead.
    Freeze,
}

/// What metric providers do instead of answering the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// An empty vector.
    Empty,
    /// NaN.
    NotANumber,
    /// No connection.
    Down,
    /// HTTP 503.
    Unavailable,
    /// The truth, half a minute late.
    Slow,
    /// What was true when it began.
    Stale,
    /// A text where a number belongs.
    WrongType,
}

/// What others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThirdParty {
    /// Writes weights of its own into the route: so much for the canary.
    Weights(i64),
    /// Adds a route and an annotation of its own.
    ForeignRoute,
    /// Deletes a pod.
    DeletePod,
    /// Evicts all pods of a node, as a drain for maintenance does.
    DrainNode,
    /// Deletes a ReplicaSet.
    DeleteSet(Whose),
    /// Scales a ReplicaSet.
    ScaleSet(Whose, i64),
}

/// Whose pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of all versions.
    All,
    /// Of the stable version.
    Stable,
    /// Of the newest version.
    Newest,
}

/// What ails pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// One is killed for want of memory.
    OomKilled,
    /// One fails its readiness probe.
    Unready,
    /// All end again and again, soon after each other.
    Crashing,
}

/// What happens in the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// The user does something.
    User(Act),
    /// Somebody else does.
    ThirdParty(ThirdParty),
    /// This happens to the next request of the leading process.
    NextRequest(Fate),
    /// The leading process dies; another one starts.
    Crash {
        /// For so many seconds at least.
        away: i64,
    },
    /// The leading process stands still for a minute; another one leads meanwhile.
    Freeze,
    /// Another process leads, and the one before it goes on for so long before it notices.
    TwoLeaders {
        /// So long.
        seconds: i64,
    },
    /// Events of a kind come late.
    SlowWatch {
        /// The kind.
        kind: Resource,
        /// For so long.
        seconds: i64,
        /// By so many milliseconds.
        late: i64,
    },
    /// Events of a kind are lost until a new list comes, which may be old.
    BrokenWatch {
        /// The kind.
        kind: Resource,
        /// For so long.
        seconds: i64,
        /// The list is so many changes old.
        lag: usize,
    },
    /// The metric provider fails.
    Metrics {
        /// How.
        outage: Outage,
        /// For so long.
        seconds: i64,
    },
    /// Ready pods become unready.
    PodsUnready {
        /// Whose.
        of: Whose,
        /// So many in a hundred.
        share: i64,
        /// For so long.
        seconds: i64,
    },
    /// Containers end by themselves whenever they have been ready for a moment.
    PodsFail {
        /// Whose.
        of: Whose,
        /// For so long.
        seconds: i64,
        /// Whether each restart waits twice as long as the last: a crash loop. Otherwise readiness flaps.
        backs_off: bool,
    },
    /// Pods of a version are unhealthy by their own doing.
    PodsHurt {
        /// Of which version, by its number.
        version: i64,
        /// How.
        how: Ailment,
        /// For so long, where it lasts.
        seconds: i64,
    },
    /// A node cannot be reached: its pods serve nobody, and count as ready for 40 s more.
    NodeLost {
        /// For so long.
        seconds: i64,
    },
    /// An autoscaler looks every 15 s at a load that changes.
    Autoscale {
        /// Never below.
        least: i64,
        /// Never above.
        most: i64,
        /// So often.
        rounds: u32,
    },
    /// An object that the Rollout names is deleted, and created again as it first was.
    Missing {
        /// Its kind.
        kind: Resource,
        /// Its name.
        name: &'static str,
        /// For so long.
        seconds: i64,
    },
    /// Somebody else changes the next object of this kind that a controller writes, just before the write arrives.
    Race {
        /// The kind.
        kind: Resource,
    },
    /// The end of [`Disturbance::Missing`].
    Found {
        /// Its kind.
        kind: Resource,
        /// Its name.
        name: &'static str,
    },
    /// The CRD of a router's kind is deleted, its objects with it.
    MissingCrd {
        /// The kind.
        kind: Resource,
        /// For so long.
        seconds: i64,
    },
    /// The end of [`Disturbance::MissingCrd`].
    FoundCrd {
        /// The kind.
        kind: Resource,
    },
    /// Writes of controllers to a kind are refused: a quota, a webhook, rights that were taken away.
    Forbidden {
        /// The kind.
        kind: Resource,
        /// For so long.
        seconds: i64,
    },
    /// The leading process's clock is set: so many milliseconds from the truth.
    Clock(i64),
    /// The API server answers 503 to everything.
    ApiOutage {
        /// For so long.
        seconds: i64,
    },
}
