//! All objects of a namespace as they are at one time, to be held against a later time.

use crate::cluster::Cluster;
use headgate_sim::adoption::{changes, is_ours};
use kube::api::ListParams;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The kinds that a controller of Rollouts reads or writes, and pods.
const KINDS: [&str; 8] =
    ["Rollout", "ReplicaSet", "Pod", "Service", "Ingress", "VirtualService", "HTTPRoute", "AnalysisRun"];

/// Those whose status is written by the programs that obey them, whenever they come to it.
const ROUTES: [&str; 3] = ["Ingress", "VirtualService", "HTTPRoute"];

/// Objects by kind and name, without what the server counts and who wrote which field.
#[derive(Clone, Debug)]
pub struct Picture(BTreeMap<(&'static str, String), Value>);

impl Picture {
    /// Takes it now.
    ///
    /// # Errors
    /// When something cannot be listed.
    pub async fn take(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let mut objects = BTreeMap::new();
        for kind in KINDS {
            for object in cluster.api(kind, namespace).list(&ListParams::default()).await? {
                let name = object.metadata.name.clone().unwrap_or_default();
                let mut object = serde_json::to_value(object)?;
                if ROUTES.contains(&kind)
                    && let Some(fields) = object.as_object_mut()
                {
                    fields.remove("status");
                }
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.retain(|field, _| field != "resourceVersion" && field != "managedFields");
                }
                objects.insert((kind, name), object);
            }
        }
        Ok(Self(objects))
    }

    /// The objects of a kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let objects = self.0.iter().filter(move |((other, _), _)| *other == kind);
        objects.map(|((_, name), object)| (name.as_str(), object))
    }

    /// What is not as it was: objects that came or went, and fields, but for those that only Headgate has in a Rollout.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let names: BTreeSet<&(&str, String)> = self.0.keys().chain(later.0.keys()).collect();
        let mut found = Vec::new();
        for name in names {
            let (kind, shown) = (name.0, format!("{} {}", name.0, name.1));
            match (self.0.get(name), later.0.get(name)) {
                (Some(before), Some(after)) => {
                    let changed = changes(before, after).into_iter();
                    let counted = changed.filter(|change| !(kind == "Rollout" && is_ours(change)));
                    found.extend(counted.map(|change| format!("{shown} {change}")));
                }
                (Some(_), None) => found.push(format!("{shown} is gone")),
                (None, _) => found.push(format!("{shown} is new")),
            }
        }
        found
    }
}
