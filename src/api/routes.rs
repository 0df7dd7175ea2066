//! Every route of the contract: what it wants of its caller, and who answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::access::{Need, guard};
use super::idempotency::creating;
use super::{
    Api, Problem, apply, audit, backtest, backup, buses, dead_letters, events, health, keys,
    log_level, openapi, patterns, publish, pulls, rules, scheduled, secrets, tail, targets, trace,
    transforms,
};
use crate::access::Scope;

/// One method of one path.
struct Route {
    method: Method,
    path: String,
    need: Need,
    answer: MethodRouter<Arc<Api>>,
    /// It makes something new each time, unless an idempotency key says that it is the same.
    is_creating: bool,
}

impl Route {
    fn creating(self) -> Self {
        Self {
            is_creating: true,
            ..self
        }
    }

    /// Whether its calls change something, and so stand in the audit.
    fn is_written_down(&self) -> bool {
        let manages = matches!(
            self.need,
            Need::OnBus(Scope::Manage) | Need::OnAll(Scope::Manage) | Need::OnAny(Scope::Manage)
        );
        manages && self.method != Method::GET
    }
}

const READ: Need = Need::OnBus(Scope::Read);
const MANAGE: Need = Need::OnBus(Scope::Manage);
const READ_ALL: Need = Need::OnAll(Scope::Read);
const MANAGE_ALL: Need = Need::OnAll(Scope::Manage);
/// Its handler asks for `manage` on each bus that the body names.
const MANAGE_ANY: Need = Need::OnAny(Scope::Manage);
const READ_ANY: Need = Need::OnAny(Scope::Read);

pub(super) const BUS: &str = "/v1/buses/{bus}";
pub(super) const RULE: &str = "/v1/buses/{bus}/rules/{rule}";
const TARGET: &str = "/v1/buses/{bus}/rules/{rule}/targets/{target}";
const METRICS: &str = "/metrics";
pub(super) const APPLY: &str = "/v1/apply";

/// The one table of routes: who adds one says here what it needs.
fn table() -> Vec<Route> {
    let mut table = vec![
        get("/healthz", Need::Nothing, health::alive),
        get("/readyz", Need::Nothing, health::ready),
        get(METRICS, READ_ALL, health::metrics),
        get("/openapi.json", READ_ANY, openapi::openapi),
        // A browser shows no key when it opens a page; what is described is fetched with one.
        get("/docs", Need::Nothing, openapi::page),
        post("/", Need::Publish, publish::to_default),
        // It is asked without credentials, and tells nothing.
        options("/", Need::Nothing, publish::handshake),
        get("/v1/buses", READ_ANY, buses::list),
        get(BUS, READ, buses::one),
        put(BUS, MANAGE, buses::put),
        delete(BUS, MANAGE, buses::delete),
        post(&below(BUS, "/events"), Need::Publish, publish::to_bus),
        options(
            &below(BUS, "/events"),
            Need::Nothing,
            publish::handshake_of_bus,
        ),
        get(&below(BUS, "/events"), READ, events::browse),
        get(&below(BUS, "/events/{sequence}"), READ, events::one),
        delete(&below(BUS, "/events/{sequence}"), MANAGE, scheduled::cancel),
        get(&below(BUS, "/events/{sequence}/trace"), READ, trace::trace),
        get(&below(BUS, "/tail"), READ, tail::tail),
        get(&below(BUS, "/scheduled"), READ, scheduled::list),
        post(&below(BUS, "/backtest"), READ, backtest::backtest),
        get(&below(BUS, "/rules"), READ, rules::list),
        get(RULE, READ, rules::one),
        put(RULE, MANAGE, rules::put),
        delete(RULE, MANAGE, rules::delete),
        post(&below(RULE, "/enable"), MANAGE, rules::enable),
        post(&below(RULE, "/disable"), MANAGE, rules::disable),
        get(&below(RULE, "/targets"), READ, targets::list),
        get(TARGET, READ, targets::health),
        post(&below(TARGET, "/pause"), MANAGE, targets::pause),
        post(&below(TARGET, "/resume"), MANAGE, targets::resume),
        post(&below(TARGET, "/test"), MANAGE, targets::test),
        post(&below(TARGET, "/pull"), Need::Consume, pulls::pull),
        post(&below(TARGET, "/ack"), Need::Consume, pulls::ack),
        post(&below(TARGET, "/nack"), Need::Consume, pulls::nack),
        post(&below(TARGET, "/extend"), Need::Consume, pulls::extend),
        post(APPLY, MANAGE_ANY, apply::apply),
        get("/v1/secrets", READ_ALL, secrets::list),
        get("/v1/secrets/{secret}", READ_ALL, secrets::one),
        put("/v1/secrets/{secret}", MANAGE_ALL, secrets::put),
        delete("/v1/secrets/{secret}", MANAGE_ALL, secrets::delete),
        delete(
            "/v1/secrets/{secret}/versions/{version}",
            MANAGE_ALL,
            secrets::delete_version,
        ),
        get("/v1/keys", MANAGE_ALL, keys::list),
        post("/v1/keys", MANAGE_ALL, keys::create).creating(),
        get("/v1/keys/{key}", MANAGE_ALL, keys::one),
        delete("/v1/keys/{key}", MANAGE_ALL, keys::revoke),
        get("/v1/log-level", MANAGE_ALL, log_level::show),
        put("/v1/log-level", MANAGE_ALL, log_level::set),
        delete("/v1/log-level", MANAGE_ALL, log_level::reset),
        get("/v1/audit", MANAGE_ALL, audit::list),
        post("/v1/backup", MANAGE_ALL, backup::backup),
        post("/v1/patterns/test", READ_ANY, patterns::test),
        post("/v1/transforms/preview", READ_ANY, transforms::preview),
    ];
    for place in [BUS, TARGET] {
        let letters = |path: &str| format!("{place}/dead-letters{path}");
        table.extend([
            get(&letters(""), READ, dead_letters::list),
            get(&letters("/groups"), READ, dead_letters::groups),
            get(&letters("/export"), READ, dead_letters::export),
            post(&letters("/redrive"), MANAGE, dead_letters::redrive).creating(),
            get(&letters("/redrives"), READ, dead_letters::jobs),
            get(&letters("/redrives/{id}"), READ, dead_letters::job),
            delete(&letters("/redrives/{id}"), MANAGE, dead_letters::cancel),
            post(&letters("/purge"), MANAGE, dead_letters::purge),
            get(&letters("/{id}"), READ, dead_letters::one),
            delete(&letters("/{id}"), MANAGE, dead_letters::delete),
        ]);
    }
    table
}

/// Every route as (method, path, need): what tests and documents go by.
#[must_use]
pub fn contract() -> Vec<(Method, String, Need)> {
    let routes = table().into_iter();
    routes
        .map(|route| (route.method, route.path, route.need))
        .collect()
}

/// The routes, each behind what it needs. Publishing goes past them (see `front`), but
/// works here too.
pub fn routes(api: Arc<Api>) -> Router {
    let mut taken: BTreeMap<String, Vec<Method>> = BTreeMap::new();
    let mut answers = Vec::new();
    for route in table() {
        let methods = taken.entry(route.path.clone()).or_default();
        if route.method == Method::GET {
            methods.push(Method::HEAD);
        }
        methods.push(route.method.clone());
        let need = match route.path.as_str() {
            METRICS if api.metrics_are_open => Need::Nothing,
            _ => route.need,
        };
        let answer = match route.is_written_down() {
            true => {
                let state = (Arc::clone(&api), route.path.as_str().into());
                route
                    .answer
                    .route_layer(from_fn_with_state(state, audit::keep))
            }
            false => route.answer,
        };
        // Outside of the audit: what is answered again has changed nothing.
        let answer = match route.is_creating {
            true => {
                let layer = from_fn_with_state(Arc::clone(&api), creating);
                answer.route_layer(layer)
            }
            false => answer,
        };
        let answer = match need {
            Need::Nothing | Need::Publish => answer,
            _ => {
                let state = (Arc::clone(&api), need);
                answer.route_layer(from_fn_with_state(state, guard))
            }
        };
        answers.push((route.path, answer));
    }
    for (path, mut methods) in taken {
        if !methods.contains(&Method::OPTIONS) {
            methods.push(Method::OPTIONS);
            answers.push((path, on(MethodFilter::OPTIONS, telling(&methods))));
        }
    }
    let mut router = Router::new();
    for (path, answer) in answers {
        router = router.route(&path, answer);
    }
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

fn below(place: &str, path: &str) -> String {
    format!("{place}{path}")
}

fn get<H: Handler<T, Arc<Api>>, T: 'static>(path: &str, need: Need, answer: H) -> Route {
    route(Method::GET, path, need, on(MethodFilter::GET, answer))
}

fn post<H: Handler<T, Arc<Api>>, T: 'static>(path: &str, need: Need, answer: H) -> Route {
    route(Method::POST, path, need, on(MethodFilter::POST, answer))
}

fn put<H: Handler<T, Arc<Api>>, T: 'static>(path: &str, need: Need, answer: H) -> Route {
    route(Method::PUT, path, need, on(MethodFilter::PUT, answer))
}

fn delete<H: Handler<T, Arc<Api>>, T: 'static>(path: &str, need: Need, answer: H) -> Route {
    route(Method::DELETE, path, need, on(MethodFilter::DELETE, answer))
}

fn options<H: Handler<T, Arc<Api>>, T: 'static>(path: &str, need: Need, answer: H) -> Route {
    route(
        Method::OPTIONS,
        path,
        need,
        on(MethodFilter::OPTIONS, answer),
    )
}

fn route(method: Method, path: &str, need: Need, answer: MethodRouter<Arc<Api>>) -> Route {
    Route {
        method,
        path: path.to_owned(),
        need,
        answer,
        is_creating: false,
    }
}

/// Answers with the methods that a path takes. It is asked without a key, and tells no more than the
/// description of the API does.
fn telling(methods: &[Method]) -> impl Handler<((),), Arc<Api>> + use<> {
    let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let methods = HeaderValue::try_from(methods.join(", ")).expect("methods are tokens");
    move || std::future::ready((StatusCode::NO_CONTENT, [(header::ALLOW, methods)]))
}

async fn unknown_path(uri: Uri) -> Problem {
    Problem::not_found(format!(
        "There is nothing at {}; events go to /v1/buses/<bus>/events or, for the bus `default`, to /.",
        uri.path()
    ))
}

/// axum adds the `Allow` header to what this answers.
async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::wrong_method(&method, uri.path())
}
