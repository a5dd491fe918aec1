//! One task owns the driver: it takes in what has happened, lets the driver decide, and sends off what
//! the driver asks for. It never waits for the network.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use headgate_driver::{
    Driver,
    io::{Call, Observation, Reply, Request, RequestId, Resource},
    resources::EVENTS,
};
use headgate_notify::Subscriptions;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};

use crate::{
    elect::Standing,
    execute::Executor,
    fleet::Fleet,
    health::Health,
    metrics::{Metrics, Turn},
};

/// The loop turns at least so often, whatever happens: it shows that it lives, and notices when the
/// wall clock was set.
const TURN_MAX: Duration = Duration::from_secs(1);
/// The loop rests at least so long, even when the driver wants to be polled at once: should it ever want
/// that for ever, the process does not burn.
const REST_MIN: Duration = Duration::from_millis(2);
/// Facts for scrapes are gathered at most so often.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Observations taken in before the driver decides: a long list must not hold up replies.
const OBSERVATIONS_PER_TURN: usize = 512;
/// At the end, requests in flight get so long to finish.
const DRAIN_TIME_LIMIT: Duration = Duration::from_secs(10);

/// What the loop is connected to.
pub struct Connections {
    /// What watches deliver.
    pub observations: mpsc::Receiver<Observation>,
    /// Whether this process leads.
    pub standing: watch::Receiver<Standing>,
    /// True: decide nothing more.
    pub stop: watch::Receiver<bool>,
    /// Who wants to be told what.
    pub subscriptions: watch::Receiver<Option<Subscriptions>>,
    /// The kinds that are to be watched by now although they are watched on demand.
    pub demand: watch::Sender<BTreeSet<Resource>>,
    /// Carries out requests.
    pub executor: Arc<Executor>,
    /// For scrapes.
    pub metrics: Arc<Metrics>,
    /// For scrapes.
    pub fleet: Arc<Fleet>,
    /// For probes.
    pub health: Arc<Health>,
}

/// The loop.
pub struct EventLoop {
    driver: Driver,
    connections: Connections,
    tasks: JoinSet<(RequestId, Reply)>,
    in_flight: HashMap<Id, RequestId>,
    is_leading: bool,
    /// Something has happened since facts were published.
    has_news: bool,
    published: Option<Instant>,
}

/// What woke the loop.
enum Happened {
    Stop,
    Standing(Standing),
    Subscriptions(Option<Subscriptions>),
    Reply(RequestId, Reply),
    Observation(Observation),
    Time,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl EventLoop {
    /// A loop around `driver`, which leads as soon as the connections say so.
    pub fn new(driver: Driver, connections: Connections) -> Self {
        Self {
            driver,
            connections,
            tasks: JoinSet::new(),
            in_flight: HashMap::new(),
            is_leading: false,
            has_news: true,
            published: None,
        }
    }

    /// Runs until told to stop; then lets the requests in flight finish, and tells what they have come to.
    pub async fn run(mut self) {
        let subscriptions = self.connections.subscriptions.borrow_and_update().clone();
        self.driver.notify(subscriptions, Timestamp::now());
        loop {
            let happened = self.wait().await;
            let started = Instant::now();
            if self.take_in(happened) == Next::Stop {
                break;
            }
            self.take_in_more();
            let requests = self.driver.poll(Timestamp::now());
            for request in requests {
                self.send(request);
            }
            self.report(started.elapsed());
        }
        self.drain().await;
    }

    async fn wait(&mut self) -> Happened {
        let wake_in = self.driver.wake_at().map_or(TURN_MAX, until).clamp(REST_MIN, TURN_MAX);
        let Self { connections, tasks, in_flight, .. } = self;
        tokio::select! {
            biased;
            _ = connections.stop.wait_for(|stop| *stop) => Happened::Stop,
            Ok(()) = connections.standing.changed() => Happened::Standing(*connections.standing.borrow_and_update()),
            Ok(()) = connections.subscriptions.changed() => {
                Happened::Subscriptions(connections.subscriptions.borrow_and_update().clone())
            }
            Some(ended) = tasks.join_next_with_id() => replied(in_flight, ended),
            Some(observation) = connections.observations.recv() => Happened::Observation(observation),
            () = sleep(wake_in) => Happened::Time,
        }
    }

    fn take_in(&mut self, happened: Happened) -> Next {
        let now = Timestamp::now();
        match happened {
            Happened::Stop => return Next::Stop,
            Happened::Standing(Standing::Leading) if !self.is_leading => {
                self.is_leading = true;
                self.driver.lead(now);
            }
            // The lease is never given up and taken again: losing it ends the process.
            Happened::Standing(_) | Happened::Time => return Next::Go,
            Happened::Subscriptions(subscriptions) => self.driver.notify(subscriptions, now),
            Happened::Reply(id, reply) => self.driver.reply(id, reply, now),
            Happened::Observation(observation) => self.driver.observe(observation, now),
        }
        self.has_news = true;
        Next::Go
    }

    /// What has happened already is taken in before the next decision, which then is a better one.
    fn take_in_more(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let reply = replied(&mut self.in_flight, ended);
            self.take_in(reply);
        }
        for _ in 0..OBSERVATIONS_PER_TURN {
            let Ok(observation) = self.connections.observations.try_recv() else { break };
            self.take_in(Happened::Observation(observation));
        }
    }

    fn send(&mut self, request: Request) {
        let id = request.id;
        let executor = Arc::clone(&self.connections.executor);
        let task = self.tasks.spawn(async move { executor.execute(request).await });
        self.in_flight.insert(task.id(), id);
    }

    fn report(&mut self, took: Duration) {
        let missing = self.driver.unsynced();
        self.connections.metrics.turned(&Turn {
            took,
            in_flight: self.in_flight.len(),
            queued: self.connections.observations.len(),
            is_leading: self.is_leading,
            is_synced: missing.is_empty(),
        });
        self.connections.health.turned(missing.iter().map(|resource| resource.kind.to_owned()).collect());
        let is_time = self.published.is_none_or(|published| published.elapsed() >= PUBLISH_EVERY);
        if self.has_news && is_time {
            self.has_news = false;
            let demanded = self.driver.demanded();
            self.connections.demand.send_if_modified(|known| {
                let is_news = *known != demanded;
                *known = demanded;
                is_news
            });
            let mut facts = self.driver.facts();
            if !self.is_leading {
                // The leader reports them: sums over replicas count each object once.
                facts.rollouts.clear();
                facts.analysis_runs.clear();
                facts.templates.clear();
            }
            self.connections.fleet.publish(facts, self.driver.counters().clone());
            self.published = Some(Instant::now());
        }
    }

    /// What they have come to is told, where there are events of it: whoever leads next looks for itself, but does not know
    /// what was news. Nothing else that the driver wants by now is sent.
    async fn drain(mut self) {
        let count = self.in_flight.len();
        if count == 0 {
            return;
        }
        tracing::info!(count, "finishing requests in flight");
        let all = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                let reply = replied(&mut self.in_flight, ended);
                self.take_in(reply);
                self.tell_events();
            }
        };
        if timeout(DRAIN_TIME_LIMIT, all).await.is_err() {
            tracing::warn!(count = self.tasks.len(), "requests without an answer were left");
        }
    }

    fn tell_events(&mut self) {
        for request in self.driver.poll(Timestamp::now()) {
            if matches!(&request.call, Call::Create { target, .. } if target.resource == EVENTS) {
                self.send(request);
            }
        }
    }
}

/// A task that panicked had sent its request or not: nobody knows.
fn replied(
    in_flight: &mut HashMap<Id, RequestId>,
    ended: Result<(Id, (RequestId, Reply)), JoinError>,
) -> Happened {
    match ended {
        Ok((task, (id, reply))) => {
            in_flight.remove(&task);
            Happened::Reply(id, reply)
        }
        Err(error) => match in_flight.remove(&error.id()) {
            Some(id) => {
                tracing::error!(%error, "a request ended without an answer: this is a defect, please report it");
                Happened::Reply(id, Reply::Lost(error.to_string()))
            }
            None => Happened::Time,
        },
    }
}

/// Time from now; zero for what has passed.
fn until(time: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests;
