//! The parts of a lab: how each is started and how one knows that it is ready.

mod addons;
mod control_plane;
mod kwok;
mod node;
mod traefik;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::Addon;
use crate::Lab;
use crate::probe;
use crate::process::Program;
use crate::sandbox::NODE_ADDRESS;

pub(crate) use addons::{PROMETHEUS_PORT, prepare_istio, publish_gateway, publish_prometheus};
pub(crate) use kwok::prepare_kwok;
pub(crate) use node::import_pause_image;
pub(crate) use traefik::{TRAEFIK_PORT, prepare_traefik};

/// One program of the lab.
pub(crate) struct PartKind {
    pub(crate) name: &'static str,
    /// Where it listens, for `lab status`.
    pub(crate) address: &'static str,
    /// Writes the part's configuration and returns its command line.
    pub(crate) prepare: fn(&Lab) -> Result<Program>,
    /// Fails with what is not ready yet. Runs within the lab's network.
    pub(crate) ready: fn(&Lab) -> Result<()>,
    /// Only with this add-on.
    pub(crate) addon: Option<Addon>,
}

/// For kubectl in a look for readiness: an API server that hangs is not ready.
const SOON: &str = "--request-timeout=3s";

pub(crate) const PARTS: [PartKind; 13] = [
    PartKind {
        name: "etcd",
        address: "127.0.0.1:2379",
        prepare: control_plane::etcd,
        ready: |_| probe::http_ok("127.0.0.1:2379", "/health"),
        addon: None,
    },
    PartKind {
        name: "kube-apiserver",
        address: "198.18.0.1:6443",
        prepare: control_plane::apiserver,
        ready: |lab| match lab.kubectl(&[SOON, "get", "--raw", "/readyz"])?.as_str() {
            "ok" => Ok(()),
            other => bail!("/readyz says {other}"),
        },
        addon: None,
    },
    PartKind {
        name: "containerd",
        address: "/run/containerd/containerd.sock",
        prepare: node::containerd,
        ready: node::containerd_ready,
        addon: None,
    },
    PartKind {
        name: "kube-controller-manager",
        address: "127.0.0.1:10257",
        prepare: control_plane::controller_manager,
        ready: control_plane::controller_manager_ready,
        addon: None,
    },
    PartKind {
        name: "kube-scheduler",
        address: "127.0.0.1:10259",
        prepare: control_plane::scheduler,
        ready: |_| probe::connects("127.0.0.1:10259"),
        addon: None,
    },
    PartKind {
        name: "kubelet",
        address: "198.18.0.1:10250",
        prepare: node::kubelet,
        ready: node::kubelet_ready,
        addon: None,
    },
    PartKind {
        name: "kube-proxy",
        address: "127.0.0.1:10256",
        prepare: node::kube_proxy,
        ready: |_| probe::http_ok("127.0.0.1:10256", "/healthz"),
        addon: None,
    },
    PartKind {
        name: "coredns",
        address: "198.18.0.1:53",
        prepare: node::coredns,
        ready: |_| probe::http_ok("127.0.0.1:8181", "/ready"),
        addon: None,
    },
    PartKind {
        name: "prometheus",
        address: "198.18.0.1:9090",
        prepare: addons::prometheus,
        ready: |_| probe::http_ok(&at_node(PROMETHEUS_PORT), "/-/ready"),
        addon: Some(Addon::Prometheus),
    },
    PartKind {
        name: "istiod",
        address: "127.0.0.1:15010",
        prepare: addons::istiod,
        ready: |_| probe::http_ok("127.0.0.1:18080", "/ready"),
        addon: Some(Addon::Istio),
    },
    PartKind {
        name: "envoy",
        address: "198.18.0.1:80",
        prepare: addons::envoy,
        ready: addons::envoy_ready,
        addon: Some(Addon::Istio),
    },
    PartKind {
        name: "traefik",
        address: "198.18.0.1:8000",
        prepare: traefik::program,
        ready: traefik::ready,
        addon: Some(Addon::Traefik),
    },
    PartKind {
        name: "kwok",
        address: "127.0.0.1:10247",
        prepare: kwok::program,
        ready: kwok::ready,
        addon: Some(Addon::Kwok),
    },
];

pub(crate) fn at_node(port: u16) -> String {
    format!("{NODE_ADDRESS}:{port}")
}

pub(crate) fn kind(name: &str) -> Result<&'static PartKind> {
    match PARTS.iter().find(|part| part.name == name) {
        Some(part) => Ok(part),
        None => {
            let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
            bail!("the lab has no part {name:?}, but {}", names.join(", "))
        }
    }
}

/// A file below the lab's state directory, as text for a configuration.
fn file(lab: &Lab, below: &str) -> String {
    lab.state().path(below).display().to_string()
}

fn pki_file(lab: &Lab, name: &str) -> PathBuf {
    crate::pki::pki(lab.state(), name)
}

fn kubeconfig(lab: &Lab, user: &str) -> PathBuf {
    crate::kubeconfig::path(lab.state(), user)
}
