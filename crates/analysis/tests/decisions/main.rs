//! What is decided about AnalysisRuns.
#![expect(clippy::unwrap_used, reason = "a builder of a test that can't build should fail it")]
#![expect(clippy::needless_pass_by_value, reason = "json!() at the call sites reads best without borrows")]

mod assessment;
mod prometheus;
mod properties;
mod spec_problems;
mod support;
mod take_over;
mod timing;
