//! Kubeconfigs. They name the node address: they work within the lab's network only.

use std::path::PathBuf;

use anyhow::Result;

use crate::pki::pki;
use crate::sandbox::NODE_ADDRESS;
use crate::state::State;

/// The administrator's is `kubeconfig` in the state directory, where people look for it.
pub(crate) fn path(state: &State, user: &str) -> PathBuf {
    match user {
        "admin" => state.path("kubeconfig"),
        user => state.path("kubeconfigs").join(user.replace(':', "-")),
    }
}

pub(crate) fn write(state: &State, user: &str, token: &str) -> Result<()> {
    let authority = pki(state, "ca.crt");
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster:
    server: https://{NODE_ADDRESS}:6443
    certificate-authority: {authority}
users:
- name: {user}
  user:
    token: {token}
contexts:
- name: lab
  context:
    cluster: lab
    user: {user}
current-context: lab
",
        authority = authority.display()
    );
    crate::state::write(&path(state, user), &text)
}
