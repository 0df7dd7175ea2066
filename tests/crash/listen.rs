//! `eventyard listen` loses nothing when the bus is killed under it, when it sleeps, when it is killed
//! itself, and while nobody answers where it sends to.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};
use super::command::{Running, publish};

type Ids = Arc<Mutex<Vec<String>>>;

async fn receive(State(arrived): State<Ids>, headers: HeaderMap) -> &'static str {
    let id = headers.get("ce-id").and_then(|id| id.to_str().ok());
    arrived.lock().extend(id.map(str::to_owned));
    "thanks"
}

async fn receiver(at: &str, arrived: &Ids) -> (SocketAddr, JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = axum::Router::new()
        .fallback(receive)
        .with_state(Arc::clone(arrived));
    let served = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, served)
}

fn listen(root: &Path, bus: SocketAddr, to: SocketAddr) -> Running {
    let to = format!("http://{to}/hook");
    let cursor = root.join("cursor");
    let arguments = [
        "listen",
        "--forward-to",
        &to,
        "--pattern",
        r#"{"type": ["wanted"]}"#,
        "--after",
        "0",
        "--cursor",
        cursor.to_str().unwrap(),
    ];
    Running::start(bus, Stdio::null(), &arguments)
}

/// Waits until the first so many wanted events have come, in order but for repeats.
async fn until_come(arrived: &Ids, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut ids = arrived.lock().clone();
        ids.dedup();
        let wanted: Vec<String> = (0..count).map(|n| format!("wanted-{n}")).collect();
        if ids == wanted {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{count} events should have come: {ids:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listen_misses_nothing_however_it_and_the_bus_are_treated() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::within(folder.path());
    std::fs::create_dir_all(place.rules()).unwrap();
    let arrived = Ids::default();
    let (to, served) = receiver("127.0.0.1:0", &arrived).await;
    let bus = Bus::spawn(&place, to);
    let at = bus.address().await.unwrap();
    publish(at, 0..5).await;
    let listening = listen(folder.path(), at, to);
    until_come(&arrived, 5).await;

    // The bus is killed, and comes back where it was.
    bus.kill();
    bus.ended().await.unwrap();
    let bus = Bus::spawn_at(&place, to, &at.to_string());
    bus.address().await.unwrap();
    publish(at, 5..10).await;
    until_come(&arrived, 10).await;

    // The laptop sleeps; the bus restarts meanwhile.
    listening.signal("-STOP");
    publish(at, 10..15).await;
    bus.kill();
    bus.ended().await.unwrap();
    let bus = Bus::spawn_at(&place, to, &at.to_string());
    bus.address().await.unwrap();
    publish(at, 15..20).await;
    listening.signal("-CONT");
    until_come(&arrived, 20).await;

    // Nobody answers for a while.
    served.abort();
    let _ = served.await;
    publish(at, 20..25).await;
    assert_eq!(arrived.lock().last().unwrap(), "wanted-19");
    let (_, _served) = receiver(&to.to_string(), &arrived).await;
    until_come(&arrived, 25).await;

    // It is killed, and goes on behind its cursor: the last one may come twice.
    drop(listening);
    publish(at, 25..30).await;
    let _listening = listen(folder.path(), at, to);
    until_come(&arrived, 30).await;
}
