//! What must not happen while something else does. Who only looks afterwards misses what comes and goes again.

use crate::shop::{NAME, Shop};
use anyhow::bail;
use serde_json::Value;
use std::time::Duration;

/// Longer than any test.
const LIMIT: Duration = Duration::from_secs(3600);

/// Acts, and ends with an error as soon as the route gives the canary another weight than this one.
///
/// # Errors
/// When it does, or an act fails.
pub async fn weight_stays<T>(
    shop: &Shop,
    weight: i64,
    acts: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let door = shop.door()?;
    let (kind, name) = door.weighted();
    let is_another = |route: &Value| door.weight(route) != Some(weight);
    let moved = shop.cluster.await_object(kind, &shop.namespace, name, LIMIT, "another weight", is_another);
    tokio::select! {
        biased;
        route = moved => bail!("the canary's weight was to stay {weight}, and is {:?}", door.weight(&route?)),
        acted = acts => acted,
    }
}

/// Acts, and ends with an error as soon as the version with this hash is to have another number of pods than this one.
///
/// # Errors
/// When it is, or an act fails.
pub async fn size_stays<T>(
    shop: &Shop,
    hash: &str,
    pods: i64,
    acts: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let name = format!("{NAME}-{hash}");
    let is_another = |set: &Value| set["spec"]["replicas"] != pods;
    let (kind, what) = ("ReplicaSet", "another size");
    let resized = shop.cluster.await_object(kind, &shop.namespace, &name, LIMIT, what, is_another);
    tokio::select! {
        biased;
        set = resized => bail!("{name} was to stay at {pods} pods, and is to have {}", set?["spec"]["replicas"]),
        acted = acts => acted,
    }
}
