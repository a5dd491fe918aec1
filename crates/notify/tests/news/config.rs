use headgate_notify::{Config, Given, Trigger};

const FULL: &str = r#"
cluster: prod-eu
webhooks:
  - name: releases
    urlFile: secrets/hooks/url
    headers:
      X-Team: t3am
    headerFiles:
      Authorization: secrets/hooks/token
    triggers: [aborted, completed]
    namespaces: [shop, "team-*"]
  - name: everything
    url: https://hooks.example.com/s3cret
"#;

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(FULL).unwrap();
    assert_eq!(config.cluster.as_deref(), Some("prod-eu"));
    let [releases, everything] = config.webhooks.as_slice() else { unreachable!("two webhooks") };
    assert_eq!(releases.url, Given::InFile("secrets/hooks/url".to_owned()));
    assert_eq!(releases.headers["X-Team"], Given::Here("t3am".to_owned()));
    assert_eq!(everything.triggers.len(), Trigger::ALL.len());
    let subscriptions = config.subscriptions();
    let wanting = |trigger, namespace| subscriptions.wanting(trigger, namespace).collect::<Vec<_>>();
    assert_eq!(wanting(Trigger::Aborted, "team-a"), ["releases", "everything"]);
    assert_eq!(wanting(Trigger::Aborted, "billing"), ["everything"]);
    assert_eq!(wanting(Trigger::Paused, "shop"), ["everything"]);
}

#[test]
fn an_empty_file_configures_nothing() {
    for text in ["", "{}", "webhooks: []", r#"{"webhooks": []}"#] {
        assert_eq!(Config::parse(text).unwrap(), Config::default(), "{text:?}");
    }
}

#[test]
fn what_may_be_a_secret_is_not_shown() {
    let shown = format!("{:?}", Config::parse(FULL).unwrap());
    assert!(!shown.contains("s3cret") && !shown.contains("t3am"), "{shown}");
}

#[test]
fn each_mistake_is_told_with_its_place_and_without_a_secret() {
    let one = |webhook: &str| format!("webhooks: [{{name: a, {webhook}}}]");
    for (text, place, problem) in [
        ("s3cret", "the file", "mapping"),
        ("webhooks: s3cret", "webhooks", "must be a list"),
        ("webhooks: [{", "line ", "no YAML"),
        ("hooks: []", "the file", "no field \"hooks\""),
        ("webhooks: [s3cret]", "webhooks[0]", "mapping"),
        (&one("url: 's3cret'"), "webhooks[0].url", "https://"),
        (&one("urlFile: ''"), "webhooks[0].url", "missing"),
        (&one("triggers: [paused]"), "webhooks[0].url", "missing"),
        (&one("url: 'http://s3cret', urlFile: x"), "webhooks[0].url", "give one"),
        (&one("url: 'http://s3cret', triggers: [crashed]"), "webhooks[0].triggers", "\"crashed\""),
        (&one("url: 'http://s3cret', triggers: []"), "webhooks[0].triggers", "empty"),
        (&one("url: 'http://s3cret', triggers: paused"), "webhooks[0].triggers", "list"),
        (&one("url: 'http://s3cret', namespaces: ['*-a']"), "webhooks[0].namespaces", "wildcard"),
        (&one("url: 'http://s3cret', headers: {X-A: 5}"), "webhooks[0].headers", "texts"),
        (&one("url: 'http://s3cret', headers: {'a b': s3cret}"), "webhooks[0].headers", "\"a b\""),
        (
            &one("url: 'http://s3cret', headers: {Idempotency-Key: s3cret}"),
            "webhooks[0].headers",
            "set by Headgate",
        ),
        (
            &one("url: 'http://s3cret', headers: {x-a: s3cret}, headerFiles: {X-A: f}"),
            "webhooks[0].headerFiles",
            "twice",
        ),
        ("webhooks: [{name: A, url: 'http://s3cret'}]", "webhooks[0].name", "\"A\""),
        ("webhooks: [{url: 'http://s3cret'}]", "webhooks[0].name", "give one"),
        (
            "webhooks: [{name: a, url: 'http://x'}, {name: a, url: 'http://s3cret'}]",
            "webhooks[1].name",
            "twice",
        ),
    ] {
        let error = Config::parse(text).unwrap_err();
        assert!(error.place.starts_with(place), "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{text}: {error}");
    }
}

#[test]
fn more_webhooks_than_allowed_are_refused() {
    let one = |number| format!("- {{name: w{number}, url: 'http://x'}}\n");
    let text = format!("webhooks:\n{}", (0..17).map(one).collect::<String>());
    assert!(Config::parse(&text).unwrap_err().problem.contains("at most 16"));
}
