//! An external metric whose values a test sets, served as KEDA's own metrics server serves it: an API server behind the
//! aggregation layer of the cluster's. Autoscalers ask it; nothing here scales anything.

use crate::cluster::Cluster;
use anyhow::{Context, ensure};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_rustls::TlsAcceptor;

/// The metric's name, as KEDA names the first trigger of a ScaledObject.
pub const METRIC: &str = "s0-prometheus";

const GROUP: &str = "external.metrics.k8s.io";
const VERSION: &str = "v1beta1";
/// The registration of the group's version: the name is given.
const API_SERVICE: &str = "v1beta1.external.metrics.k8s.io";
const NAMESPACE: &str = "e2e-metrics";
const SERVICE: &str = "metrics-source";

/// The metric's value in each namespace.
type Values = Arc<Mutex<BTreeMap<String, i64>>>;

/// The source, and where its values are set.
pub struct MetricsSource {
    values: Values,
}

static SHARED: OnceCell<MetricsSource> = OnceCell::const_new();

impl MetricsSource {
    /// The one source of this process. It serves until the process ends: there can be only one of this group in a cluster,
    /// and tests share it. `None` where the cluster is no lab: its API server would not reach us.
    ///
    /// # Errors
    /// When it cannot listen, or the API server does not find it within half a minute.
    pub async fn shared(cluster: &Cluster) -> anyhow::Result<Option<&'static Self>> {
        let Some(lab) = cluster.lab()? else { return Ok(None) };
        SHARED.get_or_try_init(|| Self::begin(cluster, lab.node_address())).await.map(Some)
    }

    /// The metric says so from now on to whoever asks about `namespace`.
    pub fn set(&self, namespace: &str, value: i64) {
        locked(&self.values).insert(namespace.to_owned(), value);
    }

    async fn begin(cluster: &Cluster, address: &str) -> anyhow::Result<Self> {
        let identity = identity(&format!("{SERVICE}.{NAMESPACE}.svc")).await?;
        let listener =
            TcpListener::bind((address, 0)).with_context(|| format!("cannot listen at {address}"))?;
        let at = listener.local_addr()?;
        let values = Values::default();
        serve(listener, &identity, Arc::clone(&values))?;
        cluster.fresh_namespace(NAMESPACE).await?;
        cluster.apply(NAMESPACE, &registration(at, &identity)).await?;
        let found = ["wait", "--for=condition=Available", "apiservice", API_SERVICE, "--timeout=30s"];
        cluster.kubectl(&found).await?;
        Ok(Self { values })
    }
}

/// Removes the registration of a source that an earlier run has left: with an API server that answers no more, no namespace
/// can be removed.
///
/// # Errors
/// When kubectl refuses.
pub async fn forget(cluster: &Cluster) -> anyhow::Result<()> {
    if cluster.lab()?.is_some() {
        cluster.kubectl(&["delete", "apiservice", API_SERVICE, "--ignore-not-found"]).await?;
    }
    Ok(())
}

/// The Service that leads here, without a selector, and the group that it serves.
fn registration(at: SocketAddr, identity: &[u8]) -> [Value; 3] {
    let port = at.port();
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": SERVICE },
            "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": port }] },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": SERVICE, "labels": {
                "kubernetes.io/service-name": SERVICE,
                "endpointslice.kubernetes.io/managed-by": "headgate-e2e",
            } },
            "addressType": "IPv4",
            "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [at.ip()], "conditions": { "ready": true } }],
        }),
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": API_SERVICE },
            "spec": {
                "group": GROUP, "version": VERSION, "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": { "namespace": NAMESPACE, "name": SERVICE, "port": 443 },
                // The key before it is no certificate, and is passed over.
                "caBundle": k8s_openapi::ByteString(certificate_of(identity)),
            },
        }),
    ]
}

/// A key and a certificate that it has signed for itself, as PEM.
async fn identity(host: &str) -> anyhow::Result<Vec<u8>> {
    let mut openssl = tokio::process::Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "30", "-subj", &format!("/CN={SERVICE}")]);
    openssl.args(["-addext", &format!("subjectAltName=DNS:{host}")]);
    let made = openssl.args(["-keyout", "/dev/stdout", "-out", "/dev/stdout"]).output().await?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    Ok(made.stdout)
}

/// The part of an identity that is no secret.
fn certificate_of(identity: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(identity);
    let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or(text.len());
    text.split_at(begin).1.as_bytes().to_vec()
}

/// Answers for as long as the process lives, on a thread of its own: each test has a runtime that ends with it.
fn serve(listener: TcpListener, identity: &[u8], values: Values) -> anyhow::Result<()> {
    let chain = CertificateDer::pem_slice_iter(identity).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name(SERVICE.to_owned())
        .spawn(move || runtime.block_on(accept(listener, acceptor, values)))?;
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, values: Values) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (acceptor, values) = (acceptor.clone(), Arc::clone(&values));
        tokio::spawn(async move {
            // Who breaks a connection off gets no answer, and asks again.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request: Request<Incoming>| {
                let (status, said) = answer(request.uri().path(), &locked(&values));
                std::future::ready(Ok::<_, Infallible>(respond(status, &said)))
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn respond(status: StatusCode, said: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What the group says at a path. The query, a selector of the metric's labels, does not matter: a namespace has one value.
fn answer(path: &str, values: &BTreeMap<String, i64>) -> (StatusCode, Value) {
    let group_version = format!("{GROUP}/{VERSION}");
    let below = path.strip_prefix(&format!("/apis/{group_version}")).map(|rest| rest.trim_matches('/'));
    match below.map(|rest| rest.split('/').collect::<Vec<_>>()).as_deref() {
        Some([""]) => (StatusCode::OK, discovery(&group_version)),
        Some(["namespaces", namespace, METRIC]) => match values.get(*namespace) {
            Some(value) => (StatusCode::OK, metric(&group_version, *value)),
            None => not_found(&format!("no value of {METRIC} was set for {namespace}")),
        },
        _ => not_found(path),
    }
}

fn discovery(group_version: &str) -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": [{
            "name": "externalmetrics", "singularName": "", "namespaced": true,
            "kind": "ExternalMetricValueList", "verbs": ["get"],
        }],
    })
}

fn metric(group_version: &str, value: i64) -> Value {
    json!({
        "kind": "ExternalMetricValueList", "apiVersion": group_version, "metadata": {},
        "items": [{
            "metricName": METRIC, "metricLabels": {}, "timestamp": Timestamp::now(), "value": value.to_string(),
        }],
    })
}

fn not_found(what: &str) -> (StatusCode, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": what,
    });
    (StatusCode::NOT_FOUND, status)
}

fn locked(values: &Mutex<BTreeMap<String, i64>>) -> MutexGuard<'_, BTreeMap<String, i64>> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_value_that_was_set_and_another_has_none() {
        let values = BTreeMap::from([("shop".to_owned(), 4)]);
        let at = |namespace: &str| {
            answer(&format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{METRIC}"), &values)
        };
        let (status, said) = at("shop");
        assert_eq!((status, &said["items"][0]["value"]), (StatusCode::OK, &json!("4")));
        assert_eq!(at("other").0, StatusCode::NOT_FOUND);
        let (status, said) = answer("/apis/external.metrics.k8s.io/v1beta1", &values);
        assert_eq!((status, &said["kind"]), (StatusCode::OK, &json!("APIResourceList")));
    }

    #[tokio::test]
    async fn the_certificate_alone_is_made_public() -> anyhow::Result<()> {
        let identity = identity("a.b.svc").await?;
        let public = String::from_utf8(certificate_of(&identity))?;
        assert!(public.contains("BEGIN CERTIFICATE") && !public.contains("PRIVATE KEY"), "{public}");
        Ok(())
    }
}
