//! The API as users meet it: manifests against our types and our CRDs.

mod refused;
mod round_trip;
mod support;
