//! Bounds over a raw socket, on a whole bus (the server's own tests have more of them).

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, TestBus};

async fn impatient() -> TestBus {
    let quick = Duration::from_millis(200);
    let adjust = move |config: &mut eventyard::config::Config| {
        config.api.head_timeout = quick;
        config.api.body_idle_timeout = quick;
    };
    TestBus::builder().config(adjust).start().await
}

/// Sends `text` and returns all that comes until the bus closes.
async fn say(bus: &TestBus, text: &str) -> String {
    let mut stream = TcpStream::connect(bus.addr()).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the bus closes the connection"));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn slow_and_half_sent_requests_are_closed() {
    let bus = impatient().await;
    assert_eq!(say(&bus, "").await, "");
    say(&bus, "POST / HTTP/1.1\r\nhost: bus\r\nce-id").await;
    let half = "POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: 10\r\n\r\nhalf";
    let answer = say(&bus, half).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_comes() {
    let bus = impatient().await;
    let length = eventyard::limits::BODY_BYTES + 1;
    let head = format!("POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: {length}\r\n\r\n");
    let answer = say(&bus, &head).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let bus = impatient().await;
    let value = "x".repeat(eventyard::limits::REQUEST_HEADER_BYTES);
    let answer = say(
        &bus,
        &format!("POST / HTTP/1.1\r\nhost: bus\r\nx: {value}\r\n\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
