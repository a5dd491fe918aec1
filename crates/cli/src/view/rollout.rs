//! A Rollout with everything below it.

use super::Detail;
use super::age::human;
use super::images::images;
use super::paint::{Icon, Palette, State, Text};
use super::replica_set::{Roles, Tag};
use super::scene::{Scene, is_owned, name};
use super::tree::tree;
use super::waiting;
use super::weight::weights;
use crate::intent::{canary, current_step};
use crate::phase::standing;
use headgate_api::{Rollout, RolloutPhase, RolloutStatus};
use k8s_openapi::jiff::Timestamp;

/// Width of the names of the header lines.
const LABEL_WIDTH: usize = 17;

/// The whole view: header, tree, and what is waited for.
#[must_use]
pub fn view(scene: &Scene, detail: Detail, palette: Palette, now: Timestamp) -> String {
    let header = header(scene, palette, now);
    let tree = tree(scene, detail, palette, now);
    let footer = waiting::footer(&scene.rollout, now);
    format!("{header}\n{tree}{footer}")
}

/// How a Rollout stands.
#[must_use]
pub fn state(rollout: &Rollout) -> State {
    let phase = standing(rollout).phase;
    let icon = match phase {
        RolloutPhase::Healthy => Icon::Ok,
        RolloutPhase::Progressing => Icon::Progressing,
        RolloutPhase::Paused => Icon::Paused,
        RolloutPhase::Degraded => Icon::Bad,
    };
    State::new(icon, phase.as_str())
}

/// The name of its strategy; nothing when it has none.
#[must_use]
pub fn strategy(rollout: &Rollout) -> &'static str {
    let strategy = rollout.spec.strategy.as_ref();
    if strategy.is_some_and(|strategy| strategy.canary.is_some()) {
        "Canary"
    } else if strategy.is_some_and(|strategy| strategy.blue_green.is_some()) {
        "BlueGreen"
    } else {
        ""
    }
}

/// The current step and the number of steps, as `2/5`.
#[must_use]
pub fn step(rollout: &Rollout) -> Option<String> {
    let status = rollout.status.as_ref()?;
    status.current_step_index?;
    let step = current_step(canary(rollout)?, status)?;
    Some(format!("{}/{}", step.index, step.count))
}

/// The restart that is asked for and not done.
fn restart(rollout: &Rollout, now: Timestamp) -> Option<String> {
    let at = rollout.spec.restart_at.as_ref()?;
    let done = rollout.status.as_ref().and_then(|status| status.restarted_at.as_ref());
    let left = at.0.as_second() - now.as_second();
    if done.is_some_and(|done| done.0.as_second() == at.0.as_second()) {
        return None;
    }
    let at = Timestamp::from_second(at.0.as_second()).unwrap_or(at.0);
    Some(match left {
        ..=0 => format!("pods created before {at} are replaced"),
        left => format!("at {at} (in {})", human(left)),
    })
}

/// The workload that the pod template comes from, and how far its own pods have given way.
fn template(rollout: &Rollout, status: &RolloutStatus) -> Option<String> {
    let workload = rollout.spec.workload_ref.as_ref()?;
    let (kind, name) = (workload.kind.as_deref()?, workload.name.as_deref()?);
    let hand_over = status.headgate.as_ref().and_then(|memory| memory.hand_over.as_ref());
    let progress = hand_over
        .map(|hand_over| format!(", gives way: {} of {} pods left", hand_over.reached, hand_over.from));
    Some(format!("{kind} {name}{}", progress.unwrap_or_default()))
}

fn header(scene: &Scene, palette: Palette, now: Timestamp) -> String {
    let rollout = &scene.rollout;
    let default = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&default);
    let message = standing(rollout).message;
    let mut lines: Vec<(&str, Text)> = vec![
        ("Name:", name(&rollout.metadata).into()),
        ("Namespace:", rollout.metadata.namespace.clone().unwrap_or_default().into()),
        ("Status:", state(rollout).text()),
    ];
    if !message.is_empty() {
        lines.push(("Message:", message.into()));
    }
    if let Some(restart) = restart(rollout, now) {
        lines.push(("Restart:", restart.into()));
    }
    lines.push(("Strategy:", strategy(rollout).into()));
    if let Some(weights) = weights(rollout, canary_available(scene)) {
        lines.push(("  Step:", step(rollout).unwrap_or_default().into()));
        lines.push(("  SetWeight:", weights.set.to_string().into()));
        lines.push(("  ActualWeight:", weights.actual.to_string().into()));
    }
    if let Some(template) = template(rollout, status) {
        lines.push(("Template:", template.into()));
    }
    for (index, image) in images(scene).into_iter().enumerate() {
        lines.push((if index == 0 { "Images:" } else { "" }, image));
    }
    lines.push(("Replicas:", Text::default()));
    for (label, count) in [
        ("  Desired:", rollout.spec.replicas.unwrap_or(1)),
        ("  Current:", status.replicas),
        ("  Updated:", status.updated_replicas),
        ("  Ready:", status.ready_replicas),
        ("  Available:", status.available_replicas),
    ] {
        lines.push((label, count.to_string().into()));
    }
    let line = |(label, value): (&str, Text)| {
        format!("{}\n", format!("{label:LABEL_WIDTH$}{}", value.painted(palette)).trim_end())
    };
    lines.into_iter().map(line).collect()
}

/// Number of available pods of the new version.
fn canary_available(scene: &Scene) -> i32 {
    let uid = scene.rollout.metadata.uid.as_ref();
    let roles = Roles::of(&scene.rollout);
    let sets = scene.replica_sets.iter().filter(|set| is_owned(&set.metadata, uid));
    sets.filter(|set| roles.tags(set).contains(&Tag::Canary))
        .filter_map(|set| set.status.as_ref()?.available_replicas)
        .sum()
}
