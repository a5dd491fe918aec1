//! The operators and functions of conditions that differ from the library's, see [`super::rewrite`].

use super::fuel::{Fuel, STRING_BYTES_MAX};
use expr::{ContextProvider, Environment, Error, Program, Result, Value};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// What the compilation of a regular expression takes of the fuel, and how large it may become, in bytes.
const REGEX_FUEL: usize = 5_000;
const REGEX_BYTES_MAX: usize = 1 << 18;

/// Which operands a list of one number stands for its number in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operands {
    /// Both must be values, as for `>=` and `+`.
    Values,
    /// Whatever may be equal, as for `==`: a list may be compared with a list, and all with nil.
    Anything,
}

/// Operators between two operands: our name, how the library writes it, what it takes.
const OPERATORS: &[(&str, &str, Operands)] = &[
    ("__eq", "==", Operands::Anything),
    ("__ne", "!=", Operands::Anything),
    ("__lt", "<", Operands::Values),
    ("__le", "<=", Operands::Values),
    ("__gt", ">", Operands::Values),
    ("__ge", ">=", Operands::Values),
    ("__add", "+", Operands::Values),
    ("__subtract", "-", Operands::Values),
    ("__multiply", "*", Operands::Values),
    ("__divide", "/", Operands::Values),
    ("__remainder", "%", Operands::Values),
    ("__power", "**", Operands::Values),
];

/// Other things that the library does for us, by the expression that does it with `a`, `b` and `c`.
const PLAIN: &[&str] = &[
    "-a",
    "+a",
    "a[b]",
    "a[b:c]",
    "a[b:]",
    "a[:c]",
    "a in b",
    "a contains b",
    "repeat(a, b)",
    "uniq(a)",
    "int(a)",
];

/// The library's programs, compiled once.
static PROGRAMS: LazyLock<BTreeMap<String, Program>> = LazyLock::new(|| {
    let operators = OPERATORS.iter().map(|(_, operator, _)| format!("a {operator} b"));
    let sources = operators.chain(PLAIN.iter().map(|source| (*source).to_owned()));
    sources.filter_map(|source| expr::compile(&source).ok().map(|program| (source, program))).collect()
});

/// Adds them to an environment; `fuel` is what an evaluation may use.
pub(super) fn add_to<'a>(environment: &mut Environment<'a>, fuel: &'a Fuel) {
    for (name, operator, takes) in OPERATORS {
        environment.add_function(name, move |call| {
            let [left, right] = arguments(call.ident.as_str(), call.args)?;
            let context = call.ctx;
            let (left, right) = operands(operator, *takes, left, right, context)?;
            fuel.measured(library(&format!("a {operator} b"), [left, right])?)
        });
    }
    environment.add_function("__in", move |call| {
        let context = call.ctx;
        is_in(fuel, arguments("in", call.args)?, context)
    });
    // The library looks for anything in a list, and for a text in a list of numbers in vain.
    environment.add_function("__contains", |call| match arguments("contains", call.args)? {
        texts @ [Value::String(_), Value::String(_)] => library("a contains b", texts),
        [left, right] => Err(mismatched("contains", &left, &right)),
    });
    for (name, program) in [("__negative", "-a"), ("__positive", "+a")] {
        environment.add_function(name, move |call| {
            let [operand] = arguments(call.ident.as_str(), call.args)?;
            let context = call.ctx;
            library(program, [number(operand, context)?])
        });
    }
    environment.add_function("__measured", move |call| {
        let [value] = arguments("", call.args)?;
        fuel.measured(value)
    });
    environment.add_function("__truth", |call| match arguments("", call.args)? {
        [truth @ Value::Bool(_)] => Ok(truth),
        [_] => Err(error("a predicate has to be true or false (bool)")),
    });
    let patterns = Mutex::new(BTreeMap::new());
    environment
        .add_function("__matches", move |call| matches(fuel, &patterns, arguments("matches", call.args)?));
    environment.add_function("__range", move |call| range(fuel, arguments("range", call.args)?));
    environment.add_function("__at", |call| at(arguments("index", call.args)?));
    environment.add_function("__at_if_there", |call| match arguments("index", call.args)? {
        [Value::Nil, _] => Ok(Value::Nil),
        there => at(there),
    });
    environment.add_function("__slice", |call| slice(arguments("slice", call.args)?));
    add_limited(environment, fuel);
    add_helpers(environment);
    for name in ["fromJSON", "toJSON", "fromBase64", "toBase64"] {
        environment.add_function(name, move |_| {
            Err(error(format!("{name}() is not supported by this version of Headgate yet")))
        });
    }
}

/// Functions of the library whose result may be much larger than what goes in.
fn add_limited<'a>(environment: &mut Environment<'a>, fuel: &'a Fuel) {
    environment.add_function("repeat", |call| {
        let [text, times] = arguments("repeat", call.args)?;
        let length = text.as_string().map_or(0, str::len);
        let times_wanted =
            times.as_integer().and_then(|times| usize::try_from(times).ok()).unwrap_or_default();
        check_length(length.saturating_mul(times_wanted))?;
        library("repeat(a, b)", [text, times])
    });
    environment.add_function("uniq", move |call| {
        let [list] = arguments("uniq", call.args)?;
        // The library compares each with each.
        let length = list.as_array().map_or(0, <[Value]>::len);
        fuel.spend(length.saturating_mul(length) / 256)?;
        library("uniq(a)", [list])
    });
    environment.add_function("replace", |call| {
        let texts: Vec<&str> = call.args.iter().take(3).filter_map(Value::as_string).collect();
        let [text, from, to] = texts.as_slice() else { return Err(error("replace() takes three texts")) };
        let limit =
            call.args.get(3).and_then(Value::as_integer).and_then(|limit| usize::try_from(limit).ok());
        let times = text.matches(from).count().min(limit.unwrap_or(usize::MAX));
        check_length(text.len().saturating_add(times.saturating_mul(to.len())))?;
        Ok(match limit {
            Some(limit) => text.replacen(from, to, limit),
            None => text.replace(from, to),
        }
        .into())
    });
    environment.add_function("join", |call| {
        let mut values = call.args.into_iter();
        let (Some(Value::Array(items)), separator) = (values.next(), values.next()) else {
            return Err(error("join() takes a list of texts"));
        };
        let separator = separator.as_ref().and_then(Value::as_string).unwrap_or_default();
        let texts: Vec<&str> = items.iter().filter_map(Value::as_string).collect();
        if texts.len() < items.len() {
            return Err(error("join() takes a list of texts"));
        }
        let length: usize = texts.iter().map(|text| text.len()).sum();
        check_length(length.saturating_add(texts.len().saturating_mul(separator.len())))?;
        Ok(texts.join(separator).into())
    });
}

/// Whether a text has a part that a regular expression describes. Each expression is compiled once in an evaluation.
fn matches(
    fuel: &Fuel,
    known: &Mutex<BTreeMap<String, Regex>>,
    [text, pattern]: [Value; 2],
) -> Result<Value> {
    let (Some(text), Some(pattern)) = (text.as_string(), pattern.as_string()) else {
        return Err(error("matches takes a text and a regular expression"));
    };
    // The time that a match takes grows with the length of both.
    fuel.spend(1 + text.len() / 16 * (1 + pattern.len() / 16))?;
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return Ok(regex.is_match(text).into());
    }
    fuel.spend(REGEX_FUEL)?;
    let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    let regex = regex
        .map_err(|why| error(format!("{pattern:?} is no regular expression that can be used: {why}")))?;
    let is_match = regex.is_match(text);
    known.insert(pattern.to_owned(), regex);
    Ok(is_match.into())
}

/// The functions that Argo Rollouts adds to the language, and `int`, which it has: no more may come of it than of `asInt`.
fn add_helpers(environment: &mut Environment<'_>) {
    environment.add_function("int", |call| match arguments("int", call.args)? {
        [Value::Float(number)] => whole("int", number),
        value => library("int(a)", value),
    });
    environment.add_function("asInt", |call| {
        let context = call.ctx;
        let [value] = arguments("asInt", call.args)?;
        match number(value, context)? {
            Value::Integer(number) => Ok(number.into()),
            Value::Float(number) => whole("asInt", number),
            Value::String(text) => match text.parse::<i64>() {
                Ok(number) => Ok(number.into()),
                Err(_) => Err(error(format!("asInt({text:?}): not a whole number"))),
            },
            other => Err(error(format!("asInt() takes a number or a text, not {}", kind(&other)))),
        }
    });
    environment.add_function("asFloat", |call| {
        let context = call.ctx;
        let [value] = arguments("asFloat", call.args)?;
        float("asFloat", number(value, context)?).map(Value::Float)
    });
    environment.add_function("isNaN", |call| {
        let context = call.ctx;
        let [value] = arguments("isNaN", call.args)?;
        Ok(Value::Bool(only_number("isNaN", number(value, context)?)?.is_nan()))
    });
    environment.add_function("isInf", |call| {
        let context = call.ctx;
        let [value] = arguments("isInf", call.args)?;
        Ok(Value::Bool(only_number("isInf", number(value, context)?)?.is_infinite()))
    });
    environment.add_function("isNil", |call| {
        let [value] = arguments("isNil", call.args)?;
        Ok(Value::Bool(value.is_nil()))
    });
    environment.add_function("default", |call| {
        let [value, otherwise] = arguments("default", call.args)?;
        Ok(if value.is_nil() { otherwise } else { value })
    });
}

/// The arguments of a call, of which there must be so many.
fn arguments<const N: usize>(name: &str, given: Vec<Value>) -> Result<[Value; N]> {
    let count = given.len();
    <[Value; N]>::try_from(given).map_err(|_| error(format!("{name}() takes {N} argument(s), not {count}")))
}

/// Evaluates one of [`PROGRAMS`].
fn library<const N: usize>(source: &str, values: [Value; N]) -> Result<Value> {
    let mut context = expr::Context::default();
    for (name, value) in ["a", "b", "c"].into_iter().zip(values) {
        context.insert(name, value);
    }
    match PROGRAMS.get(source) {
        Some(program) => expr::run(program, &context),
        None => expr::eval(source, &context),
    }
}

/// The two operands as the operator takes them, or why it doesn't.
fn operands(
    operator: &str,
    takes: Operands,
    left: Value,
    right: Value,
    context: &dyn ContextProvider,
) -> Result<(Value, Value)> {
    let (one, other) = match (&left, &right) {
        (Value::Array(_), Value::Array(_)) => (takes == Operands::Values, takes == Operands::Values),
        (Value::Array(_), right) => (is_number(right), false),
        (left, Value::Array(_)) => (false, is_number(left)),
        _ => (false, false),
    };
    let left = if one { number(left, context)? } else { left };
    let right = if other { number(right, context)? } else { right };
    let fits = match (&left, &right) {
        (left, right) if takes == Operands::Anything => may_be_equal(left, right),
        (left, Value::String(_)) if is_number(left) => false,
        (Value::String(_), right) if is_number(right) => false,
        (left, right) => has_order(left) && has_order(right),
    };
    if fits { Ok((left, right)) } else { Err(mismatched(operator, &left, &right)) }
}

/// Whether two values are such as may be equal. Go refuses to compare others at all; to call them different would judge a
/// release by a slip of the pen.
fn may_be_equal(left: &Value, right: &Value) -> bool {
    let both_numbers = is_number(left) && is_number(right);
    left.is_nil() || right.is_nil() || both_numbers || kind(left) == kind(right)
}

fn mismatched(operator: &str, left: &Value, right: &Value) -> Error {
    let (left, right) = (kind(left), kind(right));
    error(format!("invalid operation: {operator} (mismatched types {left} and {right})"))
}

/// `value in whole`. A list of one number stands for its number among numbers.
fn is_in(fuel: &Fuel, [value, whole]: [Value; 2], context: &dyn ContextProvider) -> Result<Value> {
    let items = match &whole {
        Value::Array(items) => items,
        Value::Map(_) if value.as_string().is_some() => return library("a in b", [value, whole]),
        Value::KeyedMap(_) => return library("a in b", [value, whole]),
        _ => return Err(mismatched("in", &value, &whole)),
    };
    fuel.spend(items.len())?;
    let among_numbers = items.iter().any(is_number) && !items.iter().any(is_list);
    let value = if among_numbers { number(value, context)? } else { value };
    if let Some(first) = items.first()
        && !items.iter().any(|item| may_be_equal(&value, item))
    {
        let (value, first) = (kind(&value), kind(first));
        return Err(error(format!("invalid operation: in (cannot use {value} as type {first} in array)")));
    }
    library("a in b", [value, whole])
}

/// A list of one number as that number; several are an error that says so; anything else as it is.
fn number(value: Value, context: &dyn ContextProvider) -> Result<Value> {
    let Value::Array(mut items) = value else { return Ok(value) };
    match items.len() {
        0 => Err(error("a list without values stands where a number is expected")),
        1 => Ok(items.pop().unwrap_or_default()),
        many if context
            .get("result")
            .and_then(Value::as_array)
            .is_some_and(|result| result.len() == many) =>
        {
            Err(error(format!("result is a list of {many} series: write result[0] or aggregate")))
        }
        many => Err(error(format!(
            "a list of {many} values stands where a number is expected: take one of them, for example with [0], or \
             aggregate"
        ))),
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Integer(_) | Value::Float(_))
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::Array(_))
}

fn has_order(value: &Value) -> bool {
    !matches!(value, Value::Nil | Value::Bool(_) | Value::Array(_) | Value::Map(_) | Value::KeyedMap(_))
}

fn only_number(name: &str, value: Value) -> Result<f64> {
    if is_number(&value) {
        float(name, value)
    } else {
        Err(error(format!("{name}() takes a number, not {}", kind(&value))))
    }
}

fn float(name: &str, value: Value) -> Result<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "Go's conversion loses the same")]
        Value::Integer(number) => Ok(number as f64),
        Value::Float(number) => Ok(number),
        Value::String(text) => text.parse().map_err(|_| error(format!("{name}({text:?}): not a number"))),
        other => Err(error(format!("{name}() takes a number or a text, not {}", kind(&other)))),
    }
}

/// The number without its fraction. Go makes whatever the processor makes of one that is none, or that is too large.
fn whole(name: &str, number: f64) -> Result<Value> {
    // The first number beyond the integers, which it is itself on the other side.
    const END: f64 = 9_223_372_036_854_775_808.0;
    if !(-END..END).contains(&number) {
        return Err(error(format!("{name}({number:?}): there is no such whole number")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "cuts, as Go's conversion does")]
    Ok(Value::Integer(number as i64))
}

/// `from..to`, both included.
fn range(fuel: &Fuel, [from, to]: [Value; 2]) -> Result<Value> {
    let (Value::Integer(from), Value::Integer(to)) = (&from, &to) else {
        return Err(error(format!("a range needs whole numbers, not {} and {}", kind(&from), kind(&to))));
    };
    let length = to.saturating_sub(*from).saturating_add(1);
    fuel.spend_list(usize::try_from(length.max(0)).unwrap_or(usize::MAX))?;
    Ok(Value::Array((*from..=*to).map(Value::Integer).collect()))
}

/// `list[index]`, where an index that isn't there is an error, as in Go.
fn at([value, index]: [Value; 2]) -> Result<Value> {
    let (Value::Array(items), Value::Integer(wanted)) = (&value, &index) else {
        return match (&value, &index) {
            (Value::Map(_) | Value::KeyedMap(_), _) => library("a[b]", [value, index]),
            _ => Err(error(format!("cannot take [{}] of {}", kind(&index), kind(&value)))),
        };
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = if *wanted < 0 { wanted.saturating_add(length) } else { *wanted };
    let found = usize::try_from(place).ok().and_then(|place| items.get(place));
    found.cloned().ok_or_else(|| error(format!("index out of range: {wanted} (array length is {length})")))
}

fn slice([value, from, to]: [Value; 3]) -> Result<Value> {
    match (&from, &to) {
        (Value::Nil, Value::Nil) => Ok(value),
        (Value::Nil, _) => library("a[:c]", [value, from, to]),
        (_, Value::Nil) => library("a[b:]", [value, from, to]),
        _ => library("a[b:c]", [value, from, to]),
    }
}

fn check_length(length: usize) -> Result<()> {
    if length > STRING_BYTES_MAX {
        return Err(error(format!("a text would become longer than {STRING_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// A type as the language calls it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "int",
        Value::Bool(_) => "bool",
        Value::Float(_) => "float64",
        Value::Nil => "nil",
        Value::String(_) => "string",
        Value::DateTime(_) => "time.Time",
        Value::Duration(_) => "time.Duration",
        Value::Timezone(_) => "time.Location",
        Value::Month(_) => "time.Month",
        Value::Weekday(_) => "time.Weekday",
        Value::Array(_) => "a list",
        Value::Bytes(_) => "bytes",
        Value::Map(_) | Value::KeyedMap(_) => "a map",
    }
}

pub(super) fn error(message: impl Into<String>) -> Error {
    Error::ExprError(message.into())
}
