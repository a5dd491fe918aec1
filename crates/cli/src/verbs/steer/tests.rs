//! What is said and written while the controller has not looked at the newest change.

use super::*;
use crate::intent::{self, Promotion};
use crate::output::Output;
use crate::output::streams::said;
use crate::program::Program;
use crate::scripted::{Server, cluster};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// How a verb ends: what is said, then what is written, then the error.
async fn steered(server: Server, unobserved: Unobserved, decide: impl FnOnce(&Rollout) -> Intent) -> String {
    let server = Arc::new(Mutex::new(server));
    let output = Output::plain();
    let context = Context { cluster: cluster(&server), program: Program::Headgate, output: &output };
    let outcome = steer(&context, "shop", unobserved, "steered", decide).await;
    let error = outcome.err().map(|error| format!("Error: {error}\n")).unwrap_or_default();
    let patches: String = server.lock().unwrap().patches.iter().map(|patch| format!("{patch}\n")).collect();
    format!("{}{patches}{error}", said())
}

async fn aborted(server: Server) -> String {
    steered(server, Unobserved::GoOn, intent::abort).await
}

async fn promoted(server: Server) -> String {
    steered(server, Unobserved::Refuse, |rollout| intent::promote(rollout, Promotion::Full)).await
}

/// A Rollout with a change that the controller has not looked at.
fn unseen(status: &Value) -> Server {
    let mut server = Server::new(&json!({}), status);
    server.rollout["metadata"]["generation"] = json!(4);
    server
}

const UNSEEN: &str =
    "the controller has not looked at the latest change of rollout 'shop' (generation 4, seen 3)";
const UNSEEN_WORKLOAD: &str = "the controller has not looked at the latest change of deployment 'shop', which holds the pod \
                               template of rollout 'shop' (generation 8, seen 7)";
const NOT_BEGUN: &str =
    ", so it has not begun to release it. Is the controller running? Nothing was changed\n";

#[tokio::test(start_paused = true)]
async fn nothing_to_do_is_not_said_of_a_version_that_the_controller_has_not_looked_at() {
    let promoted_already = json!({});
    let aborted_already = json!({ "stableRS": "old", "abort": true });
    for status in [promoted_already, aborted_already] {
        assert_eq!(aborted(unseen(&status)).await, format!("Error: {UNSEEN}{NOT_BEGUN}"), "{status}");
        assert_eq!(promoted(unseen(&status)).await, format!("Error: {UNSEEN}{NOT_BEGUN}"), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_of_what_runs_is_written_and_says_when_it_is_dropped() {
    let told = aborted(unseen(&json!({ "stableRS": "old" }))).await;
    let warning = format!("Warning: {UNSEEN}: if that is another pod template, the controller drops this\n");
    assert_eq!(told, format!("rollout 'shop' steered\n{warning}{{\"status\":{{\"abort\":true}}}}\n"));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_workload_is_waited_for_like_one_of_the_rollout() {
    let behind = || Server::referring(&json!({}), Ok(8));
    assert_eq!(aborted(behind()).await, format!("Error: {UNSEEN_WORKLOAD}{NOT_BEGUN}"));
    assert_eq!(promoted(behind()).await, format!("Error: {UNSEEN_WORKLOAD}{NOT_BEGUN}"));
    let looks = || {
        let mut server = behind();
        server.changes =
            vec![json!({ "status": { "workloadObservedGeneration": "8", "currentPodHash": "newer" } })];
        server
    };
    assert_eq!(aborted(looks()).await, "rollout 'shop' steered\n{\"status\":{\"abort\":true}}\n");
    assert_eq!(promoted(looks()).await, "rollout 'shop' steered\n{\"status\":{\"promoteFull\":true}}\n");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_the_workload_is_not_stopped() {
    let nothing = "rollout 'shop' has nothing to abort: the newest version is stable\n";
    for workload in [Ok(7), Err(403), Err(404)] {
        assert_eq!(aborted(Server::referring(&json!({}), workload)).await, nothing, "{workload:?}");
    }
    let told = promoted(Server::referring(&json!({ "stableRS": "old" }), Err(403))).await;
    assert_eq!(told, "rollout 'shop' steered\n{\"status\":{\"promoteFull\":true}}\n");
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_not_about_a_version_waits_for_nobody() {
    let told = steered(unseen(&json!({})), Unobserved::Irrelevant, intent::pause).await;
    assert_eq!(told, "rollout 'shop' steered\n{\"spec\":{\"paused\":true}}\n");
}
