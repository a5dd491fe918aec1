//! The contract with the API server (R1-R12 of docs/architecture.md) without I/O: observations in,
//! requests out, replies in. The controller and the simulator run this same driver.

pub mod io;
