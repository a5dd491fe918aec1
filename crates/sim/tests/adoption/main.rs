//! Headgate takes over Rollouts that Argo Rollouts has left (e2e/fixtures): nothing moves, nothing changes its meaning,
//! and the release goes on.
#![cfg(test)]

mod can_go_back;
mod fleet;
mod goes_on;
mod makes_the_same;
mod orphans;
mod running_analyses;
mod stands_still;
mod versions;
