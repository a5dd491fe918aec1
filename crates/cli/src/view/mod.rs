//! What people see: pure functions of (objects, now) to text.
//!
//! The layout is that of `kubectl argo rollouts`, line by line: people and scripts know it. What Headgate adds stands at
//! the end, and only when the controller has stored it.

pub mod age;
pub mod analysis;
pub mod forecast;
pub mod images;
pub mod lint;
pub mod list;
pub mod paint;
pub mod pod;
pub mod replica_set;
pub mod rollout;
pub mod scene;
pub mod table;
pub mod tree;
pub mod waiting;
pub mod weight;

pub use paint::Palette;
pub use scene::Scene;

/// How much is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What fits a screen.
    #[default]
    Normal,
    /// More columns, or more in them.
    Wide,
}
