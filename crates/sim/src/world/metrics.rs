//! A Prometheus that answers from the truth, and sometimes does not.

use super::pods::Health;
use super::server::{Server, text};
use headgate_api::labels::POD_TEMPLATE_HASH;
use headgate_driver::resources::REPLICA_SETS;
use headgate_model::{HttpQuery, Reply};
use serde_json::json;
use std::collections::BTreeMap;

/// What metrics are like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Metrics {
    /// True.
    #[default]
    True,
    /// No series.
    Empty,
    /// Not a number.
    NotANumber,
    /// No connection.
    Down,
    /// HTTP 503.
    Unavailable,
}

/// The answer to a query for the success rate of the version whose hash stands in it.
pub fn answer(
    state: Metrics,
    query: &HttpQuery,
    server: &Server,
    health: &BTreeMap<String, Health>,
) -> Reply {
    let vector = |value: Option<String>| {
        let series: Vec<_> =
            value.into_iter().map(|value| json!({ "metric": {}, "value": [0, value] })).collect();
        let body = json!({ "status": "success", "data": { "resultType": "vector", "result": series } });
        Reply::Http { status: 200, body: body.to_string(), truncated: false }
    };
    match state {
        Metrics::True => vector(success_rate(query, server, health)),
        Metrics::Empty => vector(None),
        Metrics::NotANumber => vector(Some("NaN".to_owned())),
        Metrics::Down => Reply::Failed("connection refused".to_owned()),
        Metrics::Unavailable => {
            Reply::Http { status: 503, body: "upstream is away".to_owned(), truncated: false }
        }
    }
}

fn success_rate(query: &HttpQuery, server: &Server, health: &BTreeMap<String, Health>) -> Option<String> {
    let label = format!("/metadata/labels/{POD_TEMPLATE_HASH}");
    let asked = |set: &serde_json::Value| {
        let hash = text(set, &label);
        !hash.is_empty() && query.url.contains(hash)
    };
    let (_, set) = server.all(REPLICA_SETS).find(|(_, set)| asked(set))?;
    let image = text(set, "/spec/template/spec/containers/0/image");
    let errors = health.get(image).map_or(0, |health| health.errors_percent);
    Some(format!("{}.{:02}", (100 - errors) / 100, (100 - errors) % 100))
}
