//! Buses, rules and targets: their documents, their files, and the rule set that routing reads.
//!
//! A document's text becomes a [`RuleDocument`] or [`BusDocument`] or a list of [`Problem`]s; a
//! document with its name and its targets' ids is a [`Rule`]; all rules of one moment are a
//! [`RuleSet`]; [`Rules`] journals every change before the next set goes live.

mod auth;
mod bounded;
mod bus;
mod cases;
mod change;
mod cron;
mod dead_letter;
mod disable_after;
mod document;
#[cfg(test)]
mod document_tests;
mod duration;
mod enabled;
mod files;
#[cfg(test)]
mod files_tests;
mod filter;
mod headers;
mod locate;
mod meaning;
mod ordering;
mod parameter;
mod plan;
mod problem;
mod pull;
mod rate_limit;
mod reader;
mod reply;
mod request;
#[cfg(test)]
mod request_tests;
mod rules;
#[cfg(test)]
mod rules_tests;
mod schedule;
#[cfg(test)]
mod schema_tests;
mod secret_ref;
mod set;
mod signing;
mod size;
mod target;
mod target_document;
mod target_url;
mod tls;
mod transform;
mod url_path;
mod validation;
mod watch;
mod whole;

pub use auth::{Auth, ClientAuth, KeyPlace, OAuth2};
pub use bus::{Bus, BusDocument};
pub use cases::{At, CaseEvent, RuleCase, WantedRequest};
pub use change::{Change, Expected, IfMatch, Outcome, PutOutcome, RuleError};
pub use dead_letter::{DeadLetterPolicy, DeadLetterPush};
pub use document::{PatternText, RuleDocument};
pub use duration::{DurationError, format_duration, parse_duration};
pub use files::{FileProblem, Folder, FolderError, Report, is_rule_file, read_folder};
pub use filter::{Filter, Verdict};
pub use headers::Headers;
pub use locate::{Place, excerpt, find, place};
pub use meaning::{Difference, difference, normalised};
pub use ordering::{OnFailure, OrderingKey};
pub use problem::Problem;
pub use pull::Pull;
pub use rate_limit::{RateLimit, RateLimitError};
pub use reply::ReplyTo;
pub use request::{FilledShape, RequestShape};
pub use rules::Rules;
pub use schedule::RuleSchedule;
pub use secret_ref::SecretRef;
pub use set::{FilterExplanation, Rule, RuleExplanation, RuleSet, matches};
pub use signing::Signing;
pub use size::{SizeError, format_size, parse_size};
pub use target::{BatchPolicy, Mode, RetryPolicy, Target};
pub use target_document::TargetDocument;
pub use tls::Tls;
pub use transform::TransformDocument;
pub use url_path::PathTemplate;
pub use validation::Validation;
pub use watch::{Ensure, FolderWatch, ReloadError, read_admitted};
pub use whole::{Applied, AppliedChange};

pub(crate) use problem::join;
pub(crate) use reader::nearest;
