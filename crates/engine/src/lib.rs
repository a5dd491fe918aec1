//! The step engine: decides what to do for one Rollout. Pure: a function of what is observed and of the time.
//!
//! [`decide`] reads as the order in which things are settled: what the user wants, what analyses say, whether the release
//! is overdue, whether its step is done, and then what pods and routes must do for it. That last part, and with it the
//! safety of requests under way, is in one place, `cutover`; a restart and the hand-over of a Deployment are planned after it,
//! beside what it has planned.

mod adoption;
mod analysis;
mod bake;
mod conditions;
mod cutover;
mod decide;
mod duration;
mod history;
mod initial;
mod intent;
mod notices;
mod on_failure;
mod pauses;
mod phase;
mod pod_health;
mod pod_metadata;
mod pods_wanted;
mod progress;
mod references;
mod release;
mod replicas;
mod restart;
mod revision;
mod scene;
mod steps;
mod waiting;
mod workload;

pub use decide::decide;
pub use duration::{EndedRelease, ended_release};
pub use notices::{notices, outcome};
pub use pods_wanted::{PodsWanted, wants_pods};
pub use waiting::speaks_of;
