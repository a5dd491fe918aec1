//! Every patch that the plugin of Argo Rollouts sends, at every phase: docs/commands.md is made from what comes of them, and
//! a command is not lost, wherever the controller is when it comes.

use crate::server::Author;
use crate::world::{VIRTUAL_SERVICES, World, at, routed, service, template, virtual_service};
use headgate_driver::io::{Call, Patch, Reply, Resource};
use headgate_driver::resources::{ROLLOUTS, SERVICES};
use headgate_model::Reply as Measured;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

const TEMPLATES: Resource = Resource {
    group: "argoproj.io",
    version: "v1alpha1",
    kind: "AnalysisTemplate",
    plural: "analysistemplates",
    namespaced: true,
};

/// Where a Rollout may be when a command comes.
#[derive(Clone, Copy, Debug)]
enum State {
    Healthy,
    PodsAwaited,
    Paused,
    PausedByUser,
    AnalysisRunning,
    Inconclusive,
    Aborted,
    Overdue,
    PromotedInFull,
    InvalidSpec,
    FirstAnalysed,
    Baking,
    Held,
}

impl State {
    const ALL: [Self; 13] = [
        Self::Healthy,
        Self::PodsAwaited,
        Self::Paused,
        Self::PausedByUser,
        Self::AnalysisRunning,
        Self::Inconclusive,
        Self::Aborted,
        Self::Overdue,
        Self::PromotedInFull,
        Self::InvalidSpec,
        Self::FirstAnalysed,
        Self::Baking,
        Self::Held,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Healthy => "Nothing is released",
            Self::PodsAwaited => "A step waits for pods",
            Self::Paused => "Paused by a step",
            Self::PausedByUser => "Paused by the user, at a pause of the steps",
            Self::AnalysisRunning => "A step waits for its analysis",
            Self::Inconclusive => "Paused by an inconclusive analysis",
            Self::Aborted => "Aborted",
            Self::Overdue => "The progress deadline has passed",
            Self::PromotedInFull => "Promoted in full, pods awaited",
            Self::InvalidSpec => "The spec cannot be carried out",
            Self::FirstAnalysed => "The first version is analysed (`initial: analyse`)",
            Self::Baking => "The new version bakes (`bake`)",
            Self::Held => "Held by a failed analysis (`onFailure: hold`)",
        }
    }

    fn reached(self) -> World {
        let mut world = World::new();
        world.provider = match self {
            Self::Inconclusive => Box::new(|_| Some(measured("0.5"))),
            Self::Held => Box::new(|_| Some(measured("0"))),
            _ => Box::new(|_| None),
        };
        world.create(SERVICES, service("web-stable"));
        world.create(SERVICES, service("web-canary"));
        world.create(VIRTUAL_SERVICES, virtual_service());
        world.create(TEMPLATES, analysis());
        let mut rollout = routed();
        let canary = &mut rollout["spec"]["strategy"]["canary"];
        canary["steps"] = self.steps();
        match self {
            Self::FirstAnalysed => canary["initial"] = json!("analyse"),
            Self::Baking => canary["bake"] = json!({ "duration": "1h" }),
            _ => {}
        }
        world.create(ROLLOUTS, rollout);
        world.run(60);
        self.lead_to(&mut world);
        world
    }

    /// 25 %, then what the state is about, 50 % and a pause.
    fn steps(self) -> Value {
        let middle = match self {
            Self::AnalysisRunning | Self::Inconclusive | Self::FirstAnalysed => {
                json!({ "analysis": { "templates": [{ "templateName": "watch" }] } })
            }
            Self::Held => {
                json!({ "analysis": { "templates": [{ "templateName": "watch" }], "onFailure": "hold" } })
            }
            Self::Baking => json!({ "setWeight": 30 }),
            _ => json!({ "pause": {} }),
        };
        let last = if let Self::Baking = self { json!({ "setWeight": 60 }) } else { json!({ "pause": {} }) };
        json!([{ "setWeight": 25 }, middle, { "setWeight": 50 }, last])
    }

    fn lead_to(self, world: &mut World) {
        let rollout = || at(ROLLOUTS, "web");
        world.pods_start = !matches!(self, Self::PodsAwaited | Self::Overdue | Self::PromotedInFull);
        if let Self::Overdue = self {
            world.edit(rollout(), json!({ "spec": { "progressDeadlineSeconds": 20 } }));
        }
        match self {
            Self::Healthy | Self::FirstAnalysed => return,
            Self::InvalidSpec => {
                world.edit(rollout(), json!({ "spec": { "template": template("2") } }));
                world.run(10);
                world.edit(rollout(), json!({ "spec": { "strategy": { "canary": { "maxSurge": "x" } } } }));
            }
            _ => world.edit(rollout(), json!({ "spec": { "template": template("2") } })),
        }
        world.run(30);
        match self {
            Self::PausedByUser => world.edit(rollout(), json!({ "spec": { "paused": true } })),
            Self::Aborted => world.edit(rollout(), json!({ "status": { "abort": true } })),
            Self::PromotedInFull => world.edit(rollout(), json!({ "status": { "promoteFull": true } })),
            _ => {}
        }
        world.run(5);
    }
}

fn analysis() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "watch", "namespace": "shop" },
        "spec": { "metrics": [{
            "name": "success", "count": 1,
            "successCondition": "result[0] > 0.9", "failureCondition": "result[0] < 0.1",
            "provider": { "prometheus": { "address": "http://prometheus", "query": "up" } },
        }]},
    })
}

fn measured(value: &str) -> Measured {
    let body = json!({ "status": "success",
        "data": { "resultType": "vector", "result": [{ "metric": {}, "value": [0, value] }] } });
    Measured::Http { status: 200, body: body.to_string(), truncated: false }
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Promote,
    PromoteFull,
    SkipAllSteps,
    Abort,
    Retry,
    Pause,
    Restart,
    Undo,
    SetImage,
}

impl Command {
    const ALL: [Self; 9] = [
        Self::Promote,
        Self::PromoteFull,
        Self::SkipAllSteps,
        Self::Abort,
        Self::Retry,
        Self::Pause,
        Self::Restart,
        Self::Undo,
        Self::SetImage,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote --full",
            Self::SkipAllSteps => "promote --skip-all-steps",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Undo => "undo",
            Self::SetImage => "set image",
        }
    }

    /// What the plugin of Argo Rollouts sends for it, in order (pkg/kubectl-argo-rollouts/cmd).
    fn sent(self, rollout: &Value) -> Vec<Patch> {
        let template_of =
            |version| json!([{ "op": "replace", "path": "/spec/template", "value": template(version) }]);
        match self {
            Self::Undo => vec![Patch::Json(template_of("1"))],
            Self::SetImage => vec![Patch::Json(updated(rollout, "web:3"))],
            _ => self.patches(rollout).into_iter().map(Patch::Merge).collect(),
        }
    }

    /// All but two commands are merge patches.
    fn patches(self, rollout: &Value) -> Vec<Value> {
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
            Self::SkipAllSteps => vec![json!({ "status": { "currentStepIndex": steps } })],
            Self::Abort => vec![json!({ "status": { "abort": true } })],
            Self::Retry => vec![json!({ "status": { "abort": false } })],
            Self::Pause => vec![json!({ "spec": { "paused": true } })],
            Self::Restart => vec![json!({ "spec": { "restartAt": "2026-11-21T09:00:01Z" } })],
            Self::Undo | Self::SetImage => Vec::new(),
        }
    }
}

/// An update: the Rollout as it was read, with another image, if nobody else has written it since.
fn updated(rollout: &Value, image: &str) -> Value {
    let mut spec = rollout["spec"].clone();
    spec["template"]["spec"]["containers"][0]["image"] = json!(image);
    json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": rollout["metadata"]["resourceVersion"] },
        { "op": "replace", "path": "/spec", "value": spec },
    ])
}

fn promotion(status: &Value, steps: usize) -> Option<Value> {
    let next = status["currentStepIndex"].as_u64().map_or(1, |index| index + 1);
    let next = next.min(steps as u64);
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
    let stable_before = world.rollout()["status"]["stableRS"].clone();
    let mut on_their_way = Vec::new();
    if let Moment::Writing = moment {
        // Something else that it has to write.
        world.edit(at(ROLLOUTS, "web"), json!({ "spec": { "minReadySeconds": 1 } }));
        world.deliver();
        on_their_way = world.driver.poll(world.now);
        assert!(!on_their_way.is_empty());
    }
    for patch in command.sent(world.rollout()) {
        send(&mut world, patch);
    }
    if let Moment::Down = moment {
        world.restart();
    }
    for request in on_their_way {
        world.carry_out(&request);
    }
    world.settle();
    let at_once = seen(&world, &stable_before);
    // What the state was waiting for happens.
    world.pods_start = true;
    world.run(200);
    [at_once, seen(&world, &stable_before)]
}

fn send(world: &mut World, patch: Patch) {
    let status = matches!(&patch, Patch::Merge(body) if body.get("status").is_some());
    let call = Call::Patch { target: at(ROLLOUTS, "web"), status, patch };
    let reply = world.server.call(&call, Author::Other, world.now);
    assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
}

/// Phase, version, step and weight.
fn seen(world: &World, stable_before: &Value) -> String {
    let (spec, status) = (&world.rollout()["spec"], &world.rollout()["status"]);
    let image = spec["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let version = image.trim_start_matches("web:");
    let phase = status["phase"].as_str().unwrap_or_default();
    let weight = &world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0]["route"][1]["weight"];
    let mut text = phase.to_owned();
    if status["currentPodHash"] == status["stableRS"] {
        let is_new = status["stableRS"] != *stable_before;
        let _ = write!(text, ", version {version}{}", if is_new { " is stable now" } else { "" });
    } else {
        let step = match status["currentStepIndex"].as_u64() {
            Some(index @ ..4) => format!("at step {}/4", index + 1),
            Some(_) => "after its steps".to_owned(),
            None => "at no step".to_owned(),
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
    text
}

fn page() -> String {
    let mut page = "<!-- Made by the test `commands` of crates/driver: do not edit. -->\n\n\
        # Commands, phase by phase\n\n\
        What comes of each command of `kubectl argo rollouts` at each phase, sent exactly as that plugin sends it; \
        `kubectl headgate`\nsends the same, guarded so that a command meant for one version or step is refused at another. \
        A command is not lost when\nthe controller is away, or just writing, when it comes: the test that makes this page \
        tries each of them in all three ways.\n\n\
        The Rollout has the steps 25 %, a pause or an analysis, 50 %, a pause; version 1 is stable, version 2 is released.\n\
        *At once* is before any time has passed; *in the end* is 200 s later, when pods have started.\n"
        .to_owned();
    for state in State::ALL {
        let before = seen(&state.reached(), &Value::Null).replace(" is stable now", " is stable");
        let _ = write!(
            page,
            "\n## {}\n\n{before}\n\n| command | at once | in the end |\n| --- | --- | --- |\n",
            state.title()
        );
        for command in Command::ALL {
            let [at_once, in_the_end] = outcome(state, command, Moment::Waiting);
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

#[test]
fn no_command_is_lost_while_the_controller_is_down_or_in_the_middle_of_a_write() {
    let mut lost = Vec::new();
    for state in State::ALL {
        for command in Command::ALL {
            let [_, expected] = outcome(state, command, Moment::Waiting);
            for moment in [Moment::Down, Moment::Writing] {
                let [_, end] = outcome(state, command, moment);
                if end != expected {
                    lost.push(format!("{state:?} {command:?} {moment:?}: {end}; else {expected}"));
                }
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}
