//! Prometheus; istiod with Envoy as its gateway.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::traefik::TRAEFIK_ADMIN_PORT;
use super::{at_node, kubeconfig};
use crate::Lab;
use crate::probe;
use crate::process::Program;
use crate::sandbox::NODE_ADDRESS;

pub(crate) const PROMETHEUS_PORT: u16 = 9090;
const ENVOY_ADMIN_PORT: u16 = 15000;

/// Every pod label becomes a label of its series, so that versions of a program can be told apart.
const SCRAPE: &str = "global:
  scrape_interval: 2s
  evaluation_interval: 2s
rule_files: ['RULES/*.yaml']
scrape_configs:
- job_name: gateway
  metrics_path: /stats/prometheus
  static_configs:
  - targets: ['127.0.0.1:ENVOY']
- job_name: traefik
  static_configs:
  - targets: ['127.0.0.1:TRAEFIK']
- job_name: pods
  # A program that reports on others (namespace, name) knows better than the scrape whom it means.
  honor_labels: true
  kubernetes_sd_configs:
  - role: pod
    kubeconfig_file: KUBECONFIG
  relabel_configs:
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
    action: keep
    regex: 'true'
  - source_labels: [__meta_kubernetes_pod_phase]
    action: drop
    regex: Pending|Succeeded|Failed
  - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
    target_label: __metrics_path__
    regex: (.+)
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    target_label: __address__
    separator: ':'
    regex: (.+:[0-9]+)
  - action: labelmap
    regex: __meta_kubernetes_pod_label_(.+)
  - source_labels: [__meta_kubernetes_namespace]
    target_label: namespace
  - source_labels: [__meta_kubernetes_pod_name]
    target_label: pod
";

pub(super) fn prometheus(lab: &Lab) -> Result<Program> {
    let rules = lab.prometheus_rules_dir();
    fs::create_dir_all(&rules).with_context(|| format!("create {}", rules.display()))?;
    let config = SCRAPE
        .replace("RULES", &rules.display().to_string())
        .replace("ENVOY", &ENVOY_ADMIN_PORT.to_string())
        .replace("TRAEFIK", &TRAEFIK_ADMIN_PORT.to_string())
        .replace("KUBECONFIG", &kubeconfig(lab, "lab:addons").display().to_string());
    let config = lab.state().write("prometheus/prometheus.yaml", &config)?;
    Ok(Program::new(&lab.tool("prometheus")?)
        .path("--config.file", &config)
        .path("--storage.tsdb.path", &lab.state().path("prometheus/data"))
        .arg(format!("--web.listen-address=0.0.0.0:{PROMETHEUS_PORT}"))
        .arg("--web.enable-lifecycle")
        .arg("--log.level=warn"))
}

/// Names for pods: `prometheus.monitoring.svc`.
pub(crate) fn publish_prometheus(lab: &Lab) -> Result<()> {
    publish(lab, "monitoring", "prometheus", PROMETHEUS_PORT, PROMETHEUS_PORT)
}

/// `istio-ingressgateway.istio-system.svc`
pub(crate) fn publish_gateway(lab: &Lab) -> Result<()> {
    publish(lab, "istio-system", "istio-ingressgateway", 80, 80)
}

/// A Service without a selector for a program that runs on the node itself, and listens at `target` there.
pub(super) fn publish(lab: &Lab, namespace: &str, name: &str, port: u16, target: u16) -> Result<()> {
    let metadata = json!({
        "name": name,
        "namespace": namespace,
        "labels": { "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "headgate-lab" },
    });
    apply(
        lab,
        &[
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
                "spec": { "ports": [{ "name": "http", "port": port, "targetPort": target }] },
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
                "addressType": "IPv4",
                "ports": [{ "name": "http", "port": target, "protocol": "TCP" }],
                "endpoints": [{ "addresses": [NODE_ADDRESS], "conditions": { "ready": true } }],
            }),
        ],
    )
}

pub(super) fn apply(lab: &Lab, objects: &[Value]) -> Result<()> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    lab.kubectl_input(&["apply", "--server-side", "--validate=false", "-f", "-"], &list.to_string()).map(drop)
}

/// Makes the custom resources of a build known, and waits until they are.
pub(super) fn apply_crds(lab: &Lab, build: &str) -> Result<()> {
    let crds = lab.crds(build).display().to_string();
    lab.kubectl(&["apply", "--server-side", "--validate=false", "-f", &crds])?;
    lab.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", &crds]).map(drop)
}

/// What istiod expects to find: its custom resources and its namespace.
pub(crate) fn prepare_istio(lab: &Lab) -> Result<()> {
    apply_crds(lab, "istio")?;
    apply(lab, &[json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "istio-system" } })])
}

/// No certificates, no telemetry filters: the gateway is an Envoy without Istio's own filters.
const MESH: &str = "defaultProviders: { metrics: [] }
enablePrometheusMerge: false
enableAutoMtls: false
";

pub(super) fn istiod(lab: &Lab) -> Result<Program> {
    let mesh = lab.state().write("istio/mesh.yaml", MESH)?;
    let mut program = Program::new(&lab.tool("istiod")?)
        .arg("discovery")
        .path("--kubeconfig", &kubeconfig(lab, "lab:istiod"))
        .path("--meshConfig", &mesh)
        .args([
            "--httpAddr=127.0.0.1:18080",
            "--grpcAddr=127.0.0.1:15010",
            "--secureGRPCAddr=",
            "--httpsAddr=",
            "--monitoringAddr=127.0.0.1:15014",
            "--log_output_level=default:warn",
        ]);
    for (variable, value) in [
        ("POD_NAME", "istiod"),
        ("POD_NAMESPACE", "istio-system"),
        ("CLUSTER_ID", "Kubernetes"),
        ("ENABLE_CA_SERVER", "false"),
        ("PILOT_CERT_PROVIDER", "none"),
        ("VALIDATION_WEBHOOK_CONFIG_NAME", ""),
        ("INJECTION_WEBHOOK_CONFIG_NAME", ""),
        ("PILOT_ENABLE_METADATA_EXCHANGE", "false"),
        ("PILOT_DISABLE_MX_ALPN", "true"),
        ("PILOT_ENABLE_ALPN_FILTER", "false"),
        // The Gateway API is Traefik's here: two controllers would both write into a route's status.
        ("PILOT_ENABLE_GATEWAY_API", "false"),
    ] {
        program = program.env(variable, value);
    }
    Ok(program)
}

pub(super) fn envoy(lab: &Lab) -> Result<Program> {
    let name = "istio-ingressgateway";
    let config = json!({
        "node": {
            "id": format!("router~{NODE_ADDRESS}~{name}.istio-system~istio-system.svc.cluster.local"),
            "cluster": format!("{name}.istio-system"),
            "metadata": {
                "NAMESPACE": "istio-system",
                "CLUSTER_ID": "Kubernetes",
                "ISTIO_VERSION": "1.31.1",
                // What the selector of a Gateway matches.
                "LABELS": { "istio": "ingressgateway", "app": name },
            },
        },
        "admin": { "address": address("127.0.0.1", ENVOY_ADMIN_PORT) },
        // istiod ends the names of clusters and listeners with a semicolon for these expressions.
        "stats_config": {
            "use_all_default_tags": false,
            "stats_tags": [
                { "tag_name": "envoy.cluster_name", "regex": r"^cluster(\.(.+);)" },
                { "tag_name": "envoy.http_conn_manager_prefix", "regex": r"^http(\.(.+?);)" },
                { "tag_name": "envoy.response_code" },
                { "tag_name": "envoy.response_code_class" },
            ],
        },
        "dynamic_resources": {
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "istiod" } }],
            },
        },
        "static_resources": { "clusters": [{
            "name": "istiod",
            "alt_stat_name": "istiod;",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "load_assignment": {
                "cluster_name": "istiod",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address("127.0.0.1", 15010) } }] }],
            },
        }] },
    });
    let config = lab.state().write("istio/envoy.json", &config.to_string())?;
    Ok(Program::new(&lab.tool("envoy")?)
        .arg("--config-path")
        .arg(config.display().to_string())
        .args(["--log-level", "warning", "--concurrency", "2"])
        // Its shared memory has one name on the whole machine: two labs would meet.
        .arg("--disable-hot-restart"))
}

fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

pub(super) fn envoy_ready(_: &Lab) -> Result<()> {
    let admin = format!("127.0.0.1:{ENVOY_ADMIN_PORT}");
    let stats = probe::http("GET", &admin, "/stats?filter=^control_plane.connected_state$")?;
    if !stats.contains("control_plane.connected_state: 1") {
        bail!("Envoy at {} is not connected to istiod", at_node(80));
    }
    probe::http_ok(&admin, "/ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrape_configuration_has_every_placeholder_once() {
        for placeholder in ["RULES", "ENVOY", "TRAEFIK", "KUBECONFIG"] {
            assert_eq!(SCRAPE.matches(placeholder).count(), 1, "{placeholder}");
        }
    }
}
