//! What every router must hold, and golden files: objects in, patches out.
#![cfg(test)]

use headgate_model::{
    Destination, Kind, ObjectKey, Objects, Observed, RouterConfig, RouterProblem, TrafficIntent,
    TrafficRouter,
};
use headgate_traffic::{ROUTERS, router};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One golden case: `golden/<router>/<name>.yaml`.
#[derive(serde::Deserialize)]
struct Case {
    config: Value,
    #[serde(default)]
    canary_weight: i32,
    #[serde(default = "stable_hash")]
    stable_hash: String,
    #[serde(default)]
    canary_hash: Option<String>,
    objects: Vec<Value>,
}

fn stable_hash() -> String {
    "aaaa".to_owned()
}

fn golden_directory(router: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(router)
}

fn config(router: &dyn TrafficRouter, own: Value) -> RouterConfig {
    RouterConfig {
        router: router.name(),
        namespace: "shop".to_owned(),
        rollout: "cart".to_owned(),
        canary_service: Some("cart-canary".to_owned()),
        stable_service: Some("cart-stable".to_owned()),
        config: own,
    }
}

fn intent(canary_weight: i32, stable_hash: &str, canary_hash: &str) -> TrafficIntent {
    let destination = |service: &str, hash: &str| Destination {
        service: Some(service.to_owned()),
        hash: Some(hash.to_owned()),
    };
    TrafficIntent {
        stable: destination("cart-stable", stable_hash),
        canary: destination("cart-canary", canary_hash),
        canary_weight,
        total: 100,
    }
}

/// The objects that the router asks for; those that the case does not hold are absent.
fn objects(router: &dyn TrafficRouter, config: &RouterConfig, given: &[Value]) -> Objects {
    let find = |key: &ObjectKey| {
        given.iter().find(|object| {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str);
            text("/kind") == Some(key.kind.kind)
                && text("/metadata/name") == Some(key.name.as_str())
                && text("/metadata/namespace").unwrap_or("shop") == key.namespace
        })
    };
    let keys = router.references(config).unwrap_or_default();
    keys.into_iter()
        .map(|key| {
            let seen = find(&key).map_or(Observed::Absent, |object| Observed::Present(object.clone()));
            (key, seen)
        })
        .collect()
}

/// RFC 7386, so that the tests need no API server.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

fn apply(
    router: &dyn TrafficRouter,
    config: &RouterConfig,
    intent: &TrafficIntent,
    objects: &mut Objects,
) -> usize {
    let patches = router.plan(config, intent, objects).unwrap();
    for patch in &patches {
        let Some(Observed::Present(object)) = objects.get_mut(&patch.target) else {
            panic!("a patch for an object that is not there: {patch:?}")
        };
        merge(object, &patch.merge);
    }
    patches.len()
}

#[test]
fn every_router_has_golden_files_a_docs_page_and_kinds_for_rbac() {
    for router in ROUTERS {
        let goldens = std::fs::read_dir(golden_directory(router.name())).map_or(0, |files| {
            files
                .filter_map(Result::ok)
                .filter(|file| file.path().extension().is_some_and(|end| end == "yaml"))
                .count()
        });
        assert!(
            goldens >= 2,
            "router {} needs golden files in tests/golden/{}",
            router.name(),
            router.name()
        );
        let page =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/routers/{}.md", router.name()));
        assert!(page.exists(), "router {} needs the page {}", router.name(), page.display());
        assert!(
            !router.kinds().is_empty(),
            "router {} names no kinds: RBAC is generated from them",
            router.name()
        );
        assert!(!router.owned_paths().is_empty());
    }
}

#[test]
fn golden_files_show_what_each_router_plans_and_sees() {
    for router in ROUTERS {
        insta::with_settings!({ snapshot_path => golden_directory(router.name()), prepend_module_to_snapshot => false, omit_expression => true }, {
            let mut files: Vec<_> = std::fs::read_dir(golden_directory(router.name())).unwrap().map(|file| file.unwrap().path()).collect();
            files.sort();
            for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "yaml")) {
                let case: Case = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
                let config = config(*router, case.config.clone());
                let seen = objects(*router, &config, &case.objects);
                let canary_hash = case.canary_hash.as_deref().unwrap_or("bbbb");
                let intent = intent(case.canary_weight, &case.stable_hash, canary_hash);
                let shown = json!({
                    "plan": match router.plan(&config, &intent, &seen) {
                        Ok(patches) => json!(patches.iter().map(|patch| json!({
                            "target": format!("{} {}/{}", patch.target.kind.kind, patch.target.namespace, patch.target.name),
                            "merge": patch.merge,
                        })).collect::<Vec<_>>()),
                        Err(problem) => json!(problem.to_string()),
                    },
                    "observe": match router.observe(&config, &seen) {
                        Ok(state) => json!(format!("{state:?}")),
                        Err(problem) => json!(problem.to_string()),
                    },
                });
                insta::assert_yaml_snapshot!(file.file_stem().unwrap().to_str().unwrap(), shown);
            }
        });
    }
}

/// A VirtualService that holds things which we know nothing of, in two routes.
fn virtual_service(stable: i64, canary: i64, swapped: bool, extra: &Value) -> Value {
    let mut route = vec![
        json!({ "destination": { "host": "cart-stable" }, "weight": stable, "headers": extra }),
        json!({ "destination": { "host": "cart-canary.shop.svc.cluster.local", "port": { "number": 80 } }, "weight": canary }),
    ];
    if swapped {
        route.reverse();
    }
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": { "name": "cart", "namespace": "shop", "resourceVersion": "7", "annotations": { "team": extra } },
        "spec": {
            "hosts": ["cart"],
            "http": [
                { "name": "admin", "match": [{ "uri": { "prefix": "/admin" } }], "route": [{ "destination": { "host": "admin" } }], "x": extra },
                { "name": "primary", "route": route, "retries": { "attempts": 2 }, "mirror": { "host": "shadow" } },
            ],
            "tls": [extra],
        },
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("text")),
        Just(json!(true)),
        any::<i32>().prop_map(|number| json!(number)),
        "[a-z<>&\"é]{0,6}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| json!(list)),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn istio_plans_nothing_exactly_when_what_it_sees_satisfies_the_intent(
        stable in 0_i64..=100, canary in 0_i64..=100, swapped: bool, wish in 0..=100_i32, extra in any_json(),
    ) {
        let router = router("istio").unwrap();
        let config = config(router, json!({ "virtualService": { "name": "cart", "routes": ["primary"] } }));
        let before = virtual_service(stable, canary, swapped, &extra);
        let mut seen = objects(router, &config, std::slice::from_ref(&before));
        let intent = intent(wish, "aaaa", "bbbb");
        let satisfied = router.observe(&config, &seen).unwrap().satisfies(&intent);
        let patches = apply(router, &config, &intent, &mut seen);
        prop_assert_eq!(patches == 0, satisfied);
        prop_assert!(router.observe(&config, &seen).unwrap().satisfies(&intent));
        prop_assert_eq!(apply(router, &config, &intent, &mut seen), 0);

        // Outside our two weights the object is JSON-equal to what it was.
        let Some(Observed::Present(after)) = seen.values().next() else { panic!("gone") };
        prop_assert_eq!(after, &virtual_service(i64::from(100 - wish), i64::from(wish), swapped, &extra));
    }

    #[test]
    fn services_select_what_is_intended_and_keep_everything_else(
        stable in prop::option::of("[a-f]{4}"), canary in prop::option::of("[a-f]{4}"), extra in any_json(),
    ) {
        let router = router("services").unwrap();
        let config = config(router, Value::Null);
        let service = |name: &str, hash: Option<&String>| {
            let mut selector = json!({ "app": "cart" });
            if let Some(hash) = hash {
                selector["rollouts-pod-template-hash"] = json!(hash);
            }
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "shop", "resourceVersion": "3" },
                "spec": { "selector": selector, "ports": [{ "port": 80 }], "x": extra },
            })
        };
        let given = [service("cart-stable", stable.as_ref()), service("cart-canary", canary.as_ref())];
        let mut seen = objects(router, &config, &given);
        let intent = intent(10, "aaaa", "bbbb");
        let satisfied = router.observe(&config, &seen).unwrap().satisfies(&intent);
        let patches = apply(router, &config, &intent, &mut seen);
        prop_assert_eq!(patches == 0, satisfied);
        prop_assert!(router.observe(&config, &seen).unwrap().satisfies(&intent));
        for (key, after) in &seen {
            let Observed::Present(after) = after else { panic!("gone") };
            prop_assert_eq!(&after["spec"]["x"], &extra);
            prop_assert_eq!(&after["spec"]["selector"]["app"], "cart");
            let wished = if key.name == "cart-stable" { "aaaa" } else { "bbbb" };
            prop_assert_eq!(&after["spec"]["selector"]["rollouts-pod-template-hash"], wished);
        }
    }
}

#[test]
fn an_object_that_is_not_read_yet_is_unknown_and_never_missing() {
    for (name, own) in [("istio", json!({ "virtualService": { "name": "cart" } })), ("services", Value::Null)]
    {
        let router = router(name).unwrap();
        let config = config(router, own);
        let problem = router.observe(&config, &Objects::new()).unwrap_err();
        assert!(matches!(problem, RouterProblem::Unknown(_)), "{problem:?}");
        let unknown =
            router.references(&config).unwrap().into_iter().map(|key| (key, Observed::Unknown)).collect();
        assert!(matches!(
            router.plan(&config, &intent(0, "a", "b"), &unknown),
            Err(RouterProblem::Unknown(_))
        ));
    }
}

#[test]
fn kinds_are_written_as_the_api_server_knows_them() {
    let kinds: Vec<Kind> = ROUTERS.iter().flat_map(|router| router.kinds()).copied().collect();
    for kind in kinds {
        assert!(kind.plural.chars().all(|letter| letter.is_ascii_lowercase()), "{kind:?}");
        assert!(kind.kind.starts_with(|letter: char| letter.is_ascii_uppercase()), "{kind:?}");
    }
}
