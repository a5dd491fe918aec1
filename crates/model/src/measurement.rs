use std::collections::BTreeMap;

/// Names one measurement of one AnalysisRun: asking twice for the same key is the same act (R9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeasurementKey {
    /// The metric's name, unique within its run.
    pub metric: String,
    /// Counts the measurements of this metric from 0, finished or not, errors included.
    pub ordinal: u32,
}

/// What a provider wants asked, as data. The shell sends it, with a time limit and a cap on the size of
/// the reply, and fills in the secrets; the driver limits how many are asked at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One HTTP request.
    Http(HttpQuery),
}

/// One HTTP request as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpQuery {
    /// The method.
    pub method: Method,
    /// Absolute URL, http or https. May hold secret placeholders.
    pub url: String,
    /// Header names and values, in order. May hold secret placeholders.
    pub headers: Vec<(String, String)>,
    /// Request body; `None` sends none. May hold secret placeholders.
    pub body: Option<String>,
    /// The whole exchange may take this long, in seconds, 1 or more.
    pub timeout_seconds: u32,
    /// True only when the user wrote `insecure: true`: the server's certificate is not verified.
    pub insecure: bool,
    /// Placeholders found in the fields above (for example `\u{1}secret:0\u{1}`) and where their values are. The
    /// shell reads them live just before sending and never stores them; values are masked in errors. One that begins
    /// with `%` stands in a URL: its value is filled in percent-encoded ([`crate::analysis::percent_encoded`]).
    pub secrets: BTreeMap<String, SecretRef>,
}

/// A key of a Secret in the namespace of the AnalysisRun.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Key within its data.
    pub key: String,
}

/// HTTP methods that providers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
}

/// What came back from a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The server answered, with whatever status.
    Http {
        /// HTTP status code.
        status: u16,
        /// The body as text, cut at the shell's cap.
        body: String,
        /// True when the body was longer than the cap: never interpreted as if it were whole.
        truncated: bool,
    },
    /// No answer: a connection error, a timeout, a missing Secret. Says what, where, and how to mend it.
    Failed(String),
}
