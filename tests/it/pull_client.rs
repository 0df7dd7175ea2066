//! The client that other programs use: publishing over an absence of the bus, batches, subscriptions;
//! and `eventyard pull`, which stands on it.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventyard::client::{Client, NackOptions, SubscribeOptions};
use eventyard::event::Event;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Received, Reply, TestBus, TestTarget, eventually};

const TARGET: &str = "/v1/buses/default/rules/orders/targets/worker";

fn rule() -> Value {
    json!({"pattern": {"type": [{"prefix": "order."}]}, "targets": [{
        "id": "worker",
        "pull": {},
        "retry": {"max_attempts": 5, "initial_delay": "10ms", "max_delay": "20ms"},
    }]})
}

fn event(id: &str) -> Event {
    let event = Event::builder(id, "/shop", "order.placed").json(r#"{"total":1.50}"#);
    event.build().unwrap()
}

/// A port that is free, so that a bus can come back where it was. It lies below those that the system
/// gives to whoever asks for any: else a caller that knocks while the bus is away may be given it.
fn port() -> u16 {
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
    let mut free = ports.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

async fn bus_at(port: u16, data: Option<std::sync::Arc<tempfile::TempDir>>) -> TestBus {
    let builder = TestBus::builder().config(move |config| config.api.listen.set_port(port));
    match data {
        Some(data) => builder.data(data).start().await,
        None => builder.start().await,
    }
}

async fn nothing_is_left(bus: &TestBus) -> Value {
    let is_settled = |health: &Value| health["pending"] == 0;
    bus.until(TARGET, "nothing is left", is_settled).await
}

fn options() -> SubscribeOptions {
    SubscribeOptions {
        prefetch: 3,
        lease: Duration::from_secs(1),
    }
}

#[tokio::test]
async fn a_subscription_extends_acknowledges_gives_back_and_outlives_a_restart() {
    let port = port();
    let bus = bus_at(port, None).await;
    bus.put_rule("orders", &rule()).await;
    let client = Client::new(&bus.url("")).unwrap();
    for id in ["1", "2", "3"] {
        client.publish("default", event(id)).await.unwrap();
    }
    let mut deliveries = client.subscribe("default", "orders", "worker", options());
    let first = deliveries.next().await.unwrap();
    assert_eq!((first.event().id(), first.attempt()), ("1", 1));
    assert_eq!(first.event().data_bytes(), r#"{"total":1.50}"#);
    // Two leases go by while it is worked on.
    let until = tokio::time::Instant::now() + Duration::from_millis(2_300);
    tokio::time::sleep_until(until).await;
    assert!(first.ack().await.unwrap(), "its lease was extended");
    let second = deliveries.next().await.unwrap();
    let id = second.id().to_owned();
    let why = NackOptions {
        error: Some("busy".to_owned()),
        ..NackOptions::default()
    };
    assert!(second.nack(&why).await.unwrap());
    // Dropped without a word, it is given back.
    drop(deliveries.next().await.unwrap());
    let mut came = BTreeSet::new();
    while came.len() < 2 {
        let again = deliveries.next().await.unwrap();
        if again.attempt() > 1 {
            came.insert(again.event().id().to_owned());
            assert!(
                again.event().id() != "2" || again.id() == id,
                "the same delivery"
            );
            assert!(again.ack().await.unwrap());
        }
    }
    assert_eq!(came, ["2".to_owned(), "3".to_owned()].into());

    let data = bus.drain().await;
    let next = tokio::spawn(async move { deliveries.next().await.unwrap() });
    let late = client.clone();
    let publish = tokio::spawn(async move {
        let patience = Duration::from_secs(60);
        late.publish_until("default", event("4"), patience).await
    });
    let bus = bus_at(port, Some(data)).await;
    assert!(!publish.await.unwrap().unwrap().duplicate);
    let fourth = next.await.unwrap();
    assert_eq!(fourth.event().id(), "4");
    fourth.ack().await.unwrap();
    nothing_is_left(&bus).await;
}

/// Stands between a client and the bus, and hands on what is said; while it is told to, it closes a
/// connection in the place of the answer.
struct Between {
    addr: std::net::SocketAddr,
    loses: Arc<AtomicBool>,
}

impl Between {
    async fn start(bus: std::net::SocketAddr) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let between = Between {
            addr: listener.local_addr().unwrap(),
            loses: Arc::default(),
        };
        let loses = Arc::clone(&between.loses);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(hand_on(client, bus, Arc::clone(&loses)));
            }
        });
        between
    }
}

async fn hand_on(client: TcpStream, bus: std::net::SocketAddr, loses: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_bus, mut to_bus) = TcpStream::connect(bus).await.unwrap().into_split();
    let asked = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_bus).await });
    let mut answer = [0; 4_096];
    while let Ok(count @ 1..) = from_bus.read(&mut answer).await {
        // One answer is lost, and those after it are not.
        if loses.swap(false, Ordering::AcqRel)
            || to_client.write_all(&answer[..count]).await.is_err()
        {
            break;
        }
    }
    asked.abort();
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule()).await;
    let between = Between::start(bus.addr()).await;
    let client = Client::new(&format!("http://{}", between.addr)).unwrap();
    for id in ["1", "2"] {
        client.publish("default", event(id)).await.unwrap();
    }
    // Long: nothing is extended, and one request at a time is under way.
    let options = SubscribeOptions {
        prefetch: 1,
        lease: Duration::from_secs(60),
    };
    let mut deliveries = client.subscribe("default", "orders", "worker", options);
    let first = deliveries.next().await.unwrap();
    between.loses.store(true, Ordering::Release);
    assert!(first.ack().await.unwrap(), "the bus had heard it");
    assert!(!between.loses.load(Ordering::Acquire), "an answer was lost");
    let second = deliveries.next().await.unwrap();
    assert_eq!((second.event().id(), second.attempt()), ("2", 1));
    between.loses.store(true, Ordering::Release);
    assert!(second.nack(&NackOptions::default()).await.unwrap());
    let again = deliveries.next().await.unwrap();
    assert_eq!((again.event().id(), again.attempt()), ("2", 2));
    assert!(again.ack().await.unwrap());
    assert_eq!(nothing_is_left(&bus).await["delivered"], 2);
}

/// Stands for a bus that leases three deliveries, of which the first and the last are no events, and
/// answers so to what is said of those.
fn leasing_what_is_no_event(told: Reply) -> TestTarget {
    let delivery = |token: &str, event: &str| {
        let event: Value = serde_json::from_str(event).unwrap();
        json!({"id": token, "token": token, "attempt": 1, "leased_until": "2026-11-22T19:30:30Z", "event": event})
    };
    let readable = String::from_utf8(event("1").to_json()).unwrap();
    let pulled = json!({"deliveries": [
        delivery("before", r#"{"specversion":"2.0"}"#),
        delivery("between", &readable),
        delivery("behind", "{}"),
    ]});
    let mut pulled = Some(Reply::from(200).body(pulled.to_string()));
    TestTarget::answering(move |request| match request.path.rsplit('/').next() {
        // Who asks again has lost what it had.
        Some("pull") => pulled.take().unwrap_or_else(|| Reply::from(404)),
        Some("nack") => told.clone(),
        _ => Reply::from(200).body(r#"{"results":[{"token":"between","done":true}]}"#),
    })
}

fn given_up(bus: &TestTarget) -> Vec<Received> {
    let said = bus.received().into_iter();
    said.filter(|one| one.path.ends_with("/nack")).collect()
}

#[tokio::test]
async fn what_cannot_be_read_is_given_up_and_ends_no_subscription() {
    // That its lease has ended meanwhile, or that the target is gone, is said by the next pull.
    let bus = leasing_what_is_no_event(Reply::from(404));
    let client = Client::new(&bus.url()).unwrap();
    let mut deliveries = client.subscribe("default", "orders", "worker", options());
    let only = deliveries.next().await.unwrap();
    assert_eq!(only.event().id(), "1");
    assert!(only.ack().await.unwrap());
    let given_up: Vec<Value> = given_up(&bus).iter().map(Received::json).collect();
    assert_eq!(given_up.len(), 2, "{given_up:?}");
    for (said, token) in given_up.iter().zip(["before", "behind"]) {
        assert_eq!(
            (&said["tokens"], &said["give_up"]),
            (&json!([token]), &json!(true))
        );
        assert!(!said["error"].as_str().unwrap().is_empty(), "{said}");
    }
}

#[tokio::test]
async fn what_can_be_read_is_not_lost_by_who_leaves_while_the_rest_is_given_up() {
    let bus = leasing_what_is_no_event(Reply::from(200).after(Duration::from_secs(3_600)));
    let client = Client::new(&bus.url()).unwrap();
    let mut deliveries = client.subscribe("default", "orders", "worker", options());
    tokio::select! {
        next = deliveries.next() => panic!("it did not wait: {next:?}"),
        () = eventually("a word about what is no event", async || {
            (!given_up(&bus).is_empty()).then_some(())
        }) => {}
    }
    let only = deliveries.next().await.unwrap();
    assert_eq!(only.event().id(), "1");
}

#[tokio::test]
async fn what_waiting_does_not_mend_is_an_error_at_once() {
    let bus = TestBus::start().await;
    let client = Client::new(&bus.url("")).unwrap();
    let mut deliveries = client.subscribe("default", "none", "worker", options());
    assert_eq!(deliveries.next().await.unwrap_err().status(), Some(404));
    let patience = Duration::from_secs(3_600);
    let refused = client.publish_until("none", event("1"), patience).await;
    assert_eq!(refused.unwrap_err().status(), Some(404));
    let nobody = Client::new(&format!("http://127.0.0.1:{}", port())).unwrap();
    let patience = Duration::from_millis(300);
    let away = nobody.publish_until("default", event("1"), patience).await;
    assert_eq!(away.unwrap_err().status(), None);
}

#[tokio::test]
async fn any_number_of_events_is_published_in_order() {
    let bus = TestBus::start().await;
    let client = Client::new(&bus.url("")).unwrap();
    let events = (0..2_500).map(|n| event(&n.to_string()));
    let patience = Duration::from_secs(60);
    let accepted = client
        .publish_all("default", events, patience)
        .await
        .unwrap();
    assert_eq!(accepted.len(), 2_500);
    assert!(accepted.is_sorted_by_key(|one| one.sequence));
    assert_eq!((&*accepted[0].id, &*accepted[2_499].id), ("0", "2499"));
    let none: [Event; 0] = [];
    let accepted = client.publish_all("default", none, patience).await.unwrap();
    assert_eq!(accepted.len(), 0);
}

async fn run(bus: &TestBus, arguments: &[&str]) -> Output {
    run_at(&bus.url(""), arguments).await
}

async fn run_at(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
    command.args(["pull", "orders", "worker", "--url", url]);
    command.args(arguments).env_remove("EVENTYARD_API_KEY");
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_command_prints_what_it_takes() {
    let bus = TestBus::start().await;
    let gone = run(&bus, &["--limit", "1"]).await;
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
    let nobody = run_at(&format!("http://127.0.0.1:{}", port()), &[]).await;
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
    bus.put_rule("orders", &rule()).await;
    let client = Client::new(&bus.url("")).unwrap();
    for id in ["1", "2"] {
        client.publish("default", event(id)).await.unwrap();
    }
    let printed = run(&bus, &["--limit", "2"]).await;
    assert!(printed.status.success(), "{printed:?}");
    let lines = String::from_utf8(printed.stdout).unwrap();
    let ids: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids, ["1", "2"]);
    let idle = run(&bus, &["--idle", "1"]).await;
    assert!(idle.status.success() && idle.stdout.is_empty(), "{idle:?}");
    nothing_is_left(&bus).await;
}

#[tokio::test]
async fn the_command_runs_another_for_each_event() {
    let bus = TestBus::start().await;
    bus.put_rule("orders", &rule()).await;
    let client = Client::new(&bus.url("")).unwrap();
    client.publish("default", event("1")).await.unwrap();
    let file = bus.dir().join("seen");
    // The first attempt fails.
    let script = format!(
        "cat >> '{}'; [ \"$EVENTYARD_ATTEMPT\" = 2 ]",
        file.display()
    );
    let ran = run(&bus, &["--limit", "2", "--exec", "sh", "-c", &script]).await;
    assert!(ran.status.success(), "{ran:?}");
    let seen = std::fs::read_to_string(file).unwrap();
    assert_eq!(seen.matches(r#""id":"1""#).count(), 2, "{seen}");
    let health = nothing_is_left(&bus).await;
    assert_eq!(health["delivered"], 1);
    let error = health["last_error"].as_str().unwrap();
    assert!(error.contains("exit status: 1"), "{error}");
}
