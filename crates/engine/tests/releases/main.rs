//! Whole releases in a very small world.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what the world's helpers can't do is a failed test"
)]

mod basic;
mod invalid;
mod random;
mod recorded;
mod routed;
mod world;
