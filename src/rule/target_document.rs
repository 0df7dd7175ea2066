//! A target's document: from an element of a rule's `targets` to a checked target.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use super::auth::{self, Auth};
use super::bounded::{read_duration, read_size};
use super::dead_letter::{self, DeadLetterPolicy, DeadLetterPush};
use super::disable_after::{self, DisableAfter};
use super::duration::{self, format_duration};
use super::headers::{self, Headers};
use super::ordering::{self, OnFailure, OrderingKey};
use super::parameter;
use super::problem::{Problem, Problems};
use super::pull::{self, Pull};
use super::rate_limit::{self, RateLimit};
use super::reader::{Node, Shape, list, nearest, short};
use super::reply::{self, ReplyTo};
use super::request::{self, RequestShape};
use super::signing::{self, Signing};
use super::target::{BatchPolicy, Mode, RetryPolicy, Target};
use super::target_url::check_url;
use super::tls::{self, Tls};
use super::transform::{self, TransformDocument};
use super::url_path::{self, PathTemplate};
use super::validation::{self, Validation};
use crate::limits;
use crate::log::{BusName, RuleName, TargetId, TargetName};
use crate::transform::Parameter;

pub(super) const TARGET: Shape = Shape {
    what: "a target",
    fields: &[
        "id",
        "url",
        "pull",
        "path",
        "query",
        "method",
        "mode",
        "headers",
        "timeout",
        "concurrency",
        "rate_limit",
        "retry",
        "batch",
        "transform",
        "signing",
        "auth",
        "validation",
        "tls",
        "dead_letter",
        "disable_after",
        "reply",
        "ordering_key",
        "on_failure",
    ],
    later: &[],
    elsewhere: &[
        ("max_attempts", "into `retry`"),
        ("max_age", "into `retry`"),
        ("initial_delay", "into `retry`"),
        ("max_delay", "into `retry`"),
        ("jitter", "into `retry`"),
        ("max_events", "into `batch`"),
        ("max_bytes", "into `batch`"),
        ("max_wait", "into `batch`"),
        ("lease", "into `pull`"),
        ("max_leases", "into `pull`"),
        ("input", "into `transform`"),
        ("input_path", "into `transform`"),
        ("input_paths", "into `transform`"),
        ("template", "into `transform`"),
        ("form", "into `transform`"),
        ("basic", "into `auth`"),
        ("bearer", "into `auth`"),
        ("api_key", "into `auth`"),
        ("oauth2", "into `auth`"),
        ("ca", "into `tls`"),
        ("identity", "into `tls`"),
        ("secret", "into `signing`, or where `auth` needs it"),
        ("secrets", "into `signing`"),
        ("pattern", "beside `targets`"),
        ("filter", "beside `targets`"),
        ("schedule", "beside `targets`"),
        ("enabled", "beside `targets`"),
        ("description", "beside `targets`"),
    ],
};

pub(super) const RETRY: Shape = Shape {
    what: "`retry`",
    fields: &[
        "max_attempts",
        "max_age",
        "initial_delay",
        "max_delay",
        "jitter",
    ],
    later: &[],
    elsewhere: &[("timeout", "beside `retry`, into the target")],
};

pub(super) const BATCH: Shape = Shape {
    what: "`batch`",
    fields: &["max_events", "max_bytes", "max_wait"],
    later: &[],
    elsewhere: &[],
};

/// A target as its rule's document describes it, checked, with all defaults in place.
/// Serializes to the document's form; header values in full, since they are the user's own text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetDocument {
    pub id: TargetName,
    /// The URL as it is written, with the names of `path` in braces.
    #[serde(rename = "url")]
    written_url: String,
    #[serde(skip)]
    pub url: reqwest::Url,
    /// What else is said of requests has its defaults then, and is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
    /// A name in braces in the URL without a `path` that would fill it.
    #[serde(skip)]
    unfilled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathTemplate>,
    #[serde(
        serialize_with = "request::serialize_query",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub query: Vec<(String, Parameter)>,
    #[serde(serialize_with = "request::serialize_method")]
    pub method: Method,
    pub mode: Mode,
    pub headers: Headers,
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
    pub concurrency: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    pub retry: RetryPolicy,
    /// Some exactly in mode batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    pub dead_letter: DeadLetterPolicy,
    pub disable_after: DisableAfter,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyTo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<OrderingKey>,
    /// Some exactly with an ordering key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

impl TargetDocument {
    /// Reads one target by itself; all problems at once.
    pub fn parse(text: &str) -> Result<TargetDocument, Vec<Problem>> {
        let mut problems = Problems::default();
        let document = Node::document(text, &mut problems)
            .and_then(|node| TargetDocument::read(&node, &mut problems));
        let document = problems.settle(document)?;
        match document.unfilled() {
            Some(detail) => Err(vec![Problem {
                pointer: "/url".to_owned(),
                detail,
                offset: None,
            }]),
            None => Ok(document),
        }
    }

    /// The target as it would be in a rule that is not there.
    #[must_use]
    pub fn for_preview(self, bus: &BusName, rule: &RuleName) -> Target {
        self.into_target(bus, rule, TargetId(0))
    }

    pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<TargetDocument> {
        let object = node.object(&TARGET, problems)?;
        // Every field is looked at before any missing one ends the reading.
        let id = object
            .required("id", r#"a name such as "id": "billing""#, problems)
            .and_then(|id| read_id(id, problems));
        let pull = match object.field("pull") {
            Some(node) => {
                pull::refuse_requests(&object, problems);
                pull::read(node, problems).map(Some)
            }
            None => Some(None),
        };
        let url = match object.field("pull") {
            // Told already when it is there.
            Some(node) => Some((node, pull::no_url())),
            None => object
                .required(
                    "url",
                    r#"where to send, such as "url": "https://example.com/hooks", or "pull": {} for a subscriber that asks"#,
                    problems,
                )
                .and_then(|node| Some((node, read_url(node, problems)?))),
        };
        let path = match (object.field("path"), &url) {
            (Some(path), Some((node, (text, url)))) => {
                url_path::read(path, node, (text, url), problems).map(Some)
            }
            (Some(_), None) => None,
            (None, _) => Some(None),
        };
        let query = match object.field("query") {
            Some(query) => {
                request::read_query(query, url.as_ref().map(|(_, (_, url))| url), problems)
            }
            None => Some(Vec::new()),
        };
        let method = match object.field("method") {
            Some(method) => request::read_method(method, problems),
            None => Some(Method::POST),
        };
        let mode = match object.field("mode") {
            Some(mode) => read_mode(mode, problems),
            // Signatures do not cover the `ce-` headers of mode binary.
            None if object.field("signing").is_some() => Some(Mode::Structured),
            None if object.field("pull").is_some() => Some(Mode::Structured),
            None => Some(Mode::default()),
        };
        let transform = match object.field("transform") {
            Some(node) => transform::read(node, problems).map(Some),
            None => Some(None),
        };
        let bare_result = mode == Some(Mode::Binary)
            && match &transform {
                Some(Some(document)) => document.transform.is_some(),
                Some(None) => false,
                // Told already.
                None => true,
            };
        let headers = match object.field("headers") {
            Some(headers) => headers::read(headers, bare_result, problems),
            None => Some(Headers::default()),
        };
        let timeout = read_duration(
            &object,
            "timeout",
            Duration::from_secs(10),
            (Duration::from_millis(10), Duration::from_secs(15 * 60)),
            problems,
        );
        let concurrency = match object.field("concurrency") {
            Some(node) => node.integer(1, limits::TARGET_CONCURRENCY as u64, problems),
            None => Some(32),
        };
        let rate_limit = match object.field("rate_limit") {
            Some(node) => rate_limit::read(node, problems).map(Some),
            None => Some(None),
        };
        let retry = match object.field("retry") {
            Some(retry) => read_retry(retry, problems),
            None => Some(RetryPolicy::default()),
        };
        let batch = match (object.field("batch"), mode) {
            (Some(node), Some(Mode::Binary | Mode::Structured)) => {
                node.problem(
                    problems,
                    r#"holds for mode batch only; add "mode": "batch" or remove `batch`"#,
                );
                None
            }
            (Some(node), _) => read_batch(node, problems).map(Some),
            (None, Some(Mode::Batch)) => Some(Some(BatchPolicy::default())),
            (None, _) => Some(None),
        };
        let signing = match object.field("signing") {
            Some(node) => signing::read(node, problems).map(Some),
            None => Some(None),
        };
        let auth = match object.field("auth") {
            Some(node) => auth::read(node, problems).map(|auth| {
                let url = url.as_ref().map(|(_, (_, url))| url);
                auth::check(
                    &auth,
                    node,
                    headers.as_ref(),
                    query.as_deref(),
                    url,
                    problems,
                );
                Some(auth)
            }),
            None => Some(None),
        };
        let validation = match object.field("validation") {
            Some(node) => {
                let validation = validation::read(node, problems);
                if matches!(validation, Some(Some(_))) {
                    for name in ["path", "query", "method"] {
                        if let Some(node) = object.field(name) {
                            request::refuse_for_validation(node, problems);
                        }
                    }
                }
                validation
            }
            None => Some(None),
        };
        let tls = match object.field("tls") {
            Some(node) => {
                tls::read(node, url.as_ref().map(|(_, (_, url))| url), problems).map(Some)
            }
            None => Some(None),
        };
        let dead_letter = match object.field("dead_letter") {
            Some(node) => dead_letter::read(node, problems),
            None => Some(DeadLetterPolicy::default()),
        };
        let disable_after = match object.field("disable_after") {
            Some(node) => disable_after::read(node, problems),
            None => Some(DisableAfter::default()),
        };
        let reply = match (object.field("reply"), mode) {
            (Some(node), Some(Mode::Batch)) => {
                node.problem(
                    problems,
                    "does not go with mode batch: which of its events would the reply be caused by?",
                );
                None
            }
            (Some(node), _) => reply::read(node, problems),
            (None, _) => Some(None),
        };
        let ordering_key = match object.field("ordering_key") {
            Some(node) => ordering::read_key(node, problems).map(Some),
            None => Some(None),
        };
        let on_failure = match (object.field("on_failure"), &ordering_key) {
            (Some(node), Some(None)) => {
                node.problem(
                    problems,
                    "holds with an ordering key only; add `ordering_key` or remove `on_failure`",
                );
                None
            }
            (Some(node), _) => ordering::read_on_failure(node, problems).map(Some),
            (None, Some(Some(_))) => Some(Some(OnFailure::default())),
            (None, _) => Some(None),
        };
        if mode == Some(Mode::Batch) {
            for name in ["headers", "query", "path"] {
                if let Some(node) = object.field(name) {
                    parameter::refuse_for_batch(node, problems);
                }
            }
        }
        let (_, (text, url)) = url?;
        let (path, unfilled) = (path?, url_path::placeholder(&text).map(str::to_owned));
        Some(TargetDocument {
            id: id?,
            written_url: match path {
                Some(_) => url.as_str().replace("%7B", "{").replace("%7D", "}"),
                None => url.as_str().to_owned(),
            },
            url,
            pull: pull?,
            unfilled: unfilled.filter(|_| path.is_none()),
            path,
            query: query?,
            method: method?,
            mode: mode?,
            headers: headers?,
            timeout: timeout?,
            concurrency: usize::try_from(concurrency?).ok()?,
            rate_limit: rate_limit?,
            retry: retry?,
            batch: batch?,
            transform: transform?,
            signing: signing?,
            auth: auth?,
            validation: validation?,
            tls: tls?,
            dead_letter: dead_letter?,
            disable_after: disable_after?,
            reply: reply?,
            ordering_key: ordering_key?,
            on_failure: on_failure?,
        })
    }

    /// Where the bus connects to for this target, each with its place in the document.
    pub(super) fn urls(&self) -> impl Iterator<Item = (&'static str, &reqwest::Url)> {
        let letters = match &self.dead_letter.push {
            Some(DeadLetterPush::Url(url)) => Some(("dead_letter/url", url)),
            _ => None,
        };
        let tokens = self.auth.as_ref().and_then(Auth::url);
        let tokens = tokens.map(|url| ("auth/oauth2/token_url", url));
        let url = self.pull.is_none().then_some(("url", &self.url));
        url.into_iter().chain(tokens).chain(letters)
    }

    /// What would have been refused but for rules that were taken before placeholders were known.
    pub(super) fn unfilled(&self) -> Option<String> {
        let name = self.unfilled.as_ref()?;
        Some(format!(
            "names `{{{name}}}`, but there is no `path` that fills it; add \"path\": {{\"{name}\": {{\"path\": \"$.data.{name}\"}}}}, or write %7B and %7D where braces themselves are meant"
        ))
    }

    pub(super) fn into_target(self, bus: &BusName, rule: &RuleName, key: TargetId) -> Target {
        let batch = self.batch.unwrap_or_default();
        Target {
            key,
            bus: bus.clone(),
            rule: rule.clone(),
            id: self.id,
            url: self.url,
            mode: self.mode,
            request: RequestShape {
                method: self.method,
                header_room: self.headers.room(),
                headers: self.headers.from_event,
                content_type: self.headers.content_type,
                query: self.query,
                path: self.path,
            },
            headers: self.headers.constant,
            timeout: self.timeout,
            concurrency: match &self.pull {
                Some(pull) => pull.max_leases,
                None => self.concurrency,
            },
            pull: self.pull,
            rate_limit: self.rate_limit,
            retry: self.retry,
            batch_events: batch.max_events,
            batch_bytes: batch.max_bytes,
            batch_wait: batch.max_wait,
            transform: self.transform.and_then(|document| document.transform),
            signing: self.signing,
            auth: self.auth,
            validation: self.validation,
            tls: self.tls,
            dead_letter: self.dead_letter,
            disable_after: self.disable_after.0,
            reply: self.reply,
            ordering_key: self.ordering_key,
            on_failure: self.on_failure.unwrap_or_default(),
        }
    }
}

fn read_id(node: &Node<'_>, problems: &mut Problems) -> Option<TargetName> {
    let text = node.string(r#"a name such as "billing""#, problems)?;
    match TargetName::new(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            node.problem(problems, error.to_string());
            None
        }
    }
}

/// The text and what it reads as.
fn read_url(node: &Node<'_>, problems: &mut Problems) -> Option<(String, reqwest::Url)> {
    let text = node.string(r#"a URL such as "https://example.com/hooks""#, problems)?;
    match check_url(&text) {
        Ok(url) => Some((text, url)),
        Err(detail) => {
            node.problem(problems, detail);
            None
        }
    }
}

fn read_mode(node: &Node<'_>, problems: &mut Problems) -> Option<Mode> {
    const MODES: [&str; 3] = ["binary", "structured", "batch"];
    let text = node.string(r#""binary", "structured" or "batch""#, problems)?;
    match text.as_str() {
        "binary" => Some(Mode::Binary),
        "structured" => Some(Mode::Structured),
        "batch" => Some(Mode::Batch),
        other => {
            let near = nearest(other, &MODES).map_or_else(
                || format!("it is one of {}", list(&MODES)),
                |near| format!("did you mean `{near}`?"),
            );
            node.problem(
                problems,
                format!("there is no mode {:?}; {near}", short(other)),
            );
            None
        }
    }
}

fn read_retry(node: &Node<'_>, problems: &mut Problems) -> Option<RetryPolicy> {
    let object = node.object(&RETRY, problems)?;
    let default = RetryPolicy::default();
    let max_attempts = match object.field("max_attempts") {
        Some(node) => node.integer(1, u64::from(limits::RETRY_ATTEMPTS), problems),
        None => Some(u64::from(default.max_attempts)),
    };
    let max_age = read_duration(
        &object,
        "max_age",
        default.max_age,
        (Duration::from_secs(1), limits::RETRY_MAX_AGE),
        problems,
    );
    let millisecond = Duration::from_millis(1);
    let max_delay = read_duration(
        &object,
        "max_delay",
        default.max_delay,
        (millisecond, Duration::from_secs(24 * 60 * 60)),
        problems,
    );
    // A `max_delay` under the default first wait shortens that too: it bounds every wait.
    let first = default
        .initial_delay
        .min(max_delay.unwrap_or(default.initial_delay));
    let initial_delay = read_duration(
        &object,
        "initial_delay",
        first,
        (millisecond, Duration::from_secs(60 * 60)),
        problems,
    );
    if let (Some(initial), Some(max), Some(node)) =
        (initial_delay, max_delay, object.field("initial_delay"))
        && initial > max
    {
        node.problem(
            problems,
            format!("is longer than `max_delay` ({})", format_duration(max)),
        );
    }
    let jitter = match object.field("jitter") {
        Some(node) => node.boolean(problems),
        None => Some(default.jitter),
    };
    Some(RetryPolicy {
        max_attempts: u32::try_from(max_attempts?).ok()?,
        max_age: max_age?,
        initial_delay: initial_delay?,
        max_delay: max_delay?,
        jitter: jitter?,
    })
}

fn read_batch(node: &Node<'_>, problems: &mut Problems) -> Option<BatchPolicy> {
    let object = node.object(&BATCH, problems)?;
    let default = BatchPolicy::default();
    let max_events = match object.field("max_events") {
        Some(node) => node.integer(1, limits::BATCH_EVENTS as u64, problems),
        None => Some(default.max_events as u64),
    };
    let max_bytes = read_size(
        &object,
        "max_bytes",
        default.max_bytes as u64,
        (1024, limits::BODY_BYTES as u64),
        problems,
    );
    let max_wait = read_duration(
        &object,
        "max_wait",
        default.max_wait,
        (Duration::ZERO, Duration::from_secs(60)),
        problems,
    );
    Some(BatchPolicy {
        max_events: usize::try_from(max_events?).ok()?,
        max_bytes: usize::try_from(max_bytes?).ok()?,
        max_wait: max_wait?,
    })
}
