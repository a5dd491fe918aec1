//! What is told, when, and to whom.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy.toml excuses functions marked as tests only"
)]

mod config;
mod random;
mod telling;
mod world;
