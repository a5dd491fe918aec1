//! What the verbs ask of the API server.

use crate::connect::Connected;
use crate::explain::failed;
use crate::intent::Part;
use crate::phase::{self, Observed};
use crate::target::{Target, TargetKind};
use crate::view::Scene;
use anyhow::{Context, Error, Result, anyhow, bail};
use headgate_api::{Rollout, labels};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

/// Who writes, in `managedFields`.
const FIELD_MANAGER: &str = "kubectl-headgate";
/// How many names an error lists at most.
const NAMES_MAX: usize = 12;

/// A namespace of a cluster.
pub struct Cluster {
    client: Client,
    namespace: String,
    request_timeout: Option<Duration>,
}

/// A Rollout as it is stored, and as it is understood.
pub(crate) struct Found {
    /// Every field, known or not.
    pub(crate) raw: Value,
    /// The fields that are known.
    pub(crate) rollout: Rollout,
}

impl Cluster {
    /// A namespace, through a client. Requests are given up after `request_timeout`, if there is one.
    #[must_use]
    pub fn new(client: Client, namespace: &str, request_timeout: Option<Duration>) -> Self {
        Self { client, namespace: namespace.to_owned(), request_timeout }
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// All objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn raw(&self, kind: TargetKind, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = resource(kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Waits for an answer, but not for ever.
    pub(crate) async fn bounded<T>(
        &self,
        verb: &str,
        kind: &str,
        name: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T> {
        self.timed(call).await.map_err(|error| failed(error, verb, kind, name))
    }

    async fn timed<T>(&self, call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let Some(timeout) = self.request_timeout else { return call.await };
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
            Err(kube::Error::Service(format!("none within {timeout:?} (see --request-timeout)").into()))
        })
    }

    /// A Rollout by its name.
    pub(crate) async fn rollout(&self, name: &str) -> Result<Found> {
        let raw = self.object(&Target { kind: TargetKind::Rollout, name: name.to_owned() }).await?;
        understand(raw)
    }

    /// An object by its name, with every field.
    pub(crate) async fn object(&self, target: &Target) -> Result<Value> {
        let api = self.raw(target.kind, Some(&self.namespace));
        let Target { kind, name } = target;
        match self.timed(api.get(name)).await {
            Ok(object) => Ok(serde_json::to_value(object)?),
            Err(kube::Error::Api(status)) if status.is_not_found() => Err(self.not_found(*kind, name).await),
            Err(error) => Err(failed(error, "get", kind.word(), name)),
        }
    }

    /// Says what there is instead: a typing error and a forgotten namespace are the usual causes.
    async fn not_found(&self, kind: TargetKind, name: &str) -> Error {
        let word = kind.word();
        let missing = format!("{word} '{name}' was not found in namespace '{}'", self.namespace);
        let here = self.raw(kind, Some(&self.namespace));
        let parameters = ListParams::default();
        let listed = match self.timed(here.list_metadata(&parameters)).await {
            Ok(listed) => listed,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return anyhow!(
                    "this cluster does not know {}.{}: install the custom resource definitions first",
                    kind.plural(),
                    labels::GROUP
                );
            }
            _ => return anyhow!(missing),
        };
        let mut names: Vec<String> = listed.items.into_iter().filter_map(|item| item.metadata.name).collect();
        names.sort();
        if let Ok(elsewhere) = self.timed(self.raw(kind, None).list_metadata(&parameters)).await {
            let namespaces: Vec<String> = elsewhere
                .items
                .into_iter()
                .filter(|item| item.metadata.name.as_deref() == Some(name))
                .filter_map(|item| item.metadata.namespace)
                .collect();
            if let Some(first) = namespaces.first() {
                return anyhow!("{missing}, but in {}: add -n {first}", namespaces.join(", "));
            }
        }
        match names.len() {
            0 => anyhow!("{missing}: there are no {} in it. Is it the right one (-n)?", kind.plural()),
            1..=NAMES_MAX => anyhow!("{missing}; there is {}", names.join(", ")),
            more => {
                names.truncate(NAMES_MAX);
                anyhow!("{missing}; there is {} and {} more", names.join(", "), more - NAMES_MAX)
            }
        }
    }

    /// All Rollouts of the namespace, or of all namespaces.
    pub(crate) async fn rollouts(&self, scope: Scope) -> Result<Vec<Found>> {
        let namespace = match scope {
            Scope::Namespace => Some(self.namespace.as_str()),
            Scope::AllNamespaces => None,
        };
        let api = self.raw(TargetKind::Rollout, namespace);
        let parameters = ListParams::default();
        let listed = self.bounded("list", "rollouts", "", api.list(&parameters)).await?;
        listed.items.into_iter().map(|object| understand(serde_json::to_value(object)?)).collect()
    }

    /// Sends a merge patch to a Rollout.
    pub(crate) async fn merge(&self, name: &str, part: Part, body: &Value) -> kube::Result<Rollout> {
        let api: Api<Rollout> = self.api();
        let parameters = writer();
        self.timed(send(&api, name, part, &parameters, body)).await
    }

    /// Sends a merge patch to an object of any of our kinds.
    pub(crate) async fn merge_object(&self, target: &Target, body: &Value) -> Result<()> {
        let api = self.raw(target.kind, Some(&self.namespace));
        let parameters = writer();
        let body = Patch::Merge(body);
        match self.timed(api.patch(&target.name, &parameters, &body)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                Err(self.not_found(target.kind, &target.name).await)
            }
            Err(error) => Err(failed(error, "patch", target.kind.word(), &target.name)),
        }
    }

    /// Sends a JSON patch (RFC 6902). A failed `test` and a conflict are answered with `Raced::Lost`.
    pub(crate) async fn json_patch(&self, on: &Holder, operations: &Value) -> Result<Raced> {
        let api = self.holder_api(on);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations.clone())?);
        match self.timed(api.patch(&on.name, &writer(), &patch)).await {
            Ok(_) => Ok(Raced::Won),
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Raced::Lost),
            // A failed test and a refused object share a code; only the words differ.
            Err(kube::Error::Api(status))
                if status.is_invalid() && !status.message.contains("is invalid:") =>
            {
                Ok(Raced::Lost)
            }
            Err(error) => Err(failed(error, "patch", &on.resource.kind.to_lowercase(), &on.name)),
        }
    }

    fn holder_api(&self, on: &Holder) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &on.resource)
    }

    /// The object that holds the pod template of a Rollout, as it is now.
    pub(crate) async fn held(&self, on: &Holder) -> Result<Value> {
        let kind = on.resource.kind.to_lowercase();
        let object = self.bounded("get", &kind, &on.name, self.holder_api(on).get(&on.name)).await?;
        Ok(serde_json::to_value(object)?)
    }

    /// Whether the controller has seen the workload that a Rollout takes its template from as it is now. Who steers a release
    /// need not be allowed to read that; what is wrong with one that is not there is the controller's to tell.
    pub(crate) async fn workload_observed(&self, rollout: &Rollout) -> Result<Observed> {
        let holder = rollout.spec.workload_ref.as_ref().and_then(|_| Holder::of(rollout).ok());
        let Some(holder) = holder else { return Ok(phase::workload_observed(rollout, None)) };
        let read = match self.timed(self.holder_api(&holder).get_metadata(&holder.name)).await {
            Ok(workload) => workload.metadata.generation,
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => None,
            Err(error) => {
                return Err(failed(error, "get", &holder.resource.kind.to_lowercase(), &holder.name));
            }
        };
        Ok(phase::workload_observed(rollout, read))
    }

    /// The ReplicaSets of a Rollout with every field: their templates are written back.
    pub(crate) async fn replica_sets(&self, rollout: &Rollout) -> Result<Vec<Value>> {
        let resource = ApiResource::erase::<ReplicaSet>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let parameters = selected(selector(rollout).as_deref());
        let sets = self.bounded("list", "replicasets", "", api.list(&parameters)).await?.items;
        let sets = sets.into_iter().filter(|set| is_controlled_by(&set.metadata, rollout));
        sets.map(|set| Ok(serde_json::to_value(set)?)).collect()
    }

    /// A Rollout and all that belongs to it. What can't be read is left out and named in `notes`.
    pub(crate) async fn scene(&self, rollout: Rollout, notes: &mut Vec<String>) -> Scene {
        let selector = selector(&rollout);
        let selector = selector.as_deref();
        let mut left_out = |error: Error| notes.push(format!("{error:#}"));
        let mut scene = Scene::new(rollout);
        match self.list("replicasets", selector).await {
            Ok(list) => scene.replica_sets = list,
            Err(error) => left_out(error),
        }
        match self.list("pods", selector).await {
            Ok(list) => scene.pods = list,
            Err(error) => left_out(error),
        }
        match self.list("analysisruns", None).await {
            Ok(list) => scene.analysis_runs = list,
            Err(error) => left_out(error),
        }
        match self.list("experiments", None).await {
            Ok(list) => scene.experiments = list,
            Err(error) => left_out(error),
        }
        scene
    }

    async fn list<K>(&self, kind: &str, selector: Option<&str>) -> Result<Vec<K>>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        let parameters = selected(selector);
        Ok(self.bounded("list", kind, "", api.list(&parameters)).await?.items)
    }
}

impl From<Connected> for Cluster {
    fn from(connected: Connected) -> Self {
        Self::new(connected.client, &connected.namespace, connected.request_timeout)
    }
}

/// Which namespaces a list covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The one that was asked for.
    Namespace,
    /// All.
    AllNamespaces,
}

/// Whether a guarded patch came in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raced {
    /// It was written.
    Won,
    /// The object had changed.
    Lost,
}

/// The object that holds the pod template of a Rollout: itself, or the workload that it refers to.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    resource: ApiResource,
    name: String,
}

impl Holder {
    /// Of a Rollout.
    pub(crate) fn of(rollout: &Rollout) -> Result<Self> {
        let Some(reference) = &rollout.spec.workload_ref else {
            let name = rollout.metadata.name.clone().unwrap_or_default();
            return Ok(Self { resource: resource(TargetKind::Rollout), name });
        };
        let kind = reference.kind.as_deref().unwrap_or_default();
        let (group, version, plural) = match kind {
            "Deployment" => ("apps", "v1", "deployments"),
            "ReplicaSet" => ("apps", "v1", "replicasets"),
            "PodTemplate" => ("", "v1", "podtemplates"),
            other => bail!(
                "spec.workloadRef.kind is '{other}': only Deployment, ReplicaSet and PodTemplate hold a template"
            ),
        };
        let kind = GroupVersionKind::gvk(group, version, kind);
        Ok(Self {
            resource: ApiResource::from_gvk_with_plural(&kind, plural),
            name: reference.name.clone().unwrap_or_default(),
        })
    }

    /// Where in it the template is, as a JSON pointer.
    pub(crate) fn template_path(&self) -> &'static str {
        if self.resource.kind == "PodTemplate" { "/template" } else { "/spec/template" }
    }

    /// How to call it.
    pub(crate) fn title(&self) -> String {
        format!("{} '{}'", self.resource.kind.to_lowercase(), self.name)
    }
}

async fn send(
    api: &Api<Rollout>,
    name: &str,
    part: Part,
    parameters: &PatchParams,
    body: &Value,
) -> kube::Result<Rollout> {
    match part {
        Part::Spec => api.patch(name, parameters, &Patch::Merge(body)).await,
        Part::Status => api.patch_status(name, parameters, &Patch::Merge(body)).await,
    }
}

fn writer() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn understand(raw: Value) -> Result<Found> {
    let rollout = serde_json::from_value(raw.clone()).with_context(|| {
        let name = raw.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        format!("rollout '{name}' has a spec that this version can't read")
    })?;
    Ok(Found { raw, rollout })
}

fn resource(kind: TargetKind) -> ApiResource {
    let named = GroupVersionKind::gvk(labels::GROUP, labels::VERSION, kind.kind());
    ApiResource::from_gvk_with_plural(&named, kind.plural())
}

/// A label selector that finds the pods and ReplicaSets of a Rollout, as text. With a `workloadRef` the selector is only
/// in the status; without any, everything in the namespace is looked at and sorted out by owner.
pub(crate) fn selector(rollout: &Rollout) -> Option<String> {
    let written = rollout.spec.selector.as_ref().and_then(|selector| {
        let simple = selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
        let labels = selector.match_labels.as_ref().filter(|_| simple)?;
        Some(labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
    });
    let observed = rollout.status.as_ref().map(|status| status.selector.clone());
    written.or(observed).filter(|text| !text.is_empty())
}

fn selected(selector: Option<&str>) -> ListParams {
    ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() }
}

fn is_controlled_by(metadata: &ObjectMeta, rollout: &Rollout) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| {
        owner.controller == Some(true) && Some(owner.uid.as_str()) == rollout.metadata.uid.as_deref()
    })
}
