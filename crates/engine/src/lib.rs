//! The step engine: decides Rollouts. Pure.
