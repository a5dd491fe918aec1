//! The node: containerd with runc, kubelet, kube-proxy, and the cluster's DNS beside them.

use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::{SOON, file, kubeconfig, pki_file};
use crate::Lab;
use crate::image::{ImageConfig, docker_archive};
use crate::pki::NODE_NAME;
use crate::probe;
use crate::process::Program;
use crate::sandbox::{NODE_ADDRESS, POD_RANGE, RESOLV_CONF};

const PAUSE_IMAGE: &str = "lab.local/pause:1";
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Point-to-point links instead of a bridge: all pods are reached by routes, so that kube-proxy sees
/// traffic between pods of this node whether or not the kernel filters bridges.
const CNI: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "lab",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": { "type": "host-local", "ranges": [[{ "subnet": "POD_RANGE" }]], "routes": [{ "dst": "0.0.0.0/0" }] }
    },
    { "type": "portmap", "capabilities": { "portMappings": true }, "backend": "nftables", "snat": true }
  ]
}
"#;

pub(super) fn containerd(lab: &Lab) -> Result<Program> {
    lab.state().write("cni/10-lab.conflist", &CNI.replace("POD_RANGE", POD_RANGE))?;
    let state = &lab.state().root;
    let type_ = statfs(state).with_context(|| format!("statfs {}", state.display()))?.filesystem_type();
    // overlayfs does not lie on overlayfs, as when the lab itself runs in a container.
    let snapshotter = if type_ == OVERLAYFS_SUPER_MAGIC { "native" } else { "overlayfs" };
    // The programs of containerd and CNI are in several directories of the cache: one with links to all.
    let bin = file(lab, "bin");
    let config = format!(
        "version = 3
disabled_plugins = ['io.containerd.nri.v1.nri', 'io.containerd.tracing.processor.v1.otlp']
[plugins.'io.containerd.cri.v1.images']
snapshotter = '{snapshotter}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE_IMAGE}'
[plugins.'io.containerd.cri.v1.runtime']
# Where the lab may not lower it (in a container), pods would not start.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{bin}']
conf_dir = '{cni}'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins.'io.containerd.transfer.v1.local']
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
platform = 'linux'
snapshotter = '{snapshotter}'
",
        cni = file(lab, "cni"),
    );
    let config = lab.state().write("containerd.toml", &config)?;
    Ok(Program::new(&lab.tool("containerd")?)
        .path("--config", &config)
        .arg("--log-level=warn")
        // containerd finds its shim, and the shim finds runc, in PATH.
        .env("PATH", format!("{bin}:{}", crate::packages::SEARCH_PATH)))
}

/// A socket is no part of the network namespace: it is reached by its path on the host.
pub(super) fn containerd_ready(lab: &Lab) -> Result<()> {
    let socket = lab.state().inside(CONTAINERD_SOCKET);
    // The path may be longer than a socket's address may be: step into its directory by descriptor.
    let dir = std::fs::File::open(socket.parent().context("socket path")?)
        .context("containerd has no directory yet")?;
    let short = format!("/proc/self/fd/{}/containerd.sock", std::os::fd::AsRawFd::as_raw_fd(&dir));
    UnixStream::connect(short).map(drop).with_context(|| format!("connect to {}", socket.display()))
}

pub(crate) fn import_pause_image(lab: &Lab) -> Result<()> {
    let archive = lab.state().path("pause.tar");
    let config = ImageConfig {
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..ImageConfig::default()
    };
    docker_archive(&archive, PAUSE_IMAGE, &[("pause", &lab.tool("pause")?, 0o755)], &config)?;
    lab.load_image(&archive)
}

pub(super) fn kubelet(lab: &Lab) -> Result<Program> {
    let config = format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{ enabled: false }}
  webhook: {{ enabled: true }}
  x509: {{ clientCAFile: {authority} }}
authorization: {{ mode: Webhook }}
containerRuntimeEndpoint: unix://{CONTAINERD_SOCKET}
cgroupDriver: cgroupfs
cgroupRoot: {cgroup}
failCgroupV1: false
enforceNodeAllocatable: []
clusterDNS: [{NODE_ADDRESS}]
clusterDomain: cluster.local
resolvConf: {resolv_conf}
volumePluginDir: /var/lib/kubelet/volume-plugins
# kube-proxy uses nftables: no chains for others.
makeIPTablesUtilChains: false
# The disk is the machine's, not the lab's: do not evict, do not collect images that were loaded by hand.
evictionHard: {{}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
localStorageCapacityIsolation: false
# Else an image that was loaded by hand counts as absent once a pull of it has failed.
imagePullCredentialsVerificationPolicy: NeverVerify
failSwapOn: false
maxPods: 250
kubeAPIQPS: 100
kubeAPIBurst: 200
eventRecordQPS: 0
",
        authority = pki_file(lab, "ca.crt").display(),
        cgroup = lab.cgroup().path(),
        resolv_conf = file(lab, RESOLV_CONF),
    );
    let config = lab.state().write("kubelet.yaml", &config)?;
    Ok(Program::new(&lab.tool("kubelet")?)
        .path("--config", &config)
        .path("--kubeconfig", &kubeconfig(lab, "system:node:lab-node"))
        .arg(format!("--hostname-override={NODE_NAME}"))
        .arg(format!("--node-ip={NODE_ADDRESS}")))
}

pub(super) fn kubelet_ready(lab: &Lab) -> Result<()> {
    probe::http_ok("127.0.0.1:10248", "/healthz")?;
    let condition = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    match lab.kubectl(&[SOON, "get", "node", NODE_NAME, "-o", condition])?.as_str() {
        "True" => Ok(()),
        other => bail!("the node's condition Ready is {other:?}"),
    }
}

pub(super) fn kube_proxy(lab: &Lab) -> Result<Program> {
    let config = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {POD_RANGE}
hostnameOverride: {NODE_NAME}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {{ kubeconfig: {kubeconfig} }}
# Not allowed in a network namespace, and not needed.
conntrack: {{ maxPerCore: 0 }}
",
        kubeconfig = kubeconfig(lab, "system:kube-proxy").display(),
    );
    let config = lab.state().write("kube-proxy.yaml", &config)?;
    Ok(Program::new(&lab.tool("kube-proxy")?).path("--config", &config))
}

/// It listens at the node address and nowhere else; pods are told so by the kubelet.
pub(super) fn coredns(lab: &Lab) -> Result<Program> {
    let corefile = format!(
        "cluster.local in-addr.arpa {{
    bind {NODE_ADDRESS}
    errors
    ready 127.0.0.1:8181
    loadbalance
    cache 5 {{
        denial 1000 1
    }}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
. {{
    bind {NODE_ADDRESS}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
",
        kubeconfig = kubeconfig(lab, "lab:addons").display(),
    );
    let corefile = lab.state().write("Corefile", &corefile)?;
    Ok(Program::new(&lab.tool("coredns")?).arg("-conf").arg(corefile.display().to_string()))
}
