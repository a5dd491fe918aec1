//! Traffic routers: one file each, behind [`headgate_model::TrafficRouter`]. Pure: objects in, patches out.
//!
//! A new router is one file and one line in [`ROUTERS`]; a test fails if it lacks golden files, a docs page or RBAC.

mod istio;
mod services;

use headgate_model::TrafficRouter;

/// Every router, in the order in which a rollout that uses several of them is routed.
pub const ROUTERS: &[&dyn TrafficRouter] = &[&services::Services, &istio::Istio];

/// The router of that name: the key in `spec.strategy.canary.trafficRouting`, or `services`.
pub fn router(name: &str) -> Option<&'static dyn TrafficRouter> {
    ROUTERS.iter().copied().find(|router| router.name() == name)
}
