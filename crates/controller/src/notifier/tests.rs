use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::Redirect,
    routing::post,
};
use headgate_driver::io::Reply;
use headgate_notify::Post;

use super::{Follower, Notifier, load};
use crate::metrics::Metrics;

type Heard = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A receiver on a free port of this machine.
async fn receiver() -> (String, Heard) {
    let heard = Heard::default();
    let notes = Arc::clone(&heard);
    let take = move |headers: HeaderMap, body: String| {
        notes.lock().unwrap().push((headers, body));
        async { StatusCode::ACCEPTED }
    };
    let routes = Router::new()
        .route("/s3cret/take", post(take))
        .route("/s3cret/full", post(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/s3cret/moved", post(async || Redirect::temporary("/s3cret/take")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (format!("http://{address}"), heard)
}

/// A directory of this test alone.
fn directory(test: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("headgate-notifier-{}-{test}", std::process::id()));
    std::fs::create_dir_all(path.join("secrets")).unwrap();
    path
}

fn notifier() -> Arc<Notifier> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Arc::new(Notifier::new(None).unwrap())
}

fn message() -> Post {
    Post { headers: vec![("Idempotency-Key", "u/2/aborted/7".to_owned())], body: "{}".to_owned() }
}

/// Configures one webhook with its address in a file, and a header in another.
async fn tell(test: &str, url: &str) -> (Reply, Heard) {
    let (origin, heard) = receiver().await;
    let directory = directory(test);
    let file = directory.join("notifications.yaml");
    let url = url.replace("ORIGIN", &origin);
    std::fs::write(directory.join("secrets/url"), format!("{url}\n")).unwrap();
    std::fs::write(directory.join("secrets/token"), "Bearer hunter2\n").unwrap();
    let text = "webhooks: [{name: hook, urlFile: secrets/url, headerFiles: {Authorization: secrets/token}}]";
    std::fs::write(&file, text).unwrap();
    let loaded = load(&file).await.unwrap();
    assert!(!format!("{loaded:?}").contains("s3cret") && !format!("{loaded:?}").contains("hunter2"));
    let notifier = notifier();
    notifier.configure(&loaded);
    let reply = notifier.tell("hook", &message()).await;
    std::fs::remove_dir_all(directory).unwrap();
    (reply, heard)
}

#[tokio::test]
async fn a_message_arrives_with_its_key_and_the_secret_header() {
    let (reply, heard) = tell("arrives", "ORIGIN/s3cret/take").await;
    assert_eq!(reply, Reply::Notified(202));
    let heard = heard.lock().unwrap();
    let (headers, body) = &heard[0];
    assert_eq!(headers["idempotency-key"], "u/2/aborted/7");
    assert_eq!(headers["authorization"], "Bearer hunter2");
    assert_eq!(body, "{}");
}

#[tokio::test]
async fn a_refusal_comes_back_as_its_status_and_a_redirect_is_not_followed() {
    assert_eq!(tell("full", "ORIGIN/s3cret/full").await.0, Reply::Notified(500));
    let (reply, heard) = tell("moved", "ORIGIN/s3cret/moved").await;
    assert_eq!(reply, Reply::Notified(307));
    assert!(heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_error_shows_nothing_of_the_address_or_the_headers() {
    for url in ["http://127.0.0.1:1/s3cret?token=s3cret", "https://s3cret:s3cret@s3cret.invalid/s3cret"] {
        let (Reply::Lost(why), _) = tell("closed", url).await else { panic!("answered") };
        assert!(!why.is_empty() && !why.contains("s3cret") && !why.contains("hunter2"), "{why}");
    }
}

#[tokio::test]
async fn a_webhook_that_is_not_configured_any_more_is_not_told() {
    let Reply::Lost(why) = notifier().tell("hook", &message()).await else { panic!("answered") };
    assert!(why.contains("not configured"), "{why}");
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_without_a_secret() {
    let directory = directory("wrong");
    let file = directory.join("notifications.yaml");
    std::fs::write(directory.join("secrets/url"), "s3cret").unwrap();
    std::fs::write(directory.join("secrets/lines"), "s3cret\ns3cret").unwrap();
    for (text, problem) in [
        ("webhooks: [{name: hook, url: s3cret}]", "webhooks[0].url"),
        ("webhooks: [{name: hook, urlFile: secrets/url}]", "webhook \"hook\": its address is no URL"),
        ("webhooks: [{name: hook, urlFile: secrets/missing}]", "secrets/missing cannot be read"),
        (
            "webhooks: [{name: hook, url: 'https://h/s3cret', headerFiles: {X-A: secrets/lines}}]",
            "the value of header \"X-A\" holds what no header may",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = format!("{:#}", load(&file).await.unwrap_err());
        assert!(error.contains(problem) && !error.contains("s3cret"), "{text}: {error}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_change_is_taken_up_and_a_wrong_file_leaves_what_was() {
    let directory = directory("follow");
    let file = directory.join("notifications.yaml");
    let metrics = Arc::new(Metrics::default());
    let is_valid = || metrics.text().unwrap().contains("headgate_notifications_config_valid 1");
    let (mut follower, mut told) = Follower::new(file.clone(), notifier(), Arc::clone(&metrics));
    follower.look().await;
    assert!(told.borrow_and_update().is_none() && !is_valid(), "no file yet");
    for (text, names, valid) in [
        ("webhooks: [{name: one, url: 'http://x'}]", vec!["one"], true),
        ("webhooks: [{name: ", vec!["one"], false),
        ("webhooks: [{name: two, url: 'http://x'}]", vec!["two"], true),
        ("", vec![], true),
    ] {
        std::fs::write(&file, text).unwrap();
        follower.look().await;
        let known = told.borrow_and_update().clone().unwrap();
        let known: Vec<_> = known.services.iter().map(|service| service.service.as_str()).collect();
        assert_eq!((known, is_valid()), (names, valid), "{text}");
    }
    follower.look().await;
    assert!(!told.has_changed().unwrap(), "the same again is no news");
    std::fs::remove_dir_all(directory).unwrap();
}
