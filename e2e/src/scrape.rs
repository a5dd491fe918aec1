//! A scrape of a controller's `/metrics`, through the API server.

use crate::cluster::Cluster;
use crate::controllers::Controller;
use anyhow::Context;
use std::collections::BTreeMap;

/// The chart's port for it.
const PORT: u16 = 8090;

/// What a controller said of itself at one moment.
#[derive(Clone, Debug)]
pub struct Scrape(Vec<Series>);

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name, with the ending that the format gives it: `_total`, `_count` …
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Scrape {
    /// Of this controller, in that namespace.
    ///
    /// # Errors
    /// When it does not answer, or with something that is no OpenMetrics text.
    pub async fn of(cluster: &Cluster, namespace: &str, controller: &Controller) -> anyhow::Result<Self> {
        let pod = &controller.pod;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{PORT}/proxy/metrics");
        Self::read(&cluster.kubectl(&["get", "--raw", &path]).await?)
    }

    fn read(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let series = lines.map(|line| series(line).with_context(|| format!("no series: {line}")));
        series.collect::<anyhow::Result<_>>().map(Self)
    }

    /// All series of this name that have these labels, and maybe others.
    pub fn all<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Series> + 'a {
        self.0.iter().filter(move |series| {
            series.name == name && labels.iter().all(|(key, value)| series.label(key) == *value)
        })
    }

    /// The value of the only one of them; `None` where there is none, or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut all = self.all(name, labels);
        let first = all.next()?;
        all.next().is_none().then_some(first.value)
    }
}

impl Series {
    /// The value of a label; empty where it is not there, which is the same.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

/// `NAME{LABEL="VALUE",…} NUMBER`, or without labels.
fn series(line: &str) -> Option<Series> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = (&line[..end], &line[end..]);
    let mut labels = BTreeMap::new();
    if let Some(written) = rest.strip_prefix('{') {
        rest = written;
        while !rest.starts_with('}') {
            let (key, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = unquoted(quoted)?;
            labels.insert(key.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// The text up to its closing quote, and what comes after that.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut letters = quoted.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Some((text, &quoted[place + 1..])),
            '\\' => text.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP rollout_info A Rollout.
# TYPE rollout_info gauge
rollout_info{namespace="shop",name="web",phase="Paused"} 1
rollout_info{namespace="shop",name="a \"b\", {c}\\",phase="Abort"} 1
rollout_duration_seconds_bucket{le="+Inf",status="Promoted"} 2
rollout_duration_seconds_sum{status="Promoted"} 12.5
headgate_leader 1
# EOF
"#;

    #[test]
    fn series_are_found_by_name_and_labels() -> anyhow::Result<()> {
        let scrape = Scrape::read(TEXT)?;
        assert_eq!(scrape.value("headgate_leader", &[]), Some(1.0));
        assert_eq!(scrape.value("rollout_duration_seconds_sum", &[("status", "Promoted")]), Some(12.5));
        assert_eq!(scrape.value("rollout_duration_seconds_bucket", &[("le", "+Inf")]), Some(2.0));
        assert_eq!(scrape.value("rollout_info", &[("phase", "Paused"), ("name", "web")]), Some(1.0));
        assert_eq!(scrape.value("rollout_info", &[("phase", "Completed")]), None);
        assert_eq!(scrape.value("rollout_info", &[("namespace", "shop")]), None, "there are two");
        let names = scrape.all("rollout_info", &[("namespace", "shop")]).map(|series| series.label("name"));
        assert_eq!(names.collect::<Vec<_>>(), ["web", "a \"b\", {c}\\"]);
        Ok(())
    }

    #[test]
    fn what_is_no_series_is_an_error() {
        for line in ["headgate_leader", "headgate_leader one", r#"a{b="c} 1"#, r#"a{b} 1"#] {
            assert!(Scrape::read(line).is_err(), "{line}");
        }
    }
}
