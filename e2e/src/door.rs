//! The doors that requests come through: each router with its example, its route and its address.

use anyhow::Context;
use headgate_lab::Addon;
use serde_json::{Value, json};

/// A router that the lab has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Door {
    /// Istio's VirtualService through Envoy.
    Istio,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Istio];

    /// The word for it on the command line and in names of namespaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Istio => "istio",
        }
    }

    /// The part of the lab that it is.
    pub fn addon(self) -> Addon {
        match self {
            Self::Istio => Addon::Istio,
        }
    }

    /// The example that goes through it, under docs/examples.
    pub fn example(self) -> &'static str {
        match self {
            Self::Istio => "canary-istio",
        }
    }

    /// The door of a set of objects; `None` without a route among them.
    pub fn of(objects: &[Value]) -> Option<Self> {
        let has = |door: &Self| objects.iter().any(|object| object["kind"] == door.route().0);
        Self::ALL.into_iter().find(has)
    }

    /// The kind and name of the object that its users write, for the example's Rollout.
    pub fn route(self) -> (&'static str, &'static str) {
        match self {
            Self::Istio => ("VirtualService", "shop"),
        }
    }

    /// Whether the weights stand in an object that its users write.
    pub fn shares_its_route(self) -> bool {
        self.route() == self.weighted()
    }

    /// Writes the weights into a route as they stand in Git: nothing for the canary.
    pub fn revert(self, route: &mut Value) {
        match self {
            Self::Istio => {
                let destinations = &mut route["spec"]["http"][0]["route"];
                destinations[0]["weight"] = json!(100);
                destinations[1]["weight"] = json!(0);
            }
        }
    }

    /// The kind and name of the object that holds the canary's weight, for the example's Rollout.
    pub fn weighted(self) -> (&'static str, &'static str) {
        match self {
            Self::Istio => ("VirtualService", "shop"),
        }
    }

    /// The canary's weight in that object.
    pub fn weight(self, object: &Value) -> Option<i64> {
        match self {
            Self::Istio => object["spec"]["http"][0]["route"][1]["weight"].as_i64(),
        }
    }

    /// Gives a route or a gateway among the example's objects the host of a namespace.
    pub fn set_host(self, object: &mut Value, host: &str) {
        match (self, object["kind"].as_str().unwrap_or_default()) {
            (Self::Istio, "Gateway") => object["spec"]["servers"][0]["hosts"] = json!([host]),
            (Self::Istio, "VirtualService") => object["spec"]["hosts"] = json!([host]),
            _ => {}
        }
    }

    /// The door of that name.
    ///
    /// # Errors
    /// When there is none, with those that there are.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
        let door = Self::ALL.into_iter().find(|door| door.name() == name);
        door.with_context(|| format!("no router {name:?}; there are {}", known.join(", ")))
    }
}
