//! What was posted to `/inbox`: a receiver of notifications for tests.

use http::{HeaderMap, Method, StatusCode};
use std::sync::{Mutex, PoisonError};

/// No more is kept.
const LINES_MAX: usize = 1_000;

/// One line for each message that was taken: its `Idempotency-Key`, a space, and the body.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<Vec<String>>);

impl Inbox {
    /// `POST` keeps a message, anything else shows them all.
    pub(crate) fn answer(&self, method: &Method, headers: &HeaderMap, body: &[u8]) -> (StatusCode, String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if method != Method::POST {
            return (StatusCode::OK, lines.iter().map(|line| format!("{line}\n")).collect());
        }
        if lines.len() >= LINES_MAX {
            return (StatusCode::INSUFFICIENT_STORAGE, format!("{LINES_MAX} messages are kept already\n"));
        }
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or("-");
        lines.push(format!("{key} {}", String::from_utf8_lossy(body).replace('\n', " ")));
        (StatusCode::ACCEPTED, "taken\n".to_owned())
    }
}
