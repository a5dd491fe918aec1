//! Headgate takes over Rollouts that Argo Rollouts has left (e2e/fixtures): nothing moves, nothing changes its meaning,
//! and the release goes on.
#![cfg(test)]

mod fleet;
mod goes_on;
mod hands_back;
mod orphans;
mod stands_still;
mod versions;
