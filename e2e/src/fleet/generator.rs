//! A fleet of any size that follows from a seed: the recorded states, each with another size, history, router and template.

use super::{Member, each_text, recorded};
use anyhow::Context;
use headgate_api::labels::{EPHEMERAL_METADATA, REVISION, SCALE_DOWN_DEADLINE};
use headgate_model::template::{pod_template_hash, strip_injected};
use headgate_sim::random::Random;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An hour after the end of the recordings.
const LATER: &str = "2026-11-21T10:00:00Z";

/// Where Rollouts and ReplicaSets hold their replicas, and a ReplicaSet's status what became of them.
const COUNTED: [&str; 4] = ["replicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"];

/// So many Rollouts; each recorded state as often as the next one.
///
/// # Errors
/// When a recording cannot be read, or is not as expected.
pub fn fleet(seed: u64, size: usize) -> anyhow::Result<Vec<Member>> {
    let states = recorded()?;
    let numbered = states.iter().cycle().take(size).enumerate();
    numbered
        .map(|(index, state)| {
            let name = format!("{}-{index:03}", state.name);
            let random = Random::new(seed, &format!("member {index}"));
            vary(state.clone(), &name, random).with_context(|| format!("cannot make {name}"))
        })
        .collect()
}

fn vary(mut member: Member, name: &str, mut random: Random) -> anyhow::Result<Member> {
    let is_alone = member.objects.iter().filter(|object| replicas(object) > 0).count() == 1;
    if is_alone && random.percent(70) {
        resize(&mut member, random.between(1, 3));
    }
    let has_history = member.count("ReplicaSet") > 2 || member.count("AnalysisRun") > 0;
    if !has_history && random.percent(40) {
        lengthen(&mut member, random.between(1, 2))?;
    }
    if member.name == "istioaborted" && random.percent(50) {
        drain(&mut member);
    }
    if member.count("VirtualService") > 0 && random.percent(50) {
        through_the_gateway(&mut member)?;
    }
    if member.rollout()?["spec"]["template"].is_object() {
        let team = json!({ "name": "TEAM", "value": random.pick("red", &["green", "blue"]) });
        for object in &mut member.objects {
            if let Some(variables) = object.pointer_mut(VARIABLES).and_then(Value::as_array_mut) {
                variables.push(team.clone());
            }
        }
        rename(&mut member, name);
        hash(&mut member)?;
    } else {
        rename(&mut member, name);
    }
    Ok(member)
}

const VARIABLES: &str = "/spec/template/spec/containers/0/env";

/// The replicas that a ReplicaSet is to have.
fn replicas(object: &Value) -> i64 {
    if object["kind"] == "ReplicaSet" { object["spec"]["replicas"].as_i64().unwrap_or(0) } else { 0 }
}

/// Another number of pods of the only version that has any.
fn resize(member: &mut Member, count: i64) {
    member.change("ReplicaSet", |set| {
        set["metadata"]["annotations"]["rollout.argoproj.io/desired-replicas"] = json!(count.to_string());
        if replicas(set) > 0 {
            set["spec"]["replicas"] = json!(count);
            COUNTED.iter().for_each(|counter| set["status"][counter] = json!(count));
        }
    });
    member.change("HorizontalPodAutoscaler", |scaler| scaler["spec"]["minReplicas"] = json!(count));
    member.change("Rollout", |rollout| {
        rollout["spec"]["replicas"] = json!(count);
        let status = &mut rollout["status"];
        for counter in ["HPAReplicas", "replicas", "readyReplicas", "availableReplicas", "updatedReplicas"] {
            // None is left out.
            if !status[counter].is_null() {
                status[counter] = json!(count);
            }
        }
    });
}

/// Versions without pods, older than all.
fn lengthen(member: &mut Member, count: i64) -> anyhow::Result<()> {
    let set =
        member.objects.iter().find(|object| replicas(object) > 0).context("no ReplicaSet has pods")?.clone();
    for object in &mut member.objects {
        if let Some(Value::String(revision)) = object["metadata"]["annotations"].get_mut(REVISION) {
            *revision = (revision.parse::<i64>()? + count).to_string();
        }
    }
    member.change("Rollout", |rollout| {
        // Downwards, or one would be moved twice.
        for revision in (1..=3).rev() {
            let (from, to) = (format!("revision {revision}"), format!("revision {}", revision + count));
            each_text(&mut rollout["status"], "", &mut |_, text| *text = text.replace(&from, &to));
        }
    });
    for revision in 1..=count {
        let mut old = set.clone();
        let (hash, new) = (of_version(&set), format!("older{revision}"));
        each_text(&mut old, "", &mut |_, text| *text = text.replace(&hash, &new));
        old["metadata"]["annotations"][REVISION] = json!(revision.to_string());
        old["metadata"]["uid"] = json!(new);
        old["metadata"]["creationTimestamp"] = json!("2026-11-20T08:00:00Z");
        old["spec"]["replicas"] = json!(0);
        take_role_away(&mut old)?;
        old["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = json!(new);
        old["status"] = json!({ "replicas": 0 });
        member.objects.push(old);
    }
    Ok(())
}

/// A version that is neither the stable nor the newest one carries nothing of a role.
fn take_role_away(set: &mut Value) -> anyhow::Result<()> {
    let mut annotations = BTreeMap::<String, String>::deserialize(&set["metadata"]["annotations"])?;
    set["spec"]["template"] = strip_injected(&set["spec"]["template"], &annotations);
    annotations.remove(EPHEMERAL_METADATA);
    set["metadata"]["annotations"] = json!(annotations);
    Ok(())
}

/// The aborted version keeps a pod for another hour.
fn drain(member: &mut Member) {
    let mut stable = 0;
    member.change("ReplicaSet", |set| match replicas(set) {
        0 if set["metadata"]["annotations"].get(SCALE_DOWN_DEADLINE).is_some() => {
            set["metadata"]["annotations"][SCALE_DOWN_DEADLINE] = json!(LATER);
            set["spec"]["replicas"] = json!(1);
            COUNTED.iter().for_each(|counter| set["status"][counter] = json!(1));
        }
        count => stable += count,
    });
    member.change("Rollout", |rollout| {
        let status = &mut rollout["status"];
        for counter in ["HPAReplicas", "replicas", "readyReplicas", "availableReplicas"] {
            status[counter] = json!(stable + 1);
        }
        status["updatedReplicas"] = json!(1);
    });
}

/// An `HTTPRoute` with the weights of the `VirtualService`.
fn through_the_gateway(member: &mut Member) -> anyhow::Result<()> {
    let name = member.name.clone();
    let service = member.objects.iter_mut().find(|object| object["kind"] == "VirtualService");
    let service = service.context("no VirtualService")?;
    let routes = service["spec"]["http"][0]["route"].as_array().context("no routes")?.iter();
    let backends: Vec<Value> = routes
        .map(|route| json!({ "name": route["destination"]["host"], "port": 80, "weight": route["weight"] }))
        .collect();
    let metadata = service["metadata"].clone();
    *service = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata,
        "spec": {
            "parentRefs": [{ "name": "traefik", "namespace": "traefik" }],
            "hostnames": [format!("{name}.local")],
            "rules": [{ "backendRefs": backends }],
        },
    });
    member.change("Rollout", |rollout| {
        let route = json!({ "plugins": { "argoproj-labs/gatewayAPI": { "httpRoute": name } } });
        rollout["spec"]["strategy"]["canary"]["trafficRouting"] = route;
        // The plugin for it says so of every weight; Istio's router says nothing.
        rollout["status"]["canary"]["weights"]["verified"] = json!(true);
    });
    Ok(())
}

/// Gives everything that is called after the Rollout another name.
fn rename(member: &mut Member, name: &str) {
    let from = std::mem::replace(&mut member.name, name.to_owned());
    for object in &mut member.objects {
        each_text(object, "", &mut |key, text| {
            if !matches!(key, "image" | "ingressClassName") {
                *text = renamed(text, &from, name);
            }
        });
    }
}

fn renamed(text: &str, from: &str, to: &str) -> String {
    if text == from {
        return to.to_owned();
    }
    if let Some(rest) = text.strip_prefix(&format!("{from}-")) {
        return format!("{to}-{}", renamed(rest, from, to));
    }
    if text == format!("{from}.local") || text == format!("app={from}") {
        return text.replace(from, to);
    }
    text.replace(&format!("\"{from}-"), &format!("\"{to}-"))
}

/// Each version gets the hash that its template has now.
fn hash(member: &mut Member) -> anyhow::Result<()> {
    for (old, new) in hashes(member)? {
        for object in &mut member.objects {
            each_text(object, "", &mut |_, text| *text = text.replace(&old, &new));
        }
    }
    Ok(())
}

/// Of each version the hash that it has, and that of its template: the Rollout's, with what versions differ in.
fn hashes(member: &Member) -> anyhow::Result<Vec<(String, String)>> {
    let rollout = member.rollout()?;
    let count = rollout["status"]["collisionCount"].as_i64().and_then(|count| i32::try_from(count).ok());
    let sets = member.objects.iter().filter(|object| object["kind"] == "ReplicaSet");
    let hash = |set: &Value| {
        let mut template = rollout["spec"]["template"].clone();
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        for field in ["env", "image"] {
            template["spec"]["containers"][0][field] = container[field].clone();
        }
        (of_version(set), pod_template_hash(&template, count))
    };
    Ok(sets.map(hash).collect())
}

fn of_version(set: &Value) -> String {
    set["metadata"]["labels"]["rollouts-pod-template-hash"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_sim::adoption::{Crds, World, unreadable};
    use std::collections::BTreeSet;

    #[test]
    fn the_recorded_hashes_are_those_of_the_templates() {
        let mut seen = 0;
        for member in recorded().unwrap() {
            if member.rollout().unwrap()["spec"]["template"].is_object() {
                for (recorded, computed) in hashes(&member).unwrap() {
                    assert_eq!(recorded, computed, "{}", member.name);
                    seen += 1;
                }
            }
        }
        assert!(seen > 35, "{seen}");
    }

    #[test]
    fn the_same_seed_makes_the_same_fleet_of_members_that_all_differ() {
        let texts = |seed: u64| -> Vec<String> {
            let fleet = fleet(seed, 60).unwrap();
            fleet.iter().map(|member| serde_json::to_string(&member.objects).unwrap()).collect()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        assert_eq!(texts(1).into_iter().collect::<BTreeSet<_>>().len(), 60);
    }

    #[test]
    fn names_move_and_what_is_only_called_alike_does_not() {
        for (text, renamed_to) in [
            ("nginx", "n-1"),
            ("nginx-nginx-canary", "n-1-n-1-canary"),
            ("app=nginx", "app=n-1"),
            ("nginx.local", "n-1.local"),
            ("ReplicaSet \"nginx-abc\" has", "ReplicaSet \"n-1-abc\" has"),
            ("the nginx of old", "the nginx of old"),
        ] {
            assert_eq!(renamed(text, "nginx", "n-1"), renamed_to);
        }
    }

    /// Whoever makes up a state that Argo Rollouts would not leave finds out here, and not in the cluster.
    #[test]
    fn in_the_simulator_none_of_them_moves() {
        let templates = crate::fleet::templates().unwrap();
        for member in fleet(1, 60).unwrap() {
            let mut objects = member.objects.clone();
            objects.retain(|object| object["kind"] != "Pod");
            objects.extend(pods(&objects));
            objects.extend(templates.clone());
            let mut world = World::take_over(&objects, Vec::new(), Crds::Ours).unwrap();
            world.pass(jiff::SignedDuration::from_mins(5));
            let before = member.rollout().unwrap();
            let changes = headgate_sim::adoption::changes(before, world.rollout());
            let moved: Vec<_> =
                changes.iter().filter(|change| !headgate_sim::adoption::is_ours(change)).collect();
            assert!(moved.is_empty(), "{}: {moved:#?}", member.name);
            assert_eq!(unreadable(&world.rollout()["status"]), Vec::<String>::new(), "{}", member.name);
        }
    }

    /// As many as each ReplicaSet is to have.
    fn pods(objects: &[Value]) -> Vec<Value> {
        let mut pods = Vec::new();
        for set in objects.iter().filter(|object| replicas(object) > 0) {
            let (name, spec) = (&set["metadata"]["name"], &set["spec"]["template"]["spec"]);
            let is_ready = set["status"]["availableReplicas"] == set["spec"]["replicas"];
            let status = if is_ready { "True" } else { "False" };
            for number in 0..replicas(set) {
                let condition = json!({ "type": "Ready", "status": status, "lastTransitionTime": "2026-11-21T08:20:00Z" });
                pods.push(json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {
                        "name": format!("{}-{number}", name.as_str().unwrap_or_default()), "namespace": "fleet",
                        "uid": format!("pod-{name}-{number}"), "labels": set["spec"]["template"]["metadata"]["labels"],
                        "ownerReferences": [{
                            "apiVersion": "apps/v1", "kind": "ReplicaSet", "controller": true,
                            "name": name, "uid": set["metadata"]["uid"],
                        }],
                        "creationTimestamp": "2026-11-21T08:10:00Z",
                    },
                    "spec": spec,
                    "status": {
                        "phase": if is_ready { "Running" } else { "Pending" }, "conditions": [condition],
                    },
                }));
            }
        }
        pods
    }
}
