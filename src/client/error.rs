//! What can go wrong between a client and a bus, and how it reads to a person.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// The kind of problem of a request whose first try has no answer yet.
const UNDER_WAY: &str = "urn:eventyard:problem:under-way";

/// Why a call to the bus did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or it broke before the whole answer had come. The call may or may not have
    /// taken effect; publishing again is safe, since the bus knows (source, id) pairs it has seen.
    #[error("no answer from {url}: {reason}")]
    Unreachable {
        /// The base URL of the bus.
        url: String,
        /// The innermost cause, such as `Connection refused (os error 111)`.
        reason: String,
    },
    /// The bus refused the call and said why (RFC 9457).
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Something answered that does not speak the bus's API: a proxy, or another program.
    #[error("{url} does not answer as an Eventyard bus does: {reason}")]
    NotABus {
        /// The URL that was asked.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The caller's own argument cannot be sent.
    #[error("{0}")]
    Invalid(String),
}

impl ClientError {
    /// Whether the same call may succeed a little later: nobody answered, or the bus could not just then.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Problem(problem) => {
                let is_under_way = problem.kind.as_deref() == Some(UNDER_WAY);
                matches!(problem.status, 408 | 429 | 502..=504) || is_under_way
            }
            _ => false,
        }
    }

    /// How long the bus asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ClientError::Problem(problem) => problem.retry_after_seconds.map(Duration::from_secs),
            _ => None,
        }
    }

    /// The HTTP status of a refusal, if the bus answered at all.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }
}

/// A problem document (`application/problem+json`, RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Problem {
    /// Identifies the kind of problem; a URI reference.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// What happened, the same words for every problem of this kind.
    #[serde(default)]
    pub title: String,
    /// The HTTP status, as the status line gave it.
    #[serde(default)]
    pub status: u16,
    /// What happened this time and how to mend it.
    #[serde(default)]
    pub detail: Option<String>,
    /// What the bus calls the request, in its log too.
    #[serde(default)]
    pub request_id: Option<String>,
    /// The places in the request that were refused.
    #[serde(default)]
    pub errors: Vec<ProblemPlace>,
    /// Seconds to wait before trying again (`Retry-After`), when the bus named them.
    #[serde(skip)]
    pub retry_after_seconds: Option<u64>,
}

/// One refused place of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ProblemPlace {
    /// RFC 6901 pointer into the request's JSON; empty for the whole.
    #[serde(default)]
    pub pointer: String,
    /// What is wrong there.
    #[serde(default)]
    pub detail: String,
}

impl fmt::Display for Problem {
    /// Title and status on the first line, then the detail, then each place on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = if self.title.is_empty() {
            "The bus refused the request"
        } else {
            &self.title
        };
        write!(f, "{title} ({})", self.status)?;
        if let Some(detail) = &self.detail {
            write!(f, "\n  {detail}")?;
        }
        // Where there is one place only, the bus's detail may be the place's.
        let is_said = |place: &&ProblemPlace| self.detail.as_ref() == Some(&place.detail);
        for place in self.errors.iter().filter(|place| !is_said(place)) {
            let pointer = if place.pointer.is_empty() {
                "(whole document)"
            } else {
                &place.pointer
            };
            write!(f, "\n  at {pointer}: {}", place.detail)?;
        }
        if let (Some(id), 500) = (&self.request_id, self.status) {
            write!(f, "\n  the bus's log has it under the request {id}")?;
        }
        if let Some(seconds) = self.retry_after_seconds {
            write!(f, "\n  try again in {seconds} s")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_with_title_detail_and_every_place() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"about:blank","title":"Invalid rule","status":422,"detail":"The rule was not put.",
                "errors":[{"pointer":"/pattern/type","detail":"is a string, an array is needed"},
                          {"pointer":"","detail":"no targets"}]}"#,
        )
        .unwrap();
        assert_eq!(
            problem.to_string(),
            "Invalid rule (422)\n  The rule was not put.\n  at /pattern/type: is a string, an array is needed\n  at (whole document): no targets"
        );
    }

    #[test]
    fn a_place_that_the_detail_has_told_is_not_told_again() {
        let problem: Problem = serde_json::from_str(
            r#"{"title":"Not a valid CloudEvent","status":400,"detail":"`/id`: it is empty",
                "errors":[{"pointer":"/id","detail":"`/id`: it is empty"}]}"#,
        )
        .unwrap();
        assert_eq!(
            problem.to_string(),
            "Not a valid CloudEvent (400)\n  `/id`: it is empty"
        );
    }

    #[test]
    fn a_failure_of_the_bus_is_to_be_found_in_its_log() {
        let problem = Problem {
            title: "The bus failed".to_owned(),
            status: 500,
            request_id: Some("5f0c".to_owned()),
            ..Problem::default()
        };
        assert_eq!(
            problem.to_string(),
            "The bus failed (500)\n  the bus's log has it under the request 5f0c"
        );
    }

    #[test]
    fn a_problem_without_anything_still_reads() {
        let problem = Problem {
            status: 503,
            retry_after_seconds: Some(2),
            ..Problem::default()
        };
        assert_eq!(
            problem.to_string(),
            "The bus refused the request (503)\n  try again in 2 s"
        );
    }
}
