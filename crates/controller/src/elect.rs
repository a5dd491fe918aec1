//! Takes the lease, renews it, gives it back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    execute::{FIELD_MANAGER, explain},
    lease::{Act, Rules, Seen, decide, released},
};

/// Whether this process may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another leads, or nobody yet.
    Waiting,
    /// This process leads.
    Leading,
}

/// The lease could not be kept: another holds it, or it could not be renewed in time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease {name} is lost: {why}; exiting, so that two controllers never act at once")]
pub struct Lost {
    /// The Lease's name.
    pub name: String,
    why: String,
}

/// Leader election of one process.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
    rules: Rules,
    started: Instant,
    seen: Seen,
    /// The lease as the server has it, while we know: renewing then needs no read.
    known: Option<Lease>,
    /// The holder that was last logged.
    logged_holder: String,
}

/// What one attempt came to.
enum Attempt {
    /// The lease is ours, by a request sent at this instant.
    Held(Instant),
    /// Another holds it.
    HeldBy(String),
    /// Nobody knows: the next attempt reads it again.
    Failed(String),
}

impl Election {
    /// `client` must be this election's own and must not retry: a renewal that a client repeats for a
    /// minute comes too late, and looks as if it came in time.
    pub fn new(client: Client, namespace: &str, name: &str, me: String, rules: Rules) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me,
            rules,
            started: Instant::now(),
            seen: Seen::default(),
            known: None,
            logged_holder: String::new(),
        }
    }

    /// Waits for the lease, then keeps it until `stop` says true, then gives it back.
    ///
    /// # Errors
    /// The lease was ours and is not any more.
    pub async fn run(
        mut self,
        standing: watch::Sender<Standing>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Lost> {
        let stopping = stop.wait_for(|stop| *stop);
        tokio::pin!(stopping);
        let result = tokio::select! {
            _ = &mut stopping => Ok(()),
            lost = self.take_and_keep(&standing) => Err(lost),
        };
        if result.is_ok() {
            self.release().await;
        }
        result
    }

    async fn take_and_keep(&mut self, standing: &watch::Sender<Standing>) -> Lost {
        let mut renewed = self.take().await;
        tracing::info!(lease = self.name, me = self.me, "leading");
        standing.send_replace(Standing::Leading);
        loop {
            sleep(self.rules.retry_period).await;
            let left = self.rules.renew_deadline.saturating_sub(renewed.elapsed());
            let why = match timeout(left, self.attempt()).await {
                Ok(Attempt::Held(sent)) => {
                    renewed = sent;
                    continue;
                }
                Ok(Attempt::HeldBy(holder)) => return self.lost(format!("{holder} holds it")),
                Ok(Attempt::Failed(why)) => why,
                Err(_elapsed) => "no answer from the API server".to_owned(),
            };
            self.known = None;
            if renewed.elapsed() >= self.rules.renew_deadline {
                return self.lost(format!("not renewed for {:?} ({why})", self.rules.renew_deadline));
            }
            tracing::warn!(lease = self.name, why, "could not renew the lease yet");
        }
    }

    /// Tries until the lease is ours. Returns when the request that took it was sent: from then on it
    /// counts, and not from when the answer came.
    async fn take(&mut self) -> Instant {
        loop {
            let attempt = timeout(self.rules.renew_deadline, self.attempt()).await;
            match attempt
                .unwrap_or_else(|_elapsed| Attempt::Failed("no answer from the API server".to_owned()))
            {
                Attempt::Held(sent) => return sent,
                Attempt::HeldBy(holder) => {
                    if self.logged_holder != holder {
                        tracing::info!(lease = self.name, holder, "waiting for the lease");
                        self.logged_holder = holder;
                    }
                }
                Attempt::Failed(why) => tracing::warn!(lease = self.name, why, "could not look at the lease"),
            }
            self.known = None;
            sleep(self.rules.retry_period).await;
        }
    }

    async fn attempt(&mut self) -> Attempt {
        match self.try_once().await {
            Ok(attempt) => attempt,
            Err(error) => {
                self.known = None;
                Attempt::Failed(explain(&error))
            }
        }
    }

    async fn try_once(&mut self) -> Result<Attempt, kube::Error> {
        let lease = match self.known.take() {
            Some(known) => Some(known),
            None => self.api.get_opt(&self.name).await?,
        };
        let monotonic = self.started.elapsed();
        self.seen.note(lease.as_ref(), monotonic);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let act = decide(lease.as_ref(), &self.me, &self.seen, &self.rules, monotonic, Timestamp::now());
        let sent = Instant::now();
        let written = match act {
            Act::Wait { holder } => return Ok(Attempt::HeldBy(holder)),
            Act::Create(mut lease) => {
                lease.metadata.name = Some(self.name.clone());
                self.api.create(&params, &lease).await
            }
            Act::Replace(lease) => self.api.replace(&self.name, &params, &lease).await,
        };
        let written = match written {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                return Ok(Attempt::Failed("somebody else wrote it at the same time".to_owned()));
            }
            other => other?,
        };
        self.seen.note(Some(&written), self.started.elapsed());
        self.known = Some(written);
        Ok(Attempt::Held(sent))
    }

    /// Gives the lease back if it is ours. A failure is only logged: it then expires by itself.
    async fn release(&mut self) {
        // Half a renewal may be under way: what the server has now is what counts.
        let read = timeout(self.rules.retry_period, self.api.get_opt(&self.name)).await;
        let Ok(Ok(Some(lease))) = read else { return };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder != Some(self.me.as_str()) {
            return;
        }
        let free = released(&lease, Timestamp::now());
        match timeout(self.rules.retry_period, self.api.replace(&self.name, &PostParams::default(), &free))
            .await
        {
            Ok(Ok(_)) => tracing::info!(lease = self.name, "released the lease"),
            Ok(Err(error)) => tracing::warn!(
                lease = self.name,
                why = explain(&error),
                "the lease was not released: it expires"
            ),
            Err(_elapsed) => {
                tracing::warn!(lease = self.name, "the lease was not released in time: it expires");
            }
        }
    }

    fn lost(&self, why: String) -> Lost {
        Lost { name: self.name.clone(), why }
    }
}

/// A name for this process that no other has, also not the next one in the same pod.
pub fn identity() -> String {
    use std::hash::{BuildHasher, RandomState};
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // The standard library seeds every RandomState from the system's randomness.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{}_{random:016x}", host.trim())
}

/// Requests for the lease may take no longer on the wire.
pub fn call_time_limit(rules: &Rules) -> Duration {
    rules.renew_deadline / 2
}

#[cfg(test)]
mod tests;
