//! The generic webhook: one POST of JSON.

use crate::{About, body};
use headgate_api::OutboxEntry;

/// A request to a webhook as data, without its address and its own headers: those may be secrets, and only the shell
/// knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Headers, in order: names and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// The request that tells a webhook of an entry. Header `Idempotency-Key` is the entry's key.
#[must_use]
pub fn post(entry: &OutboxEntry, about: &About, cluster: Option<&str>) -> Post {
    let headers =
        vec![("Content-Type", "application/json".to_owned()), ("Idempotency-Key", header(&entry.key))];
    Post { headers, body: body(entry, about, cluster) }
}

/// A status can be edited by hand: what no header may hold is left out.
fn header(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

/// What the HTTP status of a webhook's answer means.
///
/// # Errors
/// It has not taken the message: what it said, and how to mend what can be mended.
pub fn taken(status: u16) -> Result<(), String> {
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(format!(
            "it answered {status}: redirects are not followed; configure the address that it leads to"
        )),
        401 | 403 => Err(format!("it answered {status}: correct its credentials (headers, or the address)")),
        404 | 410 => Err(format!("it answered {status}: correct its address")),
        _ => Err(format!("it answered {status}")),
    }
}
