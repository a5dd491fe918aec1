//! The hash of a pod template and of the canary's steps, as they stand in labels, names and status.

use super::{steps_json, template_json};
use serde_json::Value;

/// The characters of a hash: no vowels, so that no word can appear in a name.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash that names a template's ReplicaSet (label `rollouts-pod-template-hash`).
///
/// `collision_count` is the Rollout's `status.collisionCount`: it is set when another object already had the name that
/// the plain hash gives. Argo Rollouts: FNV-1a over the template's Go JSON and the count, its decimal text mapped to
/// letters without vowels. Never fails: what does not fit the template's types is treated as there (see [`template_json`]).
pub fn pod_template_hash(template: &Value, collision_count: Option<i32>) -> String {
    let json = template_json(template);
    let count = collision_count
        .map_or_else(Vec::new, |count| (i64::from(count) & 0xffff_ffff).to_le_bytes().to_vec());
    encoded(fnv1a(json.as_bytes().iter().chain(&count)))
}

/// The hash of `spec.strategy.canary.steps` (`status.currentStepHash`); no steps hash as `null`.
///
/// A blue-green Rollout has no steps hash at all: its status field is empty.
pub fn steps_hash(steps: Option<&Value>) -> String {
    let json = steps_json(steps);
    encoded(fnv1a(json.as_bytes()))
}

fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn encoded(hash: u32) -> String {
    let letters =
        hash.to_string().into_bytes().into_iter().filter_map(|digit| ALPHABET.get(usize::from(digit) % 27));
    letters.map(|letter| char::from(*letter)).collect()
}
