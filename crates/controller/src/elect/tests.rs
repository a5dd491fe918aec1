use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::Client;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{Election, Lost, Standing};
use crate::{execute::tests::api_server, lease::Rules};

const RULES: Rules = Rules {
    lease_duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry_period: Duration::from_secs(2),
};

/// One Lease at an API server that checks resourceVersions and that can hang.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    hangs: Arc<AtomicBool>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        api_server(move |seen| {
            let server = server.clone();
            async move {
                if server.hangs.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                server.answer(&seen)
            }
        })
    }

    fn answer(&self, seen: &str) -> (u16, Value) {
        let mut lease = self.lease.lock().unwrap();
        let (method, rest) = seen.split_once(' ').unwrap();
        if method == "GET" {
            return lease.clone().map_or_else(|| refuse(404), |lease| (200, lease));
        }
        let mut written: Value = serde_json::from_str(rest.splitn(3, ' ').nth(2).unwrap()).unwrap();
        let had = lease.as_ref().map_or(&Value::Null, |lease| &lease["metadata"]["resourceVersion"]);
        if *had != written["metadata"]["resourceVersion"] {
            return refuse(409);
        }
        let version = had.as_str().map_or(1, |had| had.parse::<u64>().unwrap() + 1);
        written["metadata"]["resourceVersion"] = json!(version.to_string());
        *lease = Some(written.clone());
        (200, written)
    }

    fn holder(&self) -> String {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
    }

    /// Somebody else writes the lease.
    fn stolen_by(&self, holder: &str) {
        let mut lease = self.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!(holder);
        lease["metadata"]["resourceVersion"] = json!("100");
    }
}

fn refuse(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": reason}))
}

struct Replica {
    task: JoinHandle<Result<(), Lost>>,
    standing: watch::Receiver<Standing>,
    stop: watch::Sender<bool>,
}

impl Replica {
    fn start(server: &Server, name: &str) -> Self {
        let (tell, standing) = watch::channel(Standing::Waiting);
        let (stop, stopped) = watch::channel(false);
        let election = Election::new(server.client(), "ops", "lock", name.to_owned(), RULES);
        Self { task: tokio::spawn(election.run(tell, stopped)), standing, stop }
    }

    /// How long until it leads.
    async fn leads(&mut self) -> Duration {
        let started = Instant::now();
        let leading = self.standing.wait_for(|standing| *standing == Standing::Leading);
        timeout(Duration::from_secs(600), leading).await.unwrap().unwrap();
        started.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_leads_soon_after_the_first_has_stopped() {
    let server = Server::default();
    let mut first = Replica::start(&server, "first");
    first.leads().await;
    let mut second = Replica::start(&server, "second");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((server.holder().as_str(), *second.standing.borrow()), ("first", Standing::Waiting));
    first.stop.send(true).unwrap();
    assert_eq!(first.task.await.unwrap(), Ok(()));
    assert_eq!(server.holder(), "");
    assert!(second.leads().await <= RULES.retry_period);
    assert_eq!(server.holder(), "second");
}

#[tokio::test(start_paused = true)]
async fn the_next_waits_for_expiry_when_the_first_died() {
    let server = Server::default();
    let mut first = Replica::start(&server, "first");
    first.leads().await;
    let mut second = Replica::start(&server, "second");
    tokio::time::sleep(Duration::from_secs(60)).await;
    first.task.abort();
    let waited = second.leads().await;
    // The last renewal was seen up to two periods ago.
    let earliest = RULES.lease_duration - RULES.retry_period * 2;
    assert!(waited >= earliest && waited <= RULES.lease_duration + RULES.retry_period * 2, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_gives_up_before_another_may_take_the_lease() {
    let server = Server::default();
    let mut first = Replica::start(&server, "first");
    first.leads().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.hangs.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let lost = first.task.await.unwrap().unwrap_err();
    assert!(started.elapsed() <= RULES.renew_deadline, "{:?}", started.elapsed());
    assert!(lost.to_string().contains("not renewed for 10s"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_taken_gives_up_at_once() {
    let server = Server::default();
    let mut first = Replica::start(&server, "first");
    first.leads().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.stolen_by("thief");
    let started = Instant::now();
    let lost = first.task.await.unwrap().unwrap_err();
    assert!(started.elapsed() <= RULES.retry_period * 2, "{:?}", started.elapsed());
    assert!(lost.to_string().contains("thief holds it"), "{lost}");
    assert_eq!(server.holder(), "thief");
}

#[tokio::test(start_paused = true)]
async fn of_many_replicas_exactly_one_leads() {
    let server = Server::default();
    let replicas = (0..5).map(|n| Replica::start(&server, &format!("replica-{n}"))).collect::<Vec<_>>();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let leading = replicas.iter().filter(|replica| *replica.standing.borrow() == Standing::Leading);
        assert_eq!(leading.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_never_led_leaves_the_lease_alone() {
    let server = Server::default();
    let mut first = Replica::start(&server, "first");
    first.leads().await;
    let second = Replica::start(&server, "second");
    tokio::time::sleep(Duration::from_secs(5)).await;
    second.stop.send(true).unwrap();
    assert_eq!(second.task.await.unwrap(), Ok(()));
    assert_eq!(server.holder(), "first");
}
