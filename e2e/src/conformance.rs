//! Carries a case of the simulator's script (`headgate_sim::conformance`) out on a real cluster, with the controller's
//! own executor.

use crate::cluster::Cluster;
use anyhow::{Context, anyhow, bail};
use futures::{Stream, StreamExt, TryStreamExt};
use headgate_controller::execute::Executor;
use headgate_controller::fleet::Fleet;
use headgate_controller::measure::Measurer;
use headgate_controller::metrics::Metrics;
use headgate_controller::notifier::Notifier;
use headgate_controller::object::{Object, api_resource};
use headgate_controller::secrets::Secrets;
use headgate_driver::io::{Call, ObjectRef, Reply, Request, RequestId, Resource};
use headgate_driver::resources::ROLLOUTS;
use headgate_sim::conformance::pods::{Known, PodAct, room_of};
use headgate_sim::conformance::{Act, Case, Program, answer, gone, in_vain, relations};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What is awaited comes within this time, or never. The garbage collector of a new cluster takes half a minute to
/// learn of kinds.
const PATIENCE: Duration = Duration::from_secs(120);
/// A list of pods is asked for so often until it is as it should be.
const LOOKS_APART: Duration = Duration::from_millis(500);
/// A watch that is asked for the past has told it by then.
const HISTORY_TIME_LIMIT: Duration = Duration::from_secs(20);

/// A real cluster, as the place of a script.
pub struct RealWorld {
    cluster: Cluster,
    executor: Executor,
}

/// A case that is being carried out.
struct Run<'a> {
    world: &'a RealWorld,
    case: &'a Case,
    /// Where the history of each kind begins.
    began: BTreeMap<Resource, String>,
    answers: BTreeMap<&'a str, Value>,
    /// What the case has seen of pods.
    known: Known,
}

impl RealWorld {
    /// A cluster in which the CRDs are installed.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub async fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let client = cluster.client_without_retries().await?;
        let measurer = Measurer::new(Secrets::new(client.clone()), None)?;
        let (metrics, fleet) = (Arc::new(Metrics::default()), Arc::new(Fleet::default()));
        let notifier = Arc::new(Notifier::new(None)?);
        let executor = Executor::new(client, measurer, notifier, metrics, fleet);
        Ok(Self { cluster: cluster.clone(), executor })
    }

    /// The answers of a case, one for each step.
    ///
    /// # Errors
    /// When the cluster cannot be asked; a refusal is an answer.
    pub async fn run(&self, case: &Case) -> anyhow::Result<Vec<Value>> {
        let namespace = case.namespace();
        self.cluster.fresh_namespace(&namespace).await?;
        let began = self.beginnings(case).await?;
        let mut run = Run { world: self, case, began, answers: BTreeMap::new(), known: Known::default() };
        let mut answers = Vec::new();
        for step in &case.steps {
            let answer = run.act(&step.act).await;
            let answer = answer.with_context(|| format!("{}: {}", case.name, step.name))?;
            run.answers.insert(step.name, answer.clone());
            answers.push(answer);
        }
        self.cluster.remove_namespace(&namespace).await?;
        Ok(answers)
    }

    async fn beginnings(&self, case: &Case) -> anyhow::Result<BTreeMap<Resource, String>> {
        let mut began = BTreeMap::new();
        for step in &case.steps {
            let (Act::History(target) | Act::Relations(target, _)) = &step.act else { continue };
            let list = self.api(&case.placed(target)).list(&ListParams::default().limit(1)).await?;
            began
                .insert(target.resource, list.metadata.resource_version.context("a list without a version")?);
        }
        Ok(began)
    }

    async fn call(&self, call: Call) -> Reply {
        let owner =
            ObjectRef { resource: ROLLOUTS, namespace: String::new(), name: "conformance".to_owned() };
        let request = Request { id: RequestId(0), owner, call };
        self.executor.execute(request).await.1
    }

    fn api(&self, target: &ObjectRef) -> Api<Object> {
        let resource = api_resource(&target.resource);
        Api::namespaced_with(self.cluster.client.clone(), &target.namespace, &resource)
    }
}

impl Run<'_> {
    async fn act(&mut self, act: &Act) -> anyhow::Result<Value> {
        match act {
            Act::Call(call) => {
                let mut call = self.case.filled_in(call, &self.answers);
                if let Call::Create { body, .. } = &mut call {
                    give_programs(body);
                }
                Ok(answer(&self.world.call(call).await))
            }
            Act::Await(target, wanted) => {
                let wanted = |object: Option<&Value>| object.is_some_and(wanted);
                let (came, last) = self.watch_until(&self.case.placed(target), wanted).await?;
                Ok(last.filter(|_| came).map_or_else(|| in_vain(None), |object| json!({ "object": object })))
            }
            Act::AwaitGone(target) => {
                let (came, last) = self.watch_until(&self.case.placed(target), |one| one.is_none()).await?;
                Ok(if came { gone() } else { in_vain(last.as_ref()) })
            }
            Act::History(target) => Ok(json!({ "events": self.events(&self.case.placed(target)).await? })),
            Act::Relations(target, relations) => {
                let events = self.events(&self.case.placed(target)).await?;
                let states =
                    events.into_iter().filter_map(|mut event| event.get_mut("object").map(Value::take));
                Ok(relations::answer(&states.collect::<Vec<_>>(), relations))
            }
            Act::DeletePod => self.delete_pod().await,
            Act::FailProbe(seconds) => self.fail_probe(*seconds).await,
            Act::Pods(act) => self.pod_act(act).await,
            Act::AwaitBudget { target, needed, healthy } => {
                let is_counted = |room: &Value| room["needed"] == *needed && room["healthy"] == *healthy;
                let counted = |budget: Option<&Value>| budget.and_then(room_of).filter(is_counted);
                let target = self.case.placed(target);
                let (_, last) = self.watch_until(&target, |budget| counted(budget).is_some()).await?;
                Ok(counted(last.as_ref()).unwrap_or_else(|| in_vain(last.as_ref())))
            }
        }
    }

    async fn pod_act(&mut self, act: &PodAct) -> anyhow::Result<Value> {
        let call = self.known.call(act, self.case);
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let reply = self.world.call(call.clone()).await;
            if Known::is_awaited(act, &reply) {
                return Ok(self.known.answer(act, &reply));
            }
            if tokio::time::Instant::now() > end {
                return Ok(in_vain(Some(&answer(&reply))));
            }
            tokio::time::sleep(LOOKS_APART).await;
        }
    }

    /// Whether it came true, and the last state: `None` when the object does not exist.
    async fn watch_until(
        &self,
        target: &ObjectRef,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> anyhow::Result<(bool, Option<Value>)> {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", target.name));
        let mut events = watcher(self.world.api(target), only).boxed();
        let mut last = None;
        let came = tokio::time::timeout(PATIENCE, async {
            while let Some(event) = events.try_next().await? {
                // Within a list nothing is known to be absent.
                let is_known = !matches!(event, Event::Init);
                match event {
                    Event::InitApply(object) | Event::Apply(object) => {
                        last = Some(object.into_json(&target.resource));
                    }
                    Event::Init | Event::Delete(_) => last = None,
                    Event::InitDone => {}
                }
                if is_known && wanted(last.as_ref()) {
                    return anyhow::Ok(());
                }
            }
            Err(anyhow!("the watch has ended"))
        })
        .await;
        match came {
            Ok(ended) => ended.map(|()| (true, last)),
            Err(_elapsed) => Ok((false, last)),
        }
    }

    /// What a watch from the beginning of the case tells of the object, until now.
    async fn events(&self, target: &ObjectRef) -> anyhow::Result<Vec<Value>> {
        let api = self.world.api(target);
        let only = format!("metadata.name={}", target.name);
        let now = api.list(&ListParams::default().fields(&only)).await?;
        let last = now.items.first().and_then(ResourceExt::resource_version);
        let began = self.began.get(&target.resource).context("no beginning")?;
        let watch = api.watch(&WatchParams::default().fields(&only), began).await?.boxed();
        let told = told(watch, target.resource, last.as_deref());
        tokio::time::timeout(HISTORY_TIME_LIMIT, told)
            .await
            .context("the watch does not tell the whole past")?
    }

    /// The pods of the case, the oldest first.
    async fn pods(&self) -> anyhow::Result<Vec<Pod>> {
        let mut pods = self.pod_api().list(&ListParams::default()).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.sort_by_key(ResourceExt::creation_timestamp);
        Ok(pods)
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.world.cluster.client.clone(), &self.case.namespace())
    }

    async fn delete_pod(&self) -> anyhow::Result<Value> {
        let pods = self.pods().await?;
        let Some(pod) = pods.first() else { return Ok(json!({ "done": false })) };
        self.pod_api().delete(&pod.name_any(), &DeleteParams::default()).await?;
        Ok(json!({ "done": true }))
    }

    async fn fail_probe(&self, seconds: i64) -> anyhow::Result<Value> {
        let pods = self.pods().await?;
        let address =
            pods.iter().find(|pod| is_ready(pod)).and_then(|pod| pod.status.as_ref()?.pod_ip.clone());
        let Some(address) = address else { return Ok(json!({ "done": false })) };
        set_error_rate(&address, 1).await?;
        let duration = Duration::from_secs(u64::try_from(seconds)?);
        tokio::spawn(async move {
            tokio::time::sleep(duration).await;
            // When the pod is gone by then, there is nothing to end.
            let _ = set_error_rate(&address, 0).await;
        });
        Ok(json!({ "done": true }))
    }
}

/// The events of a watch up to this version, or else to the deletion.
async fn told(
    mut watch: impl Stream<Item = kube::Result<WatchEvent<Object>>> + Unpin,
    resource: Resource,
    last: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    let mut events = Vec::new();
    while let Some(event) = watch.try_next().await? {
        let (name, object) = match event {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(status) => bail!("the watch fails: {}", status.message),
        };
        let is_last = match last {
            Some(last) => object.resource_version().as_deref() == Some(last),
            None => name == "DELETED",
        };
        events.push(json!({ "type": name, "object": object.into_json(&resource) }));
        if is_last {
            return Ok(events);
        }
    }
    bail!("the watch has ended before the last change")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Lets the app of a pod answer its probe with errors, or not.
async fn set_error_rate(address: &str, rate: u8) -> anyhow::Result<()> {
    let url = format!("http://{address}:8080/control?error_rate={rate}");
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    client.post(url).send().await?.error_for_status()?;
    Ok(())
}

/// Gives containers of the script the test's own app, so that they do what their image stands for.
fn give_programs(body: &mut Value) {
    let containers = body.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let program = Program::ALL.iter().find(|program| container["image"] == program.image());
        if let Some(program) = program {
            *container = app(*program);
        }
    }
}

fn app(program: Program) -> Value {
    let image = format!("headgate/app:{}", env!("CARGO_PKG_VERSION"));
    let serving = |extra: &[(&str, &str)]| {
        let variables = [&[("CONTROL", "true"), ("DRAIN", "1s")], extra].concat();
        let variables = variables.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        json!({
            "name": "app", "image": image, "env": variables.collect::<Value>(),
            "readinessProbe": {
                "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1, "failureThreshold": 1,
                // A busy machine answers late, which is no failure.
                "timeoutSeconds": 20,
            },
        })
    };
    let resolving = |name: &str| json!({ "name": "app", "image": image, "args": ["--resolve", name] });
    match program {
        Program::Serves => serving(&[]),
        Program::ServesLate => serving(&[("START_DELAY", "15s")]),
        Program::NeverReady => serving(&[("NEVER_READY", "true")]),
        // Within the 30 s that a pod is given by default.
        Program::Lingers => serving(&[("START_DELAY", "15s"), ("DRAIN", "20s")]),
        Program::NoImage => json!({ "name": "app", "image": Program::NoImage.image() }),
        Program::Succeeds => resolving("localhost"),
        Program::Fails => resolving("nowhere.invalid"),
    }
}
