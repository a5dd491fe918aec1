//! Puts the parts together and takes them apart in the right order.

use std::{collections::BTreeSet, io, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use headgate_driver::{
    Driver, Options,
    io::{Observation, Resource},
};
use headgate_notify::Subscriptions;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    args::{Args, Scope},
    elect::{self, Election, Lost, Standing},
    event_loop::{Connections, EventLoop},
    execute::Executor,
    fleet::{Fleet, FleetSeries},
    health::{self, Health},
    lease::Rules,
    measure::Measurer,
    metrics::Metrics,
    notifier::{Follower, Notifier},
    rival::{self, Claim, Sight},
    secrets::Secrets,
    watch as watches,
};

/// Observations that may wait. A full queue slows down the watches, not the loop.
const OBSERVATIONS_QUEUED_MAX: usize = 1024;
/// No connection to the API server within this time is no connection.
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(5);
/// Where a pod finds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The reference controller's namespace where nothing says another.
const NAMESPACE_DEFAULT: &str = "argo-rollouts";

/// Runs the controller until it is told to stop.
///
/// # Errors
/// It cannot start, or must not go on: the lease is lost, a port is taken, a part of it has died.
pub async fn run(args: Args) -> anyhow::Result<()> {
    args.check()?;
    let stop_deciding = stop_on_signal()?;
    let config = config(&args).await?;
    let namespace = own_namespace(&args).await;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), server = %config.cluster_url, namespace, "starting");
    let fleet = Arc::new(Fleet::default());
    let metrics = Arc::new(Metrics::default().with_collector(Box::new(FleetSeries(Arc::clone(&fleet)))));
    let health = Arc::new(Health::starting());
    let mut servers = serve(&args, &metrics, &health).await?;

    let client = Client::try_from(config.clone())?;
    let measurer = Measurer::new(Secrets::new(client.clone()), args.ca_file.as_deref())?;
    let notifier = Arc::new(Notifier::new(args.ca_file.as_deref())?);
    let (subscriptions, mut follower) = follow(&args, &notifier, &metrics).await;
    let executor = Executor::new(client, measurer, notifier, Arc::clone(&metrics), Arc::clone(&fleet));
    let driver = Driver::new(options(&args));
    let (demand, demanded) = watch::channel(BTreeSet::new());
    let (mut feeds, observations) = feed(&driver, &config, &args.scope(&namespace), &metrics, &demanded)?;
    let (mut sight, mut lookout) = look_out(&args, &config, &namespace, &health)?;
    let (mut election, standing, stop_leading) = stand(&args, &config, &namespace, sight.clone())?;
    let connections = Connections {
        observations,
        standing,
        stop: stop_deciding,
        subscriptions,
        demand,
        executor: Arc::new(executor),
        metrics,
        fleet,
        health,
    };

    tokio::select! {
        () = EventLoop::new(driver, connections).run() => {}
        ended = &mut election => return Err(lost(ended)),
        message = rival_shows_up(&mut sight) => anyhow::bail!("{message}"),
        Some(ended) = lookout.join_next() => anyhow::bail!("looking out for other controllers has ended: {ended:?}"),
        Some(ended) = servers.join_next() => anyhow::bail!("a server has ended: {ended:?}"),
        Some(ended) = feeds.join_next() => anyhow::bail!("a watch has ended: {ended:?}"),
        Some(ended) = follower.join_next() => anyhow::bail!("following the notifications' file has ended: {ended:?}"),
    }
    // Only now: while requests were in flight the lease had to be ours.
    stop_leading.send_replace(true);
    election.await??;
    tracing::info!("stopped");
    Ok(())
}

fn options(args: &Args) -> Options {
    let prometheus_address = Some(args.prometheus_address.clone()).filter(|address| !address.is_empty());
    let pod_health = args.pod_health.into();
    Options { instance_id: args.instance_id.clone(), prometheus_address, pod_health, ..Options::default() }
}

/// Who wants to be told what, now and whenever the file changes. A wrong file keeps nobody from releasing.
async fn follow(
    args: &Args,
    notifier: &Arc<Notifier>,
    metrics: &Arc<Metrics>,
) -> (watch::Receiver<Option<Subscriptions>>, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let Some(path) = args.notifications.clone() else {
        return (watch::channel(Some(Subscriptions::default())).1, tasks);
    };
    let (mut follower, told) = Follower::new(path, Arc::clone(notifier), Arc::clone(metrics));
    follower.look().await;
    tasks.spawn(follower.follow());
    (told, tasks)
}

/// Turns true at SIGTERM or SIGINT. Without handlers, process 1 of a container ignores both.
fn stop_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (tell, told) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        tell.send_replace(true);
    });
    Ok(told)
}

/// How to reach the API server. The driver retries, so no client does.
async fn config(args: &Args) -> anyhow::Result<Config> {
    let mut config = match (&args.kubeconfig, &args.context) {
        (None, None) => Config::infer().await.context("no kubeconfig and no service account")?,
        (file, context) => {
            let kubeconfig = match file {
                Some(path) => {
                    Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?
                }
                None => Kubeconfig::read().context("kubeconfig")?,
            };
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await.context("kubeconfig")?
        }
    };
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIME_LIMIT);
    Ok(config)
}

async fn own_namespace(args: &Args) -> String {
    if let Some(namespace) = args.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        return namespace.to_owned();
    }
    let file = tokio::fs::read_to_string(Path::new(NAMESPACE_FILE)).await.unwrap_or_default();
    match file.trim() {
        "" => NAMESPACE_DEFAULT.to_owned(),
        namespace => namespace.to_owned(),
    }
}

async fn serve(
    args: &Args,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> anyhow::Result<JoinSet<io::Result<()>>> {
    let mut servers = JoinSet::new();
    let probes = health::probes(Arc::clone(health));
    servers.spawn(health::serve("/healthz and /readyz", args.healthz_port, probes).await?);
    let scrapes = health::scrapes(Arc::clone(metrics));
    servers.spawn(health::serve("/metrics", args.metrics_port, scrapes).await?);
    Ok(servers)
}

/// Starts a watch for each kind that the driver asks for, those on demand once there is one. They have a client of their own: their
/// connections stay open and must not take those of calls.
fn feed(
    driver: &Driver,
    config: &Config,
    scope: &Scope,
    metrics: &Arc<Metrics>,
    demanded: &watch::Receiver<BTreeSet<Resource>>,
) -> anyhow::Result<(JoinSet<()>, mpsc::Receiver<Observation>)> {
    let client = Client::try_from(heard_within(watches::SILENT_MAX, config))?;
    let (send, receive) = mpsc::channel(OBSERVATIONS_QUEUED_MAX);
    let mut feeds = JoinSet::new();
    for watch in driver.watches() {
        let (resource, on_demand, mut demanded) = (watch.resource, watch.on_demand, demanded.clone());
        let run = watches::run(client.clone(), watch, scope.clone(), send.clone(), Arc::clone(metrics));
        feeds.spawn(async move {
            if on_demand && demanded.wait_for(|kinds| kinds.contains(&resource)).await.is_err() {
                // The loop has ended, and with it the need.
                std::future::pending::<()>().await;
            }
            run.await;
        });
    }
    Ok((feeds, receive))
}

/// The server ends each watch, so that none is silent for longer, and answers each list: a connection that is silent all the
/// same is dead, although nobody has said so.
fn heard_within(limit: Duration, config: &Config) -> Config {
    let mut config = config.clone();
    config.read_timeout = Some(limit);
    config.reset_reader_on_write = true;
    config
}

/// Looks out for a controller of Argo Rollouts that no Lease keeps from acting beside this one.
fn look_out(
    args: &Args,
    config: &Config,
    namespace: &str,
    health: &Arc<Health>,
) -> anyhow::Result<(watch::Receiver<Sight>, JoinSet<()>)> {
    let claim = Claim {
        scope: args.scope(namespace),
        instance_id: args.instance_id.clone(),
        lease: args.leader_elect.then(|| (lease_namespace(args, namespace).to_owned(), args.lease_name())),
    };
    let (tell, sight) = watch::channel(Sight::Unknown);
    let mut tasks = JoinSet::new();
    tasks.spawn(rival::look_out(Client::try_from(config.clone())?, claim, Arc::clone(health), tell));
    Ok((sight, tasks))
}

/// Ends when a rival shows up after there was none: then this process may be leading.
async fn rival_shows_up(sight: &mut watch::Receiver<Sight>) -> String {
    let _ = sight.wait_for(|sight| *sight == Sight::Alone).await;
    match sight.wait_for(|sight| matches!(sight, Sight::Rival(_))).await.as_deref() {
        Ok(Sight::Rival(message)) => message.clone(),
        _ => std::future::pending().await,
    }
}

fn lease_namespace<'a>(args: &'a Args, own: &'a str) -> &'a str {
    args.leader_election_namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own)
}

type Standings = (JoinHandle<Result<(), Lost>>, watch::Receiver<Standing>, watch::Sender<bool>);

/// Stands for election, or leads at once where there is none; not before there is no rival.
fn stand(
    args: &Args,
    config: &Config,
    namespace: &str,
    mut sight: watch::Receiver<Sight>,
) -> anyhow::Result<Standings> {
    let (stop, mut stopped) = watch::channel(false);
    let (tell, standing) = watch::channel(Standing::Waiting);
    let mut told_to_stop = stopped.clone();
    let may_stand = async move {
        tokio::select! {
            alone = sight.wait_for(|sight| *sight == Sight::Alone) => alone.is_ok(),
            _ = told_to_stop.wait_for(|stop| *stop) => false,
        }
    };
    if !args.leader_elect {
        let for_ever = async move {
            if may_stand.await {
                tell.send_replace(Standing::Leading);
            }
            let _ = stopped.wait_for(|stop| *stop).await;
            Ok(())
        };
        return Ok((tokio::spawn(for_ever), standing, stop));
    }
    let rules = Rules {
        lease_duration: args.leader_election_lease_duration,
        renew_deadline: args.leader_election_renew_deadline,
        retry_period: args.leader_election_retry_period,
    };
    let mut config = config.clone();
    config.read_timeout = Some(elect::call_time_limit(&rules));
    config.write_timeout = config.read_timeout;
    config.reset_reader_on_write = true;
    let (namespace, name) = (lease_namespace(args, namespace), args.lease_name());
    let election = Election::new(Client::try_from(config)?, namespace, &name, elect::identity(), rules);
    let stands = async move { if may_stand.await { election.run(tell, stopped).await } else { Ok(()) } };
    Ok((tokio::spawn(stands), standing, stop))
}

fn lost(ended: Result<Result<(), Lost>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("leader election ended before it was told to"),
        Ok(Err(lost)) => lost.into(),
        Err(panicked) => panicked.into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use k8s_openapi::api::core::v1::Service;
    use kube::{Api, api::ListParams};
    use tokio::{net::TcpListener, time::timeout};

    use super::*;

    #[tokio::test]
    async fn the_lease_is_in_the_controllers_own_namespace_unless_a_flag_names_another() {
        let mut flags = vec!["headgate-controller", "--namespace=own"];
        for (flag, namespace) in [
            ("--namespaced", "own"),
            ("--leader-election-namespace=", "own"),
            ("--leader-election-namespace=argo-rollouts", "argo-rollouts"),
        ] {
            flags.truncate(2);
            flags.push(flag);
            let args = Args::try_parse_from(&flags).unwrap();
            assert_eq!(lease_namespace(&args, &own_namespace(&args).await), namespace, "{flags:?}");
        }
    }

    #[tokio::test]
    async fn a_list_that_a_dead_server_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        // It takes the connection, and the kernel takes what is sent.
        let config = heard_within(Duration::from_millis(100), &Config::new(url));
        let services: Api<Service> = Api::all(Client::try_from(config).unwrap());
        let listed = timeout(Duration::from_secs(60), services.list(&ListParams::default())).await;
        assert!(listed.is_ok_and(|listed| listed.is_err()), "the call ends, with an error");
    }
}
