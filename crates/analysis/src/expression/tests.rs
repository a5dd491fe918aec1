use super::{condition, instant};
use crate::provider::MetricValue;
use headgate_model::Timestamp;

fn now() -> Timestamp {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

fn number(number: f64) -> MetricValue {
    MetricValue::Number(number)
}

fn list(numbers: &[f64]) -> MetricValue {
    MetricValue::List(numbers.to_vec())
}

/// What a row of the table expects.
enum Expect {
    True,
    False,
    /// An error that contains this.
    Error(&'static str),
}
use Expect::{Error, False, True};

fn check(rows: &[(&str, MetricValue, Expect)]) {
    for (source, result, expected) in rows {
        let got = condition(source, result, now());
        let right = match (&got, expected) {
            (Ok(truth), True) => *truth,
            (Ok(truth), False) => !*truth,
            (Err(message), Error(part)) => message.contains(part),
            _ => false,
        };
        assert!(right, "{source} with {result:?} gave {got:?}");
    }
}

#[test]
fn conditions_mean_what_they_mean_in_argo_rollouts() {
    check(&[
        // Index, length, aggregation.
        ("result[0] >= 0.95", list(&[0.95]), True),
        ("result[0] >= 0.95", list(&[0.94]), False),
        ("result[0] >= 0.95 && result[1] < 1", list(&[0.95, 0.5]), True),
        ("result[-1] == 3", list(&[1.0, 2.0, 3.0]), True),
        ("result[1] > 0", list(&[1.0]), Error("index out of range: 1 (array length is 1)")),
        ("result[-2] > 0", list(&[1.0]), Error("index out of range: -2")),
        ("len(result) == 0", list(&[]), True),
        ("len(result) == 0 || result[0] < 1", list(&[]), True),
        ("len(result) > 0 && result[0] < 1", list(&[0.5]), True),
        ("all(result, # < 5)", list(&[1.0, 4.9]), True),
        ("all(result, # < 5)", list(&[1.0, 5.0]), False),
        ("all(result, {# < 5})", list(&[1.0, 2.0]), True),
        ("any(result, # > 5)", list(&[1.0, 6.0]), True),
        ("none(result, # > 5)", list(&[1.0, 6.0]), False),
        ("one(result, # > 5)", list(&[1.0, 6.0]), True),
        ("count(result, # > 1) == 2", list(&[1.0, 2.0, 3.0]), True),
        ("all(result, # - 0.5)", list(&[1.0]), Error("true or false")),
        ("any(result, # - 0.5)", list(&[1.0]), Error("true or false")),
        ("none(result, # - 0.5)", list(&[1.0]), Error("true or false")),
        ("one(result, {# - 0.5})", list(&[1.0]), Error("true or false")),
        ("len(filter(result, #)) == 0", list(&[1.0]), Error("true or false")),
        ("count(result, #) == 0", list(&[1.0]), Error("true or false")),
        ("len(map(result, # - 0.5)) == 1", list(&[1.0]), True),
        ("sum(result) == 6", list(&[1.0, 2.0, 3.0]), True),
        ("sum(filter(result, # > 1)) / len(result) > 1.6", list(&[1.0, 2.0, 3.0]), True),
        ("max(result) - min(result) < 3", list(&[1.0, 2.0, 3.0]), True),
        ("mean(result) == 2", list(&[1.0, 2.0, 3.0]), True),
        ("result | filter(# > 1) | len() == 2", list(&[1.0, 2.0, 3.0]), True),
        ("map(result, # * 2)[2] == 6", list(&[1.0, 2.0, 3.0]), True),
        ("len(result[1:]) == 2", list(&[1.0, 2.0, 3.0]), True),
        ("reduce(result, #acc + #, 0) == 6", list(&[1.0, 2.0, 3.0]), True),
        ("1 in result", list(&[1.0, 2.0]), True),
        ("3 not in result", list(&[1.0, 2.0]), True),
        // Numbers: `/` gives a float, `%` takes whole numbers, mixed ones meet as floats.
        ("result == 1", number(1.0), True),
        ("result > 0", number(0.5), True),
        ("7 / 2 == 3.5", number(0.0), True),
        ("7 % 2 == 1", number(0.0), True),
        ("result % 2 == 1", number(7.0), Error("%")),
        ("1 % 0 == 1", number(0.0), Error("divide by zero")),
        ("2 ** 3 == 8 && -2 ** 2 == -4", number(0.0), True),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", number(0.0), True),
        ("not (result > 1) and !(result > 2)", number(1.0), True),
        ("not result > 1", number(1.0), Error("!")),
        ("10 - 3 - 2 == 5", number(0.0), True),
        ("result * 100 >= 99.5", number(0.996), True),
        ("-result < -0.5", number(0.6), True),
        ("0.1 + 0.2 == 0.3", number(0.0), False),
        ("1e3 == 1000 && 0x10 == 16 && 1_000 == 1000", number(0.0), True),
        // Truth values.
        ("true", number(0.0), True),
        ("result", number(1.0), Error("expected bool, but got float64")),
        ("result > 1 ? true : false", number(2.0), True),
        ("result > 5 || result < 1 && true", number(0.5), True),
        // Not numbers.
        ("isNaN(result)", number(f64::NAN), True),
        ("isNaN(result[0])", list(&[f64::NAN]), True),
        ("isNaN(result[0]) || result[0] > 0.9", list(&[f64::NAN]), True),
        ("result > 0.9", number(f64::NAN), False),
        ("result <= 0.9", number(f64::NAN), False),
        ("isInf(result) && result > 0", number(f64::INFINITY), True),
        // Helpers.
        ("asInt(result) == 3", number(3.9), True),
        ("asInt(\"42\") == 42 && asFloat(\"0.5\") == 0.5 && asFloat(3) == 3.0", number(0.0), True),
        ("asInt(\"4.2\") == 4", number(0.0), Error("not a whole number")),
        ("asFloat(\"x\") == 4", number(0.0), Error("not a number")),
        ("isNil(nil) && !isNil(result)", number(0.0), True),
        ("default(result, 0) < 1", number(0.5), True),
        ("default(nil, 7) == 7 && default(3, 7) == 3", number(0.0), True),
        // `??` binds tighter than everything else, as in Go.
        ("nil ?? 5 == 5", number(0.0), True),
        // Texts and times.
        ("\"abc\" matches \"^a\" and \"abc\" contains \"b\" and \"abc\" startsWith \"a\"", number(0.0), True),
        ("result > \"1\"", number(1.0), Error("mismatched types float64 and string")),
        ("result == \"1\"", number(1.0), Error("mismatched types float64 and string")),
        ("now() > date(\"2026-11-21T08:59:59Z\")", number(0.0), True),
        ("now() - duration(\"1h\") == date(\"2026-11-21T08:00:00Z\")", number(0.0), True),
        ("let limit = 0.5; result > limit", number(0.6), True),
        ("if result > 1 { true } else { false }", number(2.0), True),
        ("1..3 == [1, 2, 3]", number(0.0), True),
        // Mistakes.
        ("rusult > 1", number(1.0), Error("unknown variable: rusult")),
        ("result >", number(1.0), Error("missing at the end")),
        ("result > 1)", number(1.0), Error("unexpected \")\"")),
        ("result ! 1", number(1.0), Error("unexpected \"!\"")),
        ("nosuch(result)", number(1.0), Error("Unknown function: nosuch")),
        (
            "fromJSON(\"1\") == 1",
            number(1.0),
            Error("fromJSON() is not supported by this version of Headgate yet"),
        ),
        ("__ge(result, 1)", number(1.0), Error("reserved")),
        ("result > 'x", number(1.0), Error("no closing '")),
    ]);
}

#[test]
fn a_list_of_one_number_stands_for_the_number() {
    check(&[
        ("result >= 0.99", list(&[0.995]), True),
        ("result >= 0.99", list(&[0.98]), False),
        ("0.99 <= result", list(&[0.995]), True),
        ("(result) >= 0.99", list(&[0.995]), True),
        ("result == 1", list(&[1.0]), True),
        ("result != 1", list(&[1.0]), False),
        ("result * 100 > 99", list(&[0.995]), True),
        ("1 - result < 0.01", list(&[0.995]), True),
        ("-result < 0", list(&[0.995]), True),
        ("result / result == 1", list(&[2.0]), True),
        ("default(result, 0) < 0.05", list(&[0.01]), True),
        ("asInt(result) == 3 && asFloat(result) > 3", list(&[3.5]), True),
        ("isNaN(result)", list(&[f64::NAN]), True),
        ("let rate = result; rate > 0.5", list(&[0.6]), True),
        ("(true ? result : 0) > 0.5", list(&[0.6]), True),
        // A list stays one where a list is asked for.
        ("len(result) == 1 && result == [0.5] && result != nil", list(&[0.5]), True),
        // With several, nobody guesses.
        (
            "result >= 0.99",
            list(&[1.0, 1.0]),
            Error("result is a list of 2 series: write result[0] or aggregate"),
        ),
        (
            "result == 1",
            list(&[1.0, 1.0, 1.0]),
            Error("result is a list of 3 series: write result[0] or aggregate"),
        ),
        ("-result < 0", list(&[1.0, 1.0]), Error("result is a list of 2 series")),
        ("asFloat(result) < 0", list(&[1.0, 1.0]), Error("result is a list of 2 series")),
        (
            "filter(result, # > 0) > 1",
            list(&[1.0, 2.0, 0.0]),
            Error("a list of 2 values stands where a number"),
        ),
        ("result != nil", list(&[1.0, 1.0]), True),
        ("result >= 0.99", list(&[]), Error("a list without values")),
    ]);
}

#[test]
fn what_can_never_be_equal_is_an_error_and_no_verdict() {
    check(&[
        ("result == true", list(&[1.0]), Error("== (mismatched types a list and bool)")),
        ("result == \"1\"", list(&[1.0]), Error("== (mismatched types a list and string)")),
        ("result != \"1\"", list(&[1.0]), Error("!= (mismatched types a list and string)")),
        ("true == result", number(1.0), Error("== (mismatched types bool and float64)")),
        ("result[0] == true", list(&[1.0]), Error("== (mismatched types float64 and bool)")),
        ("result[0] != false", list(&[1.0]), Error("!= (mismatched types float64 and bool)")),
        ("[\"a\"] == \"a\"", number(0.0), Error("mismatched types")),
        ("[\"a\"] == 1", number(0.0), Error("mismatched types string and int")),
        ("{a: 1} == 1", number(0.0), Error("mismatched types a map and int")),
        ("{a: 1} == [1]", number(0.0), Error("mismatched types a map and a list")),
        ("now() == 1", number(0.0), Error("mismatched types time.Time and int")),
        ("duration(\"1h\") == 3600", number(0.0), Error("mismatched types time.Duration and int")),
        ("b\"a\" == \"a\"", number(0.0), Error("mismatched types bytes and string")),
        // What may be equal is compared as before.
        ("result == nil or nil == result[0]", list(&[1.0]), False),
        ("nil == \"a\" or nil == true or nil == now()", number(0.0), False),
        ("1 == 1.0 and true == true and now() == now()", number(0.0), True),
        ("result == [] or result == [2] or result == [\"1\"]", list(&[1.0]), False),
        ("{a: 1} == {a: 1} and {a: 1} != {a: 2}", number(0.0), True),
        ("1 == 1 == true", number(0.0), True),
    ]);
}

#[test]
fn a_list_is_searched_for_what_may_be_in_it_alone() {
    check(&[
        ("result in [2, 3]", list(&[2.0]), True),
        ("result not in [2, 3]", list(&[2.0]), False),
        ("result not in [2, 3]", list(&[1.0]), True),
        ("result not in [2, 3]", number(2.0), False),
        ("result in [2, nil]", list(&[2.0]), True),
        ("result[0] in [2.0, 3]", list(&[2.0]), True),
        ("result in [[1], [2]]", list(&[2.0]), True),
        ("result in []", list(&[2.0]), False),
        ("nil in result or nil in [1]", list(&[1.0]), False),
        ("1 in [nil]", number(0.0), False),
        ("\"2\" in [2, \"3\"]", number(0.0), False),
        ("\"a\" in {a: 1} and \"b\" not in {a: 1}", number(0.0), True),
        ("result[0] not in [\"2\"]", list(&[2.0]), Error("in (cannot use float64 as type string in array)")),
        ("result not in [\"2\"]", list(&[2.0]), Error("cannot use a list as type string in array")),
        ("\"2\" not in result", list(&[2.0]), Error("cannot use string as type float64 in array")),
        ("true in [1, 2]", number(0.0), Error("cannot use bool as type int in array")),
        ("result not in [2, 3]", list(&[2.0, 9.0]), Error("result is a list of 2 series")),
        ("result not in [2, 3]", list(&[]), Error("a list without values")),
        ("result in [[2], 2]", list(&[2.0]), True),
        ("1 in result", number(1.0), Error("mismatched types int and float64")),
        ("\"a\" in \"abc\"", number(0.0), Error("mismatched types string and string")),
        ("1 in nil", number(0.0), Error("mismatched types int and nil")),
        ("1 in {a: 1}", number(0.0), Error("mismatched types int and a map")),
        // Texts alone contain something.
        ("result contains 1", list(&[1.0]), Error("contains (mismatched types a list and int)")),
        ("result not contains \"1\"", list(&[1.0]), Error("mismatched types a list and string")),
    ]);
}

#[test]
fn comparisons_of_order_may_be_chained() {
    check(&[
        ("0.95 <= result[0] <= 1", list(&[0.97]), True),
        ("0.95 <= result[0] <= 1", list(&[0.9]), False),
        ("0.95 <= result[0] <= 1", list(&[1.1]), False),
        ("0.95 <= result <= 1", list(&[0.97]), True),
        ("1 > result > 0.5 > 0.1", number(0.7), True),
        ("1 > result > 0.5 > 0.6", number(0.7), False),
        ("0 < 1 + 1 < 3 and 3 > 2 >= 2", number(0.0), True),
        // The end is not looked at where the beginning is false already.
        ("len(result) > 0 > result[0]", list(&[]), False),
        // As the language groups them.
        ("1 < 2 < 3 == true", number(0.0), True),
        ("1 < 2 == true", number(0.0), True),
        ("1 < 2 == 2 > 1", number(0.0), Error("mismatched types bool and int")),
        ("1 == 1 < 2", number(0.0), Error("mismatched types bool and int")),
        ("1 < (2 < 3)", number(0.0), Error("mismatched types int and bool")),
        ("not (1 < 2 < 3) or 1 < 2 < 2", number(0.0), False),
        ("1 < 2 <", number(0.0), Error("missing at the end")),
    ]);
}

#[test]
fn operators_of_texts_may_be_denied() {
    check(&[
        ("\"abc\" not contains \"d\" and \"abc\" not matches \"^b\"", number(0.0), True),
        ("\"abc\" not startsWith \"b\" and \"abc\" not endsWith \"b\"", number(0.0), True),
        ("\"abc\" not contains \"b\" or \"abc\" not matches \"^a\"", number(0.0), False),
        ("\"abc\" not startsWith \"a\" or \"abc\" not endsWith \"c\"", number(0.0), False),
        ("\"abc\" not contains \"d\" == true", number(0.0), True),
        ("\"abc\" contains \"b\" == true", number(0.0), True),
        ("result not == 1", number(1.0), Error("unexpected \"not\"")),
        ("result not and true", number(1.0), Error("unexpected \"not\"")),
        ("result not 1", number(1.0), Error("unexpected \"not\"")),
        ("result not", number(1.0), Error("unexpected \"not\"")),
    ]);
}

#[test]
fn a_number_that_is_not_whole_within_64_bits_has_no_integer() {
    check(&[
        ("asInt(result) < 100", number(f64::NAN), Error("asInt(NaN): there is no such whole number")),
        ("asInt(result) < 100", list(&[f64::NAN]), Error("asInt(NaN)")),
        ("asInt(result) < 100", number(f64::INFINITY), Error("asInt(inf)")),
        ("asInt(result) < 100", number(f64::NEG_INFINITY), Error("asInt(-inf)")),
        ("asInt(result) < 100", number(1e30), Error("asInt(1e30)")),
        ("int(result) < 100", number(f64::NAN), Error("int(NaN): there is no such whole number")),
        ("int(result[0]) < 100", list(&[f64::INFINITY]), Error("int(inf)")),
        ("int(-result) < 100", number(f64::INFINITY), Error("int(-inf)")),
        ("int(result) == 3 and int(\"4\") == 4 and int(5) == 5", number(3.9), True),
        ("asInt(result) == -9223372036854775807 - 1", number(-9_223_372_036_854_775_808.0), True),
        ("asInt(result) > 0", number(9_223_372_036_854_775_808.0), Error("asInt(9")),
        ("int(\"x\") == 1", number(0.0), Error("int(x)")),
    ]);
}

#[test]
fn no_expression_takes_for_ever() {
    let deep = format!("{}1{} == 1", "(".repeat(4000), ")".repeat(4000));
    let long = format!("1 {}> 0", "+ 1 ".repeat(2000));
    let indexed = format!("result{} > 0", "[result".repeat(40) + &"]".repeat(40));
    let doubling = format!("let a0 = [1]; {} len(a40) > 0", {
        let lines: Vec<String> =
            (1..=40).map(|n| format!("let a{n} = concat(a{}, a{}); ", n - 1, n - 1)).collect();
        lines.concat()
    });
    // The middle of a chain is written twice.
    let chained = (0..11).fold("true".to_owned(), |inner, _| format!("0 < ({inner} ? 1 : 0) < 2"));
    let heavy = format!("all(1..40000, len([{}]) > 0)", "0,".repeat(4000));
    for (source, part) in [
        (chained.as_str(), "too many comparisons within each other"),
        (heavy.as_str(), "takes too long"),
        (deep.as_str(), "nests deeper"),
        (long.as_str(), "nests deeper"),
        (indexed.as_str(), ""),
        (doubling.as_str(), "too long"),
        ("len(1..1000000000) > 0", "too long"),
        ("all(1..40000, all(1..40000, # > 0))", "takes too long"),
        ("all(1..40000, all(1..40000, true))", "takes too long"),
        ("len(repeat(\"x\", 1000000000)) > 0", "longer than"),
        ("len(replace(repeat(\"x\", 16000), \"x\", repeat(\"y\", 16000))) > 0", "longer than"),
        ("len(uniq(1..40000)) > 0", "takes too long"),
        ("any(1..40000, \"a\" matches (\"\\\\pL\" + string(#)))", "takes too long"),
        ("\"a\" matches \"(\\\\pL{100}){100}\"", "no regular expression that can be used"),
        (&"x".repeat(9000), "longer than 8192 bytes"),
    ] {
        let got = condition(source, &list(&[1.0]), now());
        assert!(got.as_ref().is_err_and(|message| message.contains(part)), "{source} gave {got:?}");
    }
}

#[test]
fn the_deepest_expression_fits_on_half_the_stack_of_a_worker() {
    let nested =
        |open: &str, close: &str, count: usize| format!("{}0{}", open.repeat(count), close.repeat(count));
    let check = move || {
        for (open, close) in [
            ("(", ")"),
            ("abs(", ")"),
            ("[", "][0]"),
            ("-", ""),
            ("1 + (", ")"),
            ("sum(result, ", ")"),
            ("not (1 > ", ")"),
            ("true ? ", " : 1"),
            ("result[", "]"),
            ("if true { ", " } else { 1 }"),
            ("nil ?? (", ")"),
            ("0 | max(", ")"),
        ] {
            let refused = (1..60).find(|count| {
                let got = super::evaluate(&nested(open, close, *count), &context(&[0.5]), now());
                got.is_err_and(|message| message.contains("nests deeper"))
            });
            assert!(refused.is_some_and(|count| count > 7), "{open} was refused at {refused:?}");
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(check).unwrap().join().unwrap();
}

fn context(numbers: &[f64]) -> expr::Context {
    expr::Context::from_iter([("result", super::value(&list(numbers)))])
}

#[test]
fn instants_come_from_the_argument_and_not_from_a_clock() {
    let seconds = now().as_second();
    assert_eq!(instant("now()", now()), Ok(seconds));
    assert_eq!(instant("now() - duration(\"1h\")", now()), Ok(seconds - 3600));
    assert_eq!(
        instant("date(\"2026-11-21 09:00:00\", \"2006-01-02 15:04:05\", \"Local\")", now()),
        Ok(seconds)
    );
    check(&[
        ("now().Local().Hour() == 9 && now().Local().Location().String() == \"UTC\"", number(0.0), True),
        ("timezone(\"Local\") == timezone(\"UTC\")", number(0.0), True),
    ]);
    assert_eq!(instant("5", now()), Err("expected time.Time, but got int".to_owned()));
    assert!(instant("now() - duration(\"??\")", now()).is_err());
    assert!(instant("", now()).is_err());
}

#[test]
fn a_judgement_of_many_series_is_within_the_bounds() {
    let many = list(&vec![0.5; 20_000]);
    assert_eq!(condition("all(result, # < 1 && !isNaN(#))", &many, now()), Ok(true));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_an_evaluation_panic(words in proptest::collection::vec(word(), 0..24)) {
        let source = words.join(" ");
        let got = condition(&source, &list(&[1.0, 2.0]), now());
        proptest::prop_assert!(got != Err("evaluation logic panicked".to_owned()), "{}", source);
    }

    #[test]
    fn what_is_grouped_by_precedence_is_what_the_language_groups(
        numbers in proptest::collection::vec(1..4_i64, 5),
        operators in proptest::collection::vec(
            proptest::sample::select(vec!["+", "-", "*", "/", "**", "<", "==", "&&", "||"]), 4),
        signs in proptest::collection::vec(proptest::sample::select(vec!["", "-", "not "]), 5),
    ) {
        // The library reads the same text by its own table, and both agree on what is wrong with it. Not so on two comparisons
        // next to each other: those of order are a chain here, and it compares truth values with numbers.
        let parts = operators.split(|operator| matches!(*operator, "&&" | "||"));
        let compares = |operator: &&&str| matches!(**operator, "<" | "==");
        let most = parts.map(|part| part.iter().filter(compares).count()).max();
        proptest::prop_assume!(most < Some(2));
        let mut source = format!("{}{}", signs[0], numbers[0]);
        for ((operator, number), sign) in operators.iter().zip(&numbers[1..]).zip(&signs[1..]) {
            source.push_str(&format!(" {operator} {sign}{number}"));
        }
        let theirs = expr::eval(&source, &expr::Context::default());
        let ours = super::evaluate(&source, &expr::Context::default(), now());
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => proptest::prop_assert_eq!(theirs, ours, "{}", source),
            (Err(_), Err(_)) => {}
            (theirs, ours) => proptest::prop_assert!(false, "{} gave {:?} and {:?}", source, theirs, ours),
        }
    }
}

fn word() -> impl proptest::strategy::Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "result",
        "#",
        "#acc",
        "1",
        "0.5",
        "\"a\"",
        "'b'",
        "`c`",
        "b\"d\"",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "?",
        ":",
        "?.",
        "??",
        ".",
        "..",
        "|",
        "+",
        "-",
        "*",
        "/",
        "%",
        "**",
        "^",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "!",
        "not",
        "in",
        "matches",
        "contains",
        "let",
        "x",
        "=",
        ";",
        "if",
        "else",
        "nil",
        "true",
        "all",
        "map",
        "filter",
        "len",
        "sum",
        "now()",
        "duration",
        "date",
        "default",
        "sortBy",
        "groupBy",
        "reduce",
        ",",
        "$env",
        "Year",
        "split",
        "round",
        "get",
        "concat",
        "flatten",
        "uniq",
        "repeat",
        "9223372036854775807",
    ])
}
