//! The words that the pure crates share.
