//! What must be true of the states through which a ReplicaSet goes, whatever the timing.

use crate::world::server::number;
use serde_json::{Value, json};

/// A relation between states, in order.
pub struct Relation {
    /// What it says.
    pub name: &'static str,
    /// Whether it holds.
    pub holds: fn(&[Value]) -> bool,
}

/// The answer: each relation, and whether it holds.
pub fn answer(states: &[Value], relations: &[Relation]) -> Value {
    relations.iter().map(|relation| (relation.name.to_owned(), json!((relation.holds)(states)))).collect()
}

const REPLICAS: &str = "/status/replicas";
const READY: &str = "/status/readyReplicas";
const AVAILABLE: &str = "/status/availableReplicas";
const WANTED: &str = "/spec/replicas";

fn is_observed(set: &Value) -> bool {
    number(set, "/status/observedGeneration") == number(set, "/metadata/generation")
}

/// Those that hold for every ReplicaSet at all times.
pub const ALWAYS: &[Relation] = &[
    Relation {
        name: "the observed generation never falls and is never ahead",
        holds: |states| {
            let observed = |set: &Value| number(set, "/status/observedGeneration");
            states.is_sorted_by_key(observed)
                && states.iter().all(|set| observed(set) <= number(set, "/metadata/generation"))
        },
    },
    Relation {
        name: "available pods are ready, and ready pods are counted",
        holds: |states| {
            states.iter().all(|set| {
                number(set, AVAILABLE) <= number(set, READY) && number(set, READY) <= number(set, REPLICAS)
            })
        },
    },
    Relation {
        name: "in the end no more are counted than are wanted",
        holds: |states| states.last().is_some_and(|set| number(set, REPLICAS) <= number(set, WANTED)),
    },
];

/// A scale-down from three to one.
pub const COUNTED_BEFORE: &[Relation] = &[Relation {
    name: "the first counts under the new generation are those from before it",
    holds: |states| {
        let shrunk = states.iter().find(|set| number(set, WANTED) == 1 && is_observed(set));
        shrunk.is_some_and(|set| number(set, REPLICAS) == 3 && number(set, AVAILABLE) == 3)
    },
}];

/// A pod that is not available goes when one must.
pub const UNREADY_FIRST: &[Relation] = &[Relation {
    name: "after two were available there were never less, whoever was removed",
    holds: |states| {
        states.iter().skip_while(|set| number(set, AVAILABLE) < 2).all(|set| number(set, AVAILABLE) >= 2)
    },
}];

/// One of three pods was lost, to deletion or to its probe.
pub const ONE_LESS: &[Relation] = &[
    Relation {
        name: "two were available after three had been",
        holds: |states| {
            let mut later = states.iter().skip_while(|set| number(set, AVAILABLE) < 3);
            later.any(|set| number(set, AVAILABLE) == 2)
        },
    },
    Relation {
        name: "never were less than two available after that",
        holds: |states| {
            states.iter().skip_while(|set| number(set, AVAILABLE) < 3).all(|set| number(set, AVAILABLE) >= 2)
        },
    },
];

/// A deleted pod is not counted while it drains.
pub const NOT_COUNTED: &[Relation] = &[Relation {
    name: "two were counted after three had been",
    holds: |states| {
        let mut later = states.iter().skip_while(|set| number(set, REPLICAS) < 3);
        later.any(|set| number(set, REPLICAS) == 2)
    },
}];

/// A pod whose probe fails is counted, and not replaced.
pub const COUNTED: &[Relation] = &[Relation {
    name: "three were counted from then on",
    holds: |states| {
        states.iter().skip_while(|set| number(set, REPLICAS) < 3).all(|set| number(set, REPLICAS) == 3)
    },
}];
