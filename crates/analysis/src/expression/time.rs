//! Times in expressions, without a clock and without the time zone of this machine.

use super::operations::error;
use expr::{Context, Environment, Result, Value};
use headgate_model::Timestamp;

/// The zone that Go calls `Local` is the controller's: UTC in every container.
const LOCAL: &str = "Local";

/// The method that stands for `name`: to go to the local time is to go to UTC.
pub(super) fn method(name: &str) -> &str {
    if name == LOCAL { "UTC" } else { name }
}

/// Makes `now()` the argument, and `Local` UTC.
pub(super) fn add_to(environment: &mut Environment<'_>, now: Timestamp) {
    environment.add_function("now", move |call| match call.args.len() {
        0 => call_library("date", vec![now.to_string().into()]),
        _ => Err(error("now() takes no arguments")),
    });
    for name in ["timezone", "date"] {
        environment.add_function(name, move |call| {
            call_library(name, call.args.into_iter().map(without_local).collect())
        });
    }
}

fn without_local(value: Value) -> Value {
    if value.as_string() == Some(LOCAL) { Value::from("UTC") } else { value }
}

/// Calls a function of the library, not ours of the same name.
fn call_library(name: &str, arguments: Vec<Value>) -> Result<Value> {
    let mut context = Context::default();
    let mut names = Vec::new();
    for (index, argument) in arguments.into_iter().enumerate() {
        let name = format!("v{index}");
        context.insert(name.clone(), argument);
        names.push(name);
    }
    expr::eval(&format!("{name}({})", names.join(", ")), &context)
}
