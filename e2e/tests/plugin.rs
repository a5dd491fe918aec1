//! What scripts rely on in the kubectl plugin, from the binary that users get: data, a table, exit codes.

use crate::shared;
use headgate_e2e::Shop;
use headgate_e2e::plugin::plugin;
use headgate_e2e::shop::{Manifests, NAME};
use serde_json::{Value, json};

/// The Rollout as the plugin prints it and as it is stored, at a moment in which nobody has written it.
async fn printed_and_stored(shop: &Shop) -> anyhow::Result<(Value, Value)> {
    loop {
        let before = shop.cluster.get("Rollout", &shop.namespace, NAME).await?;
        let printed = shop.plugin(&["get", "rollout", NAME, "-o", "json"]).await?.out;
        let after = shop.cluster.get("Rollout", &shop.namespace, NAME).await?;
        if before == after {
            return Ok((serde_json::from_str(&printed)?, after));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_the_stored_object_a_wide_table_and_the_promised_exit_codes() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let steps = json!([{ "setWeight": 50 }, { "pause": {} }]);
    let shop = Shop::open(&cluster, "e2e-plugin", &Manifests::plain("e2e-plugin", &steps)?).await?;
    shop.release("v2", &[]).await?;
    shop.await_phase("Paused").await?;

    let (printed, stored) = printed_and_stored(&shop).await?;
    for part in ["/metadata/uid", "/spec", "/status"] {
        assert!(stored.pointer(part).is_some(), "{part} is stored: {stored:#}");
        assert_eq!(printed.pointer(part), stored.pointer(part), "{part}");
    }

    let list = shop.plugin(&["list", "rollouts", "-o", "wide"]).await?.out;
    let (header, row) = list.split_once('\n').unwrap_or_default();
    assert!(["NAME", "AGE", "IMAGES", "MESSAGE"].iter().all(|column| header.contains(column)), "{list}");
    let cells = ["Paused", "headgate/app:0.1.0", "ends when a user promotes"];
    assert!(row.starts_with(NAME) && cells.iter().all(|cell| row.contains(cell)), "{list}");

    let in_vain = plugin(&cluster, &shop.namespace, &["status", NAME, "--timeout", "1s"]).await?;
    assert!(in_vain.code == 1 && in_vain.err.contains("not Healthy after 1s"), "{in_vain:?}");
    let of_none = plugin(&cluster, &shop.namespace, &["status"]).await?;
    assert_eq!(of_none.code, 2, "wrong usage: {of_none:?}");
    shop.plugin(&["promote", NAME]).await?;
    let end = plugin(&cluster, &shop.namespace, &["status", NAME, "--timeout", "90s"]).await?;
    assert_eq!((end.code, end.out.lines().last()), (0, Some("Healthy")), "{end:?}");
    shop.close().await
}
