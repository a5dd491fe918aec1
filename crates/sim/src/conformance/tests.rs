//! The virtual half of the script: what it answers is kept, so that a change is noticed without a cluster.

use super::*;

#[test]
fn the_virtual_world_answers_the_script_as_recorded() {
    for case in cases::all() {
        let answers = normal::answers(&case, &in_virtual::run(&case));
        let steps = case.steps.iter().zip(answers);
        let told: Vec<Value> = steps.map(|(step, answer)| json!({ step.name: answer })).collect();
        insta::assert_yaml_snapshot!(case.name, told);
    }
}

#[test]
fn what_is_awaited_comes_and_what_must_hold_holds() {
    for case in cases::all() {
        for (step, answer) in case.steps.iter().zip(in_virtual::run(&case)) {
            let place = format!("{}: {}: {answer}", case.name, step.name);
            assert!(answer.get("awaited").is_none() && answer.get("lost").is_none(), "{place}");
            if let Act::Relations(..) = step.act {
                assert!(answer.as_object().unwrap().values().all(|holds| *holds == json!(true)), "{place}");
            }
            assert_ne!(answer.get("done"), Some(&json!(false)), "{place}");
        }
    }
}

#[test]
fn every_case_has_a_name_of_its_own_and_so_have_steps_that_others_refer_to() {
    let cases = cases::all();
    let names: std::collections::BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
    for case in &cases {
        assert!(case.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", case.name);
        for step in &case.steps {
            let Act::Call(call) = &step.act else { continue };
            let text = format!("{call:?}");
            for (at, _) in text.match_indices("\"@") {
                let name = text[at + 2..].split_once('/').unwrap().0;
                let found = case.steps.iter().filter(|step| step.name == name).count();
                assert_eq!(found, 1, "{}: @{name} in {}", case.name, step.name);
            }
        }
    }
}

#[test]
fn a_difference_names_its_case_step_and_path() {
    let case = Case::new("one", vec![Step { name: "made", act: Act::DeletePod }]);
    let object = |uid: &str, version: &str, replicas: i64| {
        json!({ "object": {
            "metadata": { "uid": uid, "resourceVersion": version, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "replicas": replicas },
        }})
    };
    let (ours, theirs) = (object("u", "1", 2), object("0b1c", "4711", 2));
    assert_eq!(differences(&case, std::slice::from_ref(&ours), &[theirs]), Vec::new());
    let found = differences(&case, &[ours], &[object("0b1c", "4711", 3)]);
    assert_eq!(
        found,
        vec![Difference {
            step: "one, step 1: made".to_owned(),
            path: "/object/spec/replicas".to_owned(),
            virtual_world: Some(json!(2)),
            real_world: Some(json!(3)),
        }]
    );
}
