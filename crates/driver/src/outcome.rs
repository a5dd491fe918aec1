//! What an answer of the API server means, and who can mend a refusal (R4).

use crate::io::Reply;
use headgate_model::FailureClass;
use serde_json::Value;

/// Messages are cut here: they end up in a status.
const MESSAGE_CHARACTERS_MAX: usize = 1024;

/// The outcome of a write or of a live read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Done; the object as it is now.
    Done(Value),
    /// Not done.
    Refused(Refusal),
    /// Done or not: it must be looked at.
    Unclear(Refusal),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) class: FailureClass,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(class: FailureClass, message: &str) -> Self {
        Self { class, message: message.chars().take(MESSAGE_CHARACTERS_MAX).collect() }
    }
}

/// Reads the reply to a get, create, patch or delete.
pub(crate) fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Object(object) => Outcome::Done(object),
        Reply::Refused { code, reason, message } => {
            let refusal = Refusal::new(class(code, &reason), &message);
            // A gateway or the API server's own time limit: etcd may have taken the write all the same.
            if code >= 500 && reason != "InternalError" {
                Outcome::Unclear(refusal)
            } else {
                Outcome::Refused(refusal)
            }
        }
        Reply::Lost(message) => Outcome::Unclear(Refusal::new(FailureClass::Transient, &message)),
        Reply::Objects(_) | Reply::Measured(_) | Reply::Notified(_) => Outcome::Unclear(Refusal::new(
            FailureClass::Bug,
            "the answer does not fit the question: this is a defect of Headgate, please report it",
        )),
    }
}

fn class(code: u16, reason: &str) -> FailureClass {
    match code {
        409 if reason == "AlreadyExists" => FailureClass::AlreadyExists,
        409 => FailureClass::Conflict,
        404 => FailureClass::NotFound,
        403 => FailureClass::Forbidden,
        // 401: our token is being renewed. 408, 429: too busy.
        401 | 408 | 429 => FailureClass::Transient,
        400..=499 => FailureClass::Invalid,
        _ => FailureClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_who_can_mend_it() {
        let cases = [
            (409, "Conflict", FailureClass::Conflict),
            (409, "AlreadyExists", FailureClass::AlreadyExists),
            (404, "NotFound", FailureClass::NotFound),
            (403, "Forbidden", FailureClass::Forbidden),
            (422, "Invalid", FailureClass::Invalid),
            (400, "BadRequest", FailureClass::Invalid),
            (429, "TooManyRequests", FailureClass::Transient),
            (500, "InternalError", FailureClass::Transient),
        ];
        for (code, reason, class) in cases {
            let reply = Reply::Refused { code, reason: reason.to_owned(), message: "m".to_owned() };
            assert_eq!(outcome(reply), Outcome::Refused(Refusal::new(class, "m")), "{code} {reason}");
        }
    }

    #[test]
    fn a_time_out_of_the_server_leaves_the_outcome_open() {
        let reply = Reply::Refused { code: 504, reason: "Timeout".to_owned(), message: "m".to_owned() };
        assert!(matches!(outcome(reply), Outcome::Unclear(_)));
        assert!(matches!(outcome(Reply::Lost("m".to_owned())), Outcome::Unclear(_)));
    }
}
