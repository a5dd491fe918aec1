//! Every patch that the plugin of Argo Rollouts sends, at every phase: docs/commands.md is made from what comes of them, and
//! a command is not lost, wherever the controller is when it comes.

use crate::server::Author;
use crate::states::{State, templated};
use crate::world::{VIRTUAL_SERVICES, World, at, template};
use headgate_driver::io::{Call, ObjectRef, Patch, Reply};
use headgate_driver::resources::{ANALYSIS_RUNS, ROLLOUTS};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

#[derive(Clone, Copy, Debug)]
enum Command {
    Promote,
    PromoteFull,
    SkipCurrentStep,
    SkipAllSteps,
    Abort,
    Retry,
    Pause,
    Restart,
    Terminate,
    Undo,
    SetImage,
}

impl Command {
    const ALL: [Self; 11] = [
        Self::Promote,
        Self::PromoteFull,
        Self::SkipCurrentStep,
        Self::SkipAllSteps,
        Self::Abort,
        Self::Retry,
        Self::Pause,
        Self::Restart,
        Self::Terminate,
        Self::Undo,
        Self::SetImage,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::SkipCurrentStep => "promote --skip-current-step",
            Self::SkipAllSteps => "promote --skip-all-steps",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Terminate => "terminate analysisrun",
            Self::Undo => "undo",
            Self::SetImage => "set image",
        }
    }

    /// Those that make sense in a state: an AnalysisRun that is not there cannot be terminated.
    fn of(state: State) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |command| state.has_run() || !matches!(command, Self::Terminate))
    }

    /// What the plugin of Argo Rollouts sends for it, in order (pkg/kubectl-argo-rollouts/cmd).
    fn sent(self, world: &World) -> Vec<Call> {
        let patched = |target: ObjectRef, patch: Patch| {
            let status = matches!(&patch, Patch::Merge(body) if body.get("status").is_some());
            Call::Patch { target, status, patch }
        };
        let templated = templated(world);
        let template_of =
            |version| json!([{ "op": "replace", "path": "/spec/template", "value": template(version) }]);
        match self {
            Self::Undo => vec![patched(templated, Patch::Json(template_of("1")))],
            Self::SetImage => {
                let image = updated(world.get(&templated), "web:3");
                vec![patched(templated, Patch::Json(image))]
            }
            Self::Terminate => vec![terminated(world.rollout())],
            _ => {
                let patches = self.patches(world.rollout(), &world.now.to_string()).into_iter();
                patches.map(|patch| patched(at(ROLLOUTS, "web"), Patch::Merge(patch))).collect()
            }
        }
    }

    /// The others are merge patches of the Rollout.
    fn patches(self, rollout: &Value, now: &str) -> Vec<Value> {
        let (spec, status) = (&rollout["spec"], &rollout["status"]);
        let unpause = (spec["paused"] == true).then(|| json!({ "spec": { "paused": false } }));
        let steps = spec["strategy"]["canary"]["steps"].as_array().map_or(0, Vec::len);
        match self {
            Self::Promote => promotion(status, steps).into_iter().chain(unpause).collect(),
            Self::PromoteFull => {
                let is_under_way = status["currentPodHash"] != status["stableRS"];
                let full = is_under_way.then(|| json!({ "status": { "promoteFull": true } }));
                full.into_iter().chain(unpause).collect()
            }
            Self::SkipCurrentStep => vec![json!({ "status": { "currentStepIndex": next(status, steps) } })],
            Self::SkipAllSteps => vec![json!({ "status": { "currentStepIndex": steps } })],
            Self::Abort => vec![json!({ "status": { "abort": true } })],
            Self::Retry => vec![json!({ "status": { "abort": false } })],
            Self::Pause => vec![json!({ "spec": { "paused": true } })],
            Self::Restart => vec![json!({ "spec": { "restartAt": now } })],
            Self::Terminate | Self::Undo | Self::SetImage => Vec::new(),
        }
    }
}

fn terminated(rollout: &Value) -> Call {
    let runs = ["currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"];
    let mut names = runs.iter().filter_map(|run| rollout["status"]["canary"][run]["name"].as_str());
    let patch = Patch::Merge(json!({ "spec": { "terminate": true } }));
    Call::Patch { target: at(ANALYSIS_RUNS, names.next().unwrap()), status: false, patch }
}

/// An update: the Rollout, or what it refers to, as it was read, with another image, if nobody else has written it since.
fn updated(read: &Value, image: &str) -> Value {
    let mut spec = read["spec"].clone();
    spec["template"]["spec"]["containers"][0]["image"] = json!(image);
    json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": read["metadata"]["resourceVersion"] },
        { "op": "replace", "path": "/spec", "value": spec },
    ])
}

fn next(status: &Value, steps: usize) -> u64 {
    status["currentStepIndex"].as_u64().map_or(1, |index| index + 1).min(steps as u64)
}

fn promotion(status: &Value, steps: usize) -> Option<Value> {
    let next = next(status, steps);
    let is_paused = status["pauseConditions"].as_array().is_some_and(|all| !all.is_empty());
    let is_inconclusive = status["canary"]["currentStepAnalysisRunStatus"]["status"] == "Inconclusive";
    if is_inconclusive && is_paused && status["controllerPause"] == true {
        let status = json!({ "pauseConditions": null, "controllerPause": false, "currentStepIndex": next });
        return Some(json!({ "status": status }));
    }
    Some(match is_paused {
        true => json!({ "status": { "pauseConditions": null } }),
        false => json!({ "status": { "pauseConditions": null, "currentStepIndex": next } }),
    })
}

/// Where the controller is when a command comes.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It waits.
    Waiting,
    /// It is not there, and another process begins afterwards.
    Down,
    /// It has decided on the Rollout as it was before, and its write is on its way.
    Writing,
}

/// How it stands at once, and how it ends.
fn outcome(state: State, command: Command, moment: Moment) -> [String; 2] {
    let mut world = state.reached();
    let before = world.rollout().clone();
    let mut on_their_way = Vec::new();
    if let Moment::Writing = moment {
        // Something else that it has to write.
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "minReadySeconds": 1 } }));
        world.deliver();
        on_their_way = world.driver.poll(world.now);
        assert!(!on_their_way.is_empty());
    }
    for call in command.sent(&world) {
        let reply = world.server.call(&call, Author::Other, world.now);
        assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
    }
    if let Moment::Down = moment {
        world.restart();
    }
    for request in on_their_way {
        world.carry_out(&request);
    }
    world.settle();
    let at_once = seen(&world, &before);
    // What the state was waiting for happens.
    world.pods_start = true;
    world.server.refusals.clear();
    world.run(200);
    [at_once, seen(&world, &before)]
}

/// Phase, version, step and weight, and what users have asked for.
fn seen(world: &World, before: &Value) -> String {
    let (spec, status) = (&world.rollout()["spec"], &world.rollout()["status"]);
    let template = &world.get(&templated(world))["spec"]["template"];
    let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let version = image.trim_start_matches("web:");
    let phase = status["phase"].as_str().unwrap_or_default();
    let weight = &world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0]["route"][1]["weight"];
    let mut text = phase.to_owned();
    if status["currentPodHash"] == status["stableRS"] {
        let is_new = status["stableRS"] != before["status"]["stableRS"];
        let _ = write!(text, ", version {version}{}", if is_new { " is stable now" } else { "" });
    } else {
        let steps = spec["strategy"]["canary"]["steps"].as_array().map_or(0, Vec::len) as u64;
        let step = match status["currentStepIndex"].as_u64() {
            Some(index) if index < steps => format!("at step {}/{steps}", index + 1),
            Some(_) if steps > 0 => "after its steps".to_owned(),
            _ => "at no step".to_owned(),
        };
        let _ = write!(text, ", version {version} {step}, {weight} %");
    }
    for (flag, word) in [("abort", "aborted"), ("promoteFull", "to be promoted in full")] {
        if status[flag] == true {
            let _ = write!(text, ", {word}");
        }
    }
    if spec["paused"] == true {
        text.push_str(", paused by the user");
    }
    let [asked, asked_before] = [&spec["restartAt"], &before["spec"]["restartAt"]];
    if !asked.is_null() {
        text.push_str(if *asked == status["restartedAt"] { ", restarted" } else { ", to be restarted" });
        text.push_str(if asked_before.is_null() || asked == asked_before { "" } else { " again" });
    }
    text
}

/// What comes of each command when the controller waits; all tests look at it.
static WHILE_IT_WAITS: LazyLock<Vec<(State, Command, [String; 2])>> = LazyLock::new(|| {
    let all =
        State::ALL.into_iter().flat_map(|state| Command::of(state).map(move |command| (state, command)));
    all.map(|(state, command)| (state, command, outcome(state, command, Moment::Waiting))).collect()
});

fn page() -> String {
    let mut page = "<!-- Made by the test `commands` of crates/driver: do not edit. -->\n\n\
        # Commands, phase by phase\n\n\
        What comes of each command of `kubectl argo rollouts` at each phase, sent exactly as that plugin sends it; \
        `kubectl headgate`\nsends the same, guarded so that a command meant for one version or step is refused at another. \
        A command is not lost when\nthe controller is away, or just writing, when it comes: the test that makes this page \
        tries each of them in all three ways.\n\n\
        The Rollout has the steps 25 %, a pause or an analysis, 50 %, a pause; version 1 is stable, version 2 is released.\n\
        *At once* is before any time has passed; *in the end* is 200 s later, when pods have started. A Rollout is *to be\n\
        restarted* while pods are left that are older than `restart` wants them, and *restarted* once there are none: the\n\
        last pod of a version that serves stays until that version has another one.\n"
        .to_owned();
    for state in State::ALL {
        let before = seen(&state.reached(), &Value::Null).replace(" is stable now", " is stable");
        let _ = write!(
            page,
            "\n## {}\n\n{before}\n\n| command | at once | in the end |\n| --- | --- | --- |\n",
            state.title()
        );
        let of_state = WHILE_IT_WAITS.iter().filter(|(one, ..)| *one == state);
        for (_, command, [at_once, in_the_end]) in of_state {
            let _ = writeln!(page, "| `{}` | {at_once} | {in_the_end} |", command.name());
        }
    }
    page
}

#[test]
fn the_table_of_commands_and_phases_says_what_comes_of_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/commands.md");
    let page = page();
    if std::env::var_os("HEADGATE_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "run `HEADGATE_UPDATE=1 cargo test -p headgate-driver commands`, and read what changed"
    );
}

/// The commands that end otherwise when they come at this moment.
fn lost(moment: Moment) -> Vec<String> {
    let mut lost = Vec::new();
    for (state, command, [_, expected]) in WHILE_IT_WAITS.iter() {
        let [_, end] = outcome(*state, *command, moment);
        if end != *expected {
            lost.push(format!("{state:?} {command:?}: {end}; else {expected}"));
        }
    }
    lost
}

#[test]
fn no_command_is_lost_while_the_controller_is_down() {
    assert_eq!(lost(Moment::Down), [""; 0]);
}

#[test]
fn no_command_is_lost_in_the_middle_of_a_write() {
    assert_eq!(lost(Moment::Writing), [""; 0]);
}
