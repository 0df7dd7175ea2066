//! How a command ends: its exit code, and what a failure tells the person at the keyboard.

use crate::client::ClientError;

/// The exit codes that `eventyard --help` documents (2, wrong usage, is clap's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Invalid = 5,
}

impl Exit {
    /// What a plan ends with that has changes: as tools of that kind do, so that a script can tell it
    /// from "no changes" (0) and from a failure (1).
    pub(crate) const CHANGES: Exit = Exit::Usage;
}

/// A command that did not succeed: what happened, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(Exit::NotFound, message)
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Unreachable, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Invalid, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let message = error.to_string();
        match error {
            // Somebody is there; what TLS asks for is said already.
            ClientError::Unreachable { reason, .. }
                if reason.contains("certificate") || reason.contains("TLS") =>
            {
                Failure::unreachable(message)
            }
            ClientError::Unreachable { .. } => Failure::unreachable(message).hint(
                "Is the bus running? Start it with `eventyard serve`, or name another one with \
                 --url or EVENTYARD_URL.",
            ),
            ClientError::NotABus { .. } => {
                Failure::failed(message).hint("Check --url or EVENTYARD_URL.")
            }
            ClientError::Invalid(_) => Failure::usage(message),
            ClientError::Problem(problem) => match problem.status {
                401 => Failure::failed(message).hint(
                    "Give a key with EVENTYARD_API_KEY or --api-key-file as `eventyard key create` printed it.",
                ),
                404 => Failure::not_found(message),
                400 | 413 | 422 => Failure::invalid(message),
                429 | 503 => Failure::unreachable(message),
                _ => Failure::failed(message),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Problem;

    #[test]
    fn whoever_is_told_about_a_certificate_is_not_asked_whether_the_bus_runs() {
        let hint = |reason: &str| {
            let error = ClientError::Unreachable {
                url: "https://localhost:8080".to_owned(),
                reason: reason.to_owned(),
            };
            Failure::from(error).hint
        };
        assert!(hint("Connection refused (os error 111)").is_some());
        for told in [
            "it wants a client certificate; name one with --cert or EVENTYARD_CERT",
            "invalid HTTP version parsed; if the bus speaks TLS, its URL begins with https://",
        ] {
            assert_eq!(hint(told), None, "{told}");
        }
    }

    #[test]
    fn a_refusal_ends_with_the_code_that_fits() {
        let code = |status| {
            let problem = Problem {
                status,
                ..Problem::default()
            };
            Failure::from(ClientError::Problem(Box::new(problem))).exit
        };
        assert_eq!(code(404), Exit::NotFound);
        assert_eq!(code(422), Exit::Invalid);
        assert_eq!(code(503), Exit::Unreachable);
        assert_eq!(code(409), Exit::Failed);
    }

    #[test]
    fn an_unreachable_bus_brings_the_remedy() {
        let failure = Failure::from(ClientError::Unreachable {
            url: "http://127.0.0.1:8080".into(),
            reason: "Connection refused (os error 111)".into(),
        });
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.hint.unwrap().contains("eventyard serve"));
    }
}
