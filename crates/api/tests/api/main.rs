//! The API as users meet it: manifests against our types and our CRDs.

#[cfg(test)]
mod refused;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod support;
