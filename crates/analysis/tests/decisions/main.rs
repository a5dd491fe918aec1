//! What is decided about AnalysisRuns.

mod assessment;
mod prometheus;
mod properties;
mod spec_problems;
mod support;
mod take_over;
mod timing;
