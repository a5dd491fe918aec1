//! Rollouts as a table, one a line.

use super::Detail;
use super::age::age;
use super::paint::{Palette, Text};
use super::rollout::{state, step, strategy};
use super::scene::name;
use super::table::table;
use super::waiting::stored;
use super::weight::weights;
use crate::phase::standing;
use headgate_api::{Rollout, RolloutStatus};
use k8s_openapi::jiff::Timestamp;

/// Whether the namespace is a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceColumn {
    /// It is.
    Shown,
    /// It is not: all are in the same one.
    Hidden,
}

/// The table.
#[must_use]
pub fn list(
    rollouts: &[Rollout],
    namespace: NamespaceColumn,
    detail: Detail,
    palette: Palette,
    now: Timestamp,
) -> String {
    let header =
        ["NAME", "STRATEGY", "STATUS", "STEP", "SET-WEIGHT", "READY", "DESIRED", "UP-TO-DATE", "AVAILABLE"];
    let mut rows = vec![header.map(Text::from).to_vec()];
    rows.extend(rollouts.iter().map(row));
    if detail == Detail::Wide {
        let more = std::iter::once(["AGE", "IMAGES", "MESSAGE"].map(Text::from));
        let more = more.chain(rollouts.iter().map(|rollout| wide(rollout, now)));
        rows.iter_mut().zip(more).for_each(|(row, more)| row.extend(more));
    }
    if namespace == NamespaceColumn::Shown {
        let namespaces = rollouts.iter().map(|one| one.metadata.namespace.clone().unwrap_or_default());
        let column = std::iter::once("NAMESPACE".to_owned()).chain(namespaces);
        for (row, namespace) in rows.iter_mut().zip(column) {
            row.insert(0, namespace.into());
        }
    }
    table(&rows, palette)
}

/// The images of the spec's template, and what is waited for or wrong.
fn wide(rollout: &Rollout, now: Timestamp) -> [Text; 3] {
    let template = rollout.spec.template.as_ref();
    let containers = template.and_then(|template| template.pointer("/spec/containers")?.as_array());
    let images = containers.into_iter().flatten().filter_map(|container| container.get("image")?.as_str());
    let message =
        stored(rollout).map_or_else(|| standing(rollout).message, |waiting| waiting.message.clone());
    // One line a Rollout, whatever the message is.
    let message = message.lines().next().unwrap_or_default().to_owned();
    [
        age(rollout.metadata.creation_timestamp.as_ref(), now).into(),
        images.collect::<Vec<_>>().join(",").into(),
        message.into(),
    ]
}

fn row(rollout: &Rollout) -> Vec<Text> {
    let default = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&default);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let strategy = Some(strategy(rollout)).filter(|word| !word.is_empty()).unwrap_or("unknown");
    let weight = weights(rollout, 0).map(|weights| weights.set.to_string());
    vec![
        name(&rollout.metadata).into(),
        strategy.into(),
        state(rollout).word.into(),
        or_dash(step(rollout)).into(),
        or_dash(weight).into(),
        format!("{}/{}", status.ready_replicas, status.replicas).into(),
        rollout.spec.replicas.unwrap_or(1).to_string().into(),
        status.updated_replicas.to_string().into(),
        status.available_replicas.to_string().into(),
    ]
}
