//! The language of conditions: `expr`, as Argo Rollouts embeds it.
//!
//! The library `expr-lang` evaluates; [`rewrite`] and [`operations`] make the differences that matter to a release,
//! [`fuel`] the bounds.

mod fuel;
mod operations;
mod rewrite;
mod time;
mod tokens;

#[cfg(test)]
mod tests;

use crate::provider::MetricValue;
use expr::{Context, Environment, Value};
use fuel::Fuel;
use headgate_model::Timestamp;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Whether `source` holds for `result`.
///
/// # Errors
/// Why it can't be evaluated, or that it isn't a truth value.
pub(crate) fn condition(source: &str, result: &MetricValue, now: Timestamp) -> Result<bool, String> {
    let mut context = Context::default();
    context.insert("result", value(result));
    match evaluate(source, &context, now)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(format!("expected bool, but got {}", operations::kind(&other))),
    }
}

/// The instant that `source` names, for example `now() - duration("1h")`, in seconds since 1970.
///
/// # Errors
/// Why it can't be evaluated, or that it isn't a time.
pub(crate) fn instant(source: &str, now: Timestamp) -> Result<i64, String> {
    match evaluate(source, &Context::default(), now)? {
        Value::DateTime(time) => Ok(time.timestamp()),
        other => Err(format!("expected time.Time, but got {}", operations::kind(&other))),
    }
}

fn value(value: &MetricValue) -> Value {
    match value {
        MetricValue::Number(number) => Value::Float(*number),
        MetricValue::List(items) => Value::Array(items.iter().copied().map(Value::Float).collect()),
    }
}

fn evaluate(source: &str, context: &Context, now: Timestamp) -> Result<Value, String> {
    let source = rewrite::rewritten(source)?;
    let fuel = Fuel::new();
    // A defect of the library must not take the controller down with it.
    let evaluated = catch_unwind(AssertUnwindSafe(|| {
        let program = expr::compile(&source)?;
        let mut environment = Environment::new();
        operations::add_to(&mut environment, &fuel);
        time::add_to(&mut environment, now);
        environment.run(&program, context)
    }));
    match evaluated {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("evaluation logic panicked".to_owned()),
    }
}
