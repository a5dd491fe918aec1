//! Kubernetes events (R11): functions of records and outcomes, sent after the record is stored. An event that
//! cannot be sent never holds anything up.

use crate::backoff::{fingerprint, is_recent};
use crate::io::{Call, ObjectRef, Resource};
use crate::object;
use crate::resources::EVENTS;
use headgate_model::{EffectKey, Failure, FailureClass, Notice, NoticeKind, Timestamp};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// An event's message may have 1,024 bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Room for the name of the object in an event's name: 253 without the dot and 16 digits.
const NAME_BYTES_MAX: usize = 236;

/// Reason: a field that we write is dropped by the installed CRD.
pub(crate) const FIELD_PRUNED: &str = "FieldPruned";
/// Reason: too many writes without progress.
pub(crate) const TOO_MANY_WRITES: &str = "TooManyWrites";
/// Reason: a webhook was not told what it wants to know.
pub(crate) const NOTIFICATION_FAILED: &str = "NotificationFailed";

/// The event object that tells `notice` about `about`.
pub(crate) fn event(
    resource: Resource,
    about: &Value,
    notice: &Notice,
    component: &str,
    now: Timestamp,
) -> Call {
    let namespace = object::meta(about, "namespace");
    let name = event_name(about, notice, now);
    let time = crate::backoff::whole_seconds(now).to_string();
    let api_version = if resource.group.is_empty() {
        resource.version.to_owned()
    } else {
        format!("{}/{}", resource.group, resource.version)
    };
    let kind = match notice.kind {
        NoticeKind::Normal => "Normal",
        NoticeKind::Warning => "Warning",
    };
    let body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": {
            "apiVersion": api_version,
            "kind": resource.kind,
            "namespace": namespace,
            "name": object::meta(about, "name"),
            "uid": object::uid(about),
            "resourceVersion": object::resource_version(about),
        },
        "type": kind,
        "reason": notice.reason,
        "message": cut(&notice.message, MESSAGE_BYTES_MAX),
        "source": { "component": component },
        "reportingComponent": component,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    });
    let target = ObjectRef { resource: EVENTS, namespace: namespace.to_owned(), name };
    Call::Create { target, body }
}

/// The same event has the same name, so that sending it twice is sending it once.
fn event_name(about: &Value, notice: &Notice, now: Timestamp) -> String {
    let text = format!("{}/{}/{}/{}", object::uid(about), notice.reason, notice.message, now.as_second());
    format!("{}.{:016x}", cut(object::meta(about, "name"), NAME_BYTES_MAX), fingerprint(&text))
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}

/// What is told of an act that failed, once, when it is clear that it does not go away by itself. What a user or
/// an administrator must mend is told with the record, as the engine waits for it; not so when it is the record
/// itself that is refused.
pub(crate) fn failed(key: &EffectKey, failure: &Failure) -> Option<Notice> {
    let told_at = match failure.class {
        FailureClass::Conflict | FailureClass::Transient | FailureClass::NotFound => 3,
        FailureClass::Bug => 1,
        FailureClass::Invalid | FailureClass::Forbidden if *key == EffectKey::record() => 1,
        FailureClass::Invalid | FailureClass::Forbidden | FailureClass::AlreadyExists => return None,
    };
    if failure.attempts != told_at {
        return None;
    }
    let object = if key.object.is_empty() { String::new() } else { format!(" of {:?}", key.object) };
    let message = format!("{}{object} failed: {}", key.verb.as_str(), failure.message);
    Some(Notice::warning(key.verb.failure_reason(), message))
}

/// Counts the events of one object, so that a loop does not flood the API server.
#[derive(Debug, Default)]
pub(crate) struct Told {
    sent: VecDeque<Timestamp>,
}

impl Told {
    /// Whether one more event fits into this minute.
    pub(crate) fn permits(&mut self, per_minute_max: usize, now: Timestamp) -> bool {
        while self.sent.front().is_some_and(|at| !is_recent(*at, 59, now)) {
            self.sent.pop_front();
        }
        let fits = self.sent.len() < per_minute_max;
        if fits {
            self.sent.push_back(now);
        }
        fits
    }
}
