//! What a webhook is told, as JSON. Fields are only ever added.

use headgate_api::OutboxEntry;
use headgate_model::Timestamp;
use serde::Serialize;

/// The Rollout that news are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    event: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    revision: i64,
    pod_template_hash: &'a str,
    images: &'a [String],
    phase: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<i32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    analysis_run: &'a str,
    hint: String,
}

#[derive(Serialize)]
struct StepOf {
    index: i32,
    count: i32,
}

/// The body of the request that tells of an entry: equal entries give equal bytes.
#[must_use]
pub fn body(entry: &OutboxEntry, about: &About, cluster: Option<&str>) -> String {
    let step = entry.step_index.zip(entry.step_count);
    let message = Message {
        event: &entry.trigger,
        key: &entry.key,
        time: entry.time.as_ref().map(|time| time.0),
        cluster,
        namespace: &about.namespace,
        name: &about.name,
        uid: &about.uid,
        revision: entry.revision,
        pod_template_hash: &entry.pod_template_hash,
        images: &entry.images,
        phase: &entry.phase,
        message: &entry.message,
        step: step.map(|(index, count)| StepOf { index, count }),
        weight: entry.weight,
        analysis_run: &entry.analysis_run,
        hint: format!("kubectl headgate get rollout {} -n {}", about.name, about.namespace),
    };
    // Plain data with text keys always has a JSON form.
    serde_json::to_string(&message).unwrap_or_default()
}
