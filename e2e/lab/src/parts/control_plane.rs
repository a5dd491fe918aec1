//! etcd, API server, controller manager, scheduler.

use anyhow::Result;

use super::{SOON, kubeconfig, pki_file};
use crate::Lab;
use crate::probe;
use crate::process::Program;
use crate::sandbox::{NODE_ADDRESS, SERVICE_RANGE};

pub(super) fn etcd(lab: &Lab) -> Result<Program> {
    Ok(Program::new(&lab.tool("etcd")?)
        .path("--data-dir", &lab.state().path("etcd"))
        // A lab's data need not survive the machine: without fsync etcd is an order of magnitude faster.
        .arg("--unsafe-no-fsync")
        .args([
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ]))
}

/// Every write once, when it is answered, without bodies: tests count writes.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
omitManagedFields: true
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
";

pub(super) fn apiserver(lab: &Lab) -> Result<Program> {
    let policy = lab.state().write("audit-policy.yaml", AUDIT_POLICY)?;
    let pki = |file: &str| pki_file(lab, file);
    Ok(Program::new(&lab.tool("kube-apiserver")?)
        .args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            "--secure-port=6443",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--kubelet-preferred-address-types=InternalIP",
            "--profiling=false",
        ])
        .arg(format!("--advertise-address={NODE_ADDRESS}"))
        .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
        .path("--tls-cert-file", &pki("apiserver.crt"))
        .path("--tls-private-key-file", &pki("apiserver.key"))
        .path("--client-ca-file", &pki("ca.crt"))
        .path("--token-auth-file", &pki("tokens.csv"))
        .path("--service-account-key-file", &pki("service-accounts.key"))
        .path("--service-account-signing-key-file", &pki("service-accounts.key"))
        .path("--kubelet-client-certificate", &pki("apiserver-kubelet-client.crt"))
        .path("--kubelet-client-key", &pki("apiserver-kubelet-client.key"))
        // The aggregation layer: other API servers learn the user from headers that we sign for.
        .path("--requestheader-client-ca-file", &pki("front-proxy-ca.crt"))
        .path("--proxy-client-cert-file", &pki("front-proxy-client.crt"))
        .path("--proxy-client-key-file", &pki("front-proxy-client.key"))
        .args([
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            "--enable-aggregator-routing=true",
        ])
        .path("--audit-policy-file", &policy)
        .path("--audit-log-path", &lab.audit_log())
        // In MiB, of one file. The four hold about 300,000 writes, days of a busy lab.
        .arg("--audit-log-maxsize=64")
        .arg("--audit-log-maxbackup=3"))
}

pub(super) fn controller_manager(lab: &Lab) -> Result<Program> {
    let config = kubeconfig(lab, "system:kube-controller-manager");
    Ok(Program::new(&lab.tool("kube-controller-manager")?)
        .path("--kubeconfig", &config)
        .path("--authentication-kubeconfig", &config)
        .path("--authorization-kubeconfig", &config)
        .path("--root-ca-file", &pki_file(lab, "ca.crt"))
        .path("--cluster-signing-cert-file", &pki_file(lab, "ca.crt"))
        .path("--cluster-signing-key-file", &pki_file(lab, "ca.key"))
        .path("--service-account-private-key-file", &pki_file(lab, "service-accounts.key"))
        .args([
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=100",
            "--kube-api-burst=200",
            "--profiling=false",
            // Fifteen by default: autoscalers of tests think as fast as their metrics change.
            "--horizontal-pod-autoscaler-sync-period=1s",
        ]))
}

/// It listens before its controllers run: its first work must be visible.
pub(super) fn controller_manager_ready(lab: &Lab) -> Result<()> {
    probe::connects("127.0.0.1:10257")?;
    lab.kubectl(&[
        SOON,
        "get",
        "serviceaccount/default",
        "configmap/kube-root-ca.crt",
        "-n",
        "default",
        "-o",
        "name",
    ])
    .map(drop)
}

pub(super) fn scheduler(lab: &Lab) -> Result<Program> {
    let config = kubeconfig(lab, "system:kube-scheduler");
    Ok(Program::new(&lab.tool("kube-scheduler")?)
        .path("--kubeconfig", &config)
        .path("--authentication-kubeconfig", &config)
        .path("--authorization-kubeconfig", &config)
        .args([
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--kube-api-qps=100",
            "--kube-api-burst=200",
            "--profiling=false",
        ]))
}
