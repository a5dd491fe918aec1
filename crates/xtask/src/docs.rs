//! What the documentation shows must be true: links lead somewhere, commands and recipes exist, manifests are valid.
//! The cluster's own opinion of the manifests is asked in `e2e/tests/docs.rs`.

use crate::Args;
use crate::process::root;
use clap::Parser;
use headgate_api::{AnalysisRunSpec, OutboxEntry, Time};
use headgate_model::analysis::valid_metrics;
use headgate_model::{WorkloadRef, filled};
use headgate_notify::{About, Trigger, body};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A page, by its path from the root.
struct Page {
    path: PathBuf,
    text: String,
}

fn below(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
}

fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md"), root().join("e2e/lab/README.md")];
    below(&root().join("docs"), "md", &mut paths);
    let read = |path: PathBuf| Page { text: std::fs::read_to_string(&path).unwrap(), path };
    paths.into_iter().map(read).collect()
}

impl Page {
    /// The contents of the fenced blocks of a language.
    fn blocks(&self, language: &str) -> Vec<&str> {
        let fence = format!("```{language}\n");
        self.text
            .match_indices(&fence)
            .map(|(at, _)| &self.text[at + fence.len()..])
            .map(|rest| &rest[..rest.find("\n```").unwrap()])
            .collect()
    }

    /// The commands of the shell blocks that begin with a word, without comments.
    fn commands(&self, program: &str) -> Vec<String> {
        let lines = self.blocks("sh").into_iter().flat_map(str::lines);
        let lines = lines.map(|line| line.split(" #").next().unwrap_or_default().trim());
        lines.filter(|line| line.split(' ').next() == Some(program)).map(str::to_owned).collect()
    }

    /// Where links lead that are not addresses.
    fn links(&self) -> Vec<&str> {
        let after = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        after.filter(|target| !target.contains("://")).collect()
    }

    /// The headings as GitHub makes anchors of them.
    fn anchors(&self) -> Vec<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        let plain = |character: &char| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_');
        let anchor = |heading: &str| heading.trim_start_matches('#').trim().to_lowercase();
        headings
            .map(|heading| anchor(heading).chars().filter(plain).collect::<String>().replace(' ', "-"))
            .collect()
    }
}

/// The manifests of the pages and of docs/examples, with where they stand. Fragments, which begin with a key below
/// `spec`, are put into a whole object.
fn manifests() -> Vec<(String, Value)> {
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    for page in pages() {
        texts.extend(page.blocks("yaml").into_iter().map(|block| (page.path.clone(), block.to_owned())));
    }
    let mut files = Vec::new();
    below(&root().join("docs/examples"), "yaml", &mut files);
    texts.extend(files.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())));
    let mut found = Vec::new();
    for (path, text) in texts {
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{place}: {error}\n{text}"));
        found.extend(objects.into_iter().map(|object| (place.clone(), whole(object, &place))));
    }
    found
}

fn whole(object: Value, place: &str) -> Value {
    if object["kind"].is_string() {
        return object;
    }
    if object["http"].is_array() {
        return json!({ "kind": "VirtualService", "spec": object });
    }
    if object["rules"].is_array() {
        let kind = if object["rules"][0]["http"].is_object() { "Ingress" } else { "HTTPRoute" };
        return json!({ "kind": kind, "spec": object });
    }
    assert!(object["strategy"].is_object(), "{place}: say in docs.rs what this is a part of: {object:#}");
    let mut spec = json!({
        "selector": { "matchLabels": { "app": "shop" } },
        "template": {
            "metadata": { "labels": { "app": "shop" } },
            "spec": { "containers": [{ "name": "app", "image": "shop" }] },
        },
    });
    spec["strategy"] = object["strategy"].clone();
    json!({ "kind": "Rollout", "spec": spec })
}

/// A spec with a template, where it refers to a workload.
fn with_template(spec: &Value) -> Value {
    let workload = WorkloadRef::read(spec).unwrap();
    let pods = whole(json!({ "strategy": { "canary": {} } }), "a workload")["spec"].take();
    workload.map_or_else(|| spec.clone(), |_| filled(spec, Some(&pods["template"]), Some(&pods["selector"])))
}

#[test]
fn every_manifest_is_valid() {
    let mut rollouts = 0;
    for (place, object) in manifests() {
        match object["kind"].as_str().unwrap() {
            "Rollout" => {
                let problem = headgate_model::validate(&with_template(&object["spec"])).err();
                assert!(problem.is_none(), "{place}: {}", problem.unwrap());
                rollouts += 1;
            }
            "AnalysisTemplate" | "ClusterAnalysisTemplate" => {
                let mut spec: AnalysisRunSpec = serde_json::from_value(object["spec"].clone()).unwrap();
                for argument in spec.args.iter_mut().flatten() {
                    argument.value.get_or_insert_with(|| "given".to_owned());
                }
                let problem = valid_metrics(&spec).err();
                assert!(problem.is_none(), "{place}: {}", problem.unwrap());
            }
            "Service"
            | "Gateway"
            | "VirtualService"
            | "Ingress"
            | "HTTPRoute"
            | "HorizontalPodAutoscaler" => {}
            other => panic!("{place}: say in docs.rs how a {other} is checked"),
        }
    }
    assert!(rollouts >= 3, "the guide, the example and a router's page show one each");
}

/// A Rollout's spec in which `field`, as the table writes it, stands beside what makes the rest of it valid.
fn spec_with(field: &str) -> Value {
    let mut spec = whole(json!({ "strategy": { "canary": {} } }), "a row")["spec"].take();
    let canary = json!({ "stableService": "s", "canaryService": "c" });
    let leaf = field.rsplit('.').next().unwrap();
    let value = json!({ "name": "something", "duration": 1, "true": true });
    match field.strip_prefix("spec.strategy.canary.") {
        Some(step) if step.starts_with("steps[]") => {
            spec["strategy"]["canary"]["steps"] = json!([{ leaf: {} }]);
        }
        Some(router) if router.starts_with("trafficRouting") => {
            spec["strategy"]["canary"] = canary;
            let mut routing = json!({ "istio": { "virtualService": { "name": "shop" } } });
            match leaf {
                "destinationRule" => routing["istio"][leaf] = value,
                "tlsRoutes" => routing["istio"]["virtualService"][leaf] = json!([{ "port": 443 }]),
                "plugins[NAME]" => routing["plugins"]["NAME"] = value,
                "grpcRoute" => routing["plugins"]["argoproj-labs/gatewayAPI"][leaf] = json!("shop"),
                other => routing[other] = json!({ "ingress": "shop" }),
            }
            spec["strategy"]["canary"]["trafficRouting"] = routing;
        }
        Some(plain) => spec["strategy"]["canary"][plain] = value,
        None if leaf == "blueGreen" => spec["strategy"] = json!({ leaf: { "activeService": "a" } }),
        None => spec[leaf] = value,
    }
    spec
}

#[test]
fn what_differences_lists_as_missing_is_refused_with_these_words() {
    let page = std::fs::read_to_string(root().join("docs/differences.md")).unwrap();
    let (_, missing) = page.split_once("## Not there yet").unwrap();
    let rows: Vec<_> = missing.lines().filter_map(|line| line.strip_prefix("| `spec.")).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let (field, rest) = row.split_once('`').unwrap();
        let wanted = rest.trim_end_matches('|').rsplit_once('|').unwrap().1.trim();
        let field = format!("spec.{field}");
        let problem = headgate_model::validate(&spec_with(&field)).unwrap_err();
        assert_eq!(problem.field, field.replace("[]", "[0]"));
        let whole = format!("Forbidden: not supported by this version of Headgate yet: {wanted}");
        assert_eq!(problem.problem, whole, "{field}");
    }
}

#[test]
fn the_notifications_page_shows_a_message_as_it_is_sent() {
    let page = pages().into_iter().find(|page| page.path.ends_with("docs/notifications.md")).unwrap();
    let shown: Value = serde_json::from_str(page.blocks("json message")[0]).unwrap();
    let field = |name: &str| shown[name].as_str().unwrap().to_owned();
    let number = |pointer: &str| shown.pointer(pointer).and_then(Value::as_i64).unwrap();
    let entry = OutboxEntry {
        key: field("key"),
        trigger: field("event"),
        time: Some(Time(field("time").parse().unwrap())),
        revision: number("/revision"),
        pod_template_hash: field("podTemplateHash"),
        images: vec![shown["images"][0].as_str().unwrap().to_owned()],
        phase: field("phase"),
        message: field("message"),
        step_index: i32::try_from(number("/step/index")).ok(),
        step_count: i32::try_from(number("/step/count")).ok(),
        weight: i32::try_from(number("/weight")).ok(),
        analysis_run: field("analysisRun"),
    };
    let about = About { namespace: field("namespace"), name: field("name"), uid: field("uid") };
    let sent: Value = serde_json::from_str(&body(&entry, &about, Some(&field("cluster")))).unwrap();
    assert_eq!(shown, sent);
    // An abort is told with the place to which the release had come, by each field that says where it was.
    let (index, count, weight) = (number("/step/index"), number("/step/count"), number("/weight"));
    let place = format!(" at step {}/{count}, weight {weight}: ", index + 1);
    assert!(field("message").contains(&place), "{place}");
    assert!(field("key").contains(&format!("/aborted/{index}/")), "{}", field("key"));
    for trigger in Trigger::ALL {
        assert!(
            page.text.contains(&format!("| `{}` |", trigger.as_str())),
            "{trigger:?} is not in the table"
        );
    }
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    for page in pages() {
        for link in page.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = page.path.parent().unwrap().join(file);
            let target = if file.is_empty() { page.path.clone() } else { target };
            assert!(target.exists(), "{}: {link} leads nowhere", page.path.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let there = Page { path: target, text }.anchors();
                assert!(there.iter().any(|one| one == anchor), "{}: no heading {link}", page.path.display());
            }
        }
    }
}

#[test]
fn every_recipe_and_task_exists() {
    let justfile = std::fs::read_to_string(root().join("justfile")).unwrap();
    let mut seen = 0;
    for page in pages() {
        for command in page.commands("just") {
            let recipe = command.split(' ').nth(1).unwrap();
            let exists = justfile.lines().any(|line| line.split([' ', ':']).next() == Some(recipe));
            assert!(exists || recipe.starts_with("--"), "{}: {command}", page.path.display());
            seen += 1;
        }
        for command in page.commands("cargo") {
            let Some(task) = command.strip_prefix("cargo xtask ") else { continue };
            let parsed = Args::try_parse_from(["xtask"].into_iter().chain(task.split_whitespace()));
            assert!(parsed.is_ok(), "{}: {command}: {}", page.path.display(), parsed.err().unwrap());
            seen += 1;
        }
    }
    for line in justfile.lines().filter_map(|line| line.trim().strip_prefix("cargo xtask ")) {
        let parsed = Args::try_parse_from(
            ["xtask"].into_iter().chain(line.replace("{{ARGS}}", "").split_whitespace()),
        );
        assert!(parsed.is_ok() || line.starts_with("lab "), "justfile: {line}");
    }
    assert!(seen >= 6, "README and the lab's page show more than {seen}");
}

#[test]
fn every_chart_and_file_that_a_command_names_exists() {
    let mut seen = 0;
    for page in pages() {
        for command in ["helm", "kubectl", "cargo"].iter().flat_map(|program| page.commands(program)) {
            let ours =
                |word: &&str| ["charts/", "docs/", "crates/"].iter().any(|start| word.starts_with(start));
            for path in command.split(' ').filter(ours) {
                assert!(root().join(path).exists(), "{}: {path}", page.path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "README and guide name the chart, the example and the plugin's crate, not {seen}");
}
