use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::Redirect,
    routing::{get, post},
};
use headgate_model::{HttpQuery, Method, Query, Reply, SecretRef, analysis::percent_encoded};
use serde_json::json;

use super::{BODY_BYTES_MAX, Measurer, Url, without_host};
use crate::{execute::tests::api_server, secrets::Secrets};

const PLACEHOLDER: &str = "\u{1}secret:0\u{1}";

/// A metric provider on a free port of this machine.
async fn provider() -> String {
    let routes = Router::new()
        .route("/good", get(async || r#"{"status":"success"}"#))
        .route(
            "/echo",
            post(async |headers: HeaderMap, body: String| {
                json!({"status": "success", "data": [key(&headers), body]}).to_string()
            }),
        )
        .route("/login", get(async |headers: HeaderMap| format!("who is {}?", key(&headers))))
        .route(
            "/refuses",
            get(async |headers: HeaderMap| (StatusCode::UNAUTHORIZED, format!("bad key {}", key(&headers)))),
        )
        .route(
            "/refuses-in-go",
            get(async |headers: HeaderMap| {
                (StatusCode::BAD_REQUEST, in_go(&format!("bad {}", key(&headers))))
            }),
        )
        .route(
            "/warns",
            get(async |headers: HeaderMap| {
                let key = key(&headers);
                let data = json!({"resultType": "scalar", "result": [1, key]});
                let notes = json!([format!("{key} is slow"), key]);
                json!({"status": "success", "data": data, "warnings": notes, "infos": notes}).to_string()
            }),
        )
        .route(
            "/breaks-off",
            get(async |headers: HeaderMap| format!(r#"{{"status":"success","data":"{}"#, key(&headers))),
        )
        .route("/big", get(async || "x".repeat(BODY_BYTES_MAX + 1)))
        .route("/full", get(async || "x".repeat(BODY_BYTES_MAX)))
        .route("/hangs", get(async || std::future::pending::<()>().await))
        .route("/near", get(async || Redirect::temporary("/good")))
        .route("/far", get(async || Redirect::temporary("http://elsewhere.invalid/good")))
        .route("/circle", get(async || Redirect::temporary("/circle")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

fn key(headers: &HeaderMap) -> String {
    headers["x-key"].to_str().unwrap().to_owned()
}

/// A text as JSON from Go's encoder, which escapes HTML.
fn in_go(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap();
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

fn query(url: String) -> HttpQuery {
    HttpQuery {
        method: Method::Get,
        url,
        headers: Vec::new(),
        body: None,
        timeout_seconds: 5,
        insecure: false,
        secrets: BTreeMap::new(),
    }
}

fn with_secret(query: HttpQuery) -> HttpQuery {
    let reference = SecretRef { name: "prom".into(), key: "key".into() };
    HttpQuery {
        headers: vec![("X-Key".into(), PLACEHOLDER.into())],
        secrets: [(PLACEHOLDER.to_owned(), reference)].into(),
        ..query
    }
}

async fn measure(query: HttpQuery) -> Reply {
    // Base64 of "hunter2".
    measure_with_key("aHVudGVyMg==", query).await
}

async fn measure_with_key(base64: &'static str, query: HttpQuery) -> Reply {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secret = move || json!({"metadata": {"name": "prom"}, "data": {"key": base64}});
    let client = api_server(move |_| async move { (200, secret()) });
    Measurer::new(Secrets::new(client), None).unwrap().measure("shop", &Query::Http(query)).await
}

fn answer(status: u16, body: &str) -> Reply {
    Reply::Http { status, body: body.into(), truncated: false }
}

#[tokio::test]
async fn an_answer_comes_back_with_status_and_body() {
    let url = provider().await;
    assert_eq!(measure(query(format!("{url}/good"))).await, answer(200, r#"{"status":"success"}"#));
    assert_eq!(measure(query(format!("{url}/nowhere"))).await, answer(404, ""));
}

#[tokio::test]
async fn secrets_reach_headers_and_body() {
    let echo = query(format!("{}/echo", provider().await));
    let echo =
        HttpQuery { method: Method::Post, body: Some(format!("key={PLACEHOLDER}")), ..with_secret(echo) };
    let echoed = json!({"status": "success", "data": ["hunter2", "key=hunter2"]});
    assert_eq!(measure(echo).await, answer(200, &echoed.to_string()));
}

#[tokio::test]
async fn a_refusal_that_quotes_a_secret_comes_back_masked() {
    let refused = with_secret(query(format!("{}/refuses", provider().await)));
    assert_eq!(measure(refused).await, answer(401, "bad key ***"));
}

#[tokio::test]
async fn a_refusal_whose_json_escapes_a_secret_comes_back_masked() {
    let refused = with_secret(query(format!("{}/refuses-in-go", provider().await)));
    // Base64 of `p&ss<w"rd\>`.
    assert_eq!(measure_with_key("cCZzczx3InJkXD4=", refused).await, answer(400, "\"bad ***\""));
}

#[tokio::test]
async fn the_warnings_of_an_answer_come_back_masked_and_its_samples_as_they_are() {
    let warns = with_secret(query(format!("{}/warns", provider().await)));
    let notes = json!(["*** is slow", "***"]);
    let data = json!({"resultType": "scalar", "result": [1, "hunter2"]});
    let masked = json!({"status": "success", "data": data, "warnings": notes, "infos": notes});
    assert_eq!(measure(warns).await, answer(200, &masked.to_string()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_comes_back_masked() {
    let broken = with_secret(query(format!("{}/breaks-off", provider().await)));
    assert_eq!(measure(broken).await, answer(200, r#"{"status":"success","data":"***"#));
}

#[tokio::test]
async fn a_secret_that_reads_like_the_frame_of_an_answer_does_not_spoil_it() {
    let warns = with_secret(query(format!("{}/warns", provider().await)));
    // Base64 of "success".
    let Reply::Http { body, .. } = measure_with_key("c3VjY2Vzcw==", warns).await else { panic!("failed") };
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&answer["status"], &answer["data"]["result"][1]), (&json!("success"), &json!("success")));
    assert_eq!(answer["warnings"][0], "*** is slow");
}

#[tokio::test]
async fn a_page_in_the_place_of_an_answer_that_quotes_a_secret_comes_back_masked() {
    let page = with_secret(query(format!("{}/login", provider().await)));
    assert_eq!(measure(page).await, answer(200, "who is ***?"));
}

#[tokio::test]
async fn an_error_never_shows_a_secret() {
    let closed = with_secret(query(format!("http://127.0.0.1:1/{PLACEHOLDER}?token={PLACEHOLDER}")));
    let Reply::Failed(why) = measure(closed).await else { panic!("answered") };
    assert!(why.starts_with("http://127.0.0.1:1/***: "), "{why}");
    assert!(why.contains("refused") && why.contains("is the address right"), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
}

/// What is said of a query to an address that is, or holds, this secret, where nobody answers.
async fn failed_with(base64: &'static str, url: String) -> String {
    let reference = SecretRef { name: "prom".into(), key: "key".into() };
    let placeholders = [PLACEHOLDER.to_owned(), percent_encoded(PLACEHOLDER)];
    let secrets = placeholders.map(|placeholder| (placeholder, reference.clone())).into();
    let asked = HttpQuery { timeout_seconds: 1, secrets, ..query(url) };
    let Reply::Failed(why) = measure_with_key(base64, asked).await else { panic!("answered") };
    why
}

#[tokio::test]
async fn no_part_of_a_secret_address_is_shown() {
    let in_url = percent_encoded(PLACEHOLDER);
    for (base64, url, place) in [
        // Base64 of `HTTP://Me:Pass@LOCALHOST:1/a b?key=c`: once it is parsed, it is written otherwise.
        (
            "SFRUUDovL01lOlBhc3NATE9DQUxIT1NUOjEvYSBiP2tleT1j",
            format!("{PLACEHOLDER}/api/v1/query?query=up"),
            "***/api/v1/query: ",
        ),
        // Base64 of `LOCALHOST:1`.
        ("TE9DQUxIT1NUOjE=", format!("http://{PLACEHOLDER}/x?query=up"), "http://***/x: "),
        // Base64 of `a b/C`.
        (
            "YSBiL0M=",
            format!("http://Me:Pass@127.0.0.1:1/{in_url}/{PLACEHOLDER}?key={in_url}"),
            "http://127.0.0.1:1/***/***: ",
        ),
    ] {
        let why = failed_with(base64, url).await;
        assert!(why.starts_with(place), "{why}");
        assert!(why.contains("refused") && why.contains("is the address right"), "{why}");
        let shown = why.to_lowercase();
        let parts = ["localhost", "me:", "pass", "a%20b", "a b", "key"];
        assert!(parts.iter().all(|part| !shown.contains(part)), "{why}");
    }
}

#[tokio::test]
async fn no_part_of_a_secret_that_is_no_address_is_shown() {
    // Base64 of `hunter2://"quoted"`, and of `hunter2` with a character behind it that Rust and JSON escape each in its way.
    for secret in ["aHVudGVyMjovLyJxdW90ZWQi", "aHVudGVyMn8="] {
        let why = failed_with(secret, format!("{PLACEHOLDER}/api/v1/query?query=up")).await;
        assert!(why.starts_with("\"***/api/v1/query\" is no address of a metric provider"), "{why}");
        assert!(!why.contains("hunter2") && !why.contains("quoted"), "{why}");
    }
}

#[test]
fn an_error_names_no_host_that_the_place_does_not_name() {
    let url = Url::parse("https://Prom.internal:9090/x").unwrap();
    let error = || "certificate not valid for name \"prom.internal\"".to_owned();
    assert_eq!(without_host(error(), &url, "https://***/x"), "certificate not valid for name \"***\"");
    assert_eq!(without_host(error(), &url, "https://Prom.internal:9090/x"), error());
}

#[tokio::test]
async fn a_secret_address_that_never_answers_is_not_shown() {
    let url = provider().await;
    let with_user = url.replace("http://", "http://Me:Pass@");
    // Base64 of `./hangs`.
    let why = failed_with("Li9oYW5ncw==", format!("{with_user}/{PLACEHOLDER}")).await;
    assert!(why.starts_with(&format!("{url}/***: no answer within 1s")), "{why}");
}

#[tokio::test]
async fn a_big_answer_is_cut_and_marked() {
    let url = provider().await;
    let Reply::Http { status: 200, body, truncated: true } = measure(query(format!("{url}/big"))).await
    else {
        panic!("not marked")
    };
    assert_eq!(body.len(), BODY_BYTES_MAX);
    let full = measure(query(format!("{url}/full"))).await;
    assert!(matches!(full, Reply::Http { truncated: false, .. }));
}

#[tokio::test]
async fn a_provider_that_hangs_fails_after_the_time_limit() {
    let hangs = HttpQuery { timeout_seconds: 1, ..query(format!("{}/hangs", provider().await)) };
    let started = tokio::time::Instant::now();
    let Reply::Failed(why) = measure(hangs).await else { panic!("answered") };
    assert!(why.contains("/hangs: no answer within 1s"), "{why}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let url = provider().await;
    assert_eq!(measure(query(format!("{url}/near"))).await, answer(200, r#"{"status":"success"}"#));
    assert_eq!(measure(query(format!("{url}/far"))).await, answer(307, ""));
    assert_eq!(measure(query(format!("{url}/circle"))).await, answer(307, ""));
}

#[tokio::test]
async fn a_wrong_address_is_shown_with_a_right_one() {
    for wrong in ["prometheus:9090/api/v1/query", "/api/v1/query", "http://:9090", "ftp://prometheus"] {
        let Reply::Failed(why) = measure(query(wrong.into())).await else { panic!("answered") };
        assert!(why.contains(wrong) && why.contains("write one such as http://"), "{why}");
    }
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_refused_by_name() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secrets = || Secrets::new(api_server(|_| async { (200, json!({})) }));
    let error = Measurer::new(secrets(), Some("/nonexistent/ca.pem".as_ref())).err().unwrap();
    assert!(error.to_string().contains("--ca-file /nonexistent/ca.pem"), "{error}");
}
