//! Every patch that the plugin of Argo Rollouts sends, at every phase: docs/commands.md is made from what comes of them, and
//! a command is not lost, wherever the controller is when it comes.

use crate::server::Author;
use crate::states::{State, templated};
use crate::world::{VIRTUAL_SERVICES, World, at};
use headgate_api::labels::{POD_TEMPLATE_HASH, REVISION};
use headgate_driver::io::{Call, ObjectRef, Patch, Reply};
use headgate_driver::resources::{ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::cmp::Reverse;
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
    RestartLater,
    Terminate,
    Undo,
    UndoToFirst,
    SetImage,
}

impl Command {
    const ALL: [Self; 13] = [
        Self::Promote,
        Self::PromoteFull,
        Self::SkipCurrentStep,
        Self::SkipAllSteps,
        Self::Abort,
        Self::Retry,
        Self::Pause,
        Self::Restart,
        Self::RestartLater,
        Self::Terminate,
        Self::Undo,
        Self::UndoToFirst,
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
            Self::RestartLater => "restart --in 1m",
            Self::Terminate => "terminate analysisrun",
            Self::Undo => "undo",
            Self::UndoToFirst => "undo --to-revision 1",
            Self::SetImage => "set image",
        }
    }

    /// Those that make sense in a state: an AnalysisRun that is not there cannot be terminated.
    fn of(state: State) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |command| state.has_run() || !matches!(command, Self::Terminate))
    }

    /// What the plugin of Argo Rollouts sends for it, in order (pkg/kubectl-argo-rollouts/cmd, release 1.10.1), or its
    /// message where it refuses.
    fn sent(self, world: &World) -> Result<Vec<Call>, &'static str> {
        let rollout = world.rollout();
        let calls = match self {
            Self::Undo => undone(world, None)?,
            Self::UndoToFirst => undone(world, Some(1))?,
            Self::SetImage => vec![updated(world, "web:3")],
            Self::Terminate => vec![terminated(rollout)],
            Self::SkipCurrentStep | Self::SkipAllSteps if steps(rollout) == 0 => {
                return Err("Cannot skip steps of a rollout without steps");
            }
            _ => {
                let patches = self.patches(rollout, world.now).into_iter();
                patches.map(|patch| patched(at(ROLLOUTS, "web"), Patch::Merge(patch))).collect()
            }
        };
        Ok(calls)
    }

    /// The others are merge patches of the Rollout.
    fn patches(self, rollout: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&rollout["spec"], &rollout["status"]);
        let unpause = (spec["paused"] == true).then(|| json!({ "spec": { "paused": false } }));
        match self {
            Self::Promote => promotion(rollout).into_iter().chain(unpause).collect(),
            Self::PromoteFull => {
                let is_under_way = status["currentPodHash"] != status["stableRS"];
                let full = is_under_way.then(|| json!({ "status": { "promoteFull": true } }));
                full.into_iter().chain(unpause).collect()
            }
            Self::SkipCurrentStep => vec![json!({ "status": { "currentStepIndex": next(rollout) } })],
            Self::SkipAllSteps => vec![json!({ "status": { "currentStepIndex": steps(rollout) } })],
            Self::Abort => vec![json!({ "status": { "abort": true } })],
            Self::Retry => vec![json!({ "status": { "abort": false } })],
            Self::Pause => vec![json!({ "spec": { "paused": true } })],
            Self::Restart => vec![json!({ "spec": { "restartAt": now.to_string() } })],
            Self::RestartLater => {
                let at = now + SignedDuration::from_mins(1);
                vec![json!({ "spec": { "restartAt": at.to_string() } })]
            }
            Self::Terminate | Self::Undo | Self::UndoToFirst | Self::SetImage => Vec::new(),
        }
    }
}

fn patched(target: ObjectRef, patch: Patch) -> Call {
    let status = matches!(&patch, Patch::Merge(body) if body.get("status").is_some());
    Call::Patch { target, status, patch }
}

fn terminated(rollout: &Value) -> Call {
    let runs = ["currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"];
    let mut names = runs.iter().filter_map(|run| rollout["status"]["canary"][run]["name"].as_str());
    let patch = Patch::Merge(json!({ "spec": { "terminate": true } }));
    patched(at(ANALYSIS_RUNS, names.next().unwrap()), patch)
}

/// An update: the Rollout, or what it refers to, as it was read, with another image, if nobody else has written it since.
fn updated(world: &World, image: &str) -> Call {
    let templated = templated(world);
    let read = world.get(&templated);
    let mut spec = read["spec"].clone();
    spec["template"]["spec"]["containers"][0]["image"] = json!(image);
    let operations = json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": read["metadata"]["resourceVersion"] },
        { "op": "replace", "path": "/spec", "value": spec },
    ]);
    patched(templated, Patch::Json(operations))
}

/// Back to the template of this revision, or of the second newest one, as its ReplicaSet has it.
fn undone(world: &World, to: Option<i64>) -> Result<Vec<Call>, &'static str> {
    let uid = &world.rollout()["metadata"]["uid"];
    let is_ours = |set: &Value| set["metadata"]["ownerReferences"][0]["uid"] == *uid;
    let sets = world.server.objects.iter().filter(|(target, _)| target.resource == REPLICA_SETS);
    let mut sets: Vec<&Value> = sets.map(|(_, set)| set).filter(|set| is_ours(set)).collect();
    sets.sort_by_key(|set| Reverse(revision(set)));
    let wanted = match to {
        None => sets.get(1).ok_or("no revision found for rollout \"web\"")?,
        Some(to) => {
            let found = sets.iter().find(|set| revision(set) == to);
            found.ok_or("unable to find specified revision 1 in history")?
        }
    };
    let mut template = wanted["spec"]["template"].clone();
    template["metadata"]["labels"].as_object_mut().unwrap().remove(POD_TEMPLATE_HASH);
    if template == world.get(&templated(world))["spec"]["template"] {
        return Ok(Vec::new());
    }
    for container in template["spec"]["containers"].as_array_mut().unwrap() {
        // A Go client writes it although it is empty.
        container["resources"] = json!({});
    }
    let operations = json!([{ "op": "replace", "path": "/spec/template", "value": template }]);
    Ok(vec![patched(templated(world), Patch::Json(operations))])
}

fn revision(set: &Value) -> i64 {
    set["metadata"]["annotations"][REVISION].as_str().unwrap().parse().unwrap()
}

fn steps(rollout: &Value) -> u64 {
    rollout["spec"]["strategy"]["canary"]["steps"].as_array().map_or(0, Vec::len) as u64
}

/// The step after the current one, or the end of the steps.
fn next(rollout: &Value) -> u64 {
    let index = rollout["status"]["currentStepIndex"].as_u64().unwrap_or(0);
    if index < steps(rollout) { index + 1 } else { index }
}

/// `None`: without steps there is nothing but a pause to end.
fn promotion(rollout: &Value) -> Option<Value> {
    let status = &rollout["status"];
    let next = (steps(rollout) > 0).then(|| next(rollout));
    let is_paused = status["pauseConditions"].as_array().is_some_and(|all| !all.is_empty());
    let is_inconclusive = status["canary"]["currentStepAnalysisRunStatus"]["status"] == "Inconclusive";
    if is_inconclusive && is_paused && status["controllerPause"] == true {
        let body =
            |next| json!({ "pauseConditions": null, "controllerPause": false, "currentStepIndex": next });
        return next.map(|next| json!({ "status": body(next) }));
    }
    match is_paused {
        true => Some(json!({ "status": { "pauseConditions": null } })),
        false => next.map(|next| json!({ "status": { "pauseConditions": null, "currentStepIndex": next } })),
    }
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
    let sent = command.sent(&world);
    for call in sent.iter().flatten() {
        let reply = world.server.call(call, Author::Other, world.now);
        assert!(matches!(reply, Reply::Object(_)), "{reply:?}");
    }
    if let Moment::Down = moment {
        world.restart();
    }
    for request in on_their_way {
        world.carry_out(&request);
    }
    world.settle();
    let at_once = match sent {
        Err(refusal) => format!("refused: {refusal}"),
        Ok(calls) if calls.is_empty() => format!("nothing is sent: {}", seen(&world, &before)),
        Ok(_) => seen(&world, &before),
    };
    // What the state was waiting for happens.
    world.pods_start = true;
    world.server.refusals.clear();
    world.run(200);
    [at_once, seen(&world, &before)]
}

/// The ReplicaSet that the status names.
fn newest_set(world: &World) -> Option<&Value> {
    let newest = &world.rollout()["status"]["currentPodHash"];
    let mut sets = world.server.objects.iter().filter(|(target, _)| target.resource == REPLICA_SETS);
    sets.find(|(_, set)| set["metadata"]["labels"][POD_TEMPLATE_HASH] == *newest).map(|(_, set)| set)
}

/// What the newest version gets: of requests, or without a router of pods.
fn share(world: &World) -> String {
    let spec = &world.rollout()["spec"];
    if !spec["strategy"]["canary"]["trafficRouting"].is_null() {
        let routes = &world.get(&at(VIRTUAL_SERVICES, "web"))["spec"]["http"][0]["route"];
        return format!("{} %", routes[1]["weight"]);
    }
    let set = newest_set(world).unwrap();
    format!("{}/{} pods", set["status"]["availableReplicas"].as_i64().unwrap_or(0), spec["replicas"])
}

/// The pod template that the status speaks of: that of the spec, unless it was not taken up.
fn taken_up(world: &World) -> &Value {
    newest_set(world).map_or(&Value::Null, |set| &set["spec"]["template"])
}

fn version_of(template: &Value) -> &str {
    let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    image.trim_start_matches("web:")
}

/// Phase, version, step and weight, and what users have asked for.
fn seen(world: &World, before: &Value) -> String {
    let (spec, status) = (&world.rollout()["spec"], &world.rollout()["status"]);
    let [version, wanted] =
        [taken_up(world), &world.get(&templated(world))["spec"]["template"]].map(version_of);
    let phase = status["phase"].as_str().unwrap_or_default();
    let mut text = phase.to_owned();
    if status["currentPodHash"] == status["stableRS"] {
        let is_new = status["stableRS"] != before["status"]["stableRS"];
        let _ = write!(text, ", version {version}{}", if is_new { " is stable now" } else { "" });
    } else {
        let steps = steps(world.rollout());
        let step = match status["currentStepIndex"].as_u64() {
            Some(index) if index < steps => format!("at step {}/{steps}", index + 1),
            Some(_) if steps > 0 => "after its steps".to_owned(),
            _ => "at no step".to_owned(),
        };
        let _ = write!(text, ", version {version} {step}, {}", share(world));
    }
    if wanted != version {
        let _ = write!(text, ", version {wanted} asked for");
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
        What comes of each command of `kubectl argo rollouts` at each phase, sent exactly as that plugin (release 1.10.1) sends\n\
        it; `kubectl headgate` sends the same, guarded so that a command meant for one version or step is refused at another. A\n\
        command is not lost when the controller is away, or just writing, when it comes: the test that makes this page tries\n\
        each of them in all three ways.\n\n\
        All are patches but `set image`, which updates the whole object as it was read, and tries again where somebody else has\n\
        written it since. There is no command that resumes: `promote` ends a pause of the user, too. Where the plugin refuses by\n\
        itself, *refused* and its message stand here; where it sends nothing and reports success all the same, *nothing is sent*.\n\n\
        The Rollout has the steps 25 %, a pause or an analysis, 50 %, a pause; version 1 is stable, version 2 is released.\n\
        Percentages are of requests; without a router there are pods instead. *At once* is before any time has passed; *in the\n\
        end* is 200 s later, when pods have started. A Rollout is *to be restarted* while pods are left that are older than\n\
        `restart` wants them, and *restarted* once there are none: the last pod of a version that serves stays until that version\n\
        has another one.\n"
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
