//! What a Go struct looks like in JSON: the words in which the generated tables are written.

/// The Go type of a JSON value, as far as `encoding/json` tells types apart.
#[derive(Debug, Clone, Copy)]
pub enum GoType {
    /// A string, or a type whose kind is string.
    String,
    /// A bool.
    Bool,
    /// An int32.
    Int32,
    /// An int64.
    Int64,
    /// `resource.Quantity`: always written, as its canonical text; zero is `"0"`.
    Quantity,
    /// `intstr.IntOrString`: zero is the number 0.
    IntOrString,
    /// `metav1.Time`: whole seconds in UTC; zero is `null`.
    Time,
    /// JSON that is kept as it came (`json.RawMessage`, `metav1.FieldsV1`), in the API server's form: sorted keys.
    RawJson,
    /// A pointer: absent and zero are told apart.
    Pointer(&'static GoType),
    /// A slice: nil is `null`.
    Slice(&'static GoType),
    /// A map with string keys, written sorted: nil is `null`.
    Map(&'static GoType),
    /// A struct, never absent.
    Struct(&'static GoStruct),
}

/// A Go struct: its JSON members in the order in which Go writes them, embedded structs flattened.
#[derive(Debug)]
pub struct GoStruct {
    /// Package and name, such as `core.Container`.
    pub name: &'static str,
    /// The members in Go's order.
    pub fields: &'static [GoField],
}

/// A member of a Go struct.
#[derive(Debug)]
pub struct GoField {
    /// The JSON name.
    pub name: &'static str,
    /// When Go leaves the member out.
    pub omit: Omit,
    /// The member's type.
    pub is: GoType,
}

/// When Go leaves a struct's member out of the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omit {
    /// It is always written.
    Never,
    /// `omitempty`: when false, 0, "", a nil pointer, or an empty slice or map. A struct is never empty.
    Empty,
    /// `omitzero`: when it is the type's zero value.
    Zero,
}
