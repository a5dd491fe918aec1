use std::{sync::Arc, time::Duration};

use headgate_driver::{
    Counters, Facts, RolloutFacts,
    io::{Call, ObjectRef, Patch, Reply},
    resources::{ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS, SERVICES},
};
use headgate_notify::Post;
use serde_json::{Value, json};
use tokio::time::advance;

use super::super::{Fleet, FleetSeries};
use crate::metrics::Metrics;

fn object(resource: headgate_driver::io::Resource, name: &str) -> ObjectRef {
    ObjectRef { resource, namespace: "shop".into(), name: name.into() }
}

fn get() -> Call {
    Call::Get(object(SERVICES, "shop-stable"))
}

fn refused(code: u16) -> Reply {
    Reply::Refused { code, reason: String::new(), message: String::new() }
}

/// The series of passes as a scrape shows them.
fn series(fleet: &Arc<Fleet>) -> Vec<String> {
    let text = Metrics::default().with_collector(Box::new(FleetSeries(fleet.clone()))).text().unwrap();
    text.lines()
        .filter(|line| line.contains("_reconcile") && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_pass_lasts_until_none_of_its_objects_requests_is_under_way() {
    let fleet = Arc::new(Fleet::default());
    let (web, run, call) = (object(ROLLOUTS, "web"), object(ANALYSIS_RUNS, "web-1"), get());
    let first = fleet.passes.begin(&web, &call);
    advance(Duration::from_millis(100)).await;
    let second = fleet.passes.begin(&web, &call);
    advance(Duration::from_millis(100)).await;
    first.end(&Reply::Object(Value::Null));
    advance(Duration::from_millis(100)).await;
    second.end(&Reply::Lost("no answer".into()));
    advance(Duration::from_secs(60)).await;
    let third = fleet.passes.begin(&run, &call);
    advance(Duration::from_secs(2)).await;
    third.end(&Reply::Object(Value::Null));
    insta::assert_snapshot!(series(&fleet).join("\n"), @r#"
    rollout_reconcile_sum{namespace="shop",name="web"} 0.3
    rollout_reconcile_count{namespace="shop",name="web"} 1
    rollout_reconcile_bucket{le="0.01",namespace="shop",name="web"} 0
    rollout_reconcile_bucket{le="0.15",namespace="shop",name="web"} 0
    rollout_reconcile_bucket{le="0.25",namespace="shop",name="web"} 0
    rollout_reconcile_bucket{le="0.5",namespace="shop",name="web"} 1
    rollout_reconcile_bucket{le="1.0",namespace="shop",name="web"} 1
    rollout_reconcile_bucket{le="+Inf",namespace="shop",name="web"} 1
    rollout_reconcile_error{namespace="shop",name="web"} 1
    analysis_run_reconcile_sum{namespace="shop",name="web-1"} 2.0
    analysis_run_reconcile_count{namespace="shop",name="web-1"} 1
    analysis_run_reconcile_bucket{le="0.01",namespace="shop",name="web-1"} 0
    analysis_run_reconcile_bucket{le="0.15",namespace="shop",name="web-1"} 0
    analysis_run_reconcile_bucket{le="0.25",namespace="shop",name="web-1"} 0
    analysis_run_reconcile_bucket{le="0.5",namespace="shop",name="web-1"} 0
    analysis_run_reconcile_bucket{le="1.0",namespace="shop",name="web-1"} 0
    analysis_run_reconcile_bucket{le="+Inf",namespace="shop",name="web-1"} 1
    analysis_run_reconcile_error{namespace="shop",name="web-1"} 0
    "#);
}

#[tokio::test]
async fn what_belongs_to_the_work_is_no_error() {
    let pod = object(PODS, "web-1-a");
    let create = Call::Create { target: object(REPLICA_SETS, "web-1"), body: json!({}) };
    let patch = |patch| Call::Patch { target: object(REPLICA_SETS, "web-1"), status: false, patch };
    let cases = [
        ("a conflict", patch(Patch::Merge(json!({}))), refused(409), 0),
        ("a name that is taken", create.clone(), refused(409), 0),
        ("a failed test", patch(Patch::Json(json!([]))), refused(422), 0),
        ("an invalid patch", patch(Patch::Merge(json!({}))), refused(422), 1),
        ("an object that is not there", get(), refused(404), 0),
        ("one that has gone meanwhile", patch(Patch::Merge(json!({}))), refused(404), 0),
        ("a namespace that is not there", create.clone(), refused(404), 1),
        ("a budget that keeps a pod", Call::Evict { target: pod, uid: "u".into() }, refused(429), 0),
        ("a busy server", get(), refused(429), 1),
        ("a quota", create, refused(403), 1),
        ("a server error", get(), refused(500), 1),
        ("no answer", get(), Reply::Lost("no answer".into()), 1),
    ];
    for (what, call, reply, errors) in cases {
        let fleet = Arc::new(Fleet::default());
        let web = object(ROLLOUTS, "web");
        fleet.passes.begin(&web, &call).end(&reply);
        let expected = format!("rollout_reconcile_error{{namespace=\"shop\",name=\"web\"}} {errors}");
        assert_eq!(series(&fleet).last(), Some(&expected), "{what}");
    }
}

#[tokio::test]
async fn neither_notifications_nor_requests_of_the_sweep_are_passes() {
    let fleet = Arc::new(Fleet::default());
    let post = Post { headers: Vec::new(), body: String::new() };
    let notify = Call::Notify { service: "chat".into(), post };
    for (owner, call) in [(object(ROLLOUTS, "web"), notify), (object(SERVICES, "shop-stable"), get())] {
        fleet.passes.begin(&owner, &call).end(&Reply::Lost("no answer".into()));
    }
    assert_eq!(series(&fleet), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_counted_of_an_object_goes_with_it_once_nothing_is_under_way() {
    let fleet = Arc::new(Fleet::default());
    let alive = || RolloutFacts { namespace: "shop".into(), name: "web".into(), ..RolloutFacts::default() };
    let (web, gone, call) = (object(ROLLOUTS, "web"), object(ROLLOUTS, "gone"), get());
    let under_way = fleet.passes.begin(&gone, &call);
    fleet.passes.begin(&web, &call).end(&Reply::Object(Value::Null));
    let publish = || {
        fleet.publish(Facts { rollouts: vec![alive()], ..Facts::default() }, Counters::default());
        let series = series(&fleet);
        ["web", "gone"].map(|name| series.iter().any(|line| line.contains(&format!("name=\"{name}\""))))
    };
    assert_eq!(publish(), [true, true]);
    under_way.end(&Reply::Object(Value::Null));
    assert_eq!(publish(), [true, false]);
}

#[tokio::test]
async fn a_request_that_is_never_answered_ends_its_pass_as_an_error() {
    let fleet = Arc::new(Fleet::default());
    let (web, call) = (object(ROLLOUTS, "web"), get());
    drop(fleet.passes.begin(&web, &call));
    fleet.passes.begin(&web, &call).end(&Reply::Object(Value::Null));
    let series = series(&fleet);
    assert_eq!(series[1], r#"rollout_reconcile_count{namespace="shop",name="web"} 2"#);
    assert_eq!(series.last().unwrap(), r#"rollout_reconcile_error{namespace="shop",name="web"} 1"#);
}
