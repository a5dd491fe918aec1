//! Where metrics come from: `metrics[].provider`.

use crate::duration::GoDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where the values of a metric come from: exactly one of its fields is set.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricProvider {
    /// A query to Prometheus, or what speaks its API (Thanos, Mimir, VictoriaMetrics).
    pub prometheus: Option<PrometheusMetric>,
    /// An automated canary analysis by Kayenta.
    pub kayenta: Option<KayentaMetric>,
    /// An HTTP request.
    pub web: Option<WebMetric>,
    /// A query to Datadog.
    pub datadog: Option<DatadogMetric>,
    /// A query to Wavefront.
    pub wavefront: Option<WavefrontMetric>,
    /// A query to New Relic.
    pub new_relic: Option<NewRelicMetric>,
    /// A Job: succeeds or fails.
    pub job: Option<JobMetric>,
    /// A query to AWS CloudWatch.
    pub cloud_watch: Option<CloudWatchMetric>,
    /// A query to Graphite.
    pub graphite: Option<GraphiteMetric>,
    /// A query to InfluxDB.
    pub influxdb: Option<InfluxdbMetric>,
    /// A query to Apache SkyWalking.
    pub skywalking: Option<SkyWalkingMetric>,
    /// A metric plugin by name, with the settings that it documents.
    #[serde(default)]
    #[schemars(schema_with = "crate::free_form::any_object")]
    pub plugin: Option<BTreeMap<String, Value>>,
}

/// A query to Prometheus.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusMetric {
    /// URL of the server, for example `http://prometheus.monitoring:9090`. Default: the address that the
    /// controller was given.
    pub address: Option<String>,
    /// The query in PromQL.
    pub query: Option<String>,
    /// How to prove who asks.
    pub authentication: Option<Authentication>,
    /// Seconds that a query may take. Default: 30.
    pub timeout: Option<i64>,
    /// Whether the certificate of the server isn't checked. Default: false.
    pub insecure: Option<bool>,
    /// Headers for the request.
    pub headers: Option<Vec<WebMetricHeader>>,
    /// Asks for a range of time instead of an instant.
    pub range_query: Option<PrometheusRangeQueryArgs>,
}

/// A range of time for a query.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusRangeQueryArgs {
    /// Expression for the begin, for example `now() - duration("1h")`.
    pub start: Option<String>,
    /// Expression for the end, for example `now()`.
    pub end: Option<String>,
    /// Time between two points, for example `1m`.
    pub step: Option<GoDuration>,
}

/// How to prove who asks: at most one of its fields is set.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// Signs requests for AWS.
    pub sigv4: Option<Sigv4Config>,
    /// Gets a token by OAuth 2 client credentials.
    pub oauth2: Option<OAuth2Config>,
    /// Sends a user name and password.
    pub basic_auth: Option<BasicAuthConfig>,
}

/// Signing of requests for AWS.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sigv4Config {
    /// AWS region.
    pub region: Option<String>,
    /// Name of the profile in the AWS configuration of the controller.
    pub profile: Option<String>,
    /// ARN of the role to assume.
    pub role_arn: Option<String>,
}

/// OAuth 2 client credentials.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2Config {
    /// URL of the token end point.
    pub token_url: Option<String>,
    /// Client id.
    pub client_id: Option<String>,
    /// Client secret; better as `{{args.name}}` with a `secretKeyRef`.
    pub client_secret: Option<String>,
    /// Scopes to ask for.
    pub scopes: Option<Vec<String>>,
}

/// A user name and password.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuthConfig {
    /// User name.
    pub username: Option<String>,
    /// Password; better as `{{args.name}}` with a `secretKeyRef`.
    pub password: Option<String>,
}

/// An HTTP request whose answer is JSON.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebMetric {
    /// `GET`, `POST` or `PUT`. Default: GET.
    pub method: Option<String>,
    /// The URL.
    pub url: String,
    /// Headers for the request.
    pub headers: Option<Vec<WebMetricHeader>>,
    /// Body of the request as text. Not together with `jsonBody`.
    pub body: Option<String>,
    /// Body of the request as JSON.
    #[serde(default)]
    #[schemars(schema_with = "crate::free_form::any_value")]
    pub json_body: Option<Value>,
    /// Seconds that a request may take. Default: 10.
    pub timeout_seconds: Option<i64>,
    /// JSONPath to the value in the answer, for example `{$.data.ok}`. Default: the whole answer.
    pub json_path: Option<String>,
    /// Whether the certificate of the server isn't checked. Default: false.
    pub insecure: Option<bool>,
    /// How to prove who asks.
    pub authentication: Option<Authentication>,
}

/// A header of a request.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebMetricHeader {
    /// Name of the header.
    pub key: String,
    /// Value of the header.
    pub value: String,
}

/// A Job: the measurement is successful when the Job is.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobMetric {
    /// Labels and annotations of the Job.
    #[serde(default)]
    #[schemars(schema_with = "crate::pod_template::metadata_schema")]
    pub metadata: Option<Value>,
    /// The Job.
    #[schemars(schema_with = "crate::pod_template::job_spec_schema")]
    pub spec: Value,
}

/// A query to Datadog: one of `query` and `queries`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatadogMetric {
    /// How far back the query looks. Default: 5m.
    pub interval: Option<GoDuration>,
    /// The query.
    pub query: Option<String>,
    /// Several queries by name. Only with `apiVersion: v2`.
    pub queries: Option<BTreeMap<String, String>>,
    /// Formula over the names of `queries`.
    pub formula: Option<String>,
    /// API of Datadog: `v1` or `v2`. Default: v1.
    pub api_version: Option<String>,
    /// How points become a value (`avg`, `min`, `max`, `sum`, `last`, `percentile`, `mean`, `l2norm`, `area`).
    /// Only with `apiVersion: v2`. Default: last.
    pub aggregator: Option<String>,
    /// The Secret with address and keys. Default: the Secret `datadog` of the controller.
    pub secret_ref: Option<SecretRef>,
    /// How long a request may take. Default: 10s.
    pub request_timeout: Option<GoDuration>,
}

/// A Secret, of the controller or of the namespace.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: Option<String>,
    /// Whether the Secret is in the namespace of the AnalysisRun instead of the controller's. Default: false.
    pub namespaced: Option<bool>,
}

/// A query to New Relic.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewRelicMetric {
    /// Name of the Secret with account and keys. Default: newrelic.
    pub profile: Option<String>,
    /// The query in NRQL.
    pub query: String,
    /// Seconds that a query may take. Default: 5.
    pub timeout: Option<i64>,
}

/// A query to Wavefront.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WavefrontMetric {
    /// Host of the server.
    pub address: Option<String>,
    /// The query.
    pub query: Option<String>,
}

/// A query to AWS CloudWatch.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatchMetric {
    /// How far back the query looks. Default: 5m.
    pub interval: Option<GoDuration>,
    /// The queries.
    #[serde(deserialize_with = "crate::lenient::null_is_empty")]
    pub metric_data_queries: Vec<CloudWatchMetricDataQuery>,
}

/// One query to CloudWatch: one of `expression` and `metricStat`.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatchMetricDataQuery {
    /// Name of the query.
    pub id: Option<String>,
    /// Expression over other queries.
    pub expression: Option<String>,
    /// Label of the result.
    pub label: Option<String>,
    /// A metric and how its points become values.
    pub metric_stat: Option<CloudWatchMetricStat>,
    /// Seconds of a point.
    pub period: Option<k8s_openapi::apimachinery::pkg::util::intstr::IntOrString>,
    /// Whether the result is returned, not only used in expressions. Default: true.
    pub return_data: Option<bool>,
}

/// A metric of CloudWatch and how its points become values.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatchMetricStat {
    /// The metric.
    pub metric: Option<CloudWatchMetricStatMetric>,
    /// Seconds of a point.
    pub period: Option<k8s_openapi::apimachinery::pkg::util::intstr::IntOrString>,
    /// The statistic, for example `Sum`, `Average`, `p95`.
    pub stat: Option<String>,
    /// The unit.
    pub unit: Option<String>,
}

/// A metric of CloudWatch.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatchMetricStatMetric {
    /// Its dimensions.
    pub dimensions: Option<Vec<CloudWatchMetricStatMetricDimension>>,
    /// Its name.
    pub metric_name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
}

/// A dimension of a metric.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudWatchMetricStatMetricDimension {
    /// Its name.
    pub name: Option<String>,
    /// Its value.
    pub value: Option<String>,
}

/// A query to Graphite.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphiteMetric {
    /// URL of the server.
    pub address: Option<String>,
    /// The query.
    pub query: Option<String>,
}

/// A query to InfluxDB.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InfluxdbMetric {
    /// Name of the Secret with address, organisation and token. Default: influxdb.
    pub profile: Option<String>,
    /// The query in Flux.
    pub query: Option<String>,
}

/// A query to Apache SkyWalking.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkyWalkingMetric {
    /// URL of the server.
    pub address: Option<String>,
    /// The query in GraphQL.
    pub query: Option<String>,
    /// How far back the query looks. Default: 5m.
    pub interval: Option<GoDuration>,
}

/// An automated canary analysis by Kayenta.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KayentaMetric {
    /// URL of Kayenta.
    pub address: String,
    /// Name of the application.
    pub application: String,
    /// Name of the canary configuration.
    pub canary_config_name: String,
    /// Account for metrics.
    pub metrics_account_name: String,
    /// Account for configurations.
    pub configuration_account_name: String,
    /// Account for storage.
    pub storage_account_name: String,
    /// The scores that decide.
    pub threshold: KayentaThreshold,
    /// What is compared.
    #[serde(deserialize_with = "crate::lenient::null_is_empty")]
    pub scopes: Vec<KayentaScope>,
    /// Whether the whole time since the begin is looked at. Default: false.
    pub lookback: Option<bool>,
}

/// The scores that decide.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KayentaThreshold {
    /// From this score on the measurement is successful.
    pub pass: i64,
    /// From this score on it is inconclusive, below it failed.
    pub marginal: i64,
}

/// What is compared.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KayentaScope {
    /// Name of the scope.
    pub name: String,
    /// The old version.
    pub control_scope: ScopeDetail,
    /// The new version.
    pub experiment_scope: ScopeDetail,
}

/// One side of a comparison.
#[serde_with::skip_serializing_none]
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeDetail {
    /// The scope, as the metrics store knows it.
    pub scope: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Seconds between two points.
    pub step: Option<i64>,
    /// Begin.
    pub start: Option<String>,
    /// End.
    pub end: Option<String>,
}
