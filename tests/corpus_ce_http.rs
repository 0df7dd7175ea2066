//! Runs the shared corpus of CloudEvents over HTTP: the verdict, what was read, and what a target
//! would then receive. Set `EVENTYARD_CORPORA` to the folder that holds `ce-http-cases.jsonl`.

#![allow(
    clippy::unwrap_used,
    reason = "a case that is not as the corpus describes it should fail the test at once"
)]

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use eventyard::event::{
    ContentMode, Data, DecodeError, ErrorClass, Event, Value, consent, decode, encode, encode_batch,
};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::Value as Json;

/// Cases that we hold to be wrong, each with the reason.
const HELD_WRONG: [(&str, &str); 0] = [];

/// What the corpus leaves to the receiver (`either`) and does not recommend, as we settled it.
/// All other `either` cases go by `recommended`.
const SETTLED: [(&str, bool, &str); 8] = [
    ("bin-034", true, "quotes that do not pair are literal"),
    ("bin-035", true, "quotes inside a value are literal"),
    ("bin-113", true, "a byte order mark makes JSON data opaque"),
    ("str-023", true, "null is absent for data_base64 too"),
    ("str-027", true, "padding may be missing"),
    ("str-043", false, "the bus speaks 1.0"),
    ("str-085", true, "RFC 8259 lets a reader skip the mark"),
    ("str-095", false, "limits::JSON_DEPTH"),
];

#[test]
fn every_case_of_the_corpus_holds() {
    let Some(folder) = std::env::var_os("EVENTYARD_CORPORA") else {
        println!("skipped: EVENTYARD_CORPORA names no folder");
        return;
    };
    let file = Path::new(&folder).join("ce-http-cases.jsonl");
    let cases = std::fs::read_to_string(&file).unwrap();
    let mut run = 0;
    let mut failures = Vec::new();
    for line in cases.lines().filter(|line| !line.trim().is_empty()) {
        let case: Json = serde_json::from_str(line).unwrap();
        let id = case["id"].as_str().unwrap();
        if HELD_WRONG.iter().any(|(wrong, _)| *wrong == id) {
            continue;
        }
        run += 1;
        if let Err(failure) = check(id, &case) {
            failures.push(format!("{id} ({}): {failure}", case["title"]));
        }
    }
    println!("{run} cases run");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(run > 100, "only {run} cases in {}", file.display());
}

fn check(id: &str, case: &Json) -> Result<(), String> {
    let headers = headers(&case["request"]["headers"]);
    match case["request"]["method"].as_str().unwrap() {
        "POST" => {}
        "OPTIONS" => return check_consent(case, &headers),
        // The decoder knows no methods; which ones are routed to it is the api's.
        _ => return Ok(()),
    }
    let wanted = match case["expect"].as_str().unwrap() {
        "accept" => Some(true),
        "reject" => Some(false),
        _ => match case["recommended"].as_str() {
            Some(advice) => Some(advice.starts_with("accept")),
            None => SETTLED
                .iter()
                .find_map(|(settled, wanted, _)| (*settled == id).then_some(*wanted)),
        },
    };
    let received = match (decode(&headers, body(&case["request"])), wanted) {
        (Err(error), None | Some(false)) => return check_class(case, &error),
        (Err(error), Some(true)) => return Err(format!("refused: {error}")),
        (Ok(received), Some(false)) => return Err(format!("taken: {:?}", received.events)),
        (Ok(received), _) => received,
    };
    check_parsed(case, &received.events)?;
    for event in &received.events {
        for mode in [ContentMode::Binary, ContentMode::Structured] {
            let (headers, body) = encode(event, mode);
            check_sent(event, &headers, body, mode)?;
        }
    }
    let all: Vec<&Event> = received.events.iter().collect();
    let (headers, body) = encode_batch(&all);
    let again = decode(&headers, body).map_err(|error| format!("sent as batch: {error}"))?;
    if again.events.len() != all.len() {
        return Err("events are lost in a batch".to_owned());
    }
    for (again, event) in again.events.iter().zip(&received.events) {
        compare(&shape(again), &shape(event)).map_err(|error| format!("sent as batch: {error}"))?;
    }
    Ok(())
}

/// The refusal's class is the one whose status the corpus hints at.
fn check_class(case: &Json, error: &DecodeError) -> Result<(), String> {
    let status = match error.class {
        ErrorClass::Malformed => 400,
        ErrorClass::TooLarge { .. } => 413,
        ErrorClass::UnsupportedMediaType => 415,
    };
    match case["status_hint"].as_u64() {
        Some(hint) if hint != status => Err(format!("refused as {status}, not {hint}: {error}")),
        _ => Ok(()),
    }
}

/// What a target reads of a delivery is the event.
fn check_sent(
    event: &Event,
    headers: &HeaderMap,
    body: Bytes,
    mode: ContentMode,
) -> Result<(), String> {
    let again = decode(headers, body).map_err(|error| format!("sent as {mode:?}: {error}"))?;
    let (mut wanted, mut got) = (shape(event), shape(&again.events[0]));
    if mode == ContentMode::Binary {
        // Headers carry no types, empty data is absent data, and JSON gets its type.
        for shape in [&mut wanted, &mut got] {
            for (_, value) in &mut shape.attributes {
                if let Json::Number(_) | Json::Bool(_) = value {
                    *value = Json::from(value.to_string());
                }
            }
            shape.data = shape.data.take().filter(|data| !data.is_empty());
        }
        if event.data_content_type().is_none() && matches!(event.data(), Some(Data::Json(_))) {
            let json = ("datacontenttype".to_owned(), Json::from("application/json"));
            wanted.attributes.push(json);
            wanted.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
    compare(&got, &wanted).map_err(|error| format!("sent as {mode:?}: {error}"))
}

fn check_parsed(case: &Json, events: &[Event]) -> Result<(), String> {
    if case["parsed"].is_null() {
        return Ok(());
    }
    let one_or_all = |parsed: &Json| match parsed {
        Json::Array(all) => all.clone(),
        one => vec![one.clone()],
    };
    let mut readings = vec![one_or_all(&case["parsed"])];
    for other in case["alt_parsed"].as_array().into_iter().flatten() {
        readings.push(one_or_all(other));
    }
    let mut last = Err("no reading".to_owned());
    for wanted in readings {
        last = if wanted.len() == events.len() {
            events
                .iter()
                .zip(&wanted)
                .try_for_each(|(event, wanted)| compare(&shape(event), &shape_of_json(wanted)))
        } else {
            Err(format!("{} events, not {}", events.len(), wanted.len()))
        };
        if last.is_ok() {
            break;
        }
    }
    last
}

/// An event by its meaning: attributes by name, data as bytes, or as a value when it is JSON.
#[derive(Debug, PartialEq)]
struct Shape {
    attributes: Vec<(String, Json)>,
    data: Option<Payload>,
}

#[derive(Debug, PartialEq)]
enum Payload {
    Json(Json),
    Bytes(Vec<u8>),
}

impl Payload {
    fn is_empty(&self) -> bool {
        matches!(self, Payload::Bytes(bytes) if bytes.is_empty())
    }
}

fn shape(event: &Event) -> Shape {
    let mut attributes: Vec<(String, Json)> = event
        .attributes()
        .map(|(name, value)| match value {
            Value::String(text) => (name.to_owned(), Json::from(text)),
            Value::Integer(number) => (name.to_owned(), Json::from(number)),
            Value::Boolean(truth) => (name.to_owned(), Json::from(truth)),
        })
        .collect();
    attributes.sort_by(|a, b| a.0.cmp(&b.0));
    let data = event.data().map(|data| match data {
        Data::Json(json) => Payload::Json(serde_json::from_slice(json).unwrap()),
        Data::Text(_) | Data::Binary(_) => Payload::Bytes(data.as_bytes().to_vec()),
    });
    Shape { attributes, data }
}

fn shape_of_json(event: &Json) -> Shape {
    let members = event.as_object().unwrap();
    let media_type = members.get("datacontenttype").and_then(Json::as_str);
    let essence = media_type.map(|text| text.split(';').next().unwrap().trim().to_lowercase());
    let is_json = essence.is_none_or(|text| text.ends_with("/json") || text.ends_with("+json"));
    let mut attributes: Vec<(String, Json)> = members
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    attributes.sort_by(|a, b| a.0.cmp(&b.0));
    let data = match (members.get("data"), members.get("data_base64")) {
        (Some(Json::String(text)), _) if !is_json => Some(Payload::Bytes(text.clone().into())),
        (Some(value), _) => Some(Payload::Json(value.clone())),
        (None, Some(base64)) => Some(Payload::Bytes(
            BASE64_STANDARD.decode(base64.as_str().unwrap()).unwrap(),
        )),
        (None, None) => None,
    };
    Shape { attributes, data }
}

fn compare(got: &Shape, wanted: &Shape) -> Result<(), String> {
    let instant = |value: &Json| value.as_str()?.parse::<Timestamp>().ok();
    let same = got.data == wanted.data
        && got.attributes.len() == wanted.attributes.len()
        && got.attributes.iter().zip(&wanted.attributes).all(|(a, b)| {
            a == b
                || (a.0 == "time" && b.0 == "time")
                    && instant(&a.1).is_some_and(|time| Some(time) == instant(&b.1))
        });
    if same {
        return Ok(());
    }
    Err(format!("read {got:?}, not {wanted:?}"))
}

fn check_consent(case: &Json, request: &HeaderMap) -> Result<(), String> {
    let response = consent(request);
    let text = |name: &str| response.get(name).and_then(|value| value.to_str().ok());
    for (name, wanted) in case["response_headers"].as_object().into_iter().flatten() {
        let wanted = wanted.as_str().unwrap();
        let holds = match (name.as_str(), text(name)) {
            (_, None) => false,
            ("WebHook-Allowed-Origin", Some(origin)) => origin == "*" || wanted.contains(origin),
            ("WebHook-Allowed-Rate", Some(rate)) => {
                rate == "*" || rate.parse().is_ok_and(|rate: u32| rate > 0)
            }
            ("Allow", Some(methods)) => methods.contains("POST"),
            (_, Some(value)) => value == wanted,
        };
        if !holds {
            return Err(format!("{name} is {:?}, not {wanted}", text(name)));
        }
    }
    Ok(())
}

fn headers(pairs: &Json) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for pair in pairs.as_array().unwrap() {
        let name: HeaderName = pair[0].as_str().unwrap().parse().unwrap();
        let value = match &pair[1] {
            Json::String(text) => text.clone().into_bytes(),
            other => BASE64_STANDARD
                .decode(other["b64"].as_str().unwrap())
                .unwrap(),
        };
        headers.append(name, HeaderValue::from_bytes(&value).unwrap());
    }
    headers
}

fn body(request: &Json) -> Bytes {
    match (&request["body"], &request["body_b64"]) {
        (_, Json::String(base64)) => Bytes::from(BASE64_STANDARD.decode(base64).unwrap()),
        (Json::String(text), _) => Bytes::from(text.clone()),
        _ => Bytes::new(),
    }
}
