//! Carries out the driver's calls: one match, one time limit, no retries.

use std::{fmt::Arguments, sync::Arc, time::Duration};

use headgate_driver::io::{Call, ObjectRef, Patch, Reply, Request, RequestId, Resource};
use kube::{Client, core::params::ListParams};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    fleet::Fleet,
    measure::Measurer,
    metrics::Metrics,
    notifier::Notifier,
    object::{Object, api_version},
    places::Places,
};

/// How we are called in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "headgate";
/// A call to the API server without an answer for so long counts as lost.
pub const CALL_TIME_LIMIT: Duration = Duration::from_secs(10);
/// Calls to the API server at a time, and one more of each namespace that has waited for [`PATIENCE`]; its own default
/// limit for changes is 200.
const CALLS_MAX: usize = 64;
/// Calls for one namespace at a time: a webhook of a namespace may hang.
const CALLS_PER_NAMESPACE_MAX: usize = 16;
/// Calls that get answers make room sooner, however many wait: after so long others hang.
const PATIENCE: Duration = Duration::from_millis(500);
/// Objects in one answer to a list.
const PAGE_SIZE: u32 = 500;

/// Carries out calls.
pub struct Executor {
    client: Client,
    measurer: Measurer,
    notifier: Arc<Notifier>,
    places: Places,
    metrics: Arc<Metrics>,
    fleet: Arc<Fleet>,
}

impl Executor {
    /// `client` must not retry by itself.
    pub fn new(
        client: Client,
        measurer: Measurer,
        notifier: Arc<Notifier>,
        metrics: Arc<Metrics>,
        fleet: Arc<Fleet>,
    ) -> Self {
        Self {
            client,
            measurer,
            notifier,
            places: Places::new(CALLS_MAX, CALLS_PER_NAMESPACE_MAX, PATIENCE),
            metrics,
            fleet,
        }
    }

    /// Carries out one request. Always returns, whatever the other side does: within twice
    /// [`CALL_TIME_LIMIT`], or the time limits of a measurement and of reading its Secrets.
    pub async fn execute(&self, request: Request) -> (RequestId, Reply) {
        let Request { id, owner, call } = request;
        let started = Instant::now();
        let under_way = self.fleet.passes.begin(&owner, &call);
        let reply = match &call {
            Call::Measure { namespace, query } => {
                let reply = self.measurer.measure(namespace, query).await;
                self.metrics.measured(&reply, started.elapsed());
                Reply::Measured(reply)
            }
            Call::Notify { service, post } => self.notifier.tell(service, post).await,
            call => {
                let reply = self.call_api_server(call).await;
                self.metrics.called(call, &reply, started.elapsed());
                self.fleet.called(call, &reply);
                reply
            }
        };
        under_way.end(&reply);
        log(&format_args!("{}/{}", owner.namespace, owner.name), &call, &reply);
        (id, reply)
    }

    async fn call_api_server(&self, call: &Call) -> Reply {
        let Ok(_place) = timeout(CALL_TIME_LIMIT, self.places.take(namespace(call))).await else {
            return refused(
                429,
                "TooManyRequests",
                format!(
                    "not sent: no place became free within {CALL_TIME_LIMIT:?}, because earlier calls for namespace {:?} get no answer \
                 (an admission webhook that hangs, or an overloaded API server)",
                    namespace(call)
                ),
            );
        };
        match timeout(CALL_TIME_LIMIT, self.send(call)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => failure(error),
            Err(_elapsed) => Reply::Lost(format!("no answer from the API server within {CALL_TIME_LIMIT:?}")),
        }
    }

    async fn send(&self, call: &Call) -> Result<Reply, Failed> {
        match call {
            Call::List { resource, namespace, labels } => self.list(resource, namespace, labels).await,
            Call::Get(target)
            | Call::Create { target, .. }
            | Call::Patch { target, .. }
            | Call::Delete { target, .. }
            | Call::Evict { target, .. } => {
                let text = self.client.request_text(http_request(call)?).await?;
                Ok(Reply::Object(parse::<Object>(&text)?.into_answer(&target.resource)))
            }
            Call::Measure { .. } | Call::Notify { .. } => {
                Err(Failed::Malformed("this is no call to the API server".to_owned()))
            }
        }
    }

    async fn list(&self, resource: &Resource, namespace: &str, labels: &str) -> Result<Reply, Failed> {
        let url = kube::core::Request::new(collection(resource, namespace)?);
        let mut params = ListParams::default().limit(PAGE_SIZE);
        if !labels.is_empty() {
            params = params.labels(labels);
        }
        let mut objects = Vec::new();
        loop {
            let request = url.list(&params).map_err(|error| Failed::Malformed(error.to_string()))?;
            let page: Page = parse(&self.client.request_text(request).await?)?;
            objects.extend(
                page.items.unwrap_or_default().into_iter().map(|object| object.into_listed_json(resource)),
            );
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(Reply::Objects(objects)),
            }
        }
    }
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta,
    items: Option<Vec<Object>>,
}

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("{0}")]
    Malformed(String),
    #[error("the API server's answer is no JSON that we understand: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// A refusal is the server's word; everything else leaves open whether the call was carried out.
fn failure(failed: Failed) -> Reply {
    match failed {
        Failed::Kube(kube::Error::Api(status)) => refused(status.code, &status.reason, said(&status)),
        Failed::Malformed(message) => refused(400, "BadRequest", message),
        Failed::Kube(error) => Reply::Lost(with_causes(&error)),
        Failed::Unreadable(_) => Reply::Lost(failed.to_string()),
    }
}

/// What the server says, and which budget keeps a pod from being evicted: that stands beside its message.
fn said(status: &kube::core::Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let budgets =
        causes.filter(|cause| cause.reason == "DisruptionBudget").map(|cause| cause.message.as_str());
    std::iter::once(status.message.as_str()).chain(budgets).collect::<Vec<_>>().join(" ")
}

fn refused(code: u16, reason: &str, message: String) -> Reply {
    Reply::Refused { code, reason: reason.to_owned(), message }
}

/// What went wrong with a request to the API server: in its own words when it answered.
pub(crate) fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        error => with_causes(error),
    }
}

/// An error and what caused it, on one line. Libraries say "client error" first and what happened last.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts = causes.map(ToString::to_string).collect::<Vec<_>>();
    // Many errors repeat their cause's text in their own.
    texts.dedup_by(|later, earlier| earlier.contains(later.as_str()));
    texts.join(": ")
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Failed> {
    Ok(serde_json::from_str(text)?)
}

/// The one HTTP request of a call (a list may need several and a measurement goes elsewhere).
fn http_request(call: &Call) -> Result<http::Request<Vec<u8>>, Failed> {
    let manager = format!("?fieldManager={FIELD_MANAGER}");
    let (method, url, content_type, body) = match call {
        Call::Get(target) => (http::Method::GET, object(target)?, "application/json", Vec::new()),
        Call::Create { target, body } => {
            let mut body = body.clone();
            if let Some(manifest) = body.as_object_mut() {
                manifest.entry("apiVersion").or_insert_with(|| api_version(&target.resource).into());
                manifest.entry("kind").or_insert_with(|| target.resource.kind.into());
            }
            let url = collection(&target.resource, &target.namespace)? + &manager;
            (http::Method::POST, url, "application/json", serde_json::to_vec(&body)?)
        }
        Call::Patch { target, status, patch } => {
            let subresource = if *status { "/status" } else { "" };
            let (content_type, body) = match patch {
                Patch::Merge(body) => ("application/merge-patch+json", body),
                Patch::Json(body) => ("application/json-patch+json", body),
            };
            let url = object(target)? + subresource + &manager;
            (http::Method::PATCH, url, content_type, serde_json::to_vec(body)?)
        }
        Call::Delete { target, uid } => {
            let options = json!({
                "apiVersion": "v1", "kind": "DeleteOptions",
                "propagationPolicy": "Background", "preconditions": {"uid": uid},
            });
            (http::Method::DELETE, object(target)?, "application/json", serde_json::to_vec(&options)?)
        }
        Call::Evict { target, uid } => {
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": target.name, "namespace": target.namespace},
                "deleteOptions": {"preconditions": {"uid": uid}},
            });
            let url = object(target)? + "/eviction" + &manager;
            (http::Method::POST, url, "application/json", serde_json::to_vec(&eviction)?)
        }
        Call::List { .. } | Call::Measure { .. } | Call::Notify { .. } => {
            return Err(Failed::Malformed("this is not one request for one object".to_owned()));
        }
    };
    http::Request::builder()
        .method(method)
        .uri(url)
        .header(http::header::ACCEPT, "application/json")
        .header(http::header::CONTENT_TYPE, content_type)
        .body(body)
        .map_err(|error| Failed::Malformed(error.to_string()))
}

/// The URL path of one object.
fn object(target: &ObjectRef) -> Result<String, Failed> {
    Ok(format!("{}/{}", collection(&target.resource, &target.namespace)?, segment("name", &target.name)?))
}

/// The URL path of a kind in a namespace.
fn collection(resource: &Resource, namespace: &str) -> Result<String, Failed> {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let version = api_version(resource);
    let plural = resource.plural;
    if resource.namespaced {
        Ok(format!("/{root}/{version}/namespaces/{}/{plural}", segment("namespace", namespace)?))
    } else {
        Ok(format!("/{root}/{version}/{plural}"))
    }
}

/// Names come from users' manifests: one with a slash would name another object than the one meant.
fn segment<'a>(what: &str, text: &'a str) -> Result<&'a str, Failed> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
        return Err(Failed::Malformed(format!(
            "{text:?} is no {what} of an object: use lower case letters, digits, '-' and '.'"
        )));
    }
    Ok(text)
}

/// The namespace that a call is for.
fn namespace(call: &Call) -> &str {
    match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => &target.namespace,
        Call::List { namespace, .. } | Call::Measure { namespace, .. } => namespace,
        Call::Notify { .. } => "",
    }
}

/// The verb of metrics; that of RBAC, but for an eviction, which creates a subresource.
pub(crate) fn verb(call: &Call) -> &'static str {
    match call {
        Call::Get(_) => "get",
        Call::List { .. } => "list",
        Call::Create { .. } => "create",
        Call::Patch { .. } => "patch",
        Call::Delete { .. } => "delete",
        Call::Evict { .. } => "evict",
        Call::Measure { .. } => "measure",
        Call::Notify { .. } => "notify",
    }
}

/// The kind that a call is about, for metrics.
fn kind(call: &Call) -> &'static str {
    match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => target.resource.kind,
        Call::List { resource, .. } => resource.kind,
        Call::Measure { .. } => "Measurement",
        Call::Notify { .. } => "Notification",
    }
}

fn log(owner: &Arguments<'_>, call: &Call, reply: &Reply) {
    let (verb, kind) = (verb(call), kind(call));
    let name = match call {
        Call::Get(target)
        | Call::Create { target, .. }
        | Call::Patch { target, .. }
        | Call::Delete { target, .. }
        | Call::Evict { target, .. } => target.name.as_str(),
        Call::List { .. } | Call::Measure { .. } => "",
        Call::Notify { service, .. } => service.as_str(),
    };
    match reply {
        Reply::Refused { code, reason, message } => {
            tracing::debug!(%owner, verb, kind, name, code, reason, message, "refused");
        }
        Reply::Notified(status) => tracing::debug!(%owner, verb, kind, name, status, "answered"),
        // The driver tells of it.
        Reply::Lost(_) if verb == "notify" => {}
        Reply::Lost(message) => tracing::warn!(%owner, verb, kind, name, message, "no answer"),
        Reply::Measured(headgate_model::Reply::Failed(message)) => {
            tracing::debug!(%owner, verb, message, "measurement failed");
        }
        Reply::Object(event) if kind == "Event" => {
            let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
            tracing::info!(%owner, reason = text("reason"), "{}", text("message"));
        }
        Reply::Object(_) | Reply::Objects(_) | Reply::Measured(_) => {
            tracing::debug!(%owner, verb, kind, name, "done");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
