use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::Redirect,
    routing::{get, post},
};
use headgate_model::{HttpQuery, Method, Query, Reply, SecretRef};
use serde_json::json;

use super::{BODY_BYTES_MAX, Measurer};
use crate::{execute::tests::api_server, secrets::Secrets};

const PLACEHOLDER: &str = "\u{1}secret:0\u{1}";

/// A metric provider on a free port of this machine.
async fn provider() -> String {
    let routes = Router::new()
        .route("/good", get(async || r#"{"status":"success"}"#))
        .route(
            "/echo",
            post(async |headers: HeaderMap, body: String| {
                format!(r#"{{"status":"success"}} {:?} {body}"#, headers.get("x-key"))
            }),
        )
        .route(
            "/login",
            get(async |headers: HeaderMap| format!("who is {}?", headers["x-key"].to_str().unwrap())),
        )
        .route(
            "/refuses",
            get(async |headers: HeaderMap| {
                (StatusCode::UNAUTHORIZED, format!("bad key {}", headers["x-key"].to_str().unwrap()))
            }),
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
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Base64 of "hunter2".
    let client = api_server(|_| async {
        (200, json!({"metadata": {"name": "prom"}, "data": {"key": "aHVudGVyMg=="}}))
    });
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
    let echoed = r#"{"status":"success"} Some("hunter2") key=hunter2"#;
    assert_eq!(measure(echo).await, answer(200, echoed));
}

#[tokio::test]
async fn a_refusal_that_quotes_a_secret_comes_back_masked() {
    let refused = with_secret(query(format!("{}/refuses", provider().await)));
    assert_eq!(measure(refused).await, answer(401, "bad key ***"));
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
