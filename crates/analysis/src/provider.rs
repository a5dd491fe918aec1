//! Metric providers: how to ask, and what the reply means. One file a provider, and one line in [`PROVIDERS`].

use crate::prometheus::Prometheus;
use headgate_model::analysis::ValidMetric;
use headgate_model::{Query, Reply, Timestamp};
use std::collections::BTreeMap;

/// The providers of this version.
pub static PROVIDERS: &[&dyn MetricProvider] = &[&Prometheus];

/// A source of metrics, without I/O.
pub trait MetricProvider: Sync {
    /// Key in `metrics[].provider`, for example `prometheus`.
    fn name(&self) -> &'static str;

    /// What to ask for one measurement of `metric`.
    ///
    /// # Errors
    /// What is wrong with the metric, and how to mend it.
    fn prepare(&self, metric: &ValidMetric, defaults: &Defaults<'_>, now: Timestamp)
    -> Result<Query, String>;

    /// The value in a reply.
    ///
    /// # Errors
    /// Why there is none: an outage, a refusal and an unreadable reply read differently.
    fn interpret(&self, metric: &ValidMetric, reply: &Reply) -> Result<Measured, String>;

    /// What to show of a metric beside its measurements; secrets are masked.
    fn metadata(&self, metric: &ValidMetric) -> BTreeMap<String, String>;
}

/// What the controller was given for metrics that leave it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults<'a> {
    /// Address of Prometheus.
    pub prometheus_address: Option<&'a str>,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The value that conditions see as `result`.
    pub value: MetricValue,
    /// The same as text, for people.
    pub text: String,
    /// What the provider says about it, for example warnings.
    pub metadata: BTreeMap<String, String>,
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// One number; NaN and infinities are numbers too.
    Number(f64),
    /// One number for each series or sample; empty when there is no data.
    List(Vec<f64>),
}

/// The provider of a metric.
///
/// # Errors
/// Names the provider that this version doesn't have.
pub(crate) fn of(metric: &ValidMetric) -> Result<&'static dyn MetricProvider, String> {
    let name = metric.provider();
    let known = PROVIDERS.iter().find(|provider| provider.name() == name);
    known.copied().ok_or_else(|| metric.unsupported().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::PROVIDERS;

    #[test]
    fn a_spec_is_checked_against_the_providers_that_there_are() {
        let names: Vec<&str> = PROVIDERS.iter().map(|provider| provider.name()).collect();
        assert_eq!(names, headgate_model::analysis::PROVIDERS);
    }
}
