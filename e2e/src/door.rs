//! The doors that requests come through: each router with its example, its route and its address.

use crate::cluster::Cluster;
use crate::load::Target;
use headgate_lab::Addon;
use serde_json::{Value, json};

/// A router, and the program of the lab that obeys it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Door {
    /// A VirtualService, through Envoy.
    Istio,
    /// A canary Ingress with the annotations of ingress-nginx, through Traefik.
    Nginx,
    /// An HTTPRoute of the Gateway API, through Traefik.
    Gateway,
}

/// The canary Ingress that Headgate makes beside the Ingress `shop` for the Rollout `shop`.
const CANARY_INGRESS: &str = "shop-shop-canary";

impl Door {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Istio, Self::Nginx, Self::Gateway];

    /// The word for it on the command line and in names of objects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Nginx => "nginx",
            Self::Gateway => "gateway",
        }
    }

    /// The part of the lab that it is.
    pub fn addon(self) -> Addon {
        match self {
            Self::Istio => Addon::Istio,
            Self::Nginx | Self::Gateway => Addon::Traefik,
        }
    }

    /// Where clients knock, asking for `host`.
    ///
    /// # Errors
    /// When nobody said where the program is.
    pub fn target(self, cluster: &Cluster, host: &str) -> anyhow::Result<Target> {
        let url = match self {
            Self::Istio => cluster.gateway_url()?,
            Self::Nginx | Self::Gateway => cluster.traefik_url()?,
        };
        Target::from_url(&url)?.with_host(host)
    }

    /// The example that goes through it, under docs/examples.
    pub fn example(self) -> &'static str {
        match self {
            Self::Istio => "canary-istio",
            Self::Nginx => "canary-nginx",
            Self::Gateway => "canary-gateway",
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
            Self::Nginx => ("Ingress", "shop"),
            Self::Gateway => ("HTTPRoute", "shop"),
        }
    }

    /// Whether the weights stand in an object that its users write.
    pub fn shares_its_route(self) -> bool {
        self.route() == self.weighted()
    }

    /// Writes the weights into a route as they stand in Git: nothing for the canary.
    pub fn revert(self, route: &mut Value) {
        let destinations = match self {
            Self::Istio => &mut route["spec"]["http"][0]["route"],
            Self::Gateway => &mut route["spec"]["rules"][0]["backendRefs"],
            // They are not there.
            Self::Nginx => return,
        };
        destinations[0]["weight"] = json!(100);
        destinations[1]["weight"] = json!(0);
    }

    /// The kind and name of the object that holds the canary's weight, for the example's Rollout.
    pub fn weighted(self) -> (&'static str, &'static str) {
        match self {
            Self::Nginx => ("Ingress", CANARY_INGRESS),
            Self::Istio | Self::Gateway => self.route(),
        }
    }

    /// The canary's weight in that object.
    pub fn weight(self, object: &Value) -> Option<i64> {
        match self {
            Self::Istio => object["spec"]["http"][0]["route"][1]["weight"].as_i64(),
            Self::Nginx => {
                let weight = &object["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"];
                weight.as_str()?.parse().ok()
            }
            Self::Gateway => object["spec"]["rules"][0]["backendRefs"][1]["weight"].as_i64(),
        }
    }

    /// Gives a route or a gateway among the example's objects the host of a namespace.
    pub fn set_host(self, object: &mut Value, host: &str) {
        match (self, object["kind"].as_str().unwrap_or_default()) {
            (Self::Istio, "Gateway") => object["spec"]["servers"][0]["hosts"] = json!([host]),
            (Self::Istio, "VirtualService") => object["spec"]["hosts"] = json!([host]),
            (Self::Nginx, "Ingress") => object["spec"]["rules"][0]["host"] = json!(host),
            (Self::Gateway, "HTTPRoute") => object["spec"]["hostnames"] = json!([host]),
            _ => {}
        }
    }
}
