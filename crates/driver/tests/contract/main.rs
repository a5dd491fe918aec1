//! The contract with the API server, rule by rule, against a small API server with scripted faults.

mod faults;
mod house;
mod quiet;
mod rules;
mod runs;
mod server;
mod world;
