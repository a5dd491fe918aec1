//! What webhooks are told of Rollouts. Pure: which news there are is a function of (old record, new record), a
//! request is data, and so is what its answer means.
//!
//! ```text
//! news(snapshot, record) ──> file(record) ──stored──> post(entry) ──> a shell sends ──> taken(status) ──> file removes
//! ```
//!
//! Invariants:
//! - news are filed in the record that makes them true, so that they are stored together or not at all (R11);
//! - what is sent is the entry and nothing else: the same bytes and the same key each time;
//! - an outbox holds at most [`OUTBOX_MAX`] entries of bounded size;
//! - nothing in here knows an address or a secret but [`config`], whose types don't show theirs.

pub mod config;
mod message;
mod news;
mod outbox;
mod trigger;
mod webhook;

pub use config::{Config, ConfigError, Given, Subscription, Subscriptions, Webhook};
pub use message::{About, body};
pub use news::{News, news};
pub use outbox::{OUTBOX_MAX, file};
pub use trigger::Trigger;
pub use webhook::{Post, post, taken};
