//! Answers probes and scrapes.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, time::Instant};

use crate::metrics::{Heartbeat, Metrics};

/// An event loop that has not turned for so long hangs: the kubelet should start the process anew.
/// It turns at least once a second.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What probes ask about.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    heartbeat: Heartbeat,
    /// Kinds that are not known yet, or `None` before the first turn.
    missing: Mutex<Option<Vec<String>>>,
    /// Why this process may not even wait for the lease.
    waits_for: Mutex<Option<String>>,
}

impl Health {
    /// Of a process that starts now.
    pub fn starting() -> Self {
        Self {
            started: Instant::now(),
            heartbeat: Heartbeat::default(),
            missing: Mutex::default(),
            waits_for: Mutex::default(),
        }
    }

    /// The event loop has turned; these kinds are not known yet.
    pub fn turned(&self, missing: Vec<String>) {
        self.heartbeat.beat(self.started.elapsed());
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = Some(missing);
    }

    /// What keeps this process from standing for election, if anything does.
    pub fn waits_for(&self, message: Option<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }

    fn live(&self) -> (StatusCode, String) {
        let silence = self.heartbeat.silence(self.started.elapsed());
        if silence > SILENCE_MAX {
            let text = format!("the event loop has not turned for {} s\n", silence.as_secs());
            return (StatusCode::SERVICE_UNAVAILABLE, text);
        }
        (StatusCode::OK, "ok\n".to_owned())
    }

    fn ready(&self) -> (StatusCode, String) {
        if let Some(message) = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{message}\n"));
        }
        match self.missing.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some([]) => (StatusCode::OK, "ok\n".to_owned()),
            Some(missing) => {
                let text = format!("not yet listed: {}\n", missing.join(", "));
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
            None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        }
    }
}

/// `/healthz` and `/readyz`. A replica that waits for the lease is ready: its caches are.
pub fn probes(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async |State(health): State<Arc<Health>>| health.live()))
        .route("/readyz", get(async |State(health): State<Arc<Health>>| health.ready()))
        .with_state(health)
}

/// `/metrics`.
pub fn scrapes(metrics: Arc<Metrics>) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(metrics)
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Listens on all addresses of this machine, and then serves for ever.
///
/// # Errors
/// The port is taken or not allowed.
pub async fn serve(
    what: &str,
    port: u16,
    routes: Router,
) -> anyhow::Result<impl Future<Output = io::Result<()>> + use<>> {
    let listener = match listen(Ipv6Addr::UNSPECIFIED.into(), port).await {
        // A system without IPv6 has no such address.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen(Ipv4Addr::UNSPECIFIED.into(), port).await
        }
        other => other,
    };
    let listener =
        listener.with_context(|| format!("port {port} for {what}: choose another with its flag"))?;
    tracing::info!(what, port, "listening");
    Ok(async move { axum::serve(listener, routes).await })
}

async fn listen(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(address, port)).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::StatusCode;

    use super::{Health, SILENCE_MAX};

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_fails_the_liveness_probe_until_it_turns() {
        let health = Health::starting();
        health.turned(Vec::new());
        assert_eq!(health.live().0, StatusCode::OK);
        tokio::time::advance(SILENCE_MAX + Duration::from_secs(2)).await;
        let (code, text) = health.live();
        assert_eq!(
            (code, text.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "the event loop has not turned for 32 s\n")
        );
        health.turned(Vec::new());
        assert_eq!(health.live().0, StatusCode::OK);
    }

    #[tokio::test]
    async fn a_process_is_ready_when_every_kind_is_known() {
        let health = Health::starting();
        assert_eq!(health.ready(), (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()));
        health.turned(vec!["Rollout".into(), "Service".into()]);
        assert_eq!(
            health.ready(),
            (StatusCode::SERVICE_UNAVAILABLE, "not yet listed: Rollout, Service\n".to_owned())
        );
        health.turned(Vec::new());
        assert_eq!(health.ready().0, StatusCode::OK);
        health.waits_for(Some("another one acts".to_owned()));
        assert_eq!(health.ready(), (StatusCode::SERVICE_UNAVAILABLE, "another one acts\n".to_owned()));
    }
}
