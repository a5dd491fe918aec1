//! What people see of Rollouts that Argo Rollouts has left on a real cluster.
#![cfg(test)]

use headgate_api::{Rollout, Waiting};
use headgate_cli::view::{Detail, Palette, Scene, list, rollout, waiting};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;

/// A little after the fixtures were recorded.
const NOW: &str = "2026-11-21T08:20:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn scene(fixture: &str) -> Scene {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{fixture}.yaml"));
    let text = std::fs::read_to_string(path).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let rollout = of_kind(&objects, "Rollout").pop().unwrap();
    let mut scene = Scene::new(rollout);
    scene.replica_sets = of_kind(&objects, "ReplicaSet");
    scene.pods = of_kind(&objects, "Pod");
    scene.analysis_runs = of_kind(&objects, "AnalysisRun");
    scene.experiments = of_kind(&objects, "Experiment");
    scene
}

fn of_kind<K: DeserializeOwned>(objects: &[Value], kind: &str) -> Vec<K> {
    let chosen = objects.iter().filter(|object| object["kind"] == kind);
    chosen.map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}

macro_rules! golden {
    ($($test:ident: $fixture:literal,)*) => {
        $(
            #[test]
            fn $test() {
                insta::assert_snapshot!($fixture, rollout::view(&scene($fixture), Detail::Normal, Palette::Plain, now()));
            }
        )*

        #[test]
        fn rollouts_as_a_list() {
            let rollouts: Vec<Rollout> = [$($fixture),*].map(|fixture| scene(fixture).rollout).into();
            let column = list::NamespaceColumn::Shown;
            let table = |detail| list::list(&rollouts, column, detail, Palette::Plain, now());
            insta::assert_snapshot!("list", table(Detail::Normal));
            insta::assert_snapshot!("list_wide", table(Detail::Wide));
        }

        #[test]
        fn why_without_a_stored_answer_is_told_from_the_status() {
            let answers = [$($fixture),*].map(|fixture| {
                waiting::why(&scene(fixture).rollout, "kubectl headgate", now())
            });
            insta::assert_snapshot!("why", answers.join("\n"));
        }
    };
}

golden! {
    a_canary_without_router_in_the_middle: "midpause",
    a_steady_rollout: "steady",
    an_aborted_canary: "aborted",
    a_canary_behind_istio: "istio",
    an_aborted_canary_behind_istio_keeps_its_pods_for_a_while: "istioaborted",
    an_abort_by_analysis: "analysisfailed",
    an_analysis_in_the_background_with_its_job: "background",
    an_analysis_step: "stepanalysis",
    an_experiment_with_its_versions: "experiment",
    pods_that_do_not_start: "degraded",
    a_rollout_paused_by_hand: "specpaused",
    a_timed_pause: "timedpause",
    a_blue_green_release_before_the_switch: "bgpaused",
    a_blue_green_release_after_the_switch: "bgswitched",
    a_rollout_with_dynamic_stable_scale: "dynamic",
    a_rollout_that_refers_to_a_deployment: "wref",
}

fn waits(waiting: Value) -> Rollout {
    let mut rollout = scene("midpause").rollout;
    let status = rollout.status.as_mut().unwrap();
    status.waiting = Some(serde_json::from_value::<Waiting>(waiting).unwrap());
    rollout
}

#[test]
fn what_the_controller_has_stored_is_the_answer_to_why() {
    let rollout = waits(json!({
        "kind": "UserPromotion",
        "message": "step 4/5 is a pause without a duration",
        "since": "2026-11-21T08:15:50Z",
        "endsWith": "kubectl headgate promote midpause",
    }));
    insta::assert_snapshot!(waiting::why(&rollout, "kubectl headgate", now()), @r"
    midpause waits for a promotion since 08:15:50 UTC (4m10s):
      step 4/5 is a pause without a duration
    ends with: kubectl headgate promote midpause
    ");
    assert!(
        rollout::view(&Scene::new(rollout), Detail::Normal, Palette::Plain, now())
            .ends_with("\n\nmidpause waits for a promotion since 08:15:50 UTC (4m10s):\n  step 4/5 is a pause without a duration\nends with: kubectl headgate promote midpause\n")
    );
}

#[test]
fn a_wait_with_a_deadline_says_how_long_it_is_off() {
    let rollout = waits(json!({
        "kind": "PodsAvailable",
        "message": "2 of 3 pods of version b7b5956f9 are available",
        "since": "2026-11-19T08:00:00Z",
        "until": "2026-11-21T08:29:00Z",
        "endsWith": "a third available pod; otherwise progressDeadlineSeconds makes the rollout Degraded",
    }));
    insta::assert_snapshot!(waiting::why(&rollout, "kubectl headgate", now()), @r"
    midpause waits for pods to become available since 2026-11-19 08:00:00 UTC (2d):
      2 of 3 pods of version b7b5956f9 are available
    until 08:29:00 UTC (in 9m)
    ends with: a third available pod; otherwise progressDeadlineSeconds makes the rollout Degraded
    ");
}

#[test]
fn a_restart_is_shown_until_it_is_done() {
    let shown = |at: Value, done: Value| {
        let mut scene = scene("steady");
        scene.rollout.spec.restart_at = serde_json::from_value(at).unwrap();
        scene.rollout.status.as_mut().unwrap().restarted_at = serde_json::from_value(done).unwrap();
        let view = rollout::view(&scene, Detail::Normal, Palette::Plain, now());
        view.lines().find(|line| line.starts_with("Restart:")).map(str::to_owned)
    };
    let (past, future) = ("2026-11-21T08:19:00Z", "2026-11-21T08:25:00Z");
    assert_eq!(
        shown(json!(past), Value::Null).as_deref(),
        Some("Restart:         pods created before 2026-11-21T08:19:00Z are replaced")
    );
    assert_eq!(
        shown(json!(future), json!(past)).as_deref(),
        Some("Restart:         at 2026-11-21T08:25:00Z (in 5m)")
    );
    assert_eq!(shown(json!(past), json!(past)), None);
    assert_eq!(shown(Value::Null, Value::Null), None);
    let rollout = waits(json!({ "kind": "Restart", "message": "pods are replaced" }));
    assert_eq!(
        waiting::why(&rollout, "kubectl headgate", now()),
        "midpause waits for its pods to be restarted:\n  pods are replaced\n"
    );
}

#[test]
fn a_kind_of_a_newer_controller_is_shown_as_it_is() {
    let rollout = waits(json!({ "kind": "FullMoon" }));
    assert_eq!(waiting::why(&rollout, "kubectl headgate", now()), "midpause waits for FullMoon\n");
}

#[test]
fn every_wait_that_a_controller_stores_has_words() {
    let kinds = headgate_model::WaitFor::ALL.iter().map(|kind| kind.as_str());
    let is_wordless = |kind: &&str| {
        let told = waiting::why(&waits(json!({ "kind": kind })), "kubectl headgate", now());
        told.contains(kind)
    };
    assert_eq!(kinds.filter(is_wordless).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_spec_to_mend_is_the_answer_although_the_user_has_resumed() {
    let mut rollout = waits(json!({ "kind": "MendSpec", "message": "VirtualService shop does not exist" }));
    rollout.status.as_mut().unwrap().pause_conditions.clear();
    assert_eq!(
        waiting::why(&rollout, "kubectl headgate", now()),
        "midpause waits for its spec to be mended:\n  VirtualService shop does not exist\n"
    );
}

#[test]
fn a_stored_answer_is_not_shown_once_the_user_has_resumed() {
    let mut rollout = waits(json!({ "kind": "UserPromotion", "message": "step 4/5 is a pause" }));
    rollout.status.as_mut().unwrap().pause_conditions.clear();
    assert_eq!(
        waiting::why(&rollout, "kubectl headgate", now()),
        "midpause is Progressing: waiting for rollout to unpause\n"
    );
    let column = list::NamespaceColumn::Hidden;
    let table = list::list(&[rollout], column, Detail::Wide, Palette::Plain, now());
    assert!(table.trim_end().ends_with("  waiting for rollout to unpause"), "{table}");
}

#[test]
fn colours_change_nothing_but_colours() {
    for fixture in ["midpause", "experiment", "degraded"] {
        let scene = scene(fixture);
        let coloured = rollout::view(&scene, Detail::Normal, Palette::Ansi, now());
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_ne!(plain, coloured);
        assert_eq!(plain, rollout::view(&scene, Detail::Normal, Palette::Plain, now()));
    }
}

#[test]
fn in_detail_pods_have_their_nodes_and_addresses() {
    let mut scene = scene("istio");
    for (number, pod) in scene.pods.iter_mut().enumerate().skip(1) {
        // One that is not scheduled yet has neither.
        pod.spec.as_mut().unwrap().node_name = Some(format!("node-{number}"));
        pod.status.as_mut().unwrap().pod_ip = Some(format!("10.0.0.{number}"));
    }
    let text = rollout::view(&scene, Detail::Wide, Palette::Plain, now());
    insta::assert_snapshot!("istio_wide", text);
}
