//! What a user has in a VirtualService survives value for value.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::shop::Manifests;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn extra_routes_headers_and_annotations_survive_a_release_value_for_value() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-user-routes")?;
    manifests.without_analysis().change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 30 }, { "pause": {} }]);
    });
    manifests.change("VirtualService", |route| {
        route["metadata"]["annotations"] = json!({ "team": "carts", "note": "<a> & \"b\"" });
        route["metadata"]["labels"] = json!({ "owner": "carts" });
        let primary = route["spec"]["http"][0].clone();
        let mut primary = primary;
        primary["retries"] = json!({ "attempts": 2, "perTryTimeout": "2s" });
        primary["headers"] = json!({ "request": { "set": { "x-shop": "yes" } } });
        primary["route"][1]["headers"] = json!({ "response": { "add": { "x-canary": "1" } } });
        let admin = json!({
            "name": "admin", "match": [{ "uri": { "prefix": "/admin" }, "headers": { "x-user": { "exact": "root" } } }],
            "route": [{ "destination": { "host": "shop-stable", "port": { "number": 80 } }, "weight": 100 }],
            "timeout": "7s",
        });
        route["spec"]["http"] = json!([admin, primary]);
    });
    let shop = Shop::open(&cluster, "e2e-user-routes", &manifests).await?;
    let before = user_part(cluster.get("VirtualService", &shop.namespace, "shop").await?);
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    let middle = cluster.get("VirtualService", &shop.namespace, "shop").await?;
    assert_eq!(middle["spec"]["http"][1]["route"][1]["weight"], 30);
    assert_eq!(user_part(middle), before);
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_phase("Degraded").await?;
    let limit = std::time::Duration::from_secs(30);
    let back = cluster
        .await_object("VirtualService", &shop.namespace, "shop", limit, "weight 0", |route| {
            route["spec"]["http"][1]["route"][1]["weight"] == 0
        })
        .await?;
    assert_eq!(user_part(back), before);
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_routes_one_that_is_deleted_keeps_no_abort_from_the_other() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut manifests = Manifests::example("e2e-two-routes")?;
    manifests.without_analysis().copy("VirtualService", |route| {
        route["metadata"]["name"] = json!("api");
        route["spec"]["hosts"] = json!(["api.e2e-two-routes.example"]);
    });
    manifests.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(2);
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = json!([{ "setWeight": 30 }, { "pause": {} }]);
        let one = canary["trafficRouting"]["istio"]["virtualService"].take();
        let mut other = one.clone();
        other["name"] = json!("api");
        canary["trafficRouting"] = json!({ "istio": { "virtualServices": [one, other] } });
    });
    let shop = Shop::open(&cluster, "e2e-two-routes", &manifests).await?;
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;
    let weight = |route: &Value| route["spec"]["http"][0]["route"][1]["weight"].clone();
    for name in ["shop", "api"] {
        assert_eq!(weight(&cluster.get("VirtualService", &shop.namespace, name).await?), 30, "{name}");
    }
    cluster.kubectl(&["delete", "virtualservice", "api", "-n", &shop.namespace]).await?;
    shop.await_status("InvalidSpec", |status| {
        status["message"].as_str().is_some_and(|text| text.contains("virtualServices[1].name"))
    })
    .await?;
    shop.plugin(&["abort", "shop"]).await?;
    shop.await_weight(0).await?;
    shop.close().await
}

/// Everything but our two weights and what the API server itself counts.
fn user_part(mut route: Value) -> Value {
    for destination in [0, 1] {
        route["spec"]["http"][1]["route"][destination]["weight"] = Value::Null;
    }
    for counted in ["resourceVersion", "generation", "managedFields"] {
        route["metadata"][counted] = Value::Null;
    }
    route
}
