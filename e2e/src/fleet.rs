//! A fleet as Argo Rollouts has left it (e2e/fixtures), brought into a real cluster while no controller looks at it.
//!
//! Objects get new uids, and times are moved so that the recording ended just now; all else stays as it was. Pods are made
//! by the cluster's own controllers, on fake nodes.

pub mod generator;
mod loader;
mod picture;

pub use loader::{await_pods, load};
pub use picture::Picture;

use crate::install::root;
use anyhow::Context;
use headgate_sim::adoption::refusal;
use serde_json::Value;

/// The namespace in which all of it was recorded.
const RECORDED_IN: &str = "fleet";

/// Just after the end of all recordings, as in the simulator.
const RECORDED_UNTIL: &str = "2026-11-21T09:00:00Z";

/// A Rollout, and the objects that belong to it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The Rollout's name, which tells its state.
    pub name: String,
    /// The Rollout among them. Pods and Jobs were recorded too.
    pub objects: Vec<Value>,
}

impl Member {
    /// The Rollout.
    ///
    /// # Errors
    /// When there is none.
    pub fn rollout(&self) -> anyhow::Result<&Value> {
        let rollout = self.objects.iter().find(|object| object["kind"] == "Rollout");
        rollout.with_context(|| format!("{} has no Rollout", self.name))
    }

    /// Changes every object of that kind.
    fn change(&mut self, kind: &str, change: impl FnMut(&mut Value)) {
        self.objects.iter_mut().filter(|object| object["kind"] == kind).for_each(change);
    }

    /// How many objects of that kind there are.
    fn count(&self, kind: &str) -> usize {
        self.objects.iter().filter(|object| object["kind"] == kind).count()
    }
}

/// All recorded Rollouts that Headgate carries out, by name.
///
/// # Errors
/// When a file cannot be read.
pub fn recorded() -> anyhow::Result<Vec<Member>> {
    let templates = templates()?;
    let mut members = Vec::new();
    for name in names()? {
        let objects = read(&name)?;
        if refusal(&[objects.clone(), templates.clone()].concat()).is_none() {
            members.push(Member { name, objects });
        }
    }
    Ok(members)
}

/// The AnalysisTemplates that they use.
///
/// # Errors
/// When the file cannot be read.
pub fn templates() -> anyhow::Result<Vec<Value>> {
    read(TEMPLATES)
}

const TEMPLATES: &str = "analysistemplates";

fn names() -> anyhow::Result<Vec<String>> {
    let directory = root().join("e2e/fixtures/fleet");
    let entries =
        std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name != TEMPLATES {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(name: &str) -> anyhow::Result<Vec<Value>> {
    let path = root().join("e2e/fixtures/fleet").join(name).with_extension("yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{} is no YAML", path.display()))
}

/// Changes every text in it. `change` is given the key that the text, or the list that it is in, stands under.
fn each_text(value: &mut Value, key: &str, change: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => change(key, text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, key, change)),
        Value::Object(members) => {
            members.iter_mut().for_each(|(key, member)| each_text(member, key, change));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
