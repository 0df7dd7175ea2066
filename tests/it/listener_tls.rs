//! TLS on the bus's own listener: who is let in, certificates exchanged while it runs, and clients
//! that never finish a handshake.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use eventyard::config::Config;
use eventyard::limits;
use eventyard::tls::{self, Clients};
use rcgen::{CertificateParams, date_time_ymd};
use reqwest::{Client, Method, Version};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::exposition::Scrape;
use crate::harness::{Authority, PATIENCE, TestBus, eventually, send};

const HOST: &str = "127.0.0.1";

/// Certificates on disk, as an operator has them.
struct Place {
    dir: tempfile::TempDir,
    authority: Authority,
    clients: Authority,
}

impl Place {
    fn new() -> Place {
        let place = Place {
            dir: tempfile::tempdir().unwrap(),
            authority: Authority::new(),
            clients: Authority::new(),
        };
        place.issue(&place.authority);
        place.write("ca.pem", &place.authority.pem());
        place.write("clients.pem", &place.clients.pem());
        place.write("client.pem", &place.clients.issue("shop").pem());
        place.write("stranger.pem", &Authority::new().issue("shop").pem());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn issue(&self, authority: &Authority) {
        let issued = authority.issue(HOST);
        self.write("cert.pem", &issued.certificate);
        self.write("key.pem", &issued.key);
    }

    fn tls(&self, clients: Option<bool>) -> tls::Config {
        let mut config = tls::Config::new(self.path("cert.pem"), Some(self.path("key.pem")));
        config.clients = clients.map(|are_optional| Clients {
            authorities: self.path("clients.pem"),
            are_optional,
        });
        config
    }

    async fn start(&self, tls: tls::Config) -> TestBus {
        let builder = TestBus::builder();
        let adjust = |config: &mut Config| config.tls = Some(tls);
        builder.config(adjust).start().await
    }
}

/// A client that trusts `authority`, and shows what stands in `identity`.
fn client(authority: &Authority, identity: Option<&Path>) -> Client {
    let authorities = reqwest::Certificate::from_pem_bundle(authority.pem().as_bytes());
    let mut client = Client::builder().tls_certs_only(authorities.unwrap());
    if let Some(path) = identity {
        let pem = std::fs::read(path).unwrap();
        client = client.identity(reqwest::Identity::from_pem(&pem).unwrap());
    }
    client.build().unwrap()
}

fn https(bus: &TestBus, path: &str) -> String {
    format!("https://{}{path}", bus.addr())
}

async fn is_let_in(bus: &TestBus, client: &Client) -> bool {
    let answer = client.get(https(bus, "/healthz")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test]
async fn events_come_in_over_both_versions_of_http() {
    let place = Place::new();
    let bus = place.start(place.tls(None)).await;
    let authorities = reqwest::Certificate::from_pem_bundle(place.authority.pem().as_bytes());
    let old = Client::builder()
        .tls_certs_only(authorities.unwrap())
        .http1_only();
    let both = [
        (client(&place.authority, None), Version::HTTP_2),
        (old.build().unwrap(), Version::HTTP_11),
    ];
    for (client, version) in both {
        let event = json!({"specversion": "1.0", "id": format!("{version:?}"), "source": "/s", "type": "a"});
        let publish = client.post(https(&bus, "/"));
        let publish = publish.header("content-type", "application/cloudevents+json");
        let answer = publish.body(event.to_string()).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (202, version));
    }
    let client = client(&place.authority, None);
    let answer = send(client.get(https(&bus, "/v1/buses/default/events"))).await;
    assert_eq!(answer.json()["events"].as_array().unwrap().len(), 2);
    let metrics = send(client.get(https(&bus, "/metrics"))).await.text();
    let counted = "eventyard_tls_handshakes_total{outcome=\"without_certificate\"} 3\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_client_shows_a_certificate_of_the_authority_where_one_is_wanted() {
    let place = Place::new();
    let clients = || {
        let known = client(&place.authority, Some(&place.path("client.pem")));
        let stranger = client(&place.authority, Some(&place.path("stranger.pem")));
        (known, stranger, client(&place.authority, None))
    };
    for (wanted, expected) in [
        (Some(false), [true, false, false]),
        (Some(true), [true, false, true]),
        (None, [true, true, true]),
    ] {
        let bus = place.start(place.tls(wanted)).await;
        let (known, stranger, nobody) = clients();
        let found = [
            is_let_in(&bus, &known).await,
            is_let_in(&bus, &stranger).await,
            is_let_in(&bus, &nobody).await,
        ];
        assert_eq!(found, expected, "known, stranger, nobody, where {wanted:?}");
    }
}

#[tokio::test]
async fn certificates_change_under_a_running_bus_and_broken_ones_do_not() {
    let place = Place::new();
    let bus = place.start(place.tls(Some(false))).await;
    let identity = place.path("client.pem");
    // A connection that stands goes on, whatever happens.
    let standing = client(&place.authority, Some(&identity));
    assert!(is_let_in(&bus, &standing).await);

    place.write("key.pem", "no key");
    let error = bus.running().reload().await.unwrap_err().to_string();
    assert!(
        error.contains("key.pem") && error.contains("no private key"),
        "{error}"
    );
    assert!(is_let_in(&bus, &client(&place.authority, Some(&identity))).await);

    let next = Authority::new();
    place.issue(&next);
    bus.running().reload().await.unwrap();
    assert!(is_let_in(&bus, &client(&next, Some(&identity))).await);
    assert!(!is_let_in(&bus, &client(&place.authority, Some(&identity))).await);
    assert!(is_let_in(&bus, &standing).await);

    // Who may come in changes too, without a handshake that is taken up again from before.
    let others = Authority::new();
    place.write("clients.pem", &others.pem());
    bus.running().reload().await.unwrap();
    assert!(!is_let_in(&bus, &client(&next, Some(&identity))).await);
    place.write("other.pem", &others.issue("shop").pem());
    assert!(is_let_in(&bus, &client(&next, Some(&place.path("other.pem")))).await);
}

/// What `/metrics` shows of a bus that speaks TLS and asks clients for certificates.
pub(crate) async fn scraped() -> Scrape {
    let place = Place::new();
    scrape(&place, &place.start(place.tls(Some(true))).await).await
}

async fn scrape(place: &Place, bus: &TestBus) -> Scrape {
    let client = client(&place.authority, None);
    let text = send(client.get(https(bus, "/metrics"))).await.text();
    Scrape::read(&text).unwrap()
}

#[tokio::test]
async fn metrics_tell_when_the_first_certificate_of_a_file_ends() {
    let place = Place::new();
    let year = |year: i32| {
        move |params: &mut CertificateParams| params.not_after = date_time_ymd(year, 1, 1)
    };
    let write = |own: i32, intermediate: i32| {
        let own = place.authority.issue_with(HOST, year(own));
        let intermediate = place.authority.issue_with("between", year(intermediate));
        place.write("cert.pem", &(own.certificate + &intermediate.certificate));
        place.write("key.pem", &own.key);
    };
    let check = async |bus: &TestBus, expected: f64| {
        let shown = scrape(&place, bus).await;
        let name = "eventyard_tls_certificate_not_after_seconds";
        assert_eq!(shown.value(name, &[("file", "tls_cert_file")]), expected);
        // What the library gives an authority that says nothing: the year 4096.
        let authority = shown.value(name, &[("file", "tls_client_ca_file")]);
        assert_eq!(authority, 67_090_118_400.0);
    };
    write(2040, 2030);
    let bus = place.start(place.tls(Some(true))).await;
    check(&bus, 1_893_456_000.0).await;
    write(2040, 2050);
    bus.running().reload().await.unwrap();
    check(&bus, 2_208_988_800.0).await;
}

#[tokio::test]
async fn files_that_change_are_found() {
    let place = Place::new();
    let mut tls = place.tls(None);
    tls.look_every = Duration::from_millis(10);
    let bus = place.start(tls).await;
    let next = Authority::new();
    place.issue(&next);
    eventually("the new certificate is shown", async || {
        is_let_in(&bus, &client(&next, None)).await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn clients_that_never_finish_a_handshake_hold_up_nobody() {
    let place = Place::new();
    let mut tls = place.tls(None);
    tls.handshakes = 4;
    let bus = place.start(tls).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(bus.addr()).await.unwrap());
    }
    let began = Instant::now();
    for _ in 0..5 {
        assert!(is_let_in(&bus, &client(&place.authority, None)).await);
    }
    assert!(began.elapsed() < limits::TLS_HANDSHAKE_TIMEOUT / 2);
    // All but the newest had to go.
    for stream in &mut silent[..40] {
        let read = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    let metrics = client(&place.authority, None).get(https(&bus, "/metrics"));
    let metrics = send(metrics).await.text();
    let line = metrics.lines().find(|line| line.contains("displaced"));
    let count = line.unwrap().rsplit_once(' ').unwrap().1;
    assert!(count.parse::<u64>().unwrap() >= 46, "{count}");
}

#[tokio::test]
async fn a_slow_handshake_ends_and_does_not_hold_up_a_drain() {
    let place = Place::new();
    let mut tls = place.tls(None);
    tls.handshake_timeout = Duration::from_millis(100);
    let bus = place.start(tls).await;
    let mut slow = TcpStream::connect(bus.addr()).await.unwrap();
    // The beginning of a record that never comes.
    slow.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let read = timeout(PATIENCE, slow.read_to_end(&mut Vec::new())).await;
    drop(read.expect("the bus closes the connection"));

    let bus = place.start(place.tls(None)).await;
    let silent = TcpStream::connect(bus.addr()).await.unwrap();
    let began = Instant::now();
    bus.drain().await;
    assert!(began.elapsed() < limits::TLS_HANDSHAKE_TIMEOUT / 2);
    drop(silent);
}

#[tokio::test]
async fn an_open_bus_keeps_web_pages_away_over_tls_too() {
    let place = Place::new();
    let bus = place.start(place.tls(None)).await;
    let client = client(&place.authority, None);
    let ask = async |origin: &str| {
        let request = client.request(Method::GET, https(&bus, "/v1/buses"));
        send(request.header("origin", origin)).await.status.as_u16()
    };
    assert_eq!(ask(&https(&bus, "")).await, 200);
    assert_eq!(ask("https://attacker.example").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_it_lacks() {
    let place = Place::new();
    let (open, closed) = (
        TestBus::start().await,
        place.start(place.tls(Some(false))).await,
    );
    let (plain, secret) = (format!("http://{}", open.addr()), https(&closed, ""));
    let wrong_scheme = (
        secret.replace("https", "http"),
        plain.replace("http", "https"),
    );
    let health = |url: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTYARD_") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").current_dir(place.dir.path());
        let output = command.args(["health", "--url", url]).args(arguments);
        let output = output.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), text)
    };
    let check = |url: &str, arguments: &[&str], exit: i32, words: &str| {
        let (code, text) = health(url, arguments);
        assert_eq!(code, exit, "{arguments:?}: {text}");
        assert!(
            text.contains(words),
            "{arguments:?}: no {words:?} in: {text}"
        );
    };
    let issued = place.clients.issue("shop");
    place.write("alone.pem", &issued.certificate);
    place.write("alone-key.pem", &issued.key);
    let alone = ["--ca", "ca.pem", "--cert", "alone.pem"];
    check(
        &secret,
        &["--ca", "ca.pem", "--cert", "client.pem"],
        0,
        "is ready",
    );
    check(
        &secret,
        &[alone.as_slice(), &["--cert-key", "alone-key.pem"]].concat(),
        0,
        "is ready",
    );
    check(&secret, &[], 4, "--ca");
    check(
        &secret,
        &["--ca", "clients.pem", "--cert", "client.pem"],
        4,
        "--ca",
    );
    check(&secret, &["--ca", "ca.pem"], 4, "--cert");
    check(
        &secret,
        &["--ca", "ca.pem", "--cert", "stranger.pem"],
        4,
        "--cert",
    );
    check(&secret, &alone, 2, "private key");
    check(&secret, &["--cert-key", "key.pem"], 2, "--cert");
    check(&secret, &["--ca", "none.pem"], 2, "none.pem");
    check(&secret, &["--ca", "key.pem"], 2, "no certificate");
    check(&wrong_scheme.0, &[], 4, "https://");
    check(&wrong_scheme.1, &[], 4, "http://");
    check(&plain, &[], 0, "is ready");
}
