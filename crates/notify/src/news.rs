//! What there is to tell: a function of the stored record, the new record and who wants to know.

use crate::{Subscriptions, Trigger};
use headgate_api::conditions::{reasons, types};
use headgate_api::{
    AnalysisPhase, OutboxEntry, PauseCondition, RolloutAnalysisRunStatus, RolloutPhase, RolloutStatus, Time,
    labels,
};
use headgate_model::spec::{PauseEnd, Step};
use headgate_model::{Snapshot, Timestamp};

/// A message is cut to so many bytes: a status holds several of them.
const MESSAGE_BYTES_MAX: usize = 512;
/// So many images are named.
const IMAGES_MAX: usize = 4;
/// A name of an image is cut to so many bytes.
const IMAGE_BYTES_MAX: usize = 256;

/// What a new record has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// New entries for the outbox.
    pub entries: Vec<OutboxEntry>,
    /// `status.headgate.completing` from now on.
    pub completing: Option<String>,
}

/// What is to be told once `record` is stored in place of the snapshot's status. Nothing that nobody wants to know:
/// then the record stays as it is.
#[must_use]
pub fn news(
    snapshot: &Snapshot,
    record: &RolloutStatus,
    subscriptions: &Subscriptions,
    now: Timestamp,
) -> News {
    let change = Change { snapshot, old: &snapshot.rollout.status, new: record, now };
    let wanted = |trigger: Trigger| subscriptions.wants(trigger, &snapshot.rollout.namespace);
    let mut happened = Vec::new();
    if change.is_aborted() {
        happened.push(Trigger::Aborted);
    }
    if change.is_degraded() {
        happened.push(Trigger::Degraded);
    }
    if change.is_paused() {
        happened.push(Trigger::Paused);
    }
    let completing = change.completing().filter(|_| wanted(Trigger::Completed));
    let is_completed = completing.is_some() && record.phase == Some(RolloutPhase::Healthy);
    if is_completed {
        happened.push(Trigger::Completed);
    }
    News {
        entries: happened
            .into_iter()
            .filter(|trigger| wanted(*trigger))
            .map(|trigger| change.entry(trigger))
            .collect(),
        completing: completing.filter(|_| !is_completed),
    }
}

struct Change<'a> {
    snapshot: &'a Snapshot,
    old: &'a RolloutStatus,
    new: &'a RolloutStatus,
    now: Timestamp,
}

impl Change<'_> {
    /// Also when a release that was aborted was tried again and is aborted once more, all in one record.
    fn is_aborted(&self) -> bool {
        is_aborted(self.new) && (!is_aborted(self.old) || self.new.is_another_abort(self.old))
    }

    /// An abort makes a Rollout Degraded, too, and is told as what it is.
    fn is_degraded(&self) -> bool {
        let degraded =
            |status: &RolloutStatus| status.phase == Some(RolloutPhase::Degraded) && !is_aborted(status);
        degraded(self.new) && !degraded(self.old)
    }

    /// A pause that only a person ends has begun.
    fn is_paused(&self) -> bool {
        let at_step = self.old.current_step_index == self.new.current_step_index
            && self.old.current_pod_hash == self.new.current_pod_hash;
        let was_hidden = |pause: &PauseCondition| {
            let since = invalid_since(self.old).zip(pause.start_time.as_ref());
            since.is_some_and(|(invalid, began)| invalid <= began)
        };
        let is_new = |pause: &&PauseCondition| {
            !(at_step && self.old.pause_conditions.contains(pause)) || was_hidden(pause)
        };
        self.new.phase == Some(RolloutPhase::Paused)
            && self.new.pause_conditions.iter().filter(is_new).any(|pause| self.is_for_a_person(pause))
    }

    fn is_for_a_person(&self, pause: &PauseCondition) -> bool {
        match pause.reason.as_str() {
            PauseCondition::CANARY_PAUSE_STEP => {
                let Ok(spec) = &self.snapshot.rollout.spec else { return false };
                let index = self.new.current_step_index.and_then(|index| usize::try_from(index).ok());
                let step = index.and_then(|index| spec.canary.steps.get(index));
                matches!(step, Some(Step::Pause(PauseEnd::Promotion(_))))
            }
            reason => [
                PauseCondition::INCONCLUSIVE_ANALYSIS_RUN,
                PauseCondition::INCONCLUSIVE_EXPERIMENT,
                PauseCondition::ANALYSIS_FAILED,
                PauseCondition::POD_HEALTH,
            ]
            .contains(&reason),
        }
    }

    /// The version that was released in full, now or before, and whose health is still to be told.
    fn completing(&self) -> Option<String> {
        if !is_promoted(self.new) {
            return None;
        }
        let hash = &self.new.current_pod_hash;
        let owed = self.old.headgate.as_ref().and_then(|memory| memory.completing.as_ref());
        (!is_promoted(self.old) || owed == Some(hash)).then(|| hash.clone())
    }

    fn entry(&self, trigger: Trigger) -> OutboxEntry {
        let revision = self.revision();
        let place = self.place(trigger);
        OutboxEntry {
            key: self.key(trigger, revision, &place),
            trigger: trigger.as_str().to_owned(),
            time: Some(Time(self.now)),
            revision,
            pod_template_hash: self.new.current_pod_hash.clone(),
            images: self.images(),
            phase: self.new.phase.map_or(String::new(), |phase| phase.as_str().to_owned()),
            message: cut(&self.message(trigger, revision), MESSAGE_BYTES_MAX).to_owned(),
            step_index: place.step_index.filter(|_| place.step_count.is_some()),
            step_count: place.step_count,
            weight: place.weight,
            analysis_run: match trigger {
                Trigger::Aborted => self.run_before_abort(),
                _ => self.analysis_run(),
            },
        }
    }

    /// Where the release was. The record of an abort is back at the first step with no weight: how far it had come is told.
    fn place(&self, trigger: Trigger) -> Place {
        let steps = self.snapshot.rollout.spec.as_ref().map_or(0, |spec| spec.canary.steps.len());
        let weights = self.new.canary.as_ref().and_then(|canary| canary.weights.as_ref());
        let now = Place {
            step_index: self.new.current_step_index,
            step_count: i32::try_from(steps).ok().filter(|count| *count > 0),
            weight: weights.map(|weights| weights.canary.weight),
        };
        let memory = self.new.headgate.as_ref().filter(|_| trigger == Trigger::Aborted);
        memory.and_then(|memory| memory.abort_place.as_ref()).map_or(now, |place| Place {
            step_index: Some(place.step_index).filter(|_| place.step_count > 0),
            step_count: Some(place.step_count).filter(|count| *count > 0),
            weight: weights.map(|_| place.weight),
        })
    }

    /// The release (its revision; and its hash, which changes when a name was taken), what happened to it, where and
    /// when: all of it can happen to one revision again, also its completion, when it is undone before another has pods.
    fn key(&self, trigger: Trigger, revision: i64, place: &Place) -> String {
        let (uid, hash) = (&self.snapshot.rollout.uid, &self.new.current_pod_hash);
        let (step, second) = (place.step_index.unwrap_or(0), self.now.as_second());
        format!("{uid}/{revision}/{hash}/{}/{step}/{second}", trigger.as_str())
    }

    /// As it will be once the ReplicaSet of the newest version carries it.
    fn revision(&self) -> i64 {
        let sets = self.snapshot.replica_sets.present().into_iter().flatten();
        let (current, older): (Vec<_>, Vec<_>) =
            sets.partition(|set| set.hash() == self.new.current_pod_hash);
        if current.is_empty() && older.is_empty() {
            let annotation = self.snapshot.rollout.annotations.get(labels::REVISION);
            return annotation.and_then(|text| text.parse().ok()).unwrap_or(1);
        }
        let next = older.iter().map(|set| set.revision()).max().unwrap_or(0).saturating_add(1);
        current.iter().map(|set| set.revision()).max().unwrap_or(0).max(next)
    }

    fn images(&self) -> Vec<String> {
        let sets = self.snapshot.replica_sets.present().into_iter().flatten();
        let mut current = sets.filter(|set| set.hash() == self.new.current_pod_hash);
        let template = current.next().map(|set| &set.template);
        let template = template.or_else(|| self.snapshot.rollout.spec_raw.get("template"));
        let containers = template.and_then(|template| template.pointer("/spec/containers")?.as_array());
        let images =
            containers.into_iter().flatten().filter_map(|container| container.get("image")?.as_str());
        images.take(IMAGES_MAX).map(|image| cut(image, IMAGE_BYTES_MAX).to_owned()).collect()
    }

    fn message(&self, trigger: Trigger, revision: i64) -> String {
        match trigger {
            Trigger::Aborted => {
                progressing(self.new).map_or(String::new(), |(_, message)| message.to_owned())
            }
            Trigger::Degraded => self.new.message.clone(),
            Trigger::Completed => format!("Rollout completed update to revision {revision}"),
            Trigger::Paused => {
                let waiting = self.new.waiting.as_ref().map(|waiting| waiting.message.as_str());
                waiting.filter(|message| !message.is_empty()).map_or_else(
                    || self.new.message.clone(),
                    |waiting| format!("{}: {waiting}", self.new.message),
                )
            }
        }
    }

    /// The one that is no success, if there is one; else that of the step, else the one in the background.
    fn analysis_run(&self) -> String {
        let runs: Vec<_> = runs(self.new).collect();
        let run = runs.iter().find(|run| is_bad(run.status)).or_else(|| runs.first());
        run.map_or(String::new(), |run| run.name.clone())
    }

    /// The one whose verdict has just come; else one that was no success before, and for which a user may have aborted. An
    /// abort forgets its runs, and the record before it need not have heard of the verdict.
    fn run_before_abort(&self) -> String {
        let views = || self.snapshot.analysis_runs.present().into_iter().flatten();
        let verdict = |run: &RolloutAnalysisRunStatus| {
            let view = views().find(|view| view.name == run.name);
            view.map_or(run.status, |view| Some(view.phase))
        };
        let bad: Vec<_> = runs(self.old).filter(|run| is_bad(verdict(run))).collect();
        let run = bad.iter().find(|run| !is_bad(run.status)).or_else(|| bad.first());
        run.map_or(String::new(), |run| run.name.clone())
    }
}

/// How far a release has come, as far as it has steps and routes.
struct Place {
    step_index: Option<i32>,
    step_count: Option<i32>,
    weight: Option<i32>,
}

/// That of the step, then the one in the background.
fn runs(status: &RolloutStatus) -> impl Iterator<Item = &RolloutAnalysisRunStatus> {
    let canary = status.canary.as_ref();
    let step = canary.and_then(|canary| canary.current_step_analysis_run_status.as_ref());
    let background = canary.and_then(|canary| canary.current_background_analysis_run_status.as_ref());
    step.into_iter().chain(background)
}

fn is_bad(phase: Option<AnalysisPhase>) -> bool {
    matches!(phase, Some(AnalysisPhase::Failed | AnalysisPhase::Error | AnalysisPhase::Inconclusive))
}

fn progressing(status: &RolloutStatus) -> Option<(&str, &str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == types::PROGRESSING)?;
    Some((&condition.reason, &condition.message))
}

fn is_aborted(status: &RolloutStatus) -> bool {
    progressing(status).is_some_and(|(reason, _)| reason == reasons::ROLLOUT_ABORTED)
}

/// Since when the spec cannot be carried out, while the phase says nothing of pauses.
fn invalid_since(status: &RolloutStatus) -> Option<&Time> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == types::INVALID_SPEC)?;
    condition.last_transition_time.as_ref()
}

fn is_promoted(status: &RolloutStatus) -> bool {
    !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash
}

/// The first bytes of a text, at most so many, whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}
