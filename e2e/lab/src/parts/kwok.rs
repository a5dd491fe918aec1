//! kwok: fake nodes, whose pods are ready as soon as they are scheduled and cost nothing.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::addons::apply;
use super::{SOON, kubeconfig};
use crate::Lab;
use crate::probe;
use crate::process::Program;
use crate::sandbox::{FAKE_POD_RANGE, NODE_ADDRESS};

const ADDRESS: &str = "127.0.0.1:10247";
/// Each takes 500 pods (see the stages).
const NODES: usize = 4;
/// Marks a fake node, as its label, annotation and taint, and a namespace whose pods go there.
const MARK: &str = "kwok.x-k8s.io/node";
const STAGES: &str = include_str!("kwok.yaml");

/// The fake nodes, and the policy by which pods come to them.
pub(crate) fn prepare_kwok(lab: &Lab) -> Result<()> {
    let mut objects: Vec<Value> = (0..NODES).map(node).collect();
    objects.extend(policy());
    apply(lab, &objects)
}

fn node(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("fake-{number}"),
            "annotations": { MARK: "fake" },
            "labels": { MARK: "fake", "kubernetes.io/hostname": format!("fake-{number}") },
        },
        "spec": { "taints": [{ "key": MARK, "value": "fake", "effect": "NoSchedule" }] },
    })
}

/// Every new pod of a namespace that has the label gets the nodes' selector and a toleration of their taint. Templates need
/// not say so, which would change their hash.
fn policy() -> [Value; 2] {
    let admission = "admissionregistration.k8s.io/v1";
    let toleration = format!("Object.spec.tolerations{{ key: '{MARK}', operator: 'Exists' }}");
    let add = |path: &str, value: &str| format!("JSONPatch{{ op: 'add', path: '{path}', value: {value} }}");
    let select = add("/spec/nodeSelector", &format!("{{ '{MARK}': 'fake' }}"));
    let (one_more, first) =
        (add("/spec/tolerations/-", &toleration), add("/spec/tolerations", &format!("[{toleration}]")));
    let expression = format!("[{select}, has(object.spec.tolerations) ? {one_more} : {first}]");
    [
        json!({
            "apiVersion": admission, "kind": "MutatingAdmissionPolicy", "metadata": { "name": "fake-nodes" },
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { MARK: "fake" } },
                    "resourceRules": [
                        { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] },
                    ],
                },
                "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }],
            },
        }),
        json!({
            "apiVersion": admission, "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": "fake-nodes" },
            "spec": { "policyName": "fake-nodes" },
        }),
    ]
}

pub(super) fn program(lab: &Lab) -> Result<Program> {
    let stages = lab.state().write("kwok.yaml", STAGES)?;
    Ok(Program::new(&lab.tool("kwok")?)
        .path("--config", &stages)
        .path("--kubeconfig", &kubeconfig(lab, "lab:kwok"))
        .arg(format!("--manage-nodes-with-annotation-selector={MARK}=fake"))
        // Without a Lease the node would be taken for dead, and its pods with it.
        .arg("--node-lease-duration-seconds=40")
        .arg("--v=WARN")
        .arg(format!("--cidr={FAKE_POD_RANGE}"))
        .arg(format!("--node-ip={NODE_ADDRESS}"))
        .arg(format!("--server-address={ADDRESS}")))
}

/// It answers, and all its nodes are ready.
pub(super) fn ready(lab: &Lab) -> Result<()> {
    probe::http_ok(ADDRESS, "/healthz")?;
    let conditions = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
    let found = lab.kubectl(&[SOON, "get", "nodes", "-l", &format!("{MARK}=fake"), "-o", conditions])?;
    if found.split_whitespace().filter(|status| *status == "True").count() == NODES {
        return Ok(());
    }
    bail!("{NODES} fake nodes are to be ready: {found:?}")
}
