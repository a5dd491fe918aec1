//! Prometheus, and what speaks its API: instant and range queries.

use crate::expression;
use crate::history;
use crate::provider::{Defaults, Measured, MetricProvider, MetricValue};
use headgate_api::{Authentication, PrometheusMetric, PrometheusRangeQueryArgs};
use headgate_model::analysis::{ValidMetric, percent_encoded};
use headgate_model::{HttpQuery, Method, Query, Reply, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A query may take this long unless the metric says otherwise, in seconds.
const TIMEOUT_SECONDS_DEFAULT: i64 = 30;
/// Longer parameters are posted as a form, in bytes: proxies refuse lines of more than 8 kB. Shorter ones are not, because
/// proxies that only let people read refuse a POST, and a redirect makes a GET without a body of it. Argo Rollouts posts them
/// all, and asks again where that is refused.
const URL_PARAMETERS_BYTES_MAX: usize = 6_000;
/// How a form is told, as name and value of a header.
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
/// What of a reply goes into a message, in characters.
const EXCERPT_CHARACTERS_MAX: usize = 300;
/// Key under which the query is shown, arguments filled in (Argo Rollouts).
const RESOLVED_QUERY: &str = "ResolvedPrometheusQuery";

/// The provider `prometheus`.
#[derive(Debug)]
pub(crate) struct Prometheus;

impl MetricProvider for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn prepare(
        &self,
        metric: &ValidMetric,
        defaults: &Defaults<'_>,
        now: Timestamp,
    ) -> Result<Query, String> {
        let config = config(metric)?;
        let address = with_credentials(&address(config, defaults)?, config.authentication.as_ref())?;
        let query = percent_encoded(config.query.as_deref().unwrap_or_default());
        let (path, parameters) = match &config.range_query {
            None => ("/api/v1/query", format!("query={query}&time={}", now.as_second())),
            Some(range) => ("/api/v1/query_range", format!("query={query}&{}", span(range, now)?)),
        };
        let mut headers: Vec<(String, String)> = config
            .headers
            .iter()
            .flatten()
            .map(|header| (header.key.clone(), header.value.clone()))
            .collect();
        let (method, url, body) = if parameters.len() > URL_PARAMETERS_BYTES_MAX {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(FORM.0));
            headers.push((FORM.0.to_owned(), FORM.1.to_owned()));
            (Method::Post, at_path(&address, path, ""), Some(parameters))
        } else {
            (Method::Get, at_path(&address, path, &parameters), None)
        };
        let texts = headers.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        let secrets = metric.secrets_in(texts.chain([url.as_str()]).chain(body.as_deref()));
        Ok(Query::Http(HttpQuery {
            method,
            timeout_seconds: timeout(config)?,
            insecure: config.insecure.unwrap_or_default(),
            body,
            url,
            headers,
            secrets,
        }))
    }

    fn interpret(&self, _metric: &ValidMetric, reply: &Reply) -> Result<Measured, String> {
        let (status, body) = match reply {
            Reply::Failed(why) => return Err(why.clone()),
            Reply::Http { truncated: true, .. } => {
                return Err(
                    "the reply of Prometheus is longer than is read: let the query aggregate, for example \
                            with sum() or topk()"
                        .to_owned(),
                );
            }
            Reply::Http { status, body, truncated: false } => (*status, body.as_str()),
        };
        let answer: Answer = match serde_json::from_str(body) {
            Ok(answer) => answer,
            Err(_) => return Err(no_answer(status, body)),
        };
        match (answer.status.as_str(), answer.data) {
            ("success", Some(data)) if (200..300).contains(&status) => {
                let value = value(&data)?;
                let metadata = warnings(&answer.warnings.unwrap_or_default());
                Ok(Measured { text: text(&value), value, metadata })
            }
            ("success", _) => Err(format!("Prometheus answered HTTP {status} without data")),
            _ => Err(format!(
                "Prometheus refused the query (HTTP {status}): {}: {}",
                answer.error_type.as_deref().unwrap_or("error"),
                excerpt(answer.error.as_deref().unwrap_or("without a reason"))
            )),
        }
    }

    fn metadata(&self, metric: &ValidMetric) -> BTreeMap<String, String> {
        let query = config(metric).ok().and_then(|config| config.query.as_deref()).unwrap_or_default();
        if query.is_empty() {
            return BTreeMap::new();
        }
        BTreeMap::from([(RESOLVED_QUERY.to_owned(), metric.masked(query))])
    }
}

fn config(metric: &ValidMetric) -> Result<&PrometheusMetric, String> {
    metric.metric.provider.prometheus.as_ref().ok_or_else(|| "provider.prometheus is missing".to_owned())
}

/// The address without a slash at its end.
fn address(config: &PrometheusMetric, defaults: &Defaults<'_>) -> Result<String, String> {
    let written = config.address.as_deref().filter(|address| !address.is_empty());
    let (place, address) = match (written, defaults.prometheus_address.filter(|address| !address.is_empty()))
    {
        (Some(address), _) => ("provider.prometheus.address", address),
        (None, Some(address)) => ("ARGO_ROLLOUTS_PROMETHEUS_ADDRESS of the controller", address),
        (None, None) => {
            return Err("prometheus address is not configured: set provider.prometheus.address, or \
                        ARGO_ROLLOUTS_PROMETHEUS_ADDRESS for the controller"
                .to_owned());
        }
    };
    let address = address.trim();
    let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    if host.is_some_and(|host| !host.is_empty()) || is_secret(address) {
        return Ok(address.to_owned());
    }
    Err(format!("{place} {address:?} is not a URL: write for example http://prometheus.monitoring:9090"))
}

/// Whether the whole address, scheme included, is known to the shell alone.
fn is_secret(address: &str) -> bool {
    address.starts_with('\u{1}')
}

/// The path behind the address; what the address itself asks for stays in front.
fn at_path(address: &str, path: &str, parameters: &str) -> String {
    let (place, own) = address.split_once('?').unwrap_or((address, ""));
    let asked = [own, parameters].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&");
    let mark = if asked.is_empty() { "" } else { "?" };
    format!("{}{path}{mark}{asked}", place.trim_end_matches('/'))
}

/// The address with user name and password in front of the host, from which HTTP clients make a header.
fn with_credentials(address: &str, authentication: Option<&Authentication>) -> Result<String, String> {
    let place = "provider.prometheus.authentication";
    let Some(authentication) = authentication else { return Ok(address.to_owned()) };
    let written =
        |texts: &[&Option<String>]| texts.iter().any(|text| text.as_deref().is_some_and(|t| !t.is_empty()));
    if let Some(oauth2) = &authentication.oauth2
        && written(&[&oauth2.token_url, &oauth2.client_id, &oauth2.client_secret])
    {
        return Err(format!("{place}.oauth2 is not supported by this version of Headgate yet"));
    }
    if let Some(sigv4) = &authentication.sigv4
        && written(&[&sigv4.region, &sigv4.profile, &sigv4.role_arn])
    {
        return Err(format!("{place}.sigv4 is not supported by this version of Headgate yet"));
    }
    let Some(basic) =
        authentication.basic_auth.as_ref().filter(|basic| written(&[&basic.username, &basic.password]))
    else {
        return Ok(address.to_owned());
    };
    let Some((scheme, rest)) = address.split_once("://") else {
        return Err(format!("{place}.basicAuth needs an address whose beginning is no secret"));
    };
    let (authority, path) = rest.find(['/', '?']).map_or((rest, ""), |end| rest.split_at(end));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let user = percent_encoded(basic.username.as_deref().unwrap_or_default());
    let password = percent_encoded(basic.password.as_deref().unwrap_or_default());
    Ok(format!("{scheme}://{user}:{password}@{host}{path}"))
}

/// `start`, `end` and `step` of a range query.
fn span(range: &PrometheusRangeQueryArgs, now: Timestamp) -> Result<String, String> {
    let instant = |field: &str, source: &Option<String>| {
        expression::instant(source.as_deref().unwrap_or_default(), now)
            .map_err(|why| format!("failed to parse rangeQuery.{field} as time: {why}"))
    };
    let start = instant("start", &range.start)?;
    let end = instant("end", &range.end)?;
    let step = range.step.clone().unwrap_or_default().parse();
    let step = step.map_err(|error| format!("failed to parse rangeQuery.step as duration: {error}"))?;
    if !step.is_positive() {
        return Err("rangeQuery.step must be longer than 0: write for example 1m".to_owned());
    }
    Ok(format!("start={start}&end={end}&step={}", step.as_secs_f64()))
}

fn timeout(config: &PrometheusMetric) -> Result<u32, String> {
    let seconds = config.timeout.unwrap_or(TIMEOUT_SECONDS_DEFAULT);
    match u32::try_from(seconds) {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(format!("provider.prometheus.timeout must be 1 or more seconds, it is {seconds}")),
    }
}

/// The reply of Prometheus' HTTP API.
#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    /// Some that speak like Prometheus write null for none.
    warnings: Option<Vec<String>>,
}

/// No text of it goes into a message: here alone the shell does not mask secrets, lest it mask a number.
#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

/// Why a body that can't be read as an [`Answer`] is none.
fn no_answer(status: u16, body: &str) -> String {
    match status {
        _ if is_success(body) => {
            "the reply says success, but isn't one of Prometheus: is the address right?".to_owned()
        }
        200..300 => {
            format!("the reply isn't one of Prometheus: is the address right? It begins {:?}", excerpt(body))
        }
        _ if body.is_empty() => {
            format!("Prometheus answered HTTP {status} without a reason: is the address right?")
        }
        _ => format!("Prometheus answered HTTP {status}: {:?}", excerpt(body)),
    }
}

/// Whether the body may hold [`Data`], which mustn't be quoted.
fn is_success(body: &str) -> bool {
    serde_json::from_str::<Value>(body).is_ok_and(|answer| answer["status"] == "success")
}

fn value(data: &Data) -> Result<MetricValue, String> {
    match data.result_type.as_str() {
        "scalar" => sample(&data.result).map(MetricValue::Number),
        "vector" => list(&data.result)?
            .iter()
            .map(|series| sample(&series["value"]))
            .collect::<Result<_, _>>()
            .map(MetricValue::List),
        "matrix" => {
            let series = list(&data.result)?.iter().map(samples).collect::<Result<Vec<_>, _>>()?;
            let numbers = series.into_iter().flatten().map(sample);
            numbers.collect::<Result<_, _>>().map(MetricValue::List)
        }
        other => {
            let given = if other == "string" { "a string" } else { "something else" };
            Err(format!(
                "Prometheus metric type not supported: the query gives {given}; write one that gives a scalar, an \
                 instant vector or, with rangeQuery, a matrix"
            ))
        }
    }
}

/// The elements of a list; null is one without any, as in Go. What is none must not pass for an answer without data.
fn list(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Array(elements) => Ok(elements),
        Value::Null => Ok(&[]),
        _ => Err(not_readable()),
    }
}

/// The samples of a series of a matrix. One of native histograms alone has none.
fn samples(series: &Value) -> Result<&[Value], String> {
    let series = series.as_object().ok_or_else(not_readable)?;
    series.get("values").map_or(Ok(&[][..]), list)
}

fn not_readable() -> String {
    "the reply says success, but its result has not the form of Prometheus: is the address right?".to_owned()
}

/// The number of a sample, which is `[time, "number"]`.
fn sample(sample: &Value) -> Result<f64, String> {
    let text = sample.get(1).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        "a series of the reply has no number: for a native histogram write histogram_quantile() or histogram_count()"
            .to_owned()
    })
}

/// The value as Argo Rollouts writes it: `0.5`, `[0.5,1]`, with NaN, +Inf and -Inf.
fn text(value: &MetricValue) -> String {
    match value {
        MetricValue::Number(number) => number_text(*number),
        MetricValue::List(numbers) => {
            let texts: Vec<String> = numbers.iter().copied().map(number_text).collect();
            format!("[{}]", texts.join(","))
        }
    }
}

fn number_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

fn warnings(warnings: &[String]) -> BTreeMap<String, String> {
    if warnings.is_empty() {
        return BTreeMap::new();
    }
    let quoted: Vec<String> = warnings.iter().map(|warning| format!("\"{}\"", excerpt(warning))).collect();
    // There may be one for each part of a large answer, and a status has to be stored.
    BTreeMap::from([("warnings".to_owned(), history::cut(quoted.join(", ")))])
}

/// The beginning of a text.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
