//! Random JSON that looks like a Go type, odd values included: the same seed makes the same value.

use headgate_model::template::go_type::{GoStruct, GoType};
use serde_json::{Map, Value, json};

/// A small deterministic generator (xorshift64*): enough for test data.
pub(super) struct Random {
    state: u64,
    /// How many values in a thousand do not fit their type; 0 for a well-formed value.
    misfits_per_mille: u64,
}

const STRINGS: [&str; 14] = [
    "web",
    "",
    "nginx:1.19-alpine",
    "<a href=\"x\">&amp;</a>",
    "line\nbreak\ttab\rreturn",
    "\u{8}\u{c}\u{0}\u{1f}\u{7f}",
    "back\\slash / 'quote'",
    "naïve ☃ 𝄞 中文",
    "\u{2028}\u{2029}\u{a0}\u{feff}",
    "true",
    "1",
    "2026-01-31T12:00:00Z",
    "100m",
    "a-very-long-name-that-does-not-fit-a-label-because-it-has-more-than-sixty-three-characters",
];

const INTEGERS: [i64; 12] = [
    0,
    1,
    -1,
    80,
    1000,
    65_535,
    2_147_483_647,
    -2_147_483_648,
    2_147_483_648,
    4_294_967_296,
    i64::MAX,
    i64::MIN,
];

const TIMES: [&str; 5] = [
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.987654Z",
    "2026-01-31T23:30:00-05:30",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59+00:00",
];

impl Random {
    /// A generator for one value. One in five makes values with misfits.
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds are spread by the splitmix increment; the state must not be 0.
        let mut random = Random { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, misfits_per_mille: 0 };
        random.next();
        random.next();
        random.misfits_per_mille = if random.one_in(5) { 15 } else { 0 };
        random
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number from 0 up to and without `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() as usize % choices.len()]
    }

    /// A value for the type.
    pub(super) fn value(&mut self, is: &GoType) -> Value {
        if self.below(1000) < self.misfits_per_mille {
            return self.anything(3);
        }
        if self.one_in(25) {
            return Value::Null;
        }
        match is {
            GoType::String => json!(self.pick(&STRINGS)),
            GoType::Bool => json!(self.one_in(2)),
            GoType::Int32 | GoType::Int64 => self.number(),
            GoType::Quantity => self.quantity(),
            GoType::IntOrString if self.one_in(2) => json!(self.pick(&STRINGS)),
            GoType::IntOrString => json!(self.pick(&INTEGERS[..8])),
            GoType::Time => json!(self.pick(&TIMES)),
            GoType::RawJson => self.anything(3),
            GoType::Pointer(inner) => self.value(inner),
            GoType::Slice(inner) => (0..self.length()).map(|_| self.value(inner)).collect(),
            GoType::Map(inner) => {
                let members = (0..self.length()).map(|_| (self.pick(&STRINGS).to_owned(), self.value(inner)));
                Value::Object(members.collect())
            }
            GoType::Struct(of) => self.members(of),
        }
    }

    /// Few fields of a struct, so that templates stay readable; but always a pod's containers and spec.
    fn members(&mut self, of: &GoStruct) -> Value {
        let mut members = Map::new();
        for field in of.fields {
            if matches!(field.name, "containers" | "spec") || self.one_in(4) {
                let mut name = field.name.to_owned();
                if self.one_in(200) {
                    name[..1].make_ascii_uppercase();
                    members.insert(name.clone(), self.value(&field.is));
                }
                members.insert(name, self.value(&field.is));
            }
        }
        if self.one_in(20) {
            members.insert("unknownField".to_owned(), self.anything(3));
        }
        Value::Object(members)
    }

    fn length(&mut self) -> u64 {
        self.pick(&[0, 1, 1, 1, 2, 3])
    }

    fn number(&mut self) -> Value {
        match self.below(30) {
            0 => json!(self.pick(&[1.0, 1e3, 8080.0, -0.0, 2e9, 1e20])),
            1 => json!(self.pick(&INTEGERS)),
            2 => json!(u64::MAX - self.below(2000)),
            _ => json!(self.below(100_000) as i64 - 1000),
        }
    }

    /// Signs, leading zeros, points, long digits, every suffix: what Go's lax scanner takes, and now and then not.
    fn quantity(&mut self) -> Value {
        match self.below(20) {
            0 => return self.number(),
            1 => return json!(self.pick(&[0.1, 1.5, 0.000_000_1, 1e-9, 12e21, 2.0e7])),
            _ => {}
        }
        let mut text = self.pick(&["", "", "", "", "+", "-", " "]).to_owned();
        text.push_str(self.pick(&["", "", "", "0", "00"]));
        self.push_digits(&mut text);
        if self.one_in(4) {
            text.push('.');
            self.push_digits(&mut text);
        }
        let suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        match self.below(8) {
            0 => text.push_str(&format!("{}{}", self.pick(&["e", "E", "e-", "e+"]), self.below(30))),
            1 if self.misfits_per_mille > 0 && self.one_in(4) => {
                text.push_str(self.pick(&["K", "mi", "e", "m3", "x", "."]));
            }
            _ => text.push_str(self.pick(&suffixes)),
        }
        json!(text)
    }

    fn push_digits(&mut self, text: &mut String) {
        for _ in 0..self.pick(&[0, 1, 1, 2, 3, 3, 4, 7, 12, 18, 19, 25]) {
            // Zeros and powers of two are where the forms change.
            text.push(self.pick(&['0', '0', '0', '1', '2', '4', '5', '8', '9']));
        }
        text.push_str(self.pick(&["", "", "", "000", "1024", "5"]));
    }

    /// Any JSON at all.
    fn anything(&mut self, depth_max: u64) -> Value {
        match self.below(if depth_max == 0 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => json!(self.one_in(2)),
            2 => self.number(),
            3 => json!(self.pick(&[0.5, 1e21, 1e-7, -2.5e-10, 123_456_789.125])),
            4 => json!(self.pick(&STRINGS)),
            5 => (0..self.length()).map(|_| self.anything(depth_max - 1)).collect(),
            _ => {
                let members = (0..self.length())
                    .map(|_| (self.pick(&STRINGS).to_owned(), self.anything(depth_max - 1)));
                Value::Object(members.collect())
            }
        }
    }
}
