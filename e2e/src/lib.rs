//! The harness of the tests on a real cluster.

pub mod load;
