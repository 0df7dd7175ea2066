//! Makes one attempt: events to a request, the request to the target, its answer to an outcome.

use std::future::Future;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use siphasher::sip::SipHasher13;
use tokio::time::Instant;
use tower::ServiceExt;

use super::auth::{Credentials, Shown};
use super::clients::Clients;
use super::draft::Draft;
use super::encode;
use super::next_step::Outcome;
use super::reply::{self, ReplyError};
use super::retry_after;
use super::signing::Signer;
use super::timing::Timing;
use super::transformed::transformed;
use super::wire::{self, TargetService, measured};
use crate::clock::{Clock, Timestamp};
use crate::limits;
use crate::log::{BusName, Log, LoggedEvent, Sequence};
use crate::rule::{Auth, Mode, Rules, Target};
use crate::secret::Secrets;
use crate::span::{self, Span, Spans, Traced};

pub(super) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("Eventyard/", env!("CARGO_PKG_VERSION")));
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What every attempt of every lane needs.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) log: Log,
    pub(crate) clock: Clock,
    pub(crate) rules: Rules,
    pub(crate) clients: Clients,
    pub(crate) secrets: Secrets,
    pub(crate) signer: Arc<Signer>,
    pub(crate) spans: Spans,
    pub(crate) credentials: Arc<Credentials>,
}

/// A delivery that an attempt is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) sequence: Sequence,
    /// When it became pending; the event's own time when `None`.
    pub(crate) since: Option<Timestamp>,
    /// Of the attempt among all of the delivery.
    pub(crate) number: u32,
}

/// What came of one delivery of an attempt.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) since: Timestamp,
    /// Of the event; `None` when it could not be read.
    pub(crate) bus: Option<BusName>,
    /// `None`: it did not fit the batch any more, and nothing was tried.
    pub(crate) outcome: Option<Outcome>,
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Tried {
    /// One for each delivery that was wanted, in the same order.
    pub(crate) dones: Vec<Done>,
    pub(crate) timing: Timing,
}

impl Sender {
    /// Tries to deliver all of `wanted` in one request.
    pub(crate) async fn attempt(&self, target: &Target, wanted: &[Wanted]) -> Tried {
        let began = Instant::now();
        let mut timing = Timing::default();
        let dones = self.try_all(target, wanted, began, &mut timing).await;
        timing.took = Some(began.elapsed().into());
        Tried { dones, timing }
    }

    async fn try_all(
        &self,
        target: &Target,
        wanted: &[Wanted],
        began: Instant,
        timing: &mut Timing,
    ) -> Vec<Done> {
        let mut done = Vec::with_capacity(wanted.len());
        let mut events = Vec::with_capacity(wanted.len());
        // The first of them as it was published.
        let mut first = None;
        let mut members = Vec::with_capacity(wanted.len());
        // In order nothing goes before an event that cannot be read just now.
        let mut not_read = false;
        for wanted in wanted {
            let (event, mut result) = self.look_up(wanted).await;
            if target.ordering_key.is_some() {
                if not_read {
                    result.outcome = None;
                    done.push(result);
                    continue;
                }
                not_read = matches!(result.outcome, Some(Outcome::NotRead(_)));
            }
            if let Some(event) = event {
                let published = Arc::clone(&event);
                match self.prepared(target, event, result.since) {
                    Ok(event) => {
                        first.get_or_insert(published);
                        members.push(done.len());
                        events.push(event);
                    }
                    Err(outcome) => result.outcome = Some(outcome),
                }
            }
            done.push(result);
        }
        let Some(first) = first else {
            return done;
        };
        let (headers, body, carried) = encode::encode(target, &events);
        events.truncate(carried);
        let id = webhook_id(target, &events);
        let trace = self.spans.known(first.bus.as_str(), &first.event);
        let trace = trace.map(|traced| Box::new(Outgoing::new(traced, &self.spans)));
        let outcome = match Draft::new(target, &first.event, headers, body) {
            Ok(mut draft) => {
                if let Some(trace) = &trace {
                    trace.put_on(&mut draft.headers);
                }
                let sending = self.try_to_send(target, &id, draft, events.first(), began, timing);
                whichever(sending.await)
            }
            Err(reason) => Outcome::NotTransformed(reason),
        };
        if let Some(span) = trace.and_then(|trace| trace.span(&self.spans)) {
            let number = wanted.get(members[0]).map_or(1, |wanted| wanted.number);
            let span = span.about(first.bus.as_str(), first.sequence, &first.event);
            let mut span = span.with("eventyard.attempt", u64::from(number));
            // Of the others only where they are; each has a trace of its own.
            for other in events.iter().skip(1).take(limits::SPAN_LINKS) {
                let traced = self.spans.of(other.bus.as_str(), &other.event);
                span.links.push(traced.link());
            }
            self.record(span, target, &outcome, began);
        }
        for member in members.into_iter().take(carried) {
            done[member].outcome = Some(outcome.clone());
        }
        done
    }

    /// Reads the event of a delivery.
    pub(super) async fn look_up(&self, wanted: &Wanted) -> (Option<Arc<LoggedEvent>>, Done) {
        let (event, outcome) = match self.log.event(wanted.sequence).await {
            Ok(Some(event)) => (Some(event), None),
            Ok(None) => (None, Some(Outcome::Unreadable(NOT_KEPT.to_owned()))),
            Err(error) => (None, Some(Outcome::NotRead(error.to_string()))),
        };
        let since = wanted
            .since
            .or_else(|| event.as_ref().map(|event| event.due()))
            .unwrap_or_else(|| self.clock.now());
        let done = Done {
            since,
            bus: event.as_ref().map(|event| event.bus.clone()),
            outcome,
        };
        (event, done)
    }

    /// The event as the target gets it; `Err`: it gets nothing.
    pub(super) fn prepared(
        &self,
        target: &Target,
        event: Arc<LoggedEvent>,
        since: Timestamp,
    ) -> Result<Arc<LoggedEvent>, Outcome> {
        if self.clock.now() > since.plus(target.retry.max_age) {
            return Err(Outcome::Expired);
        }
        transformed(target, event).map_err(Outcome::NotTransformed)
    }

    /// Hands over the span of an attempt. It holds no more of the URL than the host: the rest may be
    /// a secret.
    fn record(&self, span: Span, target: &Target, outcome: &Outcome, began: Instant) {
        let host = target.url.host_str().unwrap_or_default().to_owned();
        let mut span = span
            .ended(
                format!("deliver {}", target.id),
                self.clock.now(),
                began.elapsed(),
            )
            .with("eventyard.rule", target.rule.to_string())
            .with("eventyard.target", target.id.to_string())
            .with("server.address", host);
        if let Some(port) = target.url.port_or_known_default() {
            span = span.with("server.port", u64::from(port));
        }
        if let Some(status) = outcome.status() {
            span = span.with("http.response.status_code", u64::from(status));
        }
        let error = match outcome {
            Outcome::Answered { status, .. } if status.is_success() => None,
            // What it said stays here: it is for whoever may look at the bus.
            Outcome::Answered { status, .. } => Some(format!("it answered {status}")),
            other => Some(other.error().unwrap_or_default()),
        };
        if let Some(error) = error {
            span = span.with("error.type", outcome.word());
            span.fails(&error);
        }
        self.spans.record(span);
    }

    /// Sends what `cause` was made into; its reply is published when the target may reply.
    pub(super) async fn send(
        &self,
        target: &Target,
        webhook_id: &str,
        draft: Draft,
        cause: Option<&Arc<LoggedEvent>>,
    ) -> Outcome {
        let mut timing = Timing::default();
        let began = Instant::now();
        let sending = self.try_to_send(target, webhook_id, draft, cause, began, &mut timing);
        whichever(sending.await)
    }

    /// The client and the credentials for a request to the target.
    pub(super) async fn way_to(&self, target: &Target) -> Result<(TargetService, Shown), Outcome> {
        let service = self.clients.of(target, &self.secrets).await?;
        Ok((service, self.credentials.of(target).await?))
    }

    /// `Err`: what the request needs is not there.
    async fn try_to_send(
        &self,
        target: &Target,
        webhook_id: &str,
        draft: Draft,
        cause: Option<&Arc<LoggedEvent>>,
        began: Instant,
        timing: &mut Timing,
    ) -> Result<Outcome, Outcome> {
        let (service, mut shown) = self.way_to(target).await?;
        let now = self.clock.now();
        let Draft {
            method,
            url,
            mut headers,
            body,
        } = draft;
        headers.insert(USER_AGENT, AGENT);
        if let Some(signing) = &target.signing {
            let signed = self
                .signer
                .sign(&self.secrets, &signing.secrets, webhook_id, now, &body);
            headers.insert(WEBHOOK_SIGNATURE, signed.map_err(Outcome::NotPrepared)?);
        }
        headers.insert(
            WEBHOOK_ID,
            HeaderValue::try_from(webhook_id).expect("digits and dashes fit a header"),
        );
        headers.insert(
            WEBHOOK_TIMESTAMP,
            HeaderValue::from(now.as_millis() / 1_000),
        );
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let again = shown.may_be_renewed().then(|| request.try_clone());
        let again = again.flatten().map(|request| (service.clone(), request));
        shown.put_on(&mut request);
        timing.prepared = Some(began.elapsed().into());
        let (mut outcome, mut answer) = self.exchange(service, request, target, timing).await;
        // What few attempts do is boxed, or every attempt would be as large as these together.
        if let (Some(401), Some((service, mut request))) = (outcome.status(), again) {
            // An error here says that the token was refused and that there is no other just now.
            if let Some(newer) = Box::pin(self.credentials.renewed(target, &shown)).await {
                shown = newer?;
                shown.put_on(&mut request);
                let exchange = Box::pin(self.exchange(service, request, target, timing));
                (outcome, answer) = exchange.await;
            }
        }
        if let (Some(cause), Some(answer)) = (cause, answer) {
            let reply = Box::pin(self.reply(target, cause, webhook_id, answer, outcome));
            outcome = reply.await;
        }
        shown.hide_in(&mut outcome);
        if let Some(text) = outcome.text_mut() {
            wire::cut(text);
        }
        Ok(outcome)
    }

    /// Publishes a reply; what then becomes of the delivery.
    async fn reply(
        &self,
        target: &Target,
        cause: &LoggedEvent,
        webhook_id: &str,
        answer: Answer,
        outcome: Outcome,
    ) -> Outcome {
        let status = answer.status;
        if answer.body.len() > limits::REPLY_BYTES {
            let error = format!(
                "the reply was not published: it is larger than {} bytes",
                limits::REPLY_BYTES
            );
            return Outcome::ReplyNotStored { status, error };
        }
        let body = Bytes::from(answer.body);
        let published = self
            .publish_reply(target, cause, webhook_id, answer.headers, body)
            .await;
        match published {
            Ok(()) => outcome,
            Err(ReplyError::NotStored(error)) => Outcome::ReplyNotStored { status, error },
            Err(ReplyError::Loops(error)) => Outcome::ReplyLoops { status, error },
        }
    }

    /// Sends, and reads the answer to its end or to the cap, all within the target's timeout. An
    /// answer that is a reply is given whole, or one byte and more too long.
    async fn exchange(
        &self,
        service: TargetService,
        request: reqwest::Request,
        target: &Target,
        timing: &mut Timing,
    ) -> (Outcome, Option<Answer>) {
        let mut answer = None;
        let conversation = self.converse(service, request, target, timing, &mut answer);
        let outcome = conversation.await;
        (outcome, answer)
    }

    async fn converse(
        &self,
        service: TargetService,
        request: reqwest::Request,
        target: &Target,
        timing: &mut Timing,
        reply: &mut Option<Answer>,
    ) -> Outcome {
        let timeout = target.timeout;
        let started = Instant::now();
        let deadline = started + timeout;
        let sending = measured(within(deadline, service.oneshot(request)));
        let (sent, phases) = sending.await;
        timing.dns = phases.dns.map(Into::into);
        timing.connect = phases.connect.map(Into::into);
        timing.tls = phases.tls.map(Into::into);
        let mut response = match sent {
            Some(Ok(response)) => response,
            Some(Err(error)) if wire::is_connect_timeout(&error) => {
                return Outcome::TimedOut(format!(
                    "no connection within {:?}",
                    limits::CONNECT_TIMEOUT.min(timeout)
                ));
            }
            Some(Err(error)) => {
                return match wire::refusal(&*error) {
                    Some(refusal) => Outcome::AddressRefused(refusal.to_string()),
                    None => Outcome::Failed(wire::describe(&*error)),
                };
            }
            None => return Outcome::TimedOut(format!("no answer within {timeout:?}")),
        };
        timing.first_byte = Some(started.elapsed().into());
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| retry_after::parse(value, self.clock.now()));
        let is_reply = reply::is_reply(target, status, response.headers());
        let most = if is_reply {
            limits::REPLY_BYTES + 1
        } else if response.content_length() > Some(limits::RESPONSE_BYTES as u64) {
            // It will not be read to its end in any case: the start will do.
            limits::RESPONSE_KEPT_BYTES
        } else {
            limits::RESPONSE_BYTES
        };
        let headers = is_reply.then(|| response.headers().clone());
        let mut kept = Vec::new();
        let mut read = 0;
        // Read to the end even when nobody wants it: only then is the connection used again.
        while read < most {
            match within(deadline, response.chunk()).await {
                Some(Ok(Some(chunk))) => {
                    read += chunk.len();
                    if is_reply {
                        kept.extend_from_slice(&chunk);
                    } else {
                        let room = limits::RESPONSE_KEPT_BYTES - kept.len();
                        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    }
                }
                Some(Ok(None)) => break,
                // The status is known, but an answer that is not whole is none: the delivery may
                // have failed half way in the target.
                Some(Err(error)) if status.is_success() => {
                    return Outcome::Failed(wire::describe(&error));
                }
                None if status.is_success() => {
                    return Outcome::TimedOut(format!(
                        "the answer's body did not end within {timeout:?}"
                    ));
                }
                Some(Err(_)) | None => break,
            }
        }
        if let Some(headers) = headers {
            *reply = Some(Answer {
                status,
                headers,
                body: std::mem::take(&mut kept),
            });
        }
        Outcome::Answered {
            status,
            retry_after,
            body: String::from_utf8_lossy(&kept).into_owned(),
        }
    }
}

/// The trace that a request goes on in.
struct Outgoing {
    traced: Traced,
    /// Of the attempt's span.
    id: [u8; 8],
    is_ours: bool,
}

impl Outgoing {
    fn new(traced: Traced, spans: &Spans) -> Self {
        Self {
            traced,
            // Never all zero, which is no span.
            id: (fastrand::u64(..) | 1).to_be_bytes(),
            is_ours: spans.is_on(),
        }
    }

    /// Says where the request is in its trace: at the attempt, or, where the bus makes no spans, where
    /// the publisher or the event said.
    fn put_on(&self, headers: &mut HeaderMap) {
        let at = match self.is_ours {
            true => Some(self.traced.at(self.id)),
            false => self.traced.passed_on(),
        };
        let parent = at.and_then(|at| HeaderValue::try_from(at.to_string()).ok());
        let Some(parent) = parent else { return };
        headers.insert(span::TRACEPARENT, parent);
        let state = self.traced.state().map(HeaderValue::try_from);
        if let Some(Ok(state)) = state {
            headers.insert(span::TRACESTATE, state);
        }
    }

    fn span(&self, spans: &Spans) -> Option<Span> {
        (spans.is_on() && self.traced.is_sampled()).then(|| self.traced.attempt(self.id))
    }
}

/// An answer that is a reply.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

fn whichever(outcome: Result<Outcome, Outcome>) -> Outcome {
    match outcome {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

const NOT_KEPT: &str = "the event is no longer in the log";

/// The longest that an attempt takes: a token that the target refuses is replaced once.
pub(crate) fn longest(target: &Target) -> Duration {
    if target.pull.is_some() {
        // Leases end with the process that knows them: after a crash nothing is waited for.
        return Duration::ZERO;
    }
    match target.auth {
        Some(Auth::OAuth2(_)) => (target.timeout + limits::TOKEN_TIMEOUT) * 2,
        _ => target.timeout,
    }
}

/// How long a delivery may be in flight before it is parked.
pub(crate) fn late_after(target: &Target) -> Duration {
    let ends_by_then = target.pull.is_none() && longest(target) <= limits::LATE_AFTER;
    match ends_by_then {
        true => limits::LATE_AFTER + limits::LATE_GRACE,
        false => limits::LATE_AFTER,
    }
}

async fn within<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    tokio::time::timeout_at(deadline, future).await.ok()
}

/// The same for every attempt of a delivery, different for every two deliveries, also of two buses
/// that share a receiver; a receiver drops repeats by it. The events' ids are hashed, not carried:
/// they are the publisher's words, and might hold a dot, which signatures do not allow.
pub(super) fn webhook_id(target: &Target, events: &[Arc<LoggedEvent>]) -> String {
    let mut hasher = SipHasher13::new();
    for event in events {
        hasher.write_u64(event.sequence);
        hasher.write(event.event.source().as_bytes());
        hasher.write_u8(0xFF);
        hasher.write(event.event.id().as_bytes());
        hasher.write_u8(0xFF);
    }
    let first = events.first().map_or(0, |event| event.sequence);
    let hash = hasher.finish();
    match target.mode {
        Mode::Binary | Mode::Structured => format!("{}-{first}-{hash:016x}", target.key.0),
        Mode::Batch => format!("{}-{first}-{}-{hash:016x}", target.key.0, events.len()),
    }
}
