//! Who wrote what to the API server, and when: from the lab's audit log.
//!
//! The log has one line of JSON for each write that was answered, refused ones included, and none for reads. It is
//! rotated: a file that is full gets the time into its name, and the oldest is removed.

use crate::cluster::Cluster;
use anyhow::{Context, ensure};
use headgate_lab::Lab;
use jiff::Timestamp;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How soon after its answer a write is in the log, at the latest.
const LOGGED_LIMIT: Duration = Duration::from_secs(20);

/// So long the API server may be away while it is restarted.
const AWAY_LIMIT: Duration = Duration::from_secs(60);

/// The audit log of a lab.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// One write, as the API server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// When the request came in.
    pub at: Timestamp,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The user: `system:serviceaccount:NAMESPACE:NAME` for a ServiceAccount.
    pub user: String,
    /// What was written.
    pub object: Object,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// What a request was about. Empty where the request said nothing, such as the name in a `create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object {
    /// The API group; empty for the core.
    pub api_group: String,
    /// The kind's plural: `rollouts`.
    pub resource: String,
    /// `status`, `scale`, `eviction` …
    pub subresource: String,
    /// Empty for what has no namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// The part of an audit event (audit.k8s.io/v1) that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl AuditLog {
    /// Of a lab.
    pub fn of(lab: &Lab) -> Self {
        Self { path: lab.audit_log() }
    }

    /// The writes of `user` that came in within `span`, in the order in which they were answered. Line by line: the log
    /// may be larger than memory.
    ///
    /// # Errors
    /// When the log cannot be read, or holds what is no audit event.
    pub fn writes(&self, user: &str, span: &Range<Timestamp>) -> anyhow::Result<Vec<Write>> {
        let quoted = serde_json::to_string(user)?;
        let mut found = Vec::new();
        for file in self.files()? {
            each_line(&file, |line| {
                // Most lines are somebody else's, and to look is cheaper than to parse.
                if line.contains(&quoted)
                    && let Some(write) = parse(line)?
                    && write.user == user
                    && span.contains(&write.at)
                {
                    found.push(write);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Waits until everything that was answered before this call is in the log: until a write of our own, which changes
    /// nothing, is. It is a ConfigMap in that namespace, made as a trial.
    ///
    /// # Errors
    /// When the API server refuses the write, or it is not in the log in time.
    pub async fn catch_up(&self, cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
        let name = format!("catch-up-{}", Timestamp::now().as_nanosecond());
        let arguments = ["create", "configmap", &name, "--namespace", namespace, "--dry-run=server"];
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let started = Instant::now();
        // Another test may restart the API server meanwhile.
        while let Err(error) = cluster.kubectl(&arguments).await {
            ensure!(started.elapsed() < AWAY_LIMIT, "{error:#}");
            tick.tick().await;
        }
        let logged = async {
            loop {
                tick.tick().await;
                if self.names(&name)? {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(LOGGED_LIMIT, logged).await.context("the audit log lags behind")?
    }

    /// Whether the newest file has this name in a whole line.
    fn names(&self, name: &str) -> anyhow::Result<bool> {
        let mut found = false;
        each_line(&self.path, |line| {
            found |= line.contains(name);
            Ok(())
        })?;
        Ok(found)
    }

    /// The rotated files, oldest first, and the one that is written: `audit.log` becomes `audit-TIME.log`.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let dir = self.path.parent().context("the audit log is in no directory")?;
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&format!("{stem}-")) && name.ends_with(".log") {
                files.push(path);
            }
        }
        files.sort();
        files.push(self.path.clone());
        Ok(files)
    }
}

/// Hands over each line that is complete: the API server may be in the middle of the last one.
fn each_line(path: &Path, mut take: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        let read = reader.read_line(&mut line);
        read.with_context(|| format!("cannot read line {number} of {}", path.display()))?;
        let Some(whole) = line.strip_suffix('\n') else { return Ok(()) };
        take(whole).with_context(|| format!("line {number} of {}", path.display()))?;
    }
}

/// The event of a line, or `None` for one whose request was cut off with the API server's life.
fn parse(line: &str) -> anyhow::Result<Option<Write>> {
    // An API server that was killed in the middle of a line is followed by one that goes on in the same line.
    let start = line.rfind(r#"{"kind":"Event","#).context("no audit event")?;
    let event: Event = serde_json::from_str(&line[start..]).context("not understood")?;
    if matches!(event.verb.as_str(), "get" | "list" | "watch") {
        return Ok(None);
    }
    Ok(Some(Write {
        at: event.request_received_timestamp,
        verb: event.verb,
        user: event.user.username,
        object: event.object_ref,
        status: event.response_status.code,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const USER: &str = "system:serviceaccount:headgate-system:headgate";

    fn line(at: &str, verb: &str, user: &str, name: &str) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/apis","verb":"{verb}","user":{{"username":"{user}","groups":["a"]}},"objectRef":{{"resource":"rollouts","namespace":"shop","name":"{name}","uid":"u","apiGroup":"argoproj.io","apiVersion":"v1alpha1","subresource":"status"}},"responseStatus":{{"metadata":{{}},"code":200}},"requestReceivedTimestamp":"{at}","stageTimestamp":"{at}"}}"#
        )
    }

    /// A log in a directory of its own, which goes with it.
    struct Fixture(PathBuf);

    impl Fixture {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let dir = std::env::temp_dir().join(format!("headgate-audit-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            for (file, text) in files {
                File::create(dir.join(file)).unwrap().write_all(text.as_bytes()).unwrap();
            }
            Self(dir)
        }

        fn names(&self, from: &str, to: &str) -> Vec<String> {
            let span = from.parse().unwrap()..to.parse().unwrap();
            let log = AuditLog { path: self.0.join("audit.log") };
            log.writes(USER, &span).unwrap().into_iter().map(|write| write.object.name).collect()
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn writes_of_one_user_within_the_span_are_found_over_rotated_files() {
        let old = [line("2026-01-01T00:00:00.5Z", "patch", USER, "a"), String::new()].join("\n");
        let new = [
            line("2026-01-01T00:00:01.000001Z", "patch", USER, "b"),
            line("2026-01-01T00:00:01Z", "patch", "admin", "of-another"),
            line("2026-01-01T00:00:01Z", "patch", &format!("{USER}-2"), "of-one-whose-name-begins-alike"),
            line("2026-01-01T00:00:02Z", "get", USER, "read"),
            line("2026-01-01T00:00:03Z", "create", USER, "at-the-end"),
            String::new(),
        ]
        .join("\n");
        let fixture = Fixture::new(
            "rotated",
            &[
                ("audit-2026-01-01T00-00-01.000.log", &old),
                ("audit.log", &new),
                ("audit-policy.yaml", "no log"),
            ],
        );
        assert_eq!(fixture.names("2026-01-01T00:00:00Z", "2026-01-01T00:00:03Z"), ["a", "b"]);
        assert_eq!(fixture.names("2026-01-01T00:00:01Z", "2026-01-01T00:00:04Z"), ["b", "at-the-end"]);
    }

    #[test]
    fn a_line_that_is_being_written_is_left_for_later_and_one_that_a_crash_cut_off_is_skipped() {
        let whole = line("2026-01-01T00:00:01Z", "patch", USER, "a");
        let cut = &line("2026-01-01T00:00:01Z", "patch", USER, "cut")[..150];
        let after = line("2026-01-01T00:00:02Z", "patch", USER, "b");
        let text = format!("{whole}\n{cut}{after}\n{cut}");
        let fixture = Fixture::new("partial", &[("audit.log", &text)]);
        assert_eq!(fixture.names("2026-01-01T00:00:00Z", "2026-01-01T00:00:03Z"), ["a", "b"]);
    }

    #[test]
    fn a_write_tells_what_was_written_and_how_it_was_answered() {
        let write = parse(&line("2026-01-01T00:00:01.25Z", "patch", USER, "shop")).unwrap().unwrap();
        assert_eq!((write.verb.as_str(), write.status), ("patch", 200));
        assert_eq!(write.at, "2026-01-01T00:00:01.25Z".parse().unwrap());
        let Object { api_group, resource, subresource, namespace, name } = write.object;
        assert_eq!(
            [api_group, resource, subresource, namespace, name],
            ["argoproj.io", "rollouts", "status", "shop", "shop"]
        );
        parse("something else").unwrap_err();
    }
}
