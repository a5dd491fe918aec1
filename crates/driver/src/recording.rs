//! A record on its way, and what is to be done once it is stored: also when its answer was lost, and only a later look at
//! the Rollout shows that it was.

use crate::io::Resource;
use crate::notices;
use crate::object;
use crate::outbox::Context;
use crate::record::{Pruned, Unstored, wishes, without_wishes};
use crate::resources::ROLLOUTS;
use crate::rollout_task::{RolloutTask, Trust};
use headgate_api::RolloutStatus;
use headgate_engine::EndedRelease;
use headgate_model::{EffectKey, Notice};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A record, and what comes of it.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The whole record.
    pub(crate) record: RolloutStatus,
    /// Told once it is stored.
    pub(crate) notices: Vec<Notice>,
    /// The release that ends with it: counted then.
    pub(crate) ended: Option<EndedRelease>,
}

/// A record that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) recording: Recording,
    /// The part of the record that was sent.
    pub(crate) written: Map<String, Value>,
    expected: Expected,
}

impl Sent {
    /// `rollout` is as it is stored.
    pub(crate) fn new(
        recording: Recording,
        written: Map<String, Value>,
        rollout: &Value,
        pruned: &Pruned,
    ) -> Self {
        let expected = Expected::new(ROLLOUTS, rollout, &written, pruned);
        Self { recording, written, expected }
    }
}

/// What an object is like once a record of it is stored. Where the answer is lost, the object itself tells whether it was. Of
/// two processes that lead for a moment and write the same, the one without an answer may take the other's for its own, and
/// tell once more what that has told.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The resourceVersion that the record rests on.
    fence: String,
    /// The status but for what users may write.
    status: Value,
    /// What users may write, too, where nothing else tells the record from the one before.
    wishes: Map<String, Value>,
}

impl Expected {
    /// `object` is as it is stored, and `written` the part of its status that was sent.
    pub(crate) fn new(
        resource: Resource,
        object: &Value,
        written: &Map<String, Value>,
        pruned: &Pruned,
    ) -> Self {
        let before = object.get("status").cloned().unwrap_or(Value::Object(Map::new()));
        let mut status = before.clone();
        object::merge(&mut status, written);
        pruned.strip(resource, &mut status);
        let status = without_wishes(status);
        let wishes = if without_wishes(before) == status { wishes(written.clone()) } else { Map::new() };
        Self { fence: object::resource_version(object).to_owned(), status, wishes }
    }

    /// True when the object is another one than the record rests on.
    pub(crate) fn is_past(&self, object: &Value) -> bool {
        object::resource_version(object) != self.fence
    }

    /// True when the object is as the record makes it.
    pub(crate) fn is_met_by(&self, object: &Value) -> bool {
        let stored = object.get("status").unwrap_or(&Value::Null);
        let is_there = |(field, value): (&String, &Value)| stored.get(field).unwrap_or(&Value::Null) == value;
        without_wishes(stored.clone()) == self.status && self.wishes.iter().all(is_there)
    }
}

impl RolloutTask {
    /// The server has stored the record: `rollout` is with it.
    pub(crate) fn stored(&mut self, sent: Sent, rollout: &Value, context: &mut Context<'_>) {
        let Recording { record, notices, ended } = sent.recording;
        ended.iter().for_each(|release| context.counters.releases.add(release));
        if self.trust == Trust::Untouched {
            self.trust = Trust::Proven;
        }
        self.knows(rollout);
        self.failures.clear(&EffectKey::record());
        self.unrecorded_shift_at = None;
        self.unanswered = None;
        self.failures.told(&self.name.1, record.waiting.as_ref());
        let unstored = context.pruned.lost(ROLLOUTS, &record, rollout.get("status"));
        self.keep(unstored, context);
        for notice in notices {
            context.tell(ROLLOUTS, rollout, &mut self.told, &notice);
        }
    }

    /// A record without an answer may have been stored all the same, at once or after a while. What the server drops of it,
    /// and what it tells, would be lost with the answer.
    pub(crate) fn find_unanswered(&mut self, rollout: &Value, context: &mut Context<'_>) {
        let Some(sent) = self.unanswered.take_if(|sent| sent.expected.is_past(rollout)) else {
            return;
        };
        if sent.expected.is_met_by(rollout) {
            self.stored(*sent, rollout, context);
        }
    }

    /// The record is not to be stored before the effects, or nothing but numbers of it is: there will be no answer to keep by
    /// what the server drops of it, and nothing else that tells of that.
    pub(crate) fn remember(
        &mut self,
        rollout: &Value,
        record: &RolloutStatus,
        notices: &[Notice],
        context: &mut Context<'_>,
    ) {
        let stored = context.store.get(&self.reference).and_then(|rollout| rollout.get("status"));
        let unstored = context.pruned.lost(ROLLOUTS, record, stored);
        if self.keep(unstored, context) {
            for notice in notices {
                context.tell(ROLLOUTS, rollout, &mut self.told, notice);
            }
        }
    }

    /// Keeps what the server drops. It may name objects that the stored status does not: they are looked up anew, also when a
    /// watch was faster than the answer, so that the Rollout itself brings nothing new. True when it was not known before.
    fn keep(&mut self, unstored: Unstored, context: &mut Context<'_>) -> bool {
        let is_new = self.unstored != unstored;
        if is_new {
            self.unstored = unstored;
            context.touched.push((self.reference.clone(), BTreeSet::new()));
        }
        is_new
    }

    /// Learns what the server has dropped from its own answer to a write: later a user may have taken something out.
    pub(crate) fn notice_pruned(
        &mut self,
        written: &Map<String, Value>,
        rollout: &Value,
        context: &mut Context<'_>,
    ) {
        let answered = rollout.get("status").unwrap_or(&Value::Null);
        for field in context.pruned.learn(ROLLOUTS, written, answered) {
            tracing::warn!(field, "the installed CRD drops this field");
            let message = format!(
                "the installed CRD of Rollout drops {field}: what it would say is missing there. \
                 Install the CRDs of Headgate to have it (kubectl apply -f crds/)"
            );
            let notice = Notice::warning(notices::FIELD_PRUNED, message);
            context.tell(ROLLOUTS, rollout, &mut self.told, &notice);
        }
    }
}
