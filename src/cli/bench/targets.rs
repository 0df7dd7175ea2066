//! What a target's settings cost: signatures, transforms, many targets, a rate limit, and a neighbour that hangs;
//! each beside the same bus without it.

use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use super::report::{Aim, Finding, Section, Side, thousands};
use super::route::Route;
use super::server::Server;
use super::{Bench, ask};
use crate::cli::exit::Failure;
use crate::client::Client;

/// Events a second of the paced rounds.
const RATE: f64 = 500.0;
/// Requests a second that the rate limit lets out.
const LIMIT: f64 = 500.0;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Section>, Failure> {
    let data_dir = bench.scratch.path().join("targets");
    let server = Server::bus(&data_dir)?;
    let sections = vec![
        signed(bench, &server)?,
        transformed(bench, &server)?,
        fan_out(bench, &server)?,
        limited(bench, &server)?,
        beside_one_that_hangs(bench, &server)?,
    ];
    finish(server, &data_dir)?;
    Ok(sections)
}

fn finish(server: Server, data_dir: &Path) -> Result<(), Failure> {
    server.stop()?;
    let _ = std::fs::remove_dir_all(data_dir);
    Ok(())
}

/// Puts a rule for the route's events.
pub(super) fn put(server: &Server, route: &Route, targets: &[Value]) -> Result<(), Failure> {
    let rule = json!({ "pattern": { "type": [route.kind()] }, "targets": targets });
    ask(server, async |client: Client| {
        client
            .put_rule("default", &route.rule(), &rule.to_string(), None)
            .await
    })?;
    Ok(())
}

fn target(id: &str, url: &str, settings: &Value) -> Value {
    let mut target = json!({ "id": id, "url": url, "concurrency": 256 });
    for (name, value) in settings.as_object().into_iter().flatten() {
        target[name] = value.clone();
    }
    target
}

fn finding(name: &'static str, value: f64, aim: Option<Aim>) -> Finding {
    Finding {
        name,
        value,
        unit: "",
        aim,
    }
}

fn signed(bench: &Bench, server: &Server) -> Result<Section, Failure> {
    for kind in ["hmac", "ed25519"] {
        ask(server, async |client: Client| {
            client.put_secret(kind, &json!({ "generate": kind })).await
        })?;
    }
    // Binary in all three, so that the signature is the only difference.
    let settings = [
        ("bench.unsigned", "unsigned", json!({})),
        (
            "bench.hmac",
            "signed, v1 (HMAC-SHA256)",
            json!({ "mode": "binary", "signing": { "secret": "hmac" } }),
        ),
        (
            "bench.ed25519",
            "signed, v1a (ed25519)",
            json!({ "mode": "binary", "signing": { "secret": "ed25519" } }),
        ),
    ];
    let sides = side_by_side(bench, server, &settings)?;
    let rate = |at: usize| sides[at].ratio(&sides[0], |round| round.events_per_second);
    Ok(Section {
        mode: "targets",
        title: "signed deliveries at full speed".to_owned(),
        findings: vec![
            finding("v1 / unsigned", rate(1), None),
            finding("v1a / unsigned", rate(2), None),
        ],
        sides,
    })
}

/// The same events to a target each, with these settings; all as fast as they go.
fn side_by_side(
    bench: &Bench,
    server: &Server,
    settings: &[(&'static str, &'static str, Value)],
) -> Result<Vec<Side>, Failure> {
    let mut routes = Vec::new();
    for (kind, name, settings) in settings {
        let route = Route::new(kind)?;
        put(server, &route, &[target("t", &route.url(), settings)])?;
        routes.push((*name, route, Vec::new()));
    }
    for round in 1..=bench.args.rounds {
        for (name, route, rounds) in &mut routes {
            let what = format!("targets, round {round}: {name}");
            rounds.push(route.round(bench, server, &what, None, bench.args.ahead as usize)?);
        }
    }
    let sides = routes.into_iter();
    Ok(sides
        .map(|(name, _, rounds)| Side::of(name, rounds))
        .collect())
}

fn transformed(bench: &Bench, server: &Server) -> Result<Section, Failure> {
    let paths = json!({ "total": "$.data.order.total", "currency": "$.data.order.currency" });
    let settings = [
        ("bench.plain", "as it is", json!({})),
        (
            "bench.template",
            "a JSON template of two paths",
            json!({ "transform": {
                "input_paths": paths,
                "template": { "total": "<total>", "note": "in <currency>, by <eventyard.rule-name>" },
            } }),
        ),
        (
            "bench.query",
            "one path that is not plain",
            json!({ "transform": { "input_path": "$..currency" } }),
        ),
        (
            "bench.request",
            "values in query and header",
            json!({
                "query": { "currency": { "path": "$.data.order.currency" } },
                "headers": { "x-country": { "path": "$.data.order.customer.country" } },
            }),
        ),
    ];
    let sides = side_by_side(bench, server, &settings)?;
    let rate = |at: usize| sides[at].ratio(&sides[0], |round| round.events_per_second);
    Ok(Section {
        mode: "targets",
        title: "transformed deliveries at full speed".to_owned(),
        findings: vec![
            finding("a template / as it is", rate(1), None),
            finding("a descendant query / as it is", rate(2), None),
            finding("values in query and header / as it is", rate(3), None),
        ],
        sides,
    })
}

fn fan_out(bench: &Bench, server: &Server) -> Result<Section, Failure> {
    let mut routes = Vec::new();
    for (kind, name, targets) in [
        ("bench.one", "1 target", 1),
        ("bench.ten", "10 targets", 10),
        ("bench.hundred", "100 targets", 100),
    ] {
        let route = Route::new(kind)?;
        let url = route.url();
        let all: Vec<Value> = (0..targets)
            .map(|n| target(&format!("t{n}"), &url, &json!({ "concurrency": 32 })))
            .collect();
        put(server, &route, &all)?;
        routes.push((name, targets, route, Vec::new()));
    }
    for round in 1..=bench.args.rounds {
        for (name, targets, route, rounds) in &mut routes {
            let what = format!("targets, round {round}: {name}");
            // As many deliveries under way in each, whatever the number of targets.
            let ahead = (bench.args.ahead as usize / *targets).max(8);
            rounds.push(route.round(bench, server, &what, None, ahead)?);
            route.await_all(*targets as u64)?;
        }
    }
    let sides: Vec<Side> = routes
        .into_iter()
        .map(|(name, _, _, rounds)| Side::of(name, rounds))
        .collect();
    let rate = |at: usize| sides[at].ratio(&sides[0], |round| round.events_per_second);
    Ok(Section {
        mode: "targets",
        title: "fan-out at full speed, in deliveries (ages are those of an event's first)"
            .to_owned(),
        findings: vec![
            finding("deliveries a second, 10 targets / 1", rate(1), None),
            finding("deliveries a second, 100 targets / 1", rate(2), None),
        ],
        sides,
    })
}

fn limited(bench: &Bench, server: &Server) -> Result<Section, Failure> {
    let mut route = Route::new("bench.limited")?;
    let settings = json!({ "rate_limit": format!("{LIMIT}/s") });
    put(server, &route, &[target("t", &route.url(), &settings)])?;
    let mut rounds = Vec::new();
    for round in 1..=bench.args.rounds {
        let what = format!("targets, round {round}: a rate limit");
        rounds.push(route.round(bench, server, &what, Some(2.0 * LIMIT), 0)?);
    }
    let side = Side::of("limited", rounds);
    Ok(Section {
        mode: "targets",
        title: format!(
            "a target limited to {} requests/s is sent {} events/s",
            thousands(LIMIT),
            thousands(2.0 * LIMIT)
        ),
        findings: vec![finding(
            "rate / limit",
            side.events_per_second / LIMIT,
            Some(Aim::AtMost(1.1)),
        )],
        sides: vec![side],
    })
}

/// Both sides deliver each event to two targets; on one of them the second never answers.
fn beside_one_that_hangs(bench: &Bench, server: &Server) -> Result<Section, Failure> {
    let failed = |error| Failure::failed(format!("a target that hangs: {error}"));
    let hanging = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    let hanging_url = format!("http://{}/", hanging.local_addr().map_err(failed)?);
    // Connections are taken and held; nothing is ever read.
    std::thread::spawn(move || {
        let _held: Vec<_> = hanging.incoming().collect();
    });
    let neighbour = Route::new("bench.neighbour")?;
    let (mut calm, mut beside) = (Route::new("bench.calm")?, Route::new("bench.beside")?);
    let none = json!({});
    let other = target("other", &neighbour.url(), &none);
    put(server, &calm, &[target("t", &calm.url(), &none), other])?;
    let other = target("other", &hanging_url, &json!({ "timeout": "1s" }));
    put(server, &beside, &[target("t", &beside.url(), &none), other])?;
    let rate = bench.args.rate.unwrap_or(RATE);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 1..=bench.args.rounds {
        let what = |name| format!("targets, round {round}: beside one that {name}");
        without.push(calm.round(bench, server, &what("answers"), Some(rate), 0)?);
        with.push(beside.round(bench, server, &what("hangs"), Some(rate), 0)?);
    }
    let without = Side::of("beside one that answers", without);
    let with = Side::of("beside one that hangs", with);
    Ok(Section {
        mode: "targets",
        title: format!(
            "a healthy target at {} events/s, and another that gets the same events",
            thousands(rate)
        ),
        findings: vec![finding(
            "healthy target's p99, beside one that hangs / answers",
            with.ratio(&without, |round| round.latency.p99_ms),
            Some(Aim::AtMost(1.5)),
        )],
        sides: vec![without, with],
    })
}
