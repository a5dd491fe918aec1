//! Builds and runs the lab, generates what is generated, runs what CI runs.
fn main() {}
