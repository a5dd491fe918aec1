//! Another controller for the same Rollouts: one of Argo Rollouts that no Lease keeps from acting beside this one. Two that
//! act at once would undo each other's weights for ever, so this one waits until the other is gone.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    args::{REFERENCE_LEASE, Scope, lease_of_instance},
    execute::explain,
    health::Health,
};

/// What both its manifests and its Helm chart put on the Deployment of the reference controller.
const LABELS: &str = "app.kubernetes.io/component=rollouts-controller";
/// More of them than this in one cluster are not looked at.
const LOOKED_AT_MAX: u32 = 100;
const LOOK_TIME_LIMIT: Duration = Duration::from_secs(10);
/// How often to look while there is one, and while there is none: until one that is started later is seen, both act.
const AGAIN_WHILE_WAITING: Duration = Duration::from_secs(5);
const AGAIN_WHILE_ALONE: Duration = Duration::from_secs(15);
/// So many looks in a row may stay without an answer before anything is known: a minute or more.
const UNANSWERED_MAX: u32 = 12;

/// What this controller acts on, and which Lease keeps others from it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Where.
    pub scope: Scope,
    /// `--instance-id`.
    pub instance_id: String,
    /// Namespace and name of the Lease; `None` without leader election.
    pub lease: Option<(String, String)>,
}

/// Whether this controller may stand for election.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// There is no other one, or nobody may look.
    Alone,
    /// There is one; how to mend it.
    Rival(String),
}

/// Why nobody can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Blind {
    /// This controller may not look.
    Forbidden(String),
    /// The API server has not answered, or not with a list.
    Unanswered(String),
}

/// Looks now and then, for ever, and tells what it sees.
pub async fn look_out(client: Client, claim: Claim, health: Arc<Health>, tell: watch::Sender<Sight>) {
    let mut unanswered = 0;
    loop {
        let seen = look(&client, &claim).await;
        unanswered = if matches!(seen, Err(Blind::Unanswered(_))) { unanswered + 1 } else { 0 };
        if let Err(Blind::Forbidden(why) | Blind::Unanswered(why)) = &seen {
            tracing::warn!(why, "cannot look whether the controller of Argo Rollouts runs beside this one");
        }
        let sight = sight(&tell.borrow(), seen, unanswered);
        let message = if let Sight::Rival(message) = &sight { Some(message.clone()) } else { None };
        let is_certain = sight == Sight::Alone && unanswered == 0;
        if let Some(message) = message.as_ref().filter(|_| *tell.borrow() != sight) {
            tracing::error!(message, "waiting");
        }
        health.waits_for(message);
        tell.send_replace(sight);
        sleep(if is_certain { AGAIN_WHILE_ALONE } else { AGAIN_WHILE_WAITING }).await;
    }
}

/// What holds now. An API server that does not answer says nothing new; but one that answers all else for so long does not
/// keep this controller from acting for ever.
fn sight(before: &Sight, seen: Result<Option<String>, Blind>, unanswered: u32) -> Sight {
    match seen {
        Ok(rival) => rival.map_or(Sight::Alone, Sight::Rival),
        // The Lease keeps the two apart wherever the other one asks for it, which it does by default. One that was seen to act
        // without is not gone because nobody may look any more.
        Err(Blind::Forbidden(_)) if !matches!(before, Sight::Rival(_)) => Sight::Alone,
        Err(Blind::Unanswered(_)) if *before == Sight::Unknown && unanswered > UNANSWERED_MAX => Sight::Alone,
        Err(_) => before.clone(),
    }
}

/// One that acts on the whole cluster acts on one namespace of it too, wherever it runs. A controller of one namespace may
/// not look elsewhere as a rule: then it looks there.
async fn look(client: &Client, claim: &Claim) -> Result<Option<String>, Blind> {
    let everywhere = deployments(&Api::all(client.clone())).await;
    let found = match (&everywhere, &claim.scope) {
        (Err(Blind::Forbidden(_)), Scope::Namespace(namespace)) => {
            deployments(&Api::namespaced(client.clone(), namespace)).await
        }
        _ => everywhere,
    };
    Ok(found?.iter().find_map(|deployment| conflict(deployment, claim)))
}

async fn deployments(api: &Api<Deployment>) -> Result<Vec<Deployment>, Blind> {
    // What the API server has in its cache is good enough, and costs it little.
    let wanted = ListParams::default().labels(LABELS).limit(LOOKED_AT_MAX).match_any();
    match timeout(LOOK_TIME_LIMIT, api.list(&wanted)).await {
        Ok(Ok(found)) => Ok(found.items),
        Ok(Err(error)) => Err(match &error {
            kube::Error::Api(status) if status.code == 403 => Blind::Forbidden(explain(&error)),
            _ => Blind::Unanswered(explain(&error)),
        }),
        Err(_elapsed) => Err(Blind::Unanswered("no answer from the API server".to_owned())),
    }
}

/// The words that a flag of a Go program takes for `false`: see `strconv.ParseBool`.
const FALSE: [&str; 6] = ["0", "f", "F", "false", "False", "FALSE"];

/// Why the controller in this Deployment and ours would act on the same Rollouts at the same time, and how to mend it.
fn conflict(deployment: &Deployment, claim: &Claim) -> Option<String> {
    let spec = deployment.spec.as_ref()?;
    let pod = spec.template.spec.as_ref()?;
    let namespace = deployment.namespace().unwrap_or_default();
    let arguments: Vec<&str> = pod
        .containers
        .iter()
        .flat_map(|container| container.command.iter().chain(&container.args).flatten())
        .map(String::as_str)
        .collect();
    let is_on = |name, default: bool| flag(&arguments, name).map_or(default, |value| !FALSE.contains(&value));
    let instance_id = flag(&arguments, "--instance-id").unwrap_or_default();
    let is_elsewhere = match &claim.scope {
        Scope::Namespace(ours) => is_on("--namespaced", false) && *ours != namespace,
        Scope::Cluster => false,
    };
    let left = deployment
        .status
        .as_ref()
        .map_or(0, |status| status.replicas.unwrap_or(0).max(status.terminating_replicas.unwrap_or(0)));
    // A pod that is ending acts until it has ended.
    let is_gone = spec.replicas == Some(0) && left == 0;
    if is_gone || instance_id != claim.instance_id || is_elsewhere {
        return None;
    }
    let lease = lease_of_instance(REFERENCE_LEASE, instance_id);
    let why = match &claim.lease {
        _ if !is_on("--leader-elect", true) => "without leader election".to_owned(),
        None => "and this one runs without leader election".to_owned(),
        Some(ours) if *ours == (namespace.clone(), lease.clone()) => return None,
        Some((ours, name)) => format!("with the Lease {namespace}/{lease}, and this one with {ours}/{name}"),
    };
    let name = deployment.name_any();
    Some(format!(
        "Deployment {namespace}/{name} runs the controller of Argo Rollouts, {why}: both would act on the same Rollouts. \
         Nothing is done until it is gone: kubectl scale deployment {name} -n {namespace} --replicas=0"
    ))
}

/// The value of a flag, the last one when it is given twice; a flag alone is true.
fn flag<'a>(arguments: &[&'a str], name: &str) -> Option<&'a str> {
    let value = |(index, argument): (usize, &&'a str)| {
        let rest = argument.strip_prefix(name)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => {
                let next = arguments.get(index + 1).filter(|next| !next.starts_with('-'));
                Some(next.map_or("true", |next| next))
            }
            None => None,
        }
    };
    arguments.iter().enumerate().rev().find_map(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(namespace: &str, replicas: i32, arguments: &[&str]) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "name": "argo-rollouts", "namespace": namespace },
            "spec": {
                "replicas": replicas,
                "selector": {},
                "template": { "spec": { "containers": [{ "name": "argo-rollouts", "args": arguments }] } },
            },
        }))
        .unwrap()
    }

    fn claim(scope: Scope, instance_id: &str) -> Claim {
        let id = if instance_id.is_empty() { String::new() } else { format!("-{instance_id}") };
        let lease = ("argo-rollouts".to_owned(), format!("argo-rollouts-controller-lock{id}"));
        Claim { scope, instance_id: instance_id.to_owned(), lease: Some(lease) }
    }

    #[test]
    fn a_controller_of_argo_rollouts_that_no_lease_keeps_apart_from_ours_is_named() {
        let cluster = || claim(Scope::Cluster, "");
        let here = |namespace: &str| claim(Scope::Namespace(namespace.to_owned()), "");
        let without_lease = Claim { lease: None, ..cluster() };
        let own_lease = Claim { lease: Some(("argo-rollouts".into(), "mine".into())), ..cluster() };
        for (namespace, replicas, arguments, claim, expected) in [
            ("argo-rollouts", 1, vec![], cluster(), None),
            ("argo-rollouts", 1, vec!["--leader-elect=false"], cluster(), Some("without leader election")),
            ("argo-rollouts", 1, vec!["--leader-elect=False"], cluster(), Some("without leader election")),
            ("argo-rollouts", 1, vec!["--leader-elect=1"], cluster(), None),
            ("argo-rollouts", 0, vec!["--leader-elect=false"], cluster(), None),
            ("argo-rollouts", 1, vec!["--leader-elect", "--namespaced"], cluster(), None),
            (
                "other",
                1,
                vec![],
                cluster(),
                Some("with the Lease other/argo-rollouts-controller-lock, and this"),
            ),
            ("other", 1, vec!["--instance-id=b"], cluster(), None),
            ("argo-rollouts", 1, vec!["--instance-id", "b"], self::claim(Scope::Cluster, "b"), None),
            ("argo-rollouts", 1, vec![], without_lease, Some("this one runs without leader election")),
            ("argo-rollouts", 1, vec![], own_lease, Some("and this one with argo-rollouts/mine")),
            ("other", 1, vec!["--namespaced"], here("argo-rollouts"), None),
            ("other", 1, vec!["--namespaced=0"], here("argo-rollouts"), Some("with the Lease other/")),
            ("other", 1, vec![], here("argo-rollouts"), Some("with the Lease other/")),
        ] {
            let said = conflict(&deployment(namespace, replicas, &arguments), &claim);
            match expected {
                None => assert_eq!(said, None, "{namespace} {arguments:?} {claim:?}"),
                Some(part) => {
                    let said = said.unwrap_or_default();
                    let command =
                        format!("kubectl scale deployment argo-rollouts -n {namespace} --replicas=0");
                    assert!(said.contains(part) && said.ends_with(&command), "{said}");
                }
            }
        }
    }

    #[test]
    fn who_cannot_be_looked_for_is_taken_for_absent_unless_he_was_seen() {
        let unanswered = || Err(Blind::Unanswered("503".to_owned()));
        let rival = || Sight::Rival("it is there".to_owned());
        let forbidden = || Err(Blind::Forbidden("403".to_owned()));
        for (before, seen, times, expected) in [
            (Sight::Unknown, Ok(None), 0, Sight::Alone),
            (Sight::Alone, Ok(Some("it is there".to_owned())), 0, rival()),
            (rival(), Ok(None), 0, Sight::Alone),
            (Sight::Unknown, forbidden(), 0, Sight::Alone),
            (rival(), forbidden(), 0, rival()),
            (Sight::Unknown, unanswered(), 1, Sight::Unknown),
            (Sight::Unknown, unanswered(), UNANSWERED_MAX + 1, Sight::Alone),
            (Sight::Alone, unanswered(), 1, Sight::Alone),
            (rival(), unanswered(), UNANSWERED_MAX + 1, rival()),
        ] {
            let told = format!("{before:?} {seen:?} {times}");
            assert_eq!(sight(&before, seen, times), expected, "{told}");
        }
    }

    #[test]
    fn a_controller_of_argo_rollouts_is_there_until_its_last_pod_has_ended() {
        let mut rival = deployment("argo-rollouts", 0, &["--leader-elect=false"]);
        let claim = claim(Scope::Cluster, "");
        for (status, is_there) in [
            (json!({ "replicas": 1 }), true),
            (json!({ "replicas": 0, "terminatingReplicas": 1 }), true),
            (json!({}), false),
        ] {
            rival.status = serde_json::from_value(status.clone()).unwrap();
            assert_eq!(conflict(&rival, &claim).is_some(), is_there, "{status}");
        }
    }

    #[test]
    fn flags_are_read_in_both_forms_and_the_last_one_counts() {
        let read = |arguments: &[&'static str], name| flag(arguments, name);
        assert_eq!(read(&["--a=1", "--a", "2"], "--a"), Some("2"));
        assert_eq!(read(&["--a", "--b"], "--a"), Some("true"));
        assert_eq!(read(&["--ab=1"], "--a"), None);
    }
}
