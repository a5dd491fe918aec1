//! The kinds that the driver reads and writes.

use crate::io::{ObjectRef, Resource, Watch};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_model::{Kind, ObjectKey};
use headgate_traffic::ROUTERS;

/// Rollouts.
pub const ROLLOUTS: Resource = argo("Rollout", "rollouts");
/// AnalysisRuns.
pub const ANALYSIS_RUNS: Resource = argo("AnalysisRun", "analysisruns");
/// AnalysisTemplates.
pub const ANALYSIS_TEMPLATES: Resource = argo("AnalysisTemplate", "analysistemplates");
/// ClusterAnalysisTemplates, the only kind without a namespace.
pub const CLUSTER_ANALYSIS_TEMPLATES: Resource =
    Resource { namespaced: false, ..argo("ClusterAnalysisTemplate", "clusteranalysistemplates") };
/// ReplicaSets.
pub const REPLICA_SETS: Resource =
    Resource { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets", namespaced: true };
/// Deployments: what `spec.workloadRef` may name.
pub const DEPLOYMENTS: Resource =
    Resource { group: "apps", version: "v1", kind: "Deployment", plural: "deployments", namespaced: true };
/// PodTemplates: what `spec.workloadRef` may name.
pub const POD_TEMPLATES: Resource = core("PodTemplate", "podtemplates");
/// ReplicaSets as somebody else's objects: what `spec.workloadRef` may name. They lack the label that [`REPLICA_SETS`] are
/// watched by, so they are a kind of their own here.
pub const WORKLOAD_REPLICA_SETS: Resource = Resource {
    group: "apps",
    version: "v1",
    kind: "WorkloadReplicaSet",
    plural: "replicasets",
    namespaced: true,
};
/// Services.
pub const SERVICES: Resource = core("Service", "services");
/// Pods, and only those of Rollouts: watched; read and evicted by restarts; labelled and annotated by their role.
pub const PODS: Resource = core("Pod", "pods");
/// Events of the core group: what `kubectl describe` shows.
pub const EVENTS: Resource = core("Event", "events");

const fn argo(kind: &'static str, plural: &'static str) -> Resource {
    Resource { group: "argoproj.io", version: "v1alpha1", kind, plural, namespaced: true }
}

const fn core(kind: &'static str, plural: &'static str) -> Resource {
    Resource { group: "", version: "v1", kind, plural, namespaced: true }
}

/// The kind of a router's object. All of them live in namespaces.
pub(crate) fn of_kind(kind: &Kind) -> Resource {
    Resource {
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        plural: kind.plural,
        namespaced: true,
    }
}

/// A router's object as the API server names it.
pub(crate) fn of_key(key: &ObjectKey) -> ObjectRef {
    ObjectRef { resource: of_kind(&key.kind), namespace: key.namespace.clone(), name: key.name.clone() }
}

/// Whether the kind belongs to others, so that only objects that a Rollout names are kept.
pub(crate) fn is_foreign(resource: Resource) -> bool {
    ![ROLLOUTS, ANALYSIS_RUNS, ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, REPLICA_SETS]
        .contains(&resource)
}

/// Whether `spec.workloadRef` may name objects of this kind.
pub(crate) fn is_workload(resource: Resource) -> bool {
    WORKLOADS.contains(&resource)
}

const WORKLOADS: [Resource; 3] = [DEPLOYMENTS, POD_TEMPLATES, WORKLOAD_REPLICA_SETS];

/// Every stream that the driver wants to be fed with: its own kinds, and each router's.
pub(crate) fn watches() -> Vec<Watch> {
    let own = [ROLLOUTS, ANALYSIS_RUNS, ANALYSIS_TEMPLATES, CLUSTER_ANALYSIS_TEMPLATES, SERVICES];
    let mut watches: Vec<Watch> = own
        .into_iter()
        .map(|resource| Watch { resource, labels: "", required: true, on_demand: false })
        .collect();
    watches.push(Watch {
        resource: REPLICA_SETS,
        labels: POD_TEMPLATE_HASH,
        required: true,
        on_demand: false,
    });
    // Without the right to see pods everything works but judging their health.
    watches.push(Watch { resource: PODS, labels: POD_TEMPLATE_HASH, required: false, on_demand: false });
    for kind in ROUTERS.iter().flat_map(|router| router.kinds()) {
        let resource = of_kind(kind);
        if watches.iter().all(|watch| watch.resource != resource) {
            watches.push(Watch { resource, labels: "", required: false, on_demand: false });
        }
    }
    // There are many of them, and few Rollouts name one.
    watches.extend(WORKLOADS.map(|resource| Watch {
        resource,
        labels: "",
        required: false,
        on_demand: true,
    }));
    watches
}
