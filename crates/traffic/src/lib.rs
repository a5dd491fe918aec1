//! Traffic routers: one file each, behind [`headgate_model::TrafficRouter`]. Pure: objects in, changes out.
//!
//! A new router is one file and one line in [`ROUTERS`]; a test fails if it lacks golden files, a docs page or RBAC.

mod gateway_api;
mod istio;
mod nginx;
mod objects;
mod services;

use headgate_model::TrafficRouter;

/// Every router, in the order in which a rollout that uses several of them is routed.
pub const ROUTERS: &[&dyn TrafficRouter] =
    &[&services::Services, &istio::Istio, &nginx::Nginx, &gateway_api::GatewayApi];

/// The router of that name.
pub fn router(name: &str) -> Option<&'static dyn TrafficRouter> {
    ROUTERS.iter().copied().find(|router| router.name() == name)
}
