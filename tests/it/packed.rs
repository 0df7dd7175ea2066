//! Request bodies that come compressed: every way of publishing, documents, bombs, and what is refused.

use std::io::Write;

use eventyard::client::{Client, Compression};
use eventyard::limits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, eventually, send};

fn gzip(data: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 3).unwrap()
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": {"n": 1.50}})
}

async fn post(bus: &TestBus, coding: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = bus
        .request(Method::POST, "/v1/buses/default/events")
        .header("content-encoding", coding)
        .header("content-type", media_type);
    send(request.body(body)).await
}

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

#[tokio::test]
async fn every_mode_and_every_document_may_come_packed() {
    let bus = TestBus::start().await;
    for (coding, pack) in [
        ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
        ("zstd", zstd),
        ("X-GZIP", gzip),
    ] {
        let name = |mode: &str| format!("{coding}-{mode}");
        let one = event(&name("structured")).to_string();
        let answer = post(&bus, coding, STRUCTURED, pack(one.as_bytes())).await;
        assert_eq!(answer.status, 202, "{coding}: {}", answer.text());
        let many = json!([event(&name("first")), event(&name("second"))]).to_string();
        let answer = post(&bus, coding, BATCH, pack(many.as_bytes())).await;
        assert_eq!(answer.json()["accepted"].as_array().unwrap().len(), 2);
        let request = bus
            .request(Method::POST, "/")
            .header("content-encoding", coding)
            .header("content-type", "text/plain")
            .header("ce-specversion", "1.0")
            .header("ce-id", name("binary"))
            .header("ce-source", "/s")
            .header("ce-type", "t");
        let answer = send(request.body(pack("a \u{e9}".as_bytes()))).await;
        assert_eq!(answer.status, 202, "{coding}: {}", answer.text());
        let sequence = &answer.json()["accepted"][0]["sequence"];
        let shown = format!("/v1/buses/default/events/{sequence}");
        assert_eq!(bus.get(&shown).await.json()["event"]["data"], "a \u{e9}");
        let document = json!({"description": coding}).to_string();
        let request = bus
            .request(Method::PUT, "/v1/buses/other")
            .header("content-encoding", coding);
        let answer = send(request.body(pack(document.as_bytes()))).await;
        assert!(answer.status.is_success(), "{coding}: {}", answer.text());
        let shown = bus.get("/v1/buses/other").await;
        assert_eq!(shown.json()["description"], coding);
    }
}

#[tokio::test]
async fn other_codings_are_refused_with_those_that_are_taken() {
    let bus = TestBus::start().await;
    for coding in ["br", "deflate", "gzip, zstd", "gzip,gzip", "x"] {
        let answer = post(&bus, coding, STRUCTURED, gzip(b"{}")).await;
        answer.problem(415);
        assert_eq!(answer.header("accept-encoding"), "gzip, zstd", "{coding}");
        let request = bus
            .request(Method::POST, "/v1/patterns/test")
            .header("content-encoding", coding);
        let answer = send(request.body("{}")).await;
        answer.problem(415);
        assert_eq!(answer.header("accept-encoding"), "gzip, zstd", "{coding}");
    }
    // Another reason for the same status.
    let answer = post(&bus, "identity", "application/cloudevents+xml", vec![b'x']).await;
    answer.problem(415);
    assert_eq!(answer.header("accept-encoding"), "");
}

#[tokio::test]
async fn what_does_not_unpack_is_refused() {
    let bus = TestBus::start().await;
    let whole = event("1").to_string();
    for (coding, packed) in [
        ("gzip", gzip(whole.as_bytes())),
        ("zstd", zstd(whole.as_bytes())),
    ] {
        let half = packed[..packed.len() / 2].to_vec();
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xFF;
        for (what, body) in [
            ("half", half),
            ("damaged", damaged),
            ("plain", whole.clone().into_bytes()),
        ] {
            let problem = post(&bus, coding, STRUCTURED, body).await.problem(415);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("unpack"), "{coding} {what}: {detail}");
        }
        let answer = post(&bus, coding, STRUCTURED, packed).await;
        assert!(answer.json()["accepted"][0].get("duplicate").is_none() || coding == "zstd");
    }
}

#[tokio::test]
async fn a_bomb_is_stopped_at_the_limit_of_bodies() {
    let bus = TestBus::start().await;
    let zeros = vec![b' '; 256 << 20];
    for (coding, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
        assert!(bomb.len() < limits::BODY_BYTES / 8, "{}", bomb.len());
        let problem = post(&bus, coding, STRUCTURED, bomb.clone())
            .await
            .problem(413);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&limits::BODY_BYTES.to_string()), "{detail}");
        // The bound of a document is its own.
        let request = bus
            .request(Method::PUT, "/v1/buses/other")
            .header("content-encoding", coding);
        let problem = send(request.body(bomb)).await.problem(413);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&limits::RULE_BYTES.to_string()), "{detail}");
    }
    let held = "eventyard_request_bodies_bytes 0";
    eventually("nothing is held any more", async || {
        bus.get("/metrics")
            .await
            .text()
            .contains(held)
            .then_some(())
    })
    .await;
    bus.publish(&event("1")).await;
}

#[tokio::test]
async fn a_client_may_pack_what_it_publishes() {
    let bus = TestBus::start().await;
    for compression in [Compression::Gzip, Compression::Zstd] {
        let client = Client::new(&bus.url("")).unwrap().compressing(compression);
        let id = format!("{compression:?}");
        let body = json!([event(&id), event(&format!("{id}-2"))]).to_string();
        let accepted = client.publish_json("default", body).await.unwrap();
        assert_eq!(accepted.len(), 2);
        let shown = client.event("default", accepted[0].sequence).await.unwrap();
        let shown: Value = serde_json::from_str(shown.get()).unwrap();
        assert_eq!(shown["event"]["id"], id);
    }
}
