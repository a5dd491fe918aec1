//! What goes in and out of the driver. A shell (the controller, the simulator) carries requests out and
//! brings back replies; it decides nothing.

use headgate_model::{Query, Reply as MeasurementReply};
use headgate_notify::Post;
use serde_json::Value;

/// A kind of object at the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group, empty for core.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Kind, CamelCase.
    pub kind: &'static str,
    /// Plural name, as in URLs and RBAC.
    pub plural: &'static str,
    /// False for cluster-scoped kinds.
    pub namespaced: bool,
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A stream of objects that the driver wants to be fed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What to watch.
    pub resource: Resource,
    /// Label selector; empty for all.
    pub labels: &'static str,
    /// False: without this CRD the driver works all the same, and the watch begins when the CRD appears.
    pub required: bool,
    /// True: it need not begin before some Rollout names an object of this kind ([`crate::Driver::demanded`]).
    pub on_demand: bool,
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// An object is there, or has changed. The whole object as JSON.
    Applied(Resource, Value),
    /// An object is gone; its last state.
    Deleted(Resource, Value),
    /// A (re)list of this kind is complete: what it did not hold is gone. The objects of the list come as
    /// `Listed` before it.
    Synced(Resource),
    /// An object of a (re)list in progress.
    Listed(Resource, Value),
    /// A (re)list begins.
    ListStarted(Resource),
    /// The kind does not exist at this API server (its CRD is not installed): it has no objects, and that is known.
    NotInstalled(Resource),
}

impl Observation {
    /// The kind that it is about.
    pub fn resource(&self) -> Resource {
        match self {
            Self::Applied(resource, _)
            | Self::Deleted(resource, _)
            | Self::Synced(resource)
            | Self::Listed(resource, _)
            | Self::ListStarted(resource)
            | Self::NotInstalled(resource) => *resource,
        }
    }
}

/// Names a request until its reply has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One call to make. Calls are independent of each other: the driver holds back what must wait.
///
/// Each gets exactly one reply, in any order; when no answer comes in time it is [`Reply::Lost`]. A request without
/// a reply leaves its owner waiting for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// To be given back with the reply.
    pub id: RequestId,
    /// On whose behalf: a Rollout, an AnalysisRun, or what is to be read or given back itself. For logs and counts.
    pub owner: ObjectRef,
    /// What to do.
    pub call: Call,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Read one object from the API server, not from a cache.
    Get(ObjectRef),
    /// Read all objects of a kind in a namespace with a label selector, live.
    List {
        /// The kind.
        resource: Resource,
        /// The namespace.
        namespace: String,
        /// Label selector, as in a query string.
        labels: String,
    },
    /// Create an object.
    Create {
        /// Where.
        target: ObjectRef,
        /// The whole manifest.
        body: Value,
    },
    /// Change an object.
    Patch {
        /// Which.
        target: ObjectRef,
        /// True: the status subresource.
        status: bool,
        /// How.
        patch: Patch,
    },
    /// Delete an object, in the background, if it still has this uid.
    Delete {
        /// Which.
        target: ObjectRef,
        /// Precondition.
        uid: String,
    },
    /// Evict a pod by its subresource `eviction`, if it still has this uid. A PodDisruptionBudget that does not allow it
    /// answers 429, and its name is in the message.
    Evict {
        /// Which pod.
        target: ObjectRef,
        /// Precondition.
        uid: String,
    },
    /// Ask a metric provider. The secrets that the query names are in this namespace.
    Measure {
        /// Namespace of the AnalysisRun.
        namespace: String,
        /// The question.
        query: Query,
    },
    /// Tell a webhook something. Its address and its own headers are known to the shell only.
    Notify {
        /// Name of the webhook in the configuration.
        service: String,
        /// What to send.
        post: Post,
    },
}

/// The body of a patch.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// JSON merge patch (RFC 7386).
    Merge(Value),
    /// JSON patch (RFC 6902): the list of operations.
    Json(Value),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The object as the server has it now (get, create, patch), or the deleted one.
    Object(Value),
    /// The objects of a list.
    Objects(Vec<Value>),
    /// The server refused.
    Refused {
        /// HTTP status code.
        code: u16,
        /// `reason` of the Status object, such as `Conflict` or `AlreadyExists`.
        reason: String,
        /// Its message.
        message: String,
    },
    /// No answer came: the call may or may not have been carried out.
    Lost(String),
    /// The reply to a measurement.
    Measured(MeasurementReply),
    /// The HTTP status with which a webhook has answered.
    Notified(u16),
}
