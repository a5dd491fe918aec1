//! What users install: CRDs by plain `kubectl apply`, and a controller with no more rights than it needs.

use crate::shared;
use headgate_e2e::install::{NAMESPACE, root};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_crds_can_be_applied_plainly_and_explained() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let crds = root().join("crds");
    let crds = crds.to_str().unwrap_or_default();
    // Client-side apply keeps the whole object in an annotation, which the API server limits to 256 KiB.
    let applied = cluster.kubectl(&["apply", "--dry-run=server", "-f", crds]).await?;
    assert_eq!(applied.lines().count(), 5, "{applied}");
    let explained = cluster.kubectl(&["explain", "rollout.spec.strategy.canary.steps.setWeight"]).await?;
    assert!(explained.contains("setWeight") && explained.contains("DESCRIPTION"), "{explained}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_runs_without_rights_that_it_does_not_need() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let selector = ["get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=headgate", "-o", "json"];
    let pods: Value = serde_json::from_str(&cluster.kubectl(&selector).await?)?;
    let container = &pods["items"][0]["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{container}");
    assert_eq!(pods["items"][0]["spec"]["securityContext"]["runAsNonRoot"], true);
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:headgate");
    for (verb, resource) in
        [("get", "secrets"), ("list", "secrets"), ("delete", "pods"), ("update", "virtualservices")]
    {
        let mut command = cluster.command("kubectl")?;
        let answer =
            command.args(["auth", "can-i", verb, resource, "--all-namespaces", &account]).output().await?;
        assert!(String::from_utf8_lossy(&answer.stdout).starts_with("no"), "{verb} {resource} is allowed");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_static_controller_resolves_service_names_from_inside_its_image() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let namespace = "e2e-resolve";
    cluster.fresh_namespace(namespace).await?;
    // With and without the help of the pod's search domains.
    for (name, host) in
        [("search", "prometheus.monitoring"), ("whole", "prometheus.monitoring.svc.cluster.local")]
    {
        let run = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "metadata": { "name": name },
            "spec": { "metrics": [{
                "name": "one", "successCondition": "result == 1",
                "provider": { "prometheus": { "address": format!("http://{host}:9090"), "query": "vector(1)" } },
            }] },
        });
        cluster.apply(namespace, &[run]).await?;
        let limit = Duration::from_secs(30);
        let done = |run: &Value| run["status"]["phase"] == "Successful";
        cluster.await_object("AnalysisRun", namespace, name, limit, "Successful", done).await?;
    }
    cluster.remove_namespace(namespace).await
}
