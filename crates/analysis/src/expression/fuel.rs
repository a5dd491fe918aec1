//! What an evaluation may use: nothing that a user writes may keep the controller busy.

use super::operations::error;
use expr::{Result, Value};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Operations and copied values in one evaluation. Judging each of 20,000 series uses half of it.
const FUEL: usize = 500_000;
/// Longer lists are refused.
const LIST_MAX: usize = 50_000;
/// Longer texts are refused, in bytes.
pub(super) const STRING_BYTES_MAX: usize = 16_384;

/// Counts down.
#[derive(Debug)]
pub(super) struct Fuel(AtomicUsize);

impl Fuel {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(FUEL))
    }

    /// Takes some, if there is as much.
    pub(super) fn spend(&self, amount: usize) -> Result<()> {
        let take = |left: usize| left.checked_sub(amount);
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(error("the expression takes too long: write a simpler one, or let the query aggregate"))
            }
        }
    }

    /// Takes what a list of this length needs.
    pub(super) fn spend_list(&self, length: usize) -> Result<()> {
        if length > LIST_MAX {
            return Err(error(format!("a list of {length} values is too long: let the query aggregate")));
        }
        self.spend(length)
    }

    /// Takes what a value needs, and gives the value back.
    pub(super) fn measured(&self, value: Value) -> Result<Value> {
        self.take_for(&value)?;
        Ok(value)
    }

    fn take_for(&self, value: &Value) -> Result<()> {
        match value {
            Value::Array(items) => {
                self.spend_list(items.len())?;
                items.iter().try_for_each(|item| self.take_for(item))
            }
            Value::Map(entries) => entries.values().try_for_each(|item| self.take_for(item)),
            Value::String(text) if text.len() > STRING_BYTES_MAX => {
                Err(error(format!("a text is longer than {STRING_BYTES_MAX} bytes")))
            }
            Value::String(text) => self.spend(1 + text.len() / 16),
            _ => self.spend(1),
        }
    }
}
