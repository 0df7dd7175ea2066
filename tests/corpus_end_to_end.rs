//! Sends the shared corpus of CloudEvents over HTTP to a running bus, byte for byte, and reads what
//! its targets then receive with a reader of its own. Set `EVENTYARD_CORPORA` to the folder that
//! holds `ce-http-cases.jsonl`.
//!
//! `corpus_ce_http.rs` runs the same cases through the codec alone; here the server, the log, the
//! router and the delivery are between the two.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use eventyard::app::{App, Running};
use eventyard::config::Config;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Cases that we hold to be wrong, each with the reason.
const HELD_WRONG: [(&str, &str); 0] = [];

/// Where targets are: the path names the mode.
const MODES: [&str; 2] = ["binary", "structured"];
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came over the wire; header names in lower case.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// One delivery.
struct Delivery {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// An event by its meaning.
#[derive(Debug, PartialEq)]
struct Shape {
    attributes: BTreeMap<String, Json>,
    data: Payload,
}

#[derive(Debug, PartialEq)]
enum Payload {
    /// No data, or empty data: binary mode does not tell them apart.
    None,
    Json(Json),
    Bytes(Vec<u8>),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_the_corpus_comes_through_the_bus() {
    let Some(folder) = std::env::var_os("EVENTYARD_CORPORA") else {
        println!("skipped: EVENTYARD_CORPORA names no folder");
        return;
    };
    let file = Path::new(&folder).join("ce-http-cases.jsonl");
    let text = std::fs::read_to_string(&file).expect("the corpus is readable");
    let (sender, mut deliveries) = mpsc::unbounded_channel();
    let receiver = receiver(sender).await;
    let place = tempfile::tempdir().expect("a folder for the bus");
    let bus = bus(place.path(), receiver).await;
    let (mut run, mut failures) = (0, Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let case: Json = serde_json::from_str(line).expect("a case is JSON");
        let id = case["id"].as_str().expect("a case has an id");
        if HELD_WRONG.iter().any(|(wrong, _)| *wrong == id) {
            continue;
        }
        run += 1;
        if let Err(failure) = check(bus.addr(), &case, &mut deliveries).await {
            failures.push(format!("{id} ({}): {failure}", case["title"]));
        }
    }
    println!("{run} cases run");
    bus.drain().await.expect("the bus stops");
    assert!(
        deliveries.try_recv().is_err(),
        "something came that was not accepted"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(run > 100, "only {run} cases in {}", file.display());
}

/// A bus with one rule that every event meets, and that knows no duplicates: ids repeat in the
/// corpus.
async fn bus(place: &Path, receiver: SocketAddr) -> Running {
    let rules = place.join("rules").join("default");
    std::fs::create_dir_all(&rules).expect("a folder for the rules");
    let targets: Vec<Json> = MODES
        .iter()
        .map(|mode| json!({"id": mode, "mode": mode, "url": format!("http://{receiver}/{mode}")}))
        .collect();
    let rule = json!({"pattern": {"specversion": ["1.0"]}, "targets": targets});
    std::fs::write(rules.join("all.json"), rule.to_string()).expect("the rule is written");
    std::fs::write(rules.join("bus.json"), r#"{"dedup_window": "0s"}"#).expect("so is the bus");
    let mut config = Config::in_dir(place.join("data"));
    config.rules_dir = Some(place.join("rules"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    App::new(config)
        .listener(listener)
        .build()
        .await
        .expect("the bus starts")
}

async fn receiver(sender: mpsc::UnboundedSender<Delivery>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let routes = axum::Router::new().fallback(take_down).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn take_down(
    State(sender): State<mpsc::UnboundedSender<Delivery>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let path = uri.path().trim_start_matches('/').to_owned();
    // The test may have ended.
    let _ = sender.send(Delivery {
        path,
        headers,
        body,
    });
    StatusCode::NO_CONTENT
}

async fn check(
    bus: SocketAddr,
    case: &Json,
    deliveries: &mut mpsc::UnboundedReceiver<Delivery>,
) -> Result<(), String> {
    let answer = send(bus, &case["request"]).await?;
    let is_post = case["request"]["method"] == "POST";
    let advice = case["recommended"].as_str().unwrap_or_default();
    let should_accept = match case["expect"].as_str() {
        Some("accept") => Some(true),
        Some("reject") => Some(false),
        _ if advice.starts_with("accept") => Some(true),
        _ if advice.starts_with("reject") => Some(false),
        _ => None,
    };
    let accepted = (200..300).contains(&answer.status);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if should_accept.is_some_and(|should| should != accepted) {
        return Err(format!("answered with {}: {text}", answer.status));
    }
    if !(accepted || (400..500).contains(&answer.status)) {
        return Err(format!("answered with {}: {text}", answer.status));
    }
    if !accepted {
        let hint = case["status_hint"].as_u64();
        let problem = answer.headers.get("content-type").map(String::as_str);
        return match hint {
            Some(hint) if hint != u64::from(answer.status) => Err(format!(
                "refused with {}, not {hint}: {text}",
                answer.status
            )),
            _ if problem != Some("application/problem+json") => {
                Err(format!("refused with the media type {problem:?}: {text}"))
            }
            _ => Ok(()),
        };
    }
    check_headers(case, &answer)?;
    if !is_post {
        return Ok(());
    }
    if answer.status != 202 {
        return Err(format!("accepted with {}", answer.status));
    }
    let body: Json = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let accepted = body["accepted"].as_array().ok_or("nothing is `accepted`")?;
    let count = accepted.len();
    let mut received: BTreeMap<&str, Vec<Shape>> = BTreeMap::new();
    for _ in 0..count * MODES.len() {
        let delivery = tokio::time::timeout(PATIENCE, deliveries.recv()).await;
        let delivery = delivery
            .ok()
            .flatten()
            .ok_or_else(|| format!("a delivery is missing; came: {received:?}"))?;
        let (mode, shape) = read(&delivery)?;
        received.entry(mode).or_default().push(shape);
    }
    for mode in MODES {
        let came = received.remove(mode).unwrap_or_default();
        check_came(case, mode, count, came)?;
    }
    Ok(())
}

/// What came in one mode is what the corpus says was sent, in any order.
fn check_came(case: &Json, mode: &str, count: usize, came: Vec<Shape>) -> Result<(), String> {
    if came.len() != count {
        return Err(format!(
            "{} of {count} events came in {mode} mode",
            came.len()
        ));
    }
    if case["parsed"].is_null() {
        return Ok(());
    }
    let alternatives = case["alt_parsed"].as_array().cloned().unwrap_or_default();
    let readings = std::iter::once(&case["parsed"]).chain(&alternatives);
    let mut last = String::new();
    for reading in readings {
        let wanted: Vec<&Json> = match reading {
            Json::Array(all) => all.iter().collect(),
            one => vec![one],
        };
        // The bus looks for no duplicates, so an event that a batch holds twice comes twice.
        let wanted: Vec<Shape> = wanted
            .into_iter()
            .map(|event| shape_as_received(event, mode))
            .collect();
        let missing = wanted
            .iter()
            .find(|wanted| !came.iter().any(|came| same(came, wanted)));
        match missing {
            None if wanted.len() == came.len() => return Ok(()),
            _ => last = format!("in {mode} mode came {came:?}, not {wanted:?}"),
        }
    }
    Err(last)
}

fn same(came: &Shape, wanted: &Shape) -> bool {
    let instant = |value: &Json| value.as_str()?.parse::<Timestamp>().ok();
    let data = match (&came.data, &wanted.data) {
        // JSON whose type does not say so travels as bytes; the meaning is the same.
        (Payload::Bytes(bytes), Payload::Json(json)) => {
            serde_json::from_slice::<Json>(bytes).is_ok_and(|read| read == *json)
        }
        (Payload::Json(json), Payload::Bytes(bytes)) => {
            serde_json::from_slice::<Json>(bytes).is_ok_and(|read| read == *json)
        }
        (came, wanted) => came == wanted,
    };
    let attributes = &came.attributes;
    data && attributes.len() == wanted.attributes.len()
        && wanted.attributes.iter().all(|(name, wanted)| {
            attributes.get(name).is_some_and(|came| {
                came == wanted
                    || name == "time"
                        && instant(came).is_some_and(|time| Some(time) == instant(wanted))
            })
        })
}

/// An event of the corpus as a target in this mode must read it.
fn shape_as_received(event: &Json, mode: &str) -> Shape {
    let mut shape = structured(event);
    if mode == "binary" {
        for value in shape.attributes.values_mut() {
            if let Json::Number(_) | Json::Bool(_) = value {
                *value = Json::from(value.to_string());
            }
        }
        // JSON without a type gets one where the body does not show what it is.
        if matches!(shape.data, Payload::Json(_)) {
            let json = Json::from("application/json");
            shape
                .attributes
                .entry("datacontenttype".to_owned())
                .or_insert(json);
        }
    }
    shape
}

/// Reads an event in the JSON event format.
fn structured(event: &Json) -> Shape {
    let members = event.as_object().cloned().unwrap_or_default();
    let is_json = is_json(members.get("datacontenttype").and_then(Json::as_str));
    let data = match (members.get("data"), members.get("data_base64")) {
        (Some(Json::String(text)), _) if !is_json => bytes(text.as_bytes()),
        (Some(value), _) => Payload::Json(value.clone()),
        (None, Some(base64)) => {
            let text = base64.as_str().unwrap_or_default();
            bytes(&BASE64_STANDARD.decode(text).unwrap_or_default())
        }
        (None, None) => Payload::None,
    };
    let attributes = members
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64"))
        .collect();
    Shape { attributes, data }
}

fn bytes(bytes: &[u8]) -> Payload {
    match bytes {
        [] => Payload::None,
        bytes => Payload::Bytes(bytes.to_vec()),
    }
}

fn is_json(media_type: Option<&str>) -> bool {
    let Some(media_type) = media_type else {
        return true;
    };
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// Reads a delivery as the HTTP binding says.
fn read(delivery: &Delivery) -> Result<(&'static str, Shape), String> {
    let header = |name: &str| {
        delivery
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let mode = MODES
        .into_iter()
        .find(|mode| *mode == delivery.path)
        .ok_or(format!("a delivery to {}", delivery.path))?;
    if mode == "structured" {
        let media_type = header("content-type").unwrap_or_default();
        if !media_type.starts_with("application/cloudevents+json") {
            return Err(format!("structured mode with the media type {media_type}"));
        }
        let event: Json = serde_json::from_slice(&delivery.body)
            .map_err(|error| format!("structured mode without JSON: {error}"))?;
        return Ok((mode, structured(&event)));
    }
    let mut attributes = BTreeMap::new();
    for (name, value) in &delivery.headers {
        if let Some(name) = name.as_str().strip_prefix("ce-") {
            let value = percent_decode(value.as_bytes())?;
            attributes.insert(name.to_owned(), Json::from(value));
        }
    }
    let media_type = header("content-type");
    if let Some(media_type) = media_type {
        attributes.insert("datacontenttype".to_owned(), Json::from(media_type));
    }
    let data = match serde_json::from_slice(&delivery.body) {
        Ok(json) if media_type.is_some() && is_json(media_type) => Payload::Json(json),
        _ => bytes(&delivery.body),
    };
    Ok((mode, Shape { attributes, data }))
}

/// One round, strictly: what the bus sends is printable ASCII and properly escaped.
fn percent_decode(value: &[u8]) -> Result<String, String> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                decoded.push(byte.ok_or("a stray `%` in a header")?);
                rest = &tail[2..];
            }
            b'!'..=b'~' if *first != b'"' => decoded.push(*first),
            other => return Err(format!("byte {other:#04x} stands bare in a header")),
        }
    }
    String::from_utf8(decoded).map_err(|error| error.to_string())
}

fn check_headers(case: &Json, answer: &Answer) -> Result<(), String> {
    for (name, wanted) in case["response_headers"].as_object().into_iter().flatten() {
        let wanted = wanted.as_str().unwrap_or_default();
        let value = answer.headers.get(&name.to_ascii_lowercase());
        let value = value.map(String::as_str).unwrap_or_default();
        let holds = match name.as_str() {
            "WebHook-Allowed-Origin" => value == "*" || !value.is_empty() && wanted.contains(value),
            "WebHook-Allowed-Rate" => value == "*" || value.parse().is_ok_and(|rate: u32| rate > 0),
            "Allow" => value.contains("POST"),
            _ => value == wanted,
        };
        if !holds {
            return Err(format!("{name} is {value:?}, not {wanted}"));
        }
    }
    Ok(())
}

/// Sends the request as it stands in the corpus: clients mend what must arrive broken.
async fn send(bus: SocketAddr, request: &Json) -> Result<Answer, String> {
    let text = |name: &str| request[name].as_str().unwrap_or_default();
    let body = match &request["body_b64"] {
        Json::String(base64) => decode(base64)?,
        _ => text("body").as_bytes().to_vec(),
    };
    let mut message = format!(
        "{} {} HTTP/1.1\r\nhost: {bus}\r\nconnection: close\r\ncontent-length: {}\r\n",
        text("method"),
        text("target"),
        body.len()
    )
    .into_bytes();
    for pair in request["headers"].as_array().into_iter().flatten() {
        message.extend_from_slice(pair[0].as_str().unwrap_or_default().as_bytes());
        message.extend_from_slice(b": ");
        match &pair[1] {
            Json::String(value) => message.extend_from_slice(value.as_bytes()),
            other => message.extend(decode(other["b64"].as_str().unwrap_or_default())?),
        }
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&body);
    let exchange = async {
        let mut stream = TcpStream::connect(bus).await?;
        stream.write_all(&message).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    let answer = answer.map_err(|_| "no answer".to_owned())?;
    parse_answer(&answer.map_err(|error| error.to_string())?)
}

fn decode(base64: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD
        .decode(base64)
        .map_err(|error| error.to_string())
}

fn parse_answer(bytes: &[u8]) -> Result<Answer, String> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| format!("no answer: {:?}", String::from_utf8_lossy(bytes)))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Answer {
        status: status
            .and_then(|text| text.parse().ok())
            .ok_or("no status")?,
        headers,
        body: bytes[end + 4..].to_vec(),
    })
}
