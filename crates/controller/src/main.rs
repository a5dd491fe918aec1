//! Binds the driver to tokio and kube.
fn main() {}
