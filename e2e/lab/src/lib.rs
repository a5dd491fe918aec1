//! A real Kubernetes with real data planes on one Linux machine, without Docker: etcd, API server with
//! the aggregation layer, controller manager, scheduler, a node with containerd and runc, kube-proxy,
//! CoreDNS; on demand Prometheus, istiod with Envoy as its gateway, Traefik, and kwok's fake nodes.
//!
//! What holds:
//! - A lab is in a network and a mount namespace, a cgroup tree and a state directory of its own. Two
//!   labs side by side have the same addresses and do not meet.
//! - `up` works on whatever a crash left; `down` leaves nothing: no process, mount, namespace, cgroup, file.
//! - Readiness is observed, never assumed after a delay. A part that ends early fails `up` at once.
//! - Programs are built from pinned sources, once, into a cache outside of the work tree.
//!
//! What it deliberately lacks: any knowledge of what is tested in it, a second node, access to any
//! network, and data that outlives it.

mod builds;
mod cgroup;
mod cli;
mod component;
mod image;
mod kubeconfig;
mod lab;
mod packages;
mod parts;
mod pki;
mod probe;
mod process;
mod progress;
mod sandbox;
mod stand_in;
mod state;

use std::path::PathBuf;

pub use cli::{LabArgs, run};
pub use component::{Component, ComponentStatus};
pub use image::{ImageConfig, docker_archive};
pub use lab::Lab;
pub use state::cache_dir;

/// What a lab may have beside Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Addon {
    /// Scrapes the gateway, and pods with the usual annotations, every two seconds.
    Prometheus,
    /// istiod, and Envoy as the gateway with the label `istio: ingressgateway`.
    Istio,
    /// Traefik, for Ingresses of the class `nginx`, routes of the Gateway API, and Traefik's own kinds.
    Traefik,
    /// Fake nodes, for pods by the hundred: those of namespaces with the label `kwok.x-k8s.io/node: fake`.
    Kwok,
}

/// What `up` makes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Labs of different names live side by side.
    pub name: String,
    /// In any order.
    pub addons: Vec<Addon>,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: DEFAULT_NAME.to_owned(), addons: Vec::new() }
    }
}

/// The lab that is meant when none is named.
pub const DEFAULT_NAME: &str = "dev";

/// The path of one of the lab's programs, such as `helm`, `promtool` or `kubectl`, built if need be.
/// No lab has to run.
///
/// # Errors
/// If there is no such program or it cannot be built.
pub fn tool(name: &str) -> anyhow::Result<PathBuf> {
    builds::Builds::ensure()?.program(name)
}
