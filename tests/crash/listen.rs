//! `eventyard listen` loses nothing when the bus is killed under it, when it sleeps, when it is killed
//! itself, and while nobody answers where it sends to.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};

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

/// The command, which dies with the test.
struct Listen(Child);

impl Listen {
    fn start(root: &Path, bus: SocketAddr, to: SocketAddr) -> Listen {
        let child = Command::new(env!("CARGO_BIN_EXE_eventyard"))
            .args(["listen", "--url", &format!("http://{bus}")])
            .args(["--forward-to", &format!("http://{to}/hook")])
            .args(["--pattern", r#"{"type": ["wanted"]}"#, "--after", "0"])
            .arg("--cursor")
            .arg(root.join("cursor"))
            .env_remove("EVENTYARD_API_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Listen(child)
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn publish(bus: SocketAddr, numbers: std::ops::Range<usize>) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for n in numbers {
        for kind in ["wanted", "unwanted"] {
            let event = json!({"specversion": "1.0", "id": format!("{kind}-{n}"), "source": "/s", "type": kind});
            let request = http.post(format!("http://{bus}/"));
            let request = request.header("content-type", "application/cloudevents+json");
            let answer = request.body(event.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 202);
        }
    }
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
    let place = Place {
        root: folder.path().to_owned(),
    };
    std::fs::create_dir_all(place.rules()).unwrap();
    let arrived = Ids::default();
    let (to, served) = receiver("127.0.0.1:0", &arrived).await;
    let bus = Bus::spawn(&place, to);
    let at = bus.address().await.unwrap();
    publish(at, 0..5).await;
    let listen = Listen::start(folder.path(), at, to);
    until_come(&arrived, 5).await;

    // The bus is killed, and comes back where it was.
    bus.kill();
    bus.ended().await.unwrap();
    let bus = Bus::spawn_at(&place, to, &at.to_string());
    bus.address().await.unwrap();
    publish(at, 5..10).await;
    until_come(&arrived, 10).await;

    // The laptop sleeps; the bus restarts meanwhile.
    listen.signal("-STOP");
    publish(at, 10..15).await;
    bus.kill();
    bus.ended().await.unwrap();
    let bus = Bus::spawn_at(&place, to, &at.to_string());
    bus.address().await.unwrap();
    publish(at, 15..20).await;
    listen.signal("-CONT");
    until_come(&arrived, 20).await;

    // Nobody answers for a while.
    served.abort();
    let _ = served.await;
    publish(at, 20..25).await;
    assert_eq!(arrived.lock().last().unwrap(), "wanted-19");
    let (_, _served) = receiver(&to.to_string(), &arrived).await;
    until_come(&arrived, 25).await;

    // It is killed, and goes on behind its cursor: the last one may come twice.
    drop(listen);
    publish(at, 25..30).await;
    let _listen = Listen::start(folder.path(), at, to);
    until_come(&arrived, 30).await;
}
