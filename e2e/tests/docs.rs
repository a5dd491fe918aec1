//! The manifests that README and docs show: the API server takes each of them, field by field.

use crate::shared;
use anyhow::Context;
use headgate_e2e::door::Door;
use headgate_e2e::install::root;
use headgate_e2e::shop::Manifests;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn below(directory: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(below(&path, extension)?);
        } else if path.extension().is_some_and(|has| has == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// A part of a spec becomes that part of an example's object.
fn whole(part: Value) -> anyhow::Result<Value> {
    if part["kind"].is_string() {
        return Ok(part);
    }
    let rule = &part["rules"][0];
    let (door, kind, key) = if part["strategy"].is_object() {
        (Door::Istio, "Rollout", "strategy")
    } else if part["http"].is_array() {
        (Door::Istio, "VirtualService", "http")
    } else if rule["backendRefs"].is_array() {
        (Door::Gateway, "HTTPRoute", "rules")
    } else if rule["http"].is_object() {
        (Door::Nginx, "Ingress", "rules")
    } else {
        anyhow::bail!("say in docs.rs what this is a part of: {part:#}");
    };
    let example = Manifests::through(door, "e2e-docs")?;
    let mut object = example.0.into_iter().find(|object| object["kind"] == kind).context("no example")?;
    object["spec"][key] = part[key].clone();
    Ok(object)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_in_the_docs_is_taken_by_the_api_server() -> anyhow::Result<()> {
    let (cluster, _guard) = shared().await?;
    let mut texts = Vec::new();
    for page in below(&root().join("docs"), "md")?.into_iter().chain([root().join("README.md")]) {
        let text = std::fs::read_to_string(&page)?;
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.map(|block| (page.clone(), block.to_owned())));
    }
    for file in below(&root().join("docs/examples"), "yaml")? {
        texts.push((file.clone(), std::fs::read_to_string(&file)?));
    }
    assert!(texts.len() > 8, "the guide, the routers' pages and the example show more than {}", texts.len());
    for (place, text) in texts {
        let place = place.display().to_string();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).with_context(|| place.clone())?;
        let objects: Vec<Value> = objects.into_iter().map(whole).collect::<anyhow::Result<_>>()?;
        cluster.would_take(&objects).await.with_context(|| format!("{place}:\n{text}"))?;
    }
    let unknown = serde_json::json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": { "name": "unknown" },
        "spec": { "strategy": { "canary": { "stepz": [] } } },
    });
    let refused = cluster.would_take(&[unknown]).await.map_err(|error| format!("{error:#}"));
    assert!(refused.as_ref().is_err_and(|why| why.contains("stepz")), "this test can fail: {refused:?}");
    Ok(())
}
