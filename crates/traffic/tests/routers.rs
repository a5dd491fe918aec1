//! What every router must hold, and golden files: objects in, patches out.
#![cfg(test)]

use headgate_model::{
    Destination, Kind, ObjectChange, ObjectKey, Objects, Observed, RouterConfig, RouterProblem,
    TrafficIntent, TrafficRouter,
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
    #[serde(default = "hundred")]
    total: i32,
    #[serde(default = "stable_hash")]
    stable_hash: String,
    #[serde(default)]
    canary_hash: Option<String>,
    objects: Vec<Value>,
}

fn stable_hash() -> String {
    "aaaa".to_owned()
}

fn hundred() -> i32 {
    100
}

fn golden_directory(router: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(router)
}

fn config(router: &dyn TrafficRouter, own: Value) -> RouterConfig {
    RouterConfig {
        router: router.name(),
        namespace: "shop".to_owned(),
        rollout: "cart".to_owned(),
        uid: "uid-of-cart".to_owned(),
        total: 100,
        canary_service: Some("cart-canary".to_owned()),
        stable_service: Some("cart-stable".to_owned()),
        config: own,
        item: None,
        object: None,
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
    let changes = router.plan(config, intent, objects).unwrap();
    assert_eq!(changes, router.plan(config, intent, objects).unwrap(), "equal inputs give equal bytes");
    let count = changes.len();
    for change in changes {
        match (change, &mut *objects) {
            (ObjectChange::Create { target, manifest }, objects) => {
                assert_eq!(objects.get(&target), Some(&Observed::Absent), "made although it may be there");
                objects.insert(target, Observed::Present(manifest));
            }
            (ObjectChange::Patch { target, merge: body }, objects) => {
                let Some(Observed::Present(object)) = objects.get_mut(&target) else {
                    panic!("a patch for an object that is not there: {target:?}")
                };
                assert_eq!(
                    body.pointer("/metadata/resourceVersion"),
                    object.pointer("/metadata/resourceVersion")
                );
                merge(object, &body);
            }
        }
    }
    count
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
        assert!(router.created_kinds().iter().all(|kind| router.kinds().contains(kind)), "RBAC lacks a kind");
    }
}

fn shown(change: &ObjectChange) -> Value {
    let target = change.target();
    let target = format!("{} {}/{}", target.kind.kind, target.namespace, target.name);
    match change {
        ObjectChange::Patch { merge, .. } => json!({ "target": target, "merge": merge }),
        ObjectChange::Create { manifest, .. } => json!({ "target": target, "create": manifest }),
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
                let config = RouterConfig { total: case.total, ..config(*router, case.config.clone()) };
                let seen = objects(*router, &config, &case.objects);
                let canary_hash = case.canary_hash.as_deref().unwrap_or("bbbb");
                let intent = TrafficIntent { total: case.total, ..intent(case.canary_weight, &case.stable_hash, canary_hash) };
                let shown = json!({
                    "plan": match router.plan(&config, &intent, &seen) {
                        Ok(changes) => json!(changes.iter().map(shown).collect::<Vec<_>>()),
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

/// What must hold of every router with weights: it plans nothing exactly when what it sees satisfies the intent, and
/// afterwards it does. Answers the objects as they are then.
fn check(
    router: &dyn TrafficRouter,
    config: &RouterConfig,
    intent: &TrafficIntent,
    given: &[Value],
) -> Objects {
    let mut seen = objects(router, config, given);
    let before = router.observe(config, &seen).unwrap();
    let changes = apply(router, config, intent, &mut seen);
    assert_eq!(changes == 0, before.satisfies(intent), "{before:?}");
    let after = router.observe(config, &seen).unwrap();
    assert!(after.satisfies(intent), "{after:?}");
    let range = after.weights.unwrap();
    assert_eq!((range.canary_min, range.canary_max), (intent.canary_weight, intent.canary_weight));
    assert_eq!(apply(router, config, intent, &mut seen), 0);
    seen
}

fn named<'a>(seen: &'a Objects, name: &str) -> &'a Value {
    match seen.iter().find(|(key, _)| key.name == name) {
        Some((_, Observed::Present(object))) => object,
        other => panic!("{name}: {other:?}"),
    }
}

/// A stable Ingress that holds things which we know nothing of.
fn stable_ingress(extra: &Value, tls: bool) -> Value {
    let mut ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": "cart", "namespace": "shop", "resourceVersion": "3", "annotations": { "team": extra } },
        "spec": { "x": extra, "rules": [
            { "host": "cart.example", "x": extra, "http": { "paths": [
                { "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "cart-stable", "port": { "number": 80 } } }, "x": extra },
                { "path": "/admin", "pathType": "Prefix", "backend": { "service": { "name": "admin", "port": { "number": 80 } } } },
            ] } },
            { "host": "other.example", "http": { "x": extra } },
        ] },
    });
    if tls {
        ingress["spec"]["tls"] = json!([{ "hosts": ["cart.example"], "x": extra }]);
        ingress["spec"]["ingressClassName"] = json!("public");
    }
    ingress
}

/// A canary Ingress of ours that others have written into.
fn canary_ingress(annotations: &[(&str, Option<String>)], rules: &Value, extra: &Value) -> Value {
    let mut ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "cart-cart-canary", "namespace": "shop", "resourceVersion": "8", "labels": { "team": extra },
            "annotations": { "team": extra },
            "ownerReferences": [
                { "kind": "Application", "name": "shop", "uid": "y" },
                { "kind": "Rollout", "name": "cart", "uid": "uid-of-cart", "controller": true },
            ],
        },
        "spec": { "rules": rules, "x": extra },
    });
    for (key, value) in annotations {
        if let Some(value) = value {
            ingress["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{key}")] = json!(value);
        }
    }
    ingress
}

/// An HTTPRoute with our two Services in one of its rules, and another Service beside them.
fn http_route(stable: Option<i64>, canary: Option<i64>, swapped: bool, extra: &Value) -> Value {
    let backend = |name: &str, weight: Option<i64>| {
        let mut backend = json!({ "name": name, "port": 80, "filters": extra });
        if let Some(weight) = weight {
            backend["weight"] = json!(weight);
        }
        backend
    };
    let mut backends =
        vec![backend("cart-stable", stable), backend("discovery", Some(7)), backend("cart-canary", canary)];
    if swapped {
        backends.reverse();
    }
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "cart", "namespace": "shop", "resourceVersion": "7", "annotations": { "team": extra } },
        "spec": {
            "parentRefs": [extra],
            "rules": [
                { "matches": [extra], "backendRefs": [backend("cart-canary", Some(1))] },
                { "matches": [extra], "timeouts": extra, "backendRefs": backends },
                { "filters": [extra] },
            ],
            "x": extra,
        },
        "status": extra,
    })
}

fn any_weight() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        (-5_i32..=1_100).prop_map(|weight| Some(weight.to_string())),
        "[0-9+-]{0,3}".prop_map(Some),
        Just(Some("much".to_owned())),
    ]
}

proptest! {
    #[test]
    fn istio_changes_two_weights_and_nothing_else(
        stable in 0_i64..=100, canary in 0_i64..=100, swapped: bool, wish in 0..=100_i32, extra in any_json(),
    ) {
        let router = router("istio").unwrap();
        let config = config(router, json!({ "virtualService": { "name": "cart", "routes": ["primary"] } }));
        let before = virtual_service(stable, canary, swapped, &extra);
        let seen = check(router, &config, &intent(wish, "aaaa", "bbbb"), &[before]);
        let wanted = virtual_service(i64::from(100 - wish), i64::from(wish), swapped, &extra);
        prop_assert_eq!(named(&seen, "cart"), &wanted);
    }

    #[test]
    fn nginx_makes_a_canary_ingress_and_leaves_the_stable_one_alone(
        total in prop_oneof![Just(100), Just(1000)], wish in 0..=100_i32, tls: bool, extra in any_json(),
    ) {
        let router = router("nginx").unwrap();
        let config = RouterConfig { total, ..config(router, json!({ "stableIngress": "cart" })) };
        let intent = TrafficIntent { total, ..intent(wish, "aaaa", "bbbb") };
        let seen = check(router, &config, &intent, &[stable_ingress(&extra, tls)]);
        prop_assert_eq!(named(&seen, "cart"), &stable_ingress(&extra, tls));
        let canary = named(&seen, "cart-cart-canary");
        prop_assert_eq!(canary.pointer("/metadata/ownerReferences/0/uid"), Some(&json!("uid-of-cart")));
        prop_assert_eq!(&canary["spec"]["tls"], &stable_ingress(&extra, tls)["spec"]["tls"]);
    }

    #[test]
    fn nginx_mends_its_own_paths_of_the_canary_ingress_and_nothing_else(
        weight in any_weight(), written_total in any_weight(), canary in prop::option::of("true|false"),
        header in prop::option::of("[a-z]{1,3}"), right_rules: bool, tls: bool,
        total in prop_oneof![Just(100), Just(1000)], wish in 0..=100_i32, extra in any_json(),
    ) {
        let router = router("nginx").unwrap();
        let config = RouterConfig { total, ..config(router, json!({ "stableIngress": "cart" })) };
        let intent = TrafficIntent { total, ..intent(wish, "aaaa", "bbbb") };
        let stable = stable_ingress(&extra, tls);
        let made = check(router, &config, &intent, std::slice::from_ref(&stable));
        let rules = if right_rules { named(&made, "cart-cart-canary")["spec"]["rules"].clone() } else { extra.clone() };
        let annotations = [("canary-weight", weight), ("canary-weight-total", written_total), ("canary", canary),
            ("canary-by-header", header)];
        let seen = check(router, &config, &intent, &[stable, canary_ingress(&annotations, &rules, &extra)]);
        let (after, wanted) = (named(&seen, "cart-cart-canary"), named(&made, "cart-cart-canary"));
        prop_assert_eq!(&after["spec"]["rules"], &wanted["spec"]["rules"]);
        let mut untouched = after.clone();
        for key in ["rules", "tls", "ingressClassName"] {
            untouched["spec"].as_object_mut().unwrap().remove(key);
        }
        untouched["metadata"]["annotations"].as_object_mut().unwrap().retain(|key, _| !key.starts_with("nginx."));
        untouched["spec"]["rules"] = json!("ours");
        prop_assert_eq!(untouched, canary_ingress(&[], &json!("ours"), &extra));
    }

    #[test]
    fn gateway_api_changes_two_weights_and_nothing_else(
        stable in prop::option::of(0_i64..=1_000_000), canary in prop::option::of(0_i64..=1_000), swapped: bool,
        total in prop_oneof![Just(100), Just(95), Just(1000)], wish in 0..=95_i32, extra in any_json(),
    ) {
        let router = router("gateway-api").unwrap();
        let config = RouterConfig { total, ..config(router, json!({ "httpRoute": "cart" })) };
        let intent = TrafficIntent { total, ..intent(wish, "aaaa", "bbbb") };
        let seen = check(router, &config, &intent, &[http_route(stable, canary, swapped, &extra)]);
        let wanted = http_route(Some(i64::from(total - wish)), Some(i64::from(wish)), swapped, &extra);
        prop_assert_eq!(named(&seen, "cart"), &wanted);
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

/// The least that a user must write for a router.
fn smallest(router: &str) -> Value {
    match router {
        "services" => Value::Null,
        "istio" => json!({ "virtualService": { "name": "cart" } }),
        "nginx" => json!({ "stableIngress": "cart" }),
        "gateway-api" => json!({ "httpRoute": "cart" }),
        other => panic!("say what {other} needs"),
    }
}

#[test]
fn an_object_that_is_not_read_yet_is_unknown_and_never_missing() {
    for router in ROUTERS.iter().copied() {
        let config = config(router, smallest(router.name()));
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

#[test]
fn nginx_takes_back_what_a_canary_ingress_would_give_once_its_stable_one_is_there_again() {
    let router = router("nginx").unwrap();
    let config = config(router, json!({ "stableIngress": "cart" }));
    let annotations = [("canary", Some("true".to_owned())), ("canary-weight", Some("39".to_owned()))];
    let mut seen = objects(router, &config, &[canary_ingress(&annotations, &json!([]), &json!("x"))]);
    let is_missing = |problem: RouterProblem| matches!(problem, RouterProblem::Missing { .. });
    assert!(router.observe(&config, &seen).is_err_and(is_missing), "as a router of the spec it is not whole");
    assert!(router.plan(&config, &intent(10, "a", "b"), &seen).is_err_and(is_missing));
    let weights = router.observe_remains(&config, &seen).unwrap().weights.unwrap();
    assert_eq!((weights.canary_min, weights.canary_max, weights.total), (39, 39, 100));
    assert_eq!(apply(router, &config, &intent(0, "a", "b"), &mut seen), 1);
    let silent = [("canary", Some("true".to_owned())), ("canary-weight", Some("0".to_owned()))];
    assert_eq!(named(&seen, "cart-cart-canary"), &canary_ingress(&silent, &json!([]), &json!("x")));
    assert!(router.observe_remains(&config, &seen).is_err_and(is_missing), "it gives nothing");
    assert_eq!(apply(router, &config, &intent(0, "a", "b"), &mut seen), 0);
}

#[test]
fn nginx_takes_back_what_a_canary_ingress_gives_although_its_stable_one_leads_elsewhere() {
    let router = router("nginx").unwrap();
    let config = config(router, json!({ "stableIngress": "cart" }));
    let annotations = [("canary", Some("true".to_owned())), ("canary-weight", Some("39".to_owned()))];
    let path =
        json!({ "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "maintenance" } } });
    let elsewhere = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "cart", "namespace": "shop" },
        "spec": { "rules": [{ "http": { "paths": [path] } }] },
    });
    let canary = canary_ingress(&annotations, &json!([]), &json!("x"));
    let mut seen = objects(router, &config, &[elsewhere, canary]);
    let is_invalid = |problem: RouterProblem| matches!(problem, RouterProblem::Invalid { .. });
    assert!(router.observe(&config, &seen).is_err_and(is_invalid), "as a router of the spec it is not whole");
    let weights = router.observe_remains(&config, &seen).unwrap().weights.unwrap();
    assert_eq!((weights.canary_min, weights.canary_max), (39, 39));
    assert_eq!(apply(router, &config, &intent(0, "a", "b"), &mut seen), 1);
    assert!(router.observe_remains(&config, &seen).is_err_and(is_invalid), "it gives nothing");
}

#[test]
fn istio_takes_back_what_a_virtual_service_gives_although_it_cannot_be_weighted() {
    let to = |service: &str, weight: i32| json!({ "destination": { "host": service }, "weight": weight });
    let split = |canary: i32| [to("cart-stable", 100 - canary), to("cart-canary", canary)];
    let [stable, canary] = split(30);
    let cases = [
        ("a second route", json!({}), json!([{ "route": split(30) }, { "route": split(20) }])),
        (
            "a route that is gone",
            json!(["a", "b"]),
            json!([{ "name": "b", "route": split(30) }, { "name": "c", "route": split(99) }]),
        ),
        ("a third destination", json!({}), json!([{ "route": [to("other", 7), stable, canary] }])),
    ];
    let router = router("istio").unwrap();
    for (case, routes, http) in cases {
        let config = config(router, json!({ "virtualService": { "name": "cart", "routes": routes } }));
        let virtual_service = json!({
            "apiVersion": "networking.istio.io/v1beta1", "kind": "VirtualService",
            "metadata": { "name": "cart", "namespace": "shop", "resourceVersion": "7" }, "spec": { "http": http },
        });
        let mut seen = objects(router, &config, &[virtual_service]);
        let is_invalid = |problem: RouterProblem| matches!(problem, RouterProblem::Invalid { .. });
        assert!(router.observe(&config, &seen).is_err_and(is_invalid), "{case}");
        assert!(router.plan(&config, &intent(10, "a", "b"), &seen).is_err_and(is_invalid), "{case}");
        let weights = router.observe_remains(&config, &seen).unwrap().weights.unwrap();
        assert_eq!(weights.canary_max, 30, "{case}");
        assert_eq!(apply(router, &config, &intent(0, "a", "b"), &mut seen), 1, "{case}");
        assert!(router.observe_remains(&config, &seen).is_err_and(is_invalid), "{case}: it gives nothing");
        let left = named(&seen, "cart").to_string();
        assert!(!left.contains("\"weight\":30"), "{case}: {left}");
        let is_kept = if case == "a route that is gone" { left.contains("\"weight\":99") } else { true };
        assert!(is_kept, "{case}: a route that the spec does not name is not ours");
    }
}

#[test]
fn each_object_of_a_list_stands_for_itself_and_is_named_by_its_place() {
    let cases = [
        (
            "istio",
            json!({"virtualServices": [{"name": "web"}, {"name": "api"}]}),
            "istio.virtualServices[#].name",
        ),
        ("nginx", json!({"stableIngresses": ["web", "api"]}), "nginx.stableIngresses[#]"),
        (
            "gateway-api",
            json!({"httpRoutes": [{"name": "web", "ruleName": "all"}, {"name": "api"}]}),
            "plugins[argoproj-labs/gatewayAPI].httpRoutes[#].name",
        ),
    ];
    for (name, own, field) in cases {
        let router = headgate_traffic::router(name).unwrap();
        let whole = config(router, own);
        let parts = router.parts(&whole);
        let named = |config: &RouterConfig| router.references(config).unwrap();
        assert_eq!(parts.iter().flat_map(named).collect::<Vec<_>>(), named(&whole), "{name}");
        for (index, part) in parts.iter().enumerate() {
            let absent = named(part).into_iter().map(|key| (key, Observed::Absent)).collect();
            let Err(RouterProblem::Missing { field: told, .. }) = router.observe(part, &absent) else {
                panic!("{name} does not miss its object")
            };
            assert!(told.ends_with(&field.replace('#', &index.to_string())), "{told}");
            assert!(!part.config.to_string().contains("null"), "{}", part.config);
            assert_eq!(
                router.parts(part),
                std::slice::from_ref(part),
                "{name} cannot be taken apart any further"
            );
        }
    }
}

#[test]
fn a_list_that_is_wrong_stays_whole_and_says_so() {
    let cases = [
        ("istio", json!({"virtualServices": [{"name": "web"}, {}]})),
        ("istio", json!({"virtualService": {"name": "web"}, "virtualServices": [{"name": "api"}]})),
        ("nginx", json!({"stableIngresses": ["web", "web"]})),
        ("gateway-api", json!({"httpRoute": "web", "httpRoutes": [{"name": "web"}]})),
    ];
    for (name, own) in cases {
        let router = headgate_traffic::router(name).unwrap();
        let whole = config(router, own);
        assert_eq!(router.parts(&whole), std::slice::from_ref(&whole), "{name}");
        assert!(matches!(router.references(&whole), Err(RouterProblem::Invalid { .. })), "{name}");
    }
}

#[test]
fn an_object_that_is_named_twice_for_two_of_its_routes_stays_one() {
    let router = headgate_traffic::router("istio").unwrap();
    let own =
        json!({"virtualServices": [{"name": "web", "routes": ["a"]}, {"name": "web", "routes": ["b"]}]});
    let whole = config(router, own);
    assert_eq!(router.parts(&whole), std::slice::from_ref(&whole));
}
