//! The app that the lab's releases are made of.
fn main() {}
