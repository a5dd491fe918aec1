//! Makes the same what two worlds cannot have in common (uids, versions, times), and leaves out what is not modelled.

use super::Case;
use crate::world::server::text;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// What a real server writes and the virtual one does not: kind (empty for all), path, and why it can do without.
pub const NOT_MODELLED: &[(&str, &str, &str)] = &[
    ("", "/metadata/managedFields", "only warnings about drift read them"),
    ("Service", "/spec/clusterIP", ADDRESS),
    ("Service", "/spec/clusterIPs", ADDRESS),
    ("Service", "/spec/ipFamilies", ADDRESS),
    ("Service", "/spec/ipFamilyPolicy", ADDRESS),
    ("Service", "/spec/internalTrafficPolicy", CONSTANT),
    ("Service", "/spec/sessionAffinity", CONSTANT),
    ("Service", "/spec/type", CONSTANT),
    (
        "Service",
        "/spec/ports",
        "protocol and target port are filled in; ports are the user's and stay as they are",
    ),
    ("Service", "/status", "of load balancers, which the virtual cluster does not have"),
    ("Event", "/eventTime", CONSTANT),
    ("Event", "/reportingInstance", CONSTANT),
];

const ADDRESS: &str = "addresses: the virtual data plane knows versions and not addresses";
const CONSTANT: &str = "a constant that nobody reads";

/// Members that hold a time. That there is one is compared, and not which.
const TIMES: &[&str] = &[
    "creationTimestamp",
    "deletionTimestamp",
    "lastTransitionTime",
    "lastProbeTime",
    "startTime",
    "completionTime",
];

/// The answers of a case with names instead of what differs from world to world.
pub fn answers(case: &Case, raw: &[Value]) -> Vec<Value> {
    let mut names = Names::default();
    let normal = |answer: &Value| {
        let mut answer = answer.clone();
        each_object(&mut answer, &mut |object| {
            names.meet(object);
            leave_out(object, case);
        });
        names.rename(&mut answer);
        answer
    };
    raw.iter().map(normal).collect()
}

/// Objects of an answer, in the order in which they appear.
fn each_object(answer: &mut Value, act: &mut impl FnMut(&mut Value)) {
    if let Some(object) = answer.get_mut("object") {
        act(object);
    }
    if let Some(Value::Array(objects)) = answer.get_mut("objects") {
        // The order of a list is no promise.
        objects.sort_by(|left, right| text(left, "/metadata/name").cmp(text(right, "/metadata/name")));
        objects.iter_mut().for_each(&mut *act);
    }
    let events = answer.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten();
    events.filter_map(|event| event.get_mut("object")).for_each(act);
}

fn leave_out(object: &mut Value, case: &Case) {
    let kind = text(object, "/kind").to_owned();
    let everywhere = NOT_MODELLED.iter().filter(|(of, _, _)| of.is_empty() || *of == kind);
    let paths = everywhere.map(|(_, path, _)| *path).chain(case.ignored.iter().copied());
    for path in paths {
        let Some((parent, member)) = path.rsplit_once('/') else { continue };
        if let Some(Value::Object(fields)) = object.pointer_mut(parent) {
            fields.remove(member);
        }
    }
}

/// Names by order of appearance.
#[derive(Default)]
struct Names {
    uids: Vec<String>,
    /// Resource versions by uid, in order of appearance.
    versions: BTreeMap<String, Vec<String>>,
}

impl Names {
    /// Notes uid and version of an object, and names its version.
    fn meet(&mut self, object: &mut Value) {
        let uid = text(object, "/metadata/uid").to_owned();
        if uid.is_empty() {
            return;
        }
        if !self.uids.contains(&uid) {
            self.uids.push(uid.clone());
        }
        let versions = self.versions.entry(uid).or_default();
        if let Some(place) = object.pointer_mut("/metadata/resourceVersion") {
            *place = named(versions, place.as_str().unwrap_or_default()).into();
        }
    }

    fn rename(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(index) = self.uids.iter().position(|uid| uid == text) {
                    *text = format!("uid {}", index + 1);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    let is_time = value.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok());
                    if is_time && TIMES.contains(&key.as_str()) {
                        *value = "a time".into();
                    } else {
                        self.rename(value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// `version 2` for the second version that is seen of an object. Later ones must be greater.
fn named(versions: &mut Vec<String>, version: &str) -> String {
    if let Some(index) = versions.iter().position(|known| known == version) {
        return format!("version {}", index + 1);
    }
    let number = |version: &str| version.parse::<u64>().unwrap_or(0);
    let grows = versions.last().is_none_or(|last| number(last) < number(version));
    versions.push(version.to_owned());
    let order = if grows { "" } else { ", which is older than the one before" };
    format!("version {}{order}", versions.len())
}
