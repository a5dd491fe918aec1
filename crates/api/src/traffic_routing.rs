//! `spec.strategy.canary.trafficRouting`: the routers and the objects that each of them edits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which proxies or load balancers split the traffic. Several may be set: each gets the same weights.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutTrafficRouting {
    /// Istio: VirtualServices, and a DestinationRule for subsets.
    pub istio: Option<IstioTrafficRouting>,
    /// Ingresses of ingress-nginx.
    pub nginx: Option<NginxTrafficRouting>,
    /// Ingresses of the AWS load balancer controller.
    pub alb: Option<AlbTrafficRouting>,
    /// A TrafficSplit of the Service Mesh Interface.
    pub smi: Option<SmiTrafficRouting>,
    /// Mappings of Ambassador (Emissary).
    pub ambassador: Option<AmbassadorTrafficRouting>,
    /// AWS App Mesh.
    pub app_mesh: Option<AppMeshTrafficRouting>,
    /// A weighted TraefikService.
    pub traefik: Option<TraefikTrafficRouting>,
    /// The routes that the steps `setHeaderRoute` and `setMirrorRoute` create and remove, in their order of
    /// precedence.
    pub managed_routes: Option<Vec<ManagedRoute>>,
    /// An ApisixRoute.
    pub apisix: Option<ApisixTrafficRouting>,
    /// Traffic router plugins by name (`argoproj-labs/gatewayAPI` for the Gateway API), with the settings that
    /// each documents.
    #[serde(default)]
    #[schemars(schema_with = "crate::free_form::any_object")]
    pub plugins: Option<BTreeMap<String, Value>>,
    /// The weight that means all traffic. Only with `nginx` and plugins. Default: 100.
    pub max_traffic_weight: Option<i32>,
}

/// A route that steps may create and remove.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRoute {
    /// Name of the route.
    pub name: String,
}

/// A condition on a string: one of its fields is set.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StringMatch {
    /// The whole string.
    pub exact: Option<String>,
    /// How the string begins.
    pub prefix: Option<String>,
    /// A regular expression for the whole string, in the syntax of the router.
    pub regex: Option<String>,
}

/// Splits traffic by Istio: exactly one of `virtualService` and `virtualServices`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioTrafficRouting {
    /// The VirtualService whose weights are set.
    pub virtual_service: Option<IstioVirtualService>,
    /// The DestinationRule whose subsets are pointed at the two versions. Without it the hosts of
    /// `canaryService` and `stableService` tell the versions apart.
    pub destination_rule: Option<IstioDestinationRule>,
    /// Several VirtualServices whose weights are set.
    pub virtual_services: Option<Vec<IstioVirtualService>>,
}

/// A VirtualService and which of its routes get weights.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioVirtualService {
    /// Name of the VirtualService, or `name.namespace` in another namespace.
    pub name: String,
    /// Names of the HTTP routes. May be left out if there is one only.
    pub routes: Option<Vec<String>>,
    /// The TLS routes, by port and SNI hosts. May be left out if there is one only.
    pub tls_routes: Option<Vec<TlsRoute>>,
    /// The TCP routes, by port. May be left out if there is one only.
    pub tcp_routes: Option<Vec<TcpRoute>>,
}

/// A TLS route of a VirtualService.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRoute {
    /// Port that the route matches.
    pub port: Option<i64>,
    /// SNI hosts that the route matches, all of them.
    pub sni_hosts: Option<Vec<String>>,
}

/// A TCP route of a VirtualService.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// Port that the route matches.
    pub port: Option<i64>,
}

/// A DestinationRule and its subsets.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IstioDestinationRule {
    /// Name of the DestinationRule.
    pub name: String,
    /// The subset that is pointed at the new version.
    pub canary_subset_name: String,
    /// The subset that is pointed at the stable version.
    pub stable_subset_name: String,
    /// Further subsets in the routes, whose weights are left as they are.
    pub additional_subset_names: Option<Vec<String>>,
}

/// Splits traffic by ingress-nginx: exactly one of `stableIngress` and `stableIngresses`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NginxTrafficRouting {
    /// Prefix of the annotations that ingress-nginx listens to. Default: nginx.ingress.kubernetes.io.
    pub annotation_prefix: Option<String>,
    /// The Ingress of the stable version, of which a canary Ingress is made.
    pub stable_ingress: Option<String>,
    /// Annotations for the canary Ingress; the prefix is put before keys that lack it.
    pub additional_ingress_annotations: Option<BTreeMap<String, String>>,
    /// Annotations for the canary Ingress, taken as they are.
    pub canary_ingress_annotations: Option<BTreeMap<String, String>>,
    /// Several Ingresses of the stable version.
    pub stable_ingresses: Option<Vec<String>>,
}

/// Splits traffic by an AWS load balancer: exactly one of `ingress` and `ingresses`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlbTrafficRouting {
    /// The Ingress whose forward action gets the weights.
    pub ingress: Option<String>,
    /// Port of the Services in the forward action.
    pub service_port: i32,
    /// The Service named in the rule of the Ingress. Default: `stableService`.
    pub root_service: Option<String>,
    /// Prefix of the annotations that the controller listens to. Default: alb.ingress.kubernetes.io.
    pub annotation_prefix: Option<String>,
    /// Keeps a client on the version that it reached first.
    pub stickiness_config: Option<StickinessConfig>,
    /// Several Ingresses whose forward actions get the weights.
    pub ingresses: Option<Vec<String>>,
}

/// Stickiness of the target groups.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StickinessConfig {
    /// Whether clients stick.
    pub enabled: bool,
    /// For how many seconds: 1 to 604800.
    pub duration_seconds: i64,
}

/// Splits traffic by a TrafficSplit.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SmiTrafficRouting {
    /// The Service that clients use. Default: `stableService`.
    pub root_service: Option<String>,
    /// Name of the TrafficSplit. Default: the name of the Rollout.
    pub traffic_split_name: Option<String>,
}

/// Splits traffic by Ambassador.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AmbassadorTrafficRouting {
    /// Names of the Mappings, of each of which a canary Mapping is made.
    #[serde(deserialize_with = "crate::lenient::null_is_empty")]
    pub mappings: Vec<String>,
}

/// Splits traffic by a TraefikService.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraefikTrafficRouting {
    /// Name of the weighted TraefikService.
    pub weighted_traefik_service_name: String,
}

/// Splits traffic by Apache APISIX.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApisixTrafficRouting {
    /// The route whose weights are set.
    pub route: Option<ApisixRoute>,
}

/// An ApisixRoute and which of its rules get weights.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApisixRoute {
    /// Name of the ApisixRoute.
    pub name: String,
    /// Names of the HTTP rules. May be left out if there is one only.
    pub rules: Option<Vec<String>>,
}

/// Splits traffic by AWS App Mesh.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppMeshTrafficRouting {
    /// The VirtualService whose VirtualRouter gets the weights.
    pub virtual_service: Option<AppMeshVirtualService>,
    /// The VirtualNodes of the two versions.
    pub virtual_node_group: Option<AppMeshVirtualNodeGroup>,
}

/// An App Mesh VirtualService and which of its routes get weights.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppMeshVirtualService {
    /// Name of the VirtualService.
    pub name: String,
    /// Names of the routes. May be left out if there is one only.
    pub routes: Option<Vec<String>>,
}

/// The VirtualNodes of the two versions.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppMeshVirtualNodeGroup {
    /// The VirtualNode that is pointed at the new version.
    pub canary_virtual_node_ref: Option<AppMeshVirtualNodeReference>,
    /// The VirtualNode that is pointed at the stable version.
    pub stable_virtual_node_ref: Option<AppMeshVirtualNodeReference>,
}

/// A VirtualNode by name.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppMeshVirtualNodeReference {
    /// Name of the VirtualNode.
    pub name: String,
}
