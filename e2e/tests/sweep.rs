//! What a deleted Rollout leaves behind: Services as their user wrote them.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::cluster::PATIENCE;
use headgate_e2e::shop::Manifests;
use serde_json::{Value, json};

const MARK: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";
const HASH: &str = "rollouts-pod-template-hash";

#[tokio::test(flavor = "multi_thread")]
async fn services_of_a_deleted_rollout_are_as_before_it_value_for_value() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-sweep")?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        rollout["spec"]["strategy"]["canary"]["steps"] = json!([{ "setWeight": 50 }, { "pause": {} }]);
    });
    manifests.change("Service", |service| {
        service["metadata"]["annotations"] = json!({ "team": "carts", "note": "<a> & \"b\"" });
    });
    let shop = Shop::open(&cluster, "e2e-sweep", &manifests).await?;
    // In the middle of a release both Services select one version each.
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    let mut before = Vec::new();
    for name in ["shop-stable", "shop-canary"] {
        let service = cluster.get("Service", &shop.namespace, name).await?;
        assert_eq!(service["metadata"]["annotations"][MARK], "shop");
        assert!(service["spec"]["selector"][HASH].is_string(), "{service:#}");
        before.push((name, user_part(service)));
    }
    cluster.kubectl(&["delete", "rollout", "shop", "--namespace", &shop.namespace]).await?;
    for (name, before) in before {
        let limit = PATIENCE;
        let given_back = |service: &Value| service["metadata"]["annotations"].get(MARK).is_none();
        let after = cluster
            .await_object("Service", &shop.namespace, name, limit, "without our annotation", given_back)
            .await?;
        assert_eq!(after["spec"]["selector"], json!({ "app": "shop" }));
        assert_eq!(user_part(after), before);
    }
    shop.close().await
}

/// Everything but our two keys and what the API server itself counts.
fn user_part(mut service: Value) -> Value {
    for (fields, ours) in [
        ("/metadata", &["resourceVersion", "managedFields"][..]),
        ("/metadata/annotations", &[MARK]),
        ("/spec/selector", &[HASH]),
    ] {
        if let Some(Value::Object(fields)) = service.pointer_mut(fields) {
            fields.retain(|key, _| !ours.contains(&key.as_str()));
        }
    }
    service
}
