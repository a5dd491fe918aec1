//! Sending an intent so that it reaches the release that the user meant, or none.

use crate::cluster::Cluster;
use crate::intent::{Binds, Intent, Part, Patch};
use anyhow::{Result, bail};
use headgate_api::Rollout;
use serde_json::{Value, json};

/// How often a patch is repeated after a conflict: a controller at work writes about once a second, so a handful is
/// plenty, and a limit keeps a fight from lasting for ever.
const ATTEMPTS_MAX: usize = 8;

/// The release that a wish is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    uid: Option<String>,
    version: String,
    step: Option<i32>,
    template: Option<Value>,
    workload: Option<Value>,
}

impl Bound {
    /// The release that a Rollout is in.
    #[must_use]
    pub fn to(rollout: &Rollout) -> Self {
        let status = rollout.status.as_ref();
        Self {
            uid: rollout.metadata.uid.clone(),
            version: status.map(|status| status.current_pod_hash.clone()).unwrap_or_default(),
            step: status.and_then(|status| status.current_step_index),
            template: rollout.spec.template.clone(),
            workload: serde_json::to_value(&rollout.spec.workload_ref).ok(),
        }
    }

    /// Whether a patch that binds to this release may be sent now that the Rollout is in `now`; if not, what happened.
    ///
    /// # Errors
    /// Says how the Rollout has moved on.
    pub fn allows(&self, now: &Self, binds: Binds) -> Result<(), String> {
        if self.uid != now.uid {
            return Err("was deleted and created again".to_owned());
        }
        if binds == Binds::Nothing {
            return Ok(());
        }
        if self.template != now.template || self.workload != now.workload || self.version != now.version {
            return Err(format!("moved on from version {} to {}", self.name(), now.name()));
        }
        if binds == Binds::Step && self.step != now.step {
            let name = |step: Option<i32>| step.map_or("none".to_owned(), |step| step.to_string());
            return Err(format!("moved on from step {} to step {}", name(self.step), name(now.step)));
        }
        Ok(())
    }

    fn name(&self) -> &str {
        if self.version.is_empty() { "(not yet known)" } else { &self.version }
    }
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was written.
    Written,
    /// There was nothing to write, for this reason.
    Nothing(String),
}

/// Writes what `intent` asks for to the Rollout that was read as `read`.
///
/// # Errors
/// When the wish makes no sense, the Rollout has moved on meanwhile, or the API server says no.
pub async fn carry_out(cluster: &Cluster, read: &Rollout, intent: Intent) -> Result<Sent> {
    let name = read.metadata.name.clone().unwrap_or_default();
    let patches = match intent {
        Intent::Send(patches) => patches,
        Intent::Nothing(why) => return Ok(Sent::Nothing(why)),
        Intent::Refuse(why) => bail!("rollout '{name}' {why}"),
    };
    let meant = Bound::to(read);
    let mut latest = read.clone();
    for (done, patch) in patches.iter().enumerate() {
        latest = send(cluster, &name, &meant, latest, patch).await.map_err(|error| {
            if done == 0 {
                return error;
            }
            error.context(format!(
                "only {done} of {} parts were written (the release goes on, but the rollout stays paused)",
                patches.len()
            ))
        })?;
    }
    Ok(Sent::Written)
}

/// Sends one patch; after a conflict again, and to the object where it has no subresource, as long as the release is the one that was meant.
async fn send(
    cluster: &Cluster,
    name: &str,
    meant: &Bound,
    mut latest: Rollout,
    patch: &Patch,
) -> Result<Rollout> {
    let mut part = patch.part;
    for _ in 0..ATTEMPTS_MAX {
        if let Err(moved) = meant.allows(&Bound::to(&latest), patch.binds) {
            bail!("rollout '{name}' {moved} in the meantime: nothing was changed. Look again, then decide");
        }
        let body = fenced(patch, latest.metadata.resource_version.as_deref());
        match cluster.merge(name, part, &body).await {
            Ok(written) => return Ok(written),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            // A CRD without the subresource: the status is a field like any other.
            Err(kube::Error::Api(status)) if status.is_not_found() && part == Part::Status => {
                part = Part::Spec;
            }
            Err(error) => return Err(crate::explain::failed(error, "patch", "rollout", name)),
        }
        latest = cluster.rollout(name).await?.rollout;
    }
    bail!(
        "rollout '{name}' changed under {ATTEMPTS_MAX} attempts to write to it: nothing was changed. Try again; \
         if it stays so, two controllers may be fighting over it"
    )
}

/// The patch with the resourceVersion that it was decided on: the API server refuses it when there is a newer one.
fn fenced(patch: &Patch, resource_version: Option<&str>) -> Value {
    let mut body = patch.body.clone();
    if let (Some(body), Some(resource_version), true) =
        (body.as_object_mut(), resource_version, patch.binds != Binds::Nothing)
    {
        body.insert("metadata".to_owned(), json!({ "resourceVersion": resource_version }));
    }
    body
}
