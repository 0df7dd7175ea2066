//! Turns every error of the layers below into a problem; the only place that does.

use axum::http::StatusCode;

use crate::access::{AccessError, Refused};
use crate::audit::AuditError;
use crate::delivery::dead_letter::{DeadLetterError, JobError};
use crate::event::{DecodeError, ErrorClass};
use crate::limits;
use crate::log::{AppendError, LogError, NameError};
use crate::pattern::PatternError;
use crate::rule::RuleError;
use crate::schedule::CancelError;
use crate::secret::SecretsError;

use super::body::BodyError;
use super::events::NotShown;
use super::packing::NotTaken;
use super::problem::Problem;
use super::revision;

/// 401, or 429 for a good key. No part of what was shown is repeated.
impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let (error, remedy) = match &refused {
            Refused::TooFast(_, _, wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let detail = format!(
                    "{refused}, where each call and each event of a batch is one; wait {seconds} s, or use a key with a higher rate"
                );
                return Self::too_fast(sentence(&detail), seconds);
            }
            Refused::NoKey => (None, "send one, as `Authorization: Bearer eyk_…`"),
            Refused::Token(_) => (
                Some("invalid_token"),
                "get another one from the identity provider, or use an API key",
            ),
            _ => (Some("invalid_token"), "use another one, or have one made"),
        };
        Self::unauthorized(sentence(&format!("{refused}; {remedy}")), error)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match &error {
            AccessError::NoKey(_) => Self::not_found(sentence(&error)),
            AccessError::TooMany => Self::conflict(sentence(&error)),
            _ => Self::internal(error),
        }
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        tracing::error!(%error, "management calls are refused, or not shown");
        Self::unavailable(
            "What is changed is written down first, and the bus cannot do that, or cannot read what it wrote; the reason is in its log. Nothing was changed.",
            limits::RETRY_AFTER_FULL_SECONDS,
        )
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::malformed(format!("The path is wrong: {error}."))
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit } => Self::too_large(format!(
                "The body is larger than the {limit} bytes that are taken here; send less at a time."
            ))
            .closing(),
            BodyError::UnpacksTooLarge { limit } => Self::too_large(format!(
                "The body unpacks to more than the {limit} bytes that are taken here; send less at a time."
            )),
            // Found "as a result of inspecting the data" (RFC 9110, section 15.5.16).
            BodyError::NotUnpacked(cause) => Self::of_coding(format!(
                "The body does not unpack as its `Content-Encoding` says: {cause}."
            )),
            BodyError::Slow => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow",
                "The body did not arrive in time",
                "The connection is closed; send the whole request again.",
            )
            .closing(),
            BodyError::Busy => Self::unavailable(
                "Too many large bodies are arriving at once; try again shortly.",
                limits::RETRY_AFTER_SECONDS,
            )
            .closing(),
            BodyError::Broken(cause) => {
                Self::malformed(format!("The body broke off: {cause}.")).closing()
            }
        }
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        Self::of_coding(sentence(&error))
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let pointer = error.pointer().map(str::to_owned);
        let message = error.to_string();
        let problem = match error.class {
            ErrorClass::Malformed => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid-event",
                "Not a valid CloudEvent",
                message,
            ),
            ErrorClass::UnsupportedMediaType => Self::media_type(message),
            ErrorClass::TooLarge { .. } => Self::too_large(message),
        };
        problem.at(pointer)
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Busy => Self::unavailable(
                "More is waiting for the disk than the bus holds; try again shortly.",
                limits::RETRY_AFTER_SECONDS,
            ),
            AppendError::TooLarge { bytes, limit } => Self::too_large(format!(
                "The request makes {bytes} bytes in the journal, {limit} are taken at once; send less at a time."
            )),
            AppendError::Full(cause) => {
                tracing::debug!(%cause, "refused, the disk is full");
                Self::unavailable(
                    "The bus's disk is full: nothing was accepted. It goes on by itself once there is room.",
                    limits::RETRY_AFTER_FULL_SECONDS,
                )
            }
            AppendError::Failed(cause) => {
                tracing::debug!(%cause, "refused, the journal failed");
                Self::unavailable(
                    "The bus's journal failed: nothing is accepted until an operator restarts it; the bus's log has the reason.",
                    limits::RETRY_AFTER_FULL_SECONDS,
                )
            }
            AppendError::Closed => Self::unavailable(
                "The bus is stopping: nothing was accepted; send it again to its successor.",
                limits::RETRY_AFTER_SECONDS,
            )
            .closing(),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        match error {
            LogError::ViewUnavailable(cause) => Self::unavailable(
                format!(
                    "What is looked up here is being rebuilt ({cause}); publishing goes on meanwhile."
                ),
                limits::RETRY_AFTER_SECONDS,
            ),
            LogError::Read(cause) => Self::internal(cause),
        }
    }
}

impl From<NotShown> for Problem {
    fn from(error: NotShown) -> Self {
        Self::internal(error)
    }
}

/// The faults of one pattern.
impl From<Vec<PatternError>> for Problem {
    fn from(faults: Vec<PatternError>) -> Self {
        let detail = match &faults[..] {
            [only] => only.reason.clone(),
            _ => "Several things are wrong; mend what `errors` lists.".to_owned(),
        };
        let places = faults
            .into_iter()
            .map(|fault| (format!("/pattern{}", fault.pointer), fault.reason));
        Self::invalid("Invalid event pattern", detail, places)
    }
}

impl From<RuleError> for Problem {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::NoBus(bus) => Self::no_bus(&bus),
            RuleError::NoRule(bus, rule) => Self::no_rule(&bus, &rule),
            RuleError::PreconditionFailed { current } => {
                Self::changed(current.map(revision::etag_text).as_deref())
            }
            RuleError::Invalid(problems) => Self::invalid(
                "Invalid document",
                "Nothing was changed; mend what `errors` lists and send it again.",
                problems
                    .into_iter()
                    .map(|problem| (problem.pointer, problem.detail)),
            ),
            RuleError::DefaultBusStays
            | RuleError::BusHasRules { .. }
            | RuleError::TooManyRules
            | RuleError::ChangedTwice(_) => Self::conflict(sentence(&error)),
            RuleError::Append(error) => error.into(),
            RuleError::Log(error) => error.into(),
            RuleError::Closing => AppendError::Closed.into(),
        }
    }
}

impl From<SecretsError> for Problem {
    fn from(error: SecretsError) -> Self {
        match &error {
            SecretsError::NoSecret(_) | SecretsError::NoVersion(..) => {
                Self::not_found(sentence(&error))
            }
            SecretsError::Length(_) => Self::invalid(
                "Invalid secret",
                sentence(&error),
                [("/value".to_owned(), error.to_string())],
            ),
            SecretsError::NotAsExpected => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition-failed",
                "Not at the expected revision",
                "It was changed just now; get it again and send your change with its new ETag in `If-Match`.",
            ),
            SecretsError::TooMany | SecretsError::InUse(..) => Self::conflict(sentence(&error)),
            _ => Self::internal(error),
        }
    }
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::NotFound => {
                Self::not_found("There is no such dead letter (any more).")
            }
            DeadLetterError::TargetGone(..) => Self::new(
                StatusCode::CONFLICT,
                "target-gone",
                "The target no longer exists",
                "Nowhere to send it: put the rule with this target again and publish the event anew, or purge the dead letter.",
            ),
            DeadLetterError::Append(error) => error.into(),
            DeadLetterError::Log(error) => error.into(),
        }
    }
}

impl From<JobError> for Problem {
    fn from(error: JobError) -> Self {
        Self::unavailable(
            format!("Nothing was begun: {error}."),
            limits::RETRY_AFTER_SECONDS,
        )
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotWaiting => Self::new(
                StatusCode::CONFLICT,
                "not-waiting",
                "The event does not wait",
                "It was routed or cancelled already, or names no later time; an event that is routed cannot be taken back.",
            ),
            CancelError::NotYet => Self::unavailable(
                "The event cannot be cancelled just yet; try again shortly.",
                limits::RETRY_AFTER_SECONDS,
            ),
            CancelError::Append(error) => error.into(),
            CancelError::Log(error) => error.into(),
        }
    }
}

/// An error's text with a capital and a full stop.
fn sentence(error: &impl ToString) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
