//! What `/metrics` says: the requests of users, not those of probes and of Prometheus.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of what [`Requests::expose`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the latency buckets in seconds, those that Prometheus' client libraries default to.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Requests answered, by status, and how long they took.
pub(crate) struct Requests {
    registry: Registry,
    total: Family<[(&'static str, u16); 1], Counter>,
    duration: Histogram,
}

impl Requests {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let total = Family::<[(&'static str, u16); 1], Counter>::default();
        let duration = Histogram::new(BUCKETS);
        registry.register("http_requests", "Requests answered, by status", total.clone());
        registry.register("http_request_duration_seconds", "Time to answer a request", duration.clone());
        // Both series exist from the start: a success rate needs its zero.
        for status in [200, 500] {
            drop(total.get_or_create(&[("status", status)]));
        }
        Requests { registry, total, duration }
    }

    pub(crate) fn record(&self, status: StatusCode, took: Duration) {
        self.total.get_or_create(&[("status", status.as_u16())]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// All series in the text format; an error only if formatting into a String failed.
    pub(crate) fn expose(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_have_the_names_and_buckets_that_queries_use() {
        let requests = Requests::new();
        requests.record(StatusCode::OK, Duration::from_millis(30));
        requests.record(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(3));
        let text = requests.expose().unwrap();
        for line in [
            r#"http_requests_total{status="200"} 1"#,
            r#"http_requests_total{status="500"} 0"#,
            r#"http_requests_total{status="503"} 1"#,
            r#"http_request_duration_seconds_bucket{le="0.025"} 0"#,
            r#"http_request_duration_seconds_bucket{le="0.05"} 1"#,
            r#"http_request_duration_seconds_bucket{le="10.0"} 2"#,
            r#"http_request_duration_seconds_bucket{le="+Inf"} 2"#,
            "http_request_duration_seconds_count 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in:\n{text}");
        }
    }
}
