//! From what users write to what the library `expr-lang` evaluates.
//!
//! The library has no hook for operators, and some things must differ from it: a list of one number stands for the
//! number where a number is needed; an index out of range is an error, as in Go, and so is a comparison of what can't be
//! equal; and no expression may take for ever.
//! So an expression is read here, by the rules of the language, and written again with a call for every operator and
//! index (`a >= b` becomes `__ge(a, b)`, see [`super::operations`]). Everything else is written as it was.

use super::time;
use super::tokens::{Token, tokens};

/// Longer expressions are refused, in bytes.
const SOURCE_BYTES_MAX: usize = 8192;
/// More is not written twice, in bytes: chains of comparisons, whose middles are, may lie within each other.
const DOUBLED_BYTES_MAX: usize = 8192;
/// Deeper expressions are refused: the library reads them by recursion.
const DEPTH_MAX: usize = 48;
/// Names that begin so are ours.
const RESERVED: &str = "__";

/// Functions that ask of each element whether something holds.
const OF_TRUTH: &[&str] =
    &["all", "any", "one", "none", "filter", "find", "findIndex", "findLast", "findLastIndex", "count"];

/// Functions whose second argument is evaluated for each element, as `#`.
const WITH_PREDICATE: &[&str] = &[
    "all",
    "any",
    "one",
    "none",
    "map",
    "filter",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "count",
    "sum",
    "reduce",
    "groupBy",
    "sortBy",
];

/// How tightly what follows is bound; the language's own table.
mod binding {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const COMPARISON: u8 = 3;
    pub(super) const RANGE: u8 = 4;
    pub(super) const SUM: u8 = 5;
    pub(super) const NOT: u8 = 6;
    pub(super) const PRODUCT: u8 = 7;
    pub(super) const SIGN: u8 = 8;
    pub(super) const POWER: u8 = 9;
    pub(super) const DEFAULT: u8 = 10;
}

/// A part of the expression, written again.
struct Part {
    text: String,
    /// How many parts lie within each other.
    depth: usize,
}

/// What a member or element of nothing is.
#[derive(Clone, Copy)]
enum Missing {
    Fails,
    /// Behind `?.`.
    IsNil,
}

impl Missing {
    fn member(self) -> &'static str {
        match self {
            Self::Fails => ".",
            Self::IsNil => "?.",
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Fails => "__at",
            Self::IsNil => "__at_if_there",
        }
    }
}

/// Variables and the value that is made of them.
struct Program {
    lets: String,
    value: String,
    depth: usize,
}

impl Program {
    fn text(&self) -> String {
        format!("{}{}", self.lets, self.value)
    }
}

/// The expression as the library is to evaluate it.
///
/// # Errors
/// What is wrong with the expression.
pub(super) fn rewritten(source: &str) -> Result<String, String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("the expression is longer than {SOURCE_BYTES_MAX} bytes: write a shorter one"));
    }
    let mut reader = Reader { tokens: tokens(source)?, place: 0, depth: 0, doubled_bytes: 0 };
    let program = reader.program()?;
    match reader.peek() {
        None => Ok(program.text()),
        Some(token) => Err(format!("unexpected {}", shown(token))),
    }
}

struct Reader<'s> {
    tokens: Vec<Token<'s>>,
    place: usize,
    depth: usize,
    /// What was written twice.
    doubled_bytes: usize,
}

impl<'s> Reader<'s> {
    fn peek(&self) -> Option<&Token<'s>> {
        self.tokens.get(self.place)
    }

    fn next(&mut self) -> Option<Token<'s>> {
        let token = self.tokens.get(self.place).cloned();
        self.place += 1;
        token
    }

    fn is_mark(&self, mark: &str) -> bool {
        self.peek() == Some(&Token::Mark(mark))
    }

    fn is_name(&self, name: &str) -> bool {
        self.peek() == Some(&Token::Name(name))
    }

    /// Passes a mark if it is next.
    fn accept(&mut self, mark: &str) -> bool {
        let found = self.is_mark(mark);
        self.place += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        if self.accept(mark) {
            return Ok(());
        }
        match self.peek() {
            Some(token) => Err(format!("{mark:?} is missing before {}", shown(token))),
            None => Err(format!("{mark:?} is missing at the end")),
        }
    }

    fn name(&mut self) -> Result<&'s str, String> {
        match self.next() {
            Some(Token::Name(name)) if !name.starts_with(RESERVED) => Ok(name),
            Some(token) => Err(format!("a name is expected, not {}", shown(&token))),
            None => Err("a name is missing at the end".to_owned()),
        }
    }

    /// `let x = …; …` and an expression: the value of the program.
    fn program(&mut self) -> Result<Program, String> {
        let mut lets = String::new();
        let mut depth = 0;
        while self.is_name("let") {
            self.place += 1;
            let name = self.name()?;
            self.expect("=")?;
            let value = self.expression(0)?;
            self.expect(";")?;
            lets.push_str(&format!("let {name} = {}; ", value.text));
            depth = depth.max(value.depth);
        }
        let value = self.expression(0)?;
        Ok(Program { lets, depth: depth.max(value.depth), value: value.text })
    }

    /// An expression whose operators bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Part, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let mut left = self.operand()?;
        loop {
            if let Some(operator) = self.operator().filter(|operator| operator.binding >= least) {
                left = self.applied(&operator, &left)?;
            } else if least == 0 && self.accept("|") {
                let name = self.name()?;
                left = self.call(name, Some(left))?;
                left = self.followed(left)?;
            } else {
                break;
            }
        }
        if least == 0 && self.accept("?") {
            left = self.ternary(&left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// An operator, which is next, between `left` and its right operand; with `a < b` what follows too: `a < b <= c` is
    /// `a < b and b <= c`, as in Go.
    fn applied(&mut self, operator: &Operator, left: &Part) -> Result<Part, String> {
        self.place += operator.tokens;
        let right = self.expression(operator.right_binding())?;
        let mut all = operator.applied(left, &right)?;
        let mut middle = right;
        while operator.is_of_order()
            && let Some(next) = self.operator().filter(Operator::is_of_order)
        {
            self.place += next.tokens;
            self.doubled_bytes += middle.text.len();
            if self.doubled_bytes > DOUBLED_BYTES_MAX {
                return Err("too many comparisons within each other: write a simpler expression".to_owned());
            }
            let right = self.expression(next.right_binding())?;
            let further = next.applied(&middle, &right)?;
            all = part(format!("({} and {})", all.text, further.text), &[&all, &further])?;
            middle = right;
        }
        Ok(all)
    }

    /// What follows the `?` of a ternary.
    fn ternary(&mut self, condition: &Part) -> Result<Part, String> {
        let yes = self.expression(0)?;
        self.expect(":")?;
        let no = self.expression(0)?;
        part(format!("({} ? {} : {})", condition.text, yes.text, no.text), &[condition, &yes, &no])
    }

    /// A sign or `not` and what it applies to, or a value with what follows it.
    fn operand(&mut self) -> Result<Part, String> {
        if self.is_mark("!") || self.is_name("not") {
            self.place += 1;
            let inner = self.expression(binding::NOT)?;
            return part(format!("(not {})", inner.text), &[&inner]);
        }
        if self.is_mark("-") || self.is_mark("+") {
            let function = if self.is_mark("-") { "__negative" } else { "__positive" };
            self.place += 1;
            let inner = self.expression(binding::SIGN)?;
            return part(format!("{function}({})", inner.text), &[&inner]);
        }
        let value = self.value()?;
        self.followed(value)
    }

    fn value(&mut self) -> Result<Part, String> {
        match self.next() {
            Some(Token::Literal(text)) => Ok(Part { text: text.to_owned(), depth: 1 }),
            Some(Token::Name("if")) => self.conditional(),
            Some(Token::Name(name)) => {
                if name.starts_with(RESERVED) {
                    return Err(format!("{name}: names that begin with {RESERVED} are reserved"));
                }
                if self.is_mark("(") { self.call(name, None) } else { Ok(variable(name)) }
            }
            Some(Token::Mark("(")) => {
                let inner = self.expression(0)?;
                self.expect(")")?;
                part(format!("({})", inner.text), &[&inner])
            }
            Some(Token::Mark("[")) => self.list(),
            Some(Token::Mark("{")) => self.map(),
            // `.field` within a predicate is `#.field`.
            Some(Token::Mark(".")) => {
                let name = self.name()?;
                Ok(Part { text: format!("#.{name}"), depth: 1 })
            }
            Some(token) => Err(format!("unexpected {}", shown(&token))),
            None => Err("something is missing at the end".to_owned()),
        }
    }

    /// Members, indexes and methods behind a value.
    fn followed(&mut self, mut value: Part) -> Result<Part, String> {
        // Once `?.` was there, nothing behind it fails for want of a value.
        let mut missing = Missing::Fails;
        loop {
            let questioned = self.is_mark("?.");
            if questioned || (self.is_mark(".") && !self.is_mark("..")) {
                self.place += 1;
                if questioned {
                    missing = Missing::IsNil;
                }
                if questioned && self.accept("[") {
                    value = self.index(&value, missing)?;
                    continue;
                }
                let name = self.name()?;
                if self.is_mark("(") {
                    let (arguments, depth) = self.arguments()?;
                    let name = time::method(name);
                    let text = format!("{}.{name}({})", value.text, arguments.join(", "));
                    value = Part { text, depth: depth.max(value.depth) + 1 };
                } else {
                    value = part(format!("{}{}{name}", value.text, missing.member()), &[&value])?;
                }
            } else if self.accept("[") {
                value = self.index(&value, missing)?;
            } else {
                return Ok(value);
            }
        }
    }

    /// `[i]`, `[from:to]`, `[from:]`, `[:to]`, behind the opening bracket.
    fn index(&mut self, value: &Part, missing: Missing) -> Result<Part, String> {
        let nothing = || Part { text: "nil".to_owned(), depth: 1 };
        let first = if self.is_mark(":") { nothing() } else { self.expression(0)? };
        if self.accept(":") {
            let last = if self.is_mark("]") { nothing() } else { self.expression(0)? };
            self.expect("]")?;
            return part(
                format!("__slice({}, {}, {})", value.text, first.text, last.text),
                &[value, &first, &last],
            );
        }
        self.expect("]")?;
        part(format!("{}({}, {})", missing.index(), value.text, first.text), &[value, &first])
    }

    fn list(&mut self) -> Result<Part, String> {
        let mut items = Vec::new();
        while !self.accept("]") {
            items.push(self.expression(0)?);
            if !self.is_mark("]") {
                self.expect(",")?;
            }
        }
        let text = items.iter().map(|item| item.text.as_str()).collect::<Vec<_>>().join(", ");
        let list = part(format!("[{text}]"), &items.iter().collect::<Vec<_>>())?;
        part(format!("__measured({})", list.text), &[&list])
    }

    /// The library takes plain values alone in maps.
    fn map(&mut self) -> Result<Part, String> {
        let mut text = String::from("{");
        while !self.accept("}") {
            let Some(Token::Name(key) | Token::Literal(key)) = self.next() else {
                return Err("a key is expected in a map".to_owned());
            };
            self.expect(":")?;
            let Some(Token::Literal(value) | Token::Name(value @ ("true" | "false" | "nil"))) = self.next()
            else {
                return Err(format!(
                    "the value of {key} in a map is not a plain number, text or truth value"
                ));
            };
            text.push_str(&format!("{key}: {value}"));
            if !self.is_mark("}") {
                self.expect(",")?;
                text.push_str(", ");
            }
        }
        text.push('}');
        Ok(Part { text, depth: 1 })
    }

    /// `if … { … } else { … }`, behind `if`.
    fn conditional(&mut self) -> Result<Part, String> {
        let condition = self.expression(0)?;
        let yes = self.block()?;
        if !self.is_name("else") {
            return Err("an if needs an else".to_owned());
        }
        self.place += 1;
        let (no, no_depth) = if self.is_name("if") {
            self.place += 1;
            let no = self.conditional()?;
            (no.text, no.depth)
        } else {
            let no = self.block()?;
            (no.text(), no.depth)
        };
        let text = format!("(if {} {{ {} }} else {{ {no} }})", condition.text, yes.text());
        limited(text, 1 + condition.depth.max(yes.depth).max(no_depth))
    }

    fn block(&mut self) -> Result<Program, String> {
        self.expect("{")?;
        let program = self.program()?;
        self.expect("}")?;
        Ok(program)
    }

    /// The arguments of a call with their brackets, and the greatest depth among them.
    fn arguments(&mut self) -> Result<(Vec<String>, usize), String> {
        self.expect("(")?;
        let mut arguments = Vec::new();
        let mut depth = 0;
        while !self.accept(")") {
            let argument = self.expression(0)?;
            depth = depth.max(argument.depth);
            arguments.push(argument.text);
            if !self.is_mark(")") {
                self.expect(",")?;
            }
        }
        Ok((arguments, depth))
    }

    /// A call of `name`; what was piped into it is its first argument.
    fn call(&mut self, name: &str, piped: Option<Part>) -> Result<Part, String> {
        if !WITH_PREDICATE.contains(&name) {
            let (mut arguments, depth) = self.arguments()?;
            let piped_depth = piped.as_ref().map_or(0, |piped| piped.depth);
            arguments.splice(0..0, piped.map(|piped| piped.text));
            let text = format!("__measured({name}({}))", arguments.join(", "));
            return limited(text, depth.max(piped_depth) + 2);
        }
        self.expect("(")?;
        let mut texts = Vec::new();
        let mut depth = 0;
        if let Some(piped) = piped {
            depth = piped.depth;
            texts.push(piped.text);
        }
        while !self.accept(")") {
            let argument = if texts.len() == 1 { self.predicate(name)? } else { self.expression(0)? };
            depth = depth.max(argument.depth);
            texts.push(argument.text);
            if !self.is_mark(")") {
                self.expect(",")?;
            }
        }
        limited(format!("__measured({name}({}))", texts.join(", ")), depth + 2)
    }

    /// What is evaluated for each element: `{ … }` or a plain expression. Functions that ask whether it holds take nothing but
    /// true and false; the library would take anything else for one of them.
    fn predicate(&mut self, function: &str) -> Result<Part, String> {
        let checked = if OF_TRUTH.contains(&function) { "__truth" } else { "__measured" };
        let body = if self.is_mark("{") {
            self.block()?
        } else {
            let value = self.expression(0)?;
            Program { lets: String::new(), value: value.text, depth: value.depth }
        };
        limited(format!("{{{}{checked}({})}}", body.lets, body.value), body.depth + 2)
    }

    /// The operator that comes next, if one does.
    fn operator(&self) -> Option<Operator> {
        let (tokens, binding, form) = match self.peek()? {
            Token::Mark(mark) => {
                let (binding, form) = marked(mark)?;
                (1, binding, form)
            }
            // `not in`, `not contains` and so on.
            Token::Name("not") => {
                let Some(Token::Name(denied)) = self.tokens.get(self.place + 1) else { return None };
                let (binding, form) = named(denied).filter(|(binding, _)| *binding == binding::COMPARISON)?;
                (2, binding, form)
            }
            Token::Name(name) => {
                let (binding, form) = named(name)?;
                (1, binding, form)
            }
            Token::Literal(_) => return None,
        };
        Some(Operator { tokens, binding, form })
    }
}

/// An operator between two operands.
struct Operator {
    /// Two with a `not` in front, which denies it.
    tokens: usize,
    binding: u8,
    form: Form,
}

/// How an operator is written again.
enum Form {
    /// As a call.
    Call(&'static str),
    /// As it was.
    Infix(&'static str),
}

impl Operator {
    /// Powers group from the right, everything else from the left.
    fn right_binding(&self) -> u8 {
        if self.binding == binding::POWER { self.binding } else { self.binding + 1 }
    }

    /// Whether it may be one of a chain.
    fn is_of_order(&self) -> bool {
        matches!(self.form, Form::Call("__lt" | "__le" | "__gt" | "__ge"))
    }

    fn applied(&self, left: &Part, right: &Part) -> Result<Part, String> {
        let text = match self.form {
            Form::Call(function) => format!("{function}({}, {})", left.text, right.text),
            Form::Infix(operator) => format!("({} {operator} {})", left.text, right.text),
        };
        let applied = part(text, &[left, right])?;
        if self.tokens == 1 { Ok(applied) } else { part(format!("(not {})", applied.text), &[&applied]) }
    }
}

fn marked(mark: &str) -> Option<(u8, Form)> {
    Some(match mark {
        "||" => (binding::OR, Form::Infix("or")),
        "&&" => (binding::AND, Form::Infix("and")),
        "==" => (binding::COMPARISON, Form::Call("__eq")),
        "!=" => (binding::COMPARISON, Form::Call("__ne")),
        "<" => (binding::COMPARISON, Form::Call("__lt")),
        "<=" => (binding::COMPARISON, Form::Call("__le")),
        ">" => (binding::COMPARISON, Form::Call("__gt")),
        ">=" => (binding::COMPARISON, Form::Call("__ge")),
        ".." => (binding::RANGE, Form::Call("__range")),
        "+" => (binding::SUM, Form::Call("__add")),
        "-" => (binding::SUM, Form::Call("__subtract")),
        "*" => (binding::PRODUCT, Form::Call("__multiply")),
        "/" => (binding::PRODUCT, Form::Call("__divide")),
        "%" => (binding::PRODUCT, Form::Call("__remainder")),
        "**" | "^" => (binding::POWER, Form::Call("__power")),
        "??" => (binding::DEFAULT, Form::Infix("??")),
        _ => return None,
    })
}

fn named(name: &str) -> Option<(u8, Form)> {
    Some(match name {
        "or" => (binding::OR, Form::Infix("or")),
        "and" => (binding::AND, Form::Infix("and")),
        "in" => (binding::COMPARISON, Form::Call("__in")),
        "contains" => (binding::COMPARISON, Form::Call("__contains")),
        "startsWith" => (binding::COMPARISON, Form::Infix("startsWith")),
        "endsWith" => (binding::COMPARISON, Form::Infix("endsWith")),
        "matches" => (binding::COMPARISON, Form::Call("__matches")),
        _ => return None,
    })
}

/// A name that stands for a value. Every use copies the value, so every use is counted.
fn variable(name: &str) -> Part {
    match name {
        "true" | "false" | "nil" => Part { text: name.to_owned(), depth: 1 },
        _ => Part { text: format!("__measured({name})"), depth: 2 },
    }
}

/// A part around `inner`.
fn part(text: String, inner: &[&Part]) -> Result<Part, String> {
    limited(text, 1 + inner.iter().map(|part| part.depth).max().unwrap_or_default())
}

fn limited(text: String, depth: usize) -> Result<Part, String> {
    if depth > DEPTH_MAX { Err(too_deep()) } else { Ok(Part { text, depth }) }
}

fn too_deep() -> String {
    format!("the expression nests deeper than {DEPTH_MAX}: write a simpler one")
}

fn shown(token: &Token<'_>) -> String {
    match token {
        Token::Literal(text) | Token::Name(text) | Token::Mark(text) => format!("{text:?}"),
    }
}
