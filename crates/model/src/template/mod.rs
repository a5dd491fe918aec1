//! Which ReplicaSet belongs to a pod template, exactly as Argo Rollouts decides it.
//!
//! The template is JSON as the user wrote it. The hash is over the bytes that Go would write for it, so field order,
//! `omitempty`, number and quantity forms come from Go's structs ([`go_tables`], generated). A wrong hash would restart
//! every pod of a fleet; `cargo xtask check-hash` compares thousands of random templates with Go itself.

mod anti_affinity;
mod decode;
mod defaults;
mod encode;
mod go_number;
#[rustfmt::skip]
pub mod go_tables;
pub mod go_type;
mod hash;
mod pod_metadata;
mod quantity;
mod same;
#[cfg(test)]
mod tests;
mod text;

pub use anti_affinity::{avoid, avoid_instead};
pub use decode::TemplateError;
pub use hash::{pod_template_hash, steps_hash};
pub use pod_metadata::{MetadataChange, PodMetadata, inject};
pub use quantity::canonical_quantity;
pub use same::{same_template, strip_injected};

use go_type::GoType;
use serde_json::Value;
use std::borrow::Cow;

/// The JSON that Go writes for a pod template once it has read it.
///
/// Unknown fields are gone, known ones are in Go's order, quantities are canonical. What does not fit its field is
/// treated as Argo Rollouts treats it: dropped; after a malformed quantity, int-or-string or time, everything that
/// follows in key order is dropped as well.
pub fn template_json(template: &Value) -> String {
    go_json(&go_tables::TEMPLATE, template)
}

/// The JSON that Go writes for `spec.strategy.canary.steps`; no steps and an empty list are both `null`.
pub fn steps_json(steps: Option<&Value>) -> String {
    let some = steps.filter(|steps| steps.as_array().is_none_or(|steps| !steps.is_empty()));
    go_json(&go_tables::STEPS, some.unwrap_or(&Value::Null))
}

fn go_json(is: &GoType, value: &Value) -> String {
    let mut json = String::new();
    encode::push_json(is, decode::normalised(is, value).as_ref(), &mut json);
    json
}

/// Whether every value of the pod template has the form that its field asks for; unknown fields are no matter.
///
/// A template that fails is rolled out nevertheless, but part of it is lost ([`rolled_out`]): say so to the user.
///
/// # Errors
/// The first value that has another form.
pub fn check_template(template: &Value) -> Result<(), TemplateError> {
    decode::check(&go_tables::TEMPLATE, template)
}

/// What is rolled out of a pod template: all of it, or where [`check_template`] fails what Argo Rollouts makes of it, whose
/// hash is that of the template ([`template_json`]). The API server would refuse the rest.
pub fn rolled_out(template: &Value) -> Cow<'_, Value> {
    match check_template(template) {
        Ok(()) => Cow::Borrowed(template),
        Err(_) => Cow::Owned(decode::normalised(&go_tables::TEMPLATE, template).unwrap_or_default()),
    }
}
