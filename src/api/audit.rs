//! Writes down management calls before they are made and after, and refused ones; shows what was
//! written.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt as _};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::extract::Filter;
use super::openapi::Moment;
use super::page::Page;
use super::{Api, Problem, dead_letters, events, keys, routes, secrets, targets};
use crate::access::Caller;
use crate::audit::{Actor, Audit, Call, Entry, Outcome, Query, document, masked};
use crate::limits;
use crate::log::{BusName, RuleName, TargetName};
use crate::rule::Rules;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What a handler says of changes that its path does not name. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Remark(Arc<Mutex<Option<Value>>>);

impl Remark {
    pub(super) fn says(&self, what: Value) {
        *self.0.lock() = Some(masked(what));
    }
}

/// The layer around every handler that changes something, inside of the guard.
pub(super) async fn keep(
    State((api, route)): State<(Arc<Api>, Arc<str>)>,
    request: Request,
    next: Next,
) -> Response {
    match kept(&api, &route, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn kept(
    api: &Arc<Api>,
    route: &str,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let subject = Subject::of(route, &mut request).await;
    let asked = match route.ends_with("/redrive") || route.ends_with("/purge") {
        true => Some(asked(api, &mut request).await?),
        false => None,
    };
    let takes_turn = subject != Subject::Other || route == routes::APPLY;
    if takes_turn {
        // Nobody waits for a body while others wait for their turn.
        read_ahead(api, &mut request, limits::BODY_BYTES).await?;
    }
    let (route, owner) = (route.to_owned(), Arc::clone(api));
    // To its end: what was begun is ended, also when the caller goes away.
    let work = async move {
        let api = &*owner;
        let turn = match takes_turn {
            true => Some(api.audit.turn().await),
            false => None,
        };
        let response = written_down(api, route, subject, asked, request, next).await;
        drop(turn);
        response
    };
    api.to_its_end(work).await?
}

async fn written_down(
    api: &Api,
    route: String,
    subject: Subject,
    asked: Option<Value>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (headers, extensions) = (request.headers(), request.extensions());
    let call = Call {
        actor: extensions.get().map_or(Actor::Anyone, actor),
        peer: extensions.get().map(|Peer(peer)| peer.ip()),
        request_id: request_id(headers),
        method: request.method().to_string(),
        route,
        path: request.uri().path().to_owned(),
        before: subject.state(api),
        asked,
    };
    let entry = on_disk(&api.audit, |audit| audit.begin(call)).await??;
    let remark = Remark::default();
    request.extensions_mut().insert(remark.clone());
    let response = next.run(request).await;
    let remarked = remark.0.lock().take();
    let outcome = Outcome {
        status: response.status().as_u16(),
        after: remarked
            .or_else(|| new_key(api, &response))
            .or_else(|| subject.state(api)),
    };
    on_disk(&api.audit, move |audit| audit.end(entry, outcome)).await?;
    Ok(response)
}

/// What was asked of a call that is for many things at once; the handler reads it again.
async fn asked(api: &Api, request: &mut Request) -> Result<Value, Problem> {
    let bytes = read_ahead(api, request, limits::AUDIT_ASKED_BYTES).await?;
    Ok(dead_letters::asked(&bytes))
}

/// The body as it came, which the handler reads again.
async fn read_ahead(api: &Api, request: &mut Request, limit: usize) -> Result<Bytes, Problem> {
    let body = std::mem::take(request.body_mut());
    let bytes = api.bodies.read(body, limit).await?.bytes.clone();
    *request.body_mut() = Body::from(bytes.clone());
    Ok(bytes)
}

/// The key that a call made, which its path could not name.
fn new_key(api: &Api, response: &Response) -> Option<Value> {
    let place = response.headers().get(header::LOCATION)?.to_str().ok()?;
    keys::state(api, place.strip_prefix("/v1/keys/")?)
}

/// Notes a call that was refused for want of a right.
pub(super) async fn note_refused(
    api: &Api,
    (method, uri): (&Method, &Uri),
    headers: &HeaderMap,
    peer: SocketAddr,
    status: StatusCode,
) {
    if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
        return;
    }
    let call = Call {
        actor: api.who(headers),
        peer: Some(peer.ip()),
        request_id: request_id(headers),
        method: method.to_string(),
        route: String::new(),
        path: uri.path().to_owned(),
        before: None,
        asked: None,
    };
    let status = status.as_u16();
    let noted = on_disk(&api.audit, move |audit| audit.refused(call, status)).await;
    // It is answered all the same.
    drop(noted);
}

pub(super) fn actor(caller: &Caller) -> Actor {
    match caller {
        Caller::Anyone => Actor::Anyone,
        Caller::Root => Actor::Root,
        Caller::Key(key) => Actor::Key {
            prefix: key.id.to_string(),
            name: key.name.to_string(),
        },
        Caller::Token(token) => Actor::Token { name: token.name() },
    }
}

/// What a proxy or the caller calls the request.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_sane = (1..=limits::AUDIT_REQUEST_ID_BYTES).contains(&id.len());
    is_sane.then(|| id.to_owned())
}

pub(super) async fn on_disk<T: Send + 'static>(
    audit: &Audit,
    work: impl FnOnce(&Audit) -> T + Send + 'static,
) -> Result<T, Problem> {
    let audit = audit.clone();
    let done = tokio::task::spawn_blocking(move || work(&audit)).await;
    done.map_err(Problem::internal)
}

/// What a call is about, where its state can be told.
#[derive(PartialEq)]
enum Subject {
    Bus(BusName),
    Rule(BusName, RuleName),
    Target(BusName, RuleName, TargetName),
    Secret(String),
    Key(String),
    /// Many things, or such as have no state.
    Other,
}

impl Subject {
    /// A path with a name that is none is refused by the handler.
    async fn of(route: &str, request: &mut Request) -> Subject {
        let Ok(params) = request.extract_parts::<RawPathParams>().await else {
            return Subject::Other;
        };
        let text = |wanted: &str| {
            let found = params.iter().find(|(name, _)| *name == wanted);
            found.map_or("", |(_, value)| value).to_owned()
        };
        let named = || {
            let below_bus = route.strip_prefix("/v1/buses/{bus}");
            Some(match below_bus {
                Some("") => Subject::Bus(BusName::new(&text("bus")).ok()?),
                Some("/rules/{rule}" | "/rules/{rule}/enable" | "/rules/{rule}/disable") => {
                    let (bus, rule) = (text("bus"), text("rule"));
                    Subject::Rule(BusName::new(&bus).ok()?, RuleName::new(&rule).ok()?)
                }
                Some(
                    "/rules/{rule}/targets/{target}/pause"
                    | "/rules/{rule}/targets/{target}/resume",
                ) => Subject::Target(
                    BusName::new(&text("bus")).ok()?,
                    RuleName::new(&text("rule")).ok()?,
                    TargetName::new(&text("target")).ok()?,
                ),
                Some(_) => return None,
                None if route.starts_with("/v1/secrets/{secret}") => {
                    Subject::Secret(text("secret"))
                }
                None if route == "/v1/keys/{key}" => Subject::Key(text("key")),
                None => return None,
            })
        };
        named().unwrap_or(Subject::Other)
    }

    /// What it is now, without what is secret; `None` when it is not there.
    fn state(&self, api: &Api) -> Option<Value> {
        match self {
            Self::Bus(bus) => bus_state(&api.rules, bus),
            Self::Rule(bus, rule) => rule_state(&api.rules, bus, rule),
            Self::Target(bus, rule, target) => targets::state(api, bus, rule, target),
            Self::Secret(name) => secrets::state(api, name),
            Self::Key(prefix) => keys::state(api, prefix),
            Self::Other => None,
        }
    }
}

pub(super) fn bus_state(rules: &Rules, bus: &BusName) -> Option<Value> {
    let bus = rules.bus(bus)?;
    Some(document(bus.revision, bus.document.text()))
}

pub(super) fn rule_state(rules: &Rules, bus: &BusName, rule: &RuleName) -> Option<Value> {
    let rule = rules.rule(bus, rule)?;
    Some(document(rule.revision, rule.document.text()))
}

/// Which entries are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Browse {
    /// How many are wanted; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000, example = 10)]
    limit: Option<usize>,
    /// The `next` of the page before.
    #[param(example = "4711")]
    after: Option<String>,
    /// Only of this key, by its prefix or name, or of `root`, `anyone`, `stranger` or `rules_folder`.
    #[param(example = "shop")]
    actor: Option<String>,
    /// Only of this path and what is below it.
    #[param(example = "/v1/buses/default")]
    subject: Option<String>,
    /// Only those of this moment or later.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    since: Option<String>,
    /// Only those before this moment.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    until: Option<String>,
}

/// A call that changed something, or was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct Shown {
    entry: u64,
    #[schema(value_type = Moment)]
    time: String,
    #[schema(value_type = ShownActor)]
    actor: Actor,
    peer: Option<String>,
    request_id: Option<String>,
    method: String,
    /// As it is described here; empty for a call that was refused.
    route: String,
    path: String,
    /// What was asked for, of many things at once, as far as it was understood: of a body that was
    /// not, its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    asked: Option<Value>,
    /// Null: nobody knows, since the bus was killed.
    status: Option<u16>,
    /// What was there.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// What is there now.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// Refused calls since the entry of one before that were only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false)]
    refusals_left_out: Option<u64>,
}

/// Who called: an API key, a token of an identity provider, `root` (the root key), `anyone` (nobody is
/// asked for a key), `stranger` (no key that is known), or a file of the rules folder.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditActor)]
#[allow(dead_code, reason = "it describes `Actor`, which knows no API")]
pub(super) struct ShownActor {
    /// `key`, `token`, `root`, `anyone`, `stranger` or `rules_folder`
    kind: String,
    /// Of a key.
    #[schema(value_type = String, required = false)]
    prefix: Option<String>,
    /// Of a key; of a token its subject.
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// Of the rules folder.
    #[schema(value_type = String, required = false)]
    file: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditList)]
pub(super) struct List {
    entries: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next: Option<String>,
}

/// `GET /v1/audit`: the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Filter(browse): Filter<Browse>,
) -> Result<Json<List>, Problem> {
    let page = Page {
        limit: browse.limit,
        after: browse.after,
    };
    let query = Query {
        limit: page.limit()?,
        before: page.after()?,
        actor: browse.actor,
        subject: browse.subject,
        since: events::moment("since", browse.since)?,
        until: events::moment("until", browse.until)?,
    };
    let page = on_disk(&api.audit, move |audit| audit.page(&query)).await??;
    Ok(Json(List {
        entries: page.entries.into_iter().map(Shown::from).collect(),
        next: page.next.map(|next| next.to_string()),
    }))
}

impl From<Entry> for Shown {
    fn from(entry: Entry) -> Self {
        let call = entry.call;
        Self {
            entry: entry.entry,
            time: entry.at.to_string(),
            actor: call.actor,
            peer: call.peer.map(|peer| peer.to_string()),
            request_id: call.request_id,
            method: call.method,
            route: call.route,
            path: call.path,
            asked: call.asked,
            status: entry.status,
            before: call.before,
            after: entry.after,
            refusals_left_out: entry.refusals_left_out,
        }
    }
}
