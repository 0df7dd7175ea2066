//! Targets that answer with more than anybody should read, and what they cost the bus in memory.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::bus::{Bus, PATIENCE, Place};

const EVENTS: usize = 300;
/// Most that the bus may ever have held, in KiB: an idle one takes some 30 MiB, and each of the
/// targets' answers is larger than this.
const MOST_KIB: u64 = 160 * 1024;

/// What a target answers each request with.
#[derive(Clone, Copy)]
enum Manner {
    /// A body said to be 10 GB, as fast as it is taken.
    Endless,
    /// The same in chunks, said to be gzip.
    Bomb,
    /// Headers without end.
    Headers,
    /// Nothing, and the connection stays open.
    Silent,
}

async fn serve(listener: TcpListener, manner: Manner, requests: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, manner, Arc::clone(&requests)));
    }
}

/// Reads one request and answers until the other side has enough.
async fn converse(mut stream: TcpStream, manner: Manner, requests: Arc<AtomicUsize>) -> Option<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    requests.fetch_add(1, Ordering::AcqRel);
    let some = vec![b'a'; 64 * 1024];
    match manner {
        Manner::Silent => {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok()?;
            return None;
        }
        Manner::Endless => {
            let head = b"HTTP/1.1 500 No\r\ncontent-length: 10000000000\r\n\r\n";
            stream.write_all(head).await.ok()?;
        }
        Manner::Bomb => {
            let head =
                b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.ok()?;
        }
        Manner::Headers => stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?,
    }
    loop {
        let head: &[u8] = match manner {
            Manner::Bomb => b"10000\r\n",
            Manner::Headers => b"x-more: ",
            _ => b"",
        };
        let end: &[u8] = if head.is_empty() { b"" } else { b"\r\n" };
        stream.write_all(head).await.ok()?;
        stream.write_all(&some).await.ok()?;
        stream.write_all(end).await.ok()?;
    }
}

/// The most memory that a process has had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_answer_without_end_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place {
        root: folder.path().to_owned(),
    };
    let mut targets = Vec::new();
    let mut counts = Vec::new();
    let mut first = None;
    for (id, manner) in [
        ("endless", Manner::Endless),
        ("bomb", Manner::Bomb),
        ("headers", Manner::Headers),
        ("silent", Manner::Silent),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        first.get_or_insert(address);
        let requests = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(listener, manner, Arc::clone(&requests)));
        targets.push(json!({
            "id": id, "url": format!("http://{address}/"), "timeout": "2s", "concurrency": 32,
            "retry": {"initial_delay": "50ms", "max_delay": "200ms", "jitter": false},
        }));
        counts.push((id, requests));
    }
    let rules = place.rules().join("default");
    std::fs::create_dir_all(&rules).unwrap();
    let rule = json!({"pattern": {"source": ["/test"]}, "targets": targets});
    std::fs::write(rules.join("hostile.json"), rule.to_string()).unwrap();

    let bus = Bus::spawn(&place, first.unwrap());
    let address = bus.address().await.unwrap();
    let events: Vec<Value> = (0..EVENTS)
        .map(|n| json!({"specversion": "1.0", "id": n.to_string(), "source": "/test", "type": "t"}))
        .collect();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{address}/"))
        .header("content-type", "application/cloudevents-batch+json")
        .body(Value::from(events).to_string());
    assert_eq!(request.send().await.unwrap().status(), 202);
    // A target's breaker opens after ten failures; until then 32 attempts went side by side.
    let deadline = Instant::now() + PATIENCE;
    for (id, count) in &counts {
        while count.load(Ordering::Acquire) < 32 {
            assert!(
                Instant::now() < deadline,
                "{id} was not tried:\n{}",
                bus.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let peak = peak_kib(bus.id());
    println!("at most {} MiB", peak / 1024);
    assert!(peak < MOST_KIB, "the bus had {peak} KiB");
}
