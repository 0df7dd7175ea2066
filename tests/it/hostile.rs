//! Targets that misbehave, over real sockets: each gets its clear outcome, and a healthy target
//! beside them all misses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{TestBus, TestTarget, eventually};

/// What a target does with a request once it has read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    NeverAnswers,
    DripsHead,
    DripsBody,
    EndlessBody,
    EndlessErrorBody,
    GzipBomb,
    ClosesInBody,
    ClosesAtOnce,
    Resets,
    FloodsWithContinue,
    LargeHead,
    HugeHead,
    ManyHeaders,
    BadLength,
    TwoLengths,
    MoreThanItsLength,
    NotHttp,
    SwitchesProtocols,
    BadChunks,
    KeepsOpen,
    Flaps,
}

/// How its delivery must end.
#[derive(Debug, Clone, Copy)]
enum End {
    Delivered,
    /// Given up, with this in the error.
    Dead(&'static str),
}

const TABLE: &[(Manner, End)] = &[
    (Manner::NeverAnswers, End::Dead("no answer within")),
    (Manner::DripsHead, End::Dead("no answer within")),
    (Manner::DripsBody, End::Dead("body did not end")),
    // The status is what counts; nobody reads 10 GB to learn more.
    (Manner::EndlessBody, End::Delivered),
    (Manner::EndlessErrorBody, End::Dead("xxx")),
    (Manner::GzipBomb, End::Delivered),
    (Manner::ClosesInBody, End::Dead("broke off")),
    (Manner::ClosesAtOnce, End::Dead("connection")),
    (Manner::Resets, End::Dead("reset")),
    (Manner::FloodsWithContinue, End::Dead("no answer within")),
    (Manner::LargeHead, End::Delivered),
    (Manner::HugeHead, End::Dead("connection failed")),
    (Manner::ManyHeaders, End::Dead("connection failed")),
    (Manner::BadLength, End::Dead("connection failed")),
    (Manner::TwoLengths, End::Dead("connection failed")),
    (Manner::MoreThanItsLength, End::Delivered),
    (Manner::NotHttp, End::Dead("connection failed")),
    (Manner::SwitchesProtocols, End::Dead("")),
    (Manner::BadChunks, End::Dead("broke off")),
    (Manner::KeepsOpen, End::Delivered),
    (Manner::Flaps, End::Delivered),
];

/// A listener whose every connection behaves so.
struct Hostile {
    url: String,
    /// Bytes of answers that it got rid of.
    written: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    async fn start(manner: Manner) -> Hostile {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let written = Arc::new(AtomicU64::new(0));
        let (counter, requests) = (written.clone(), Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let (counter, requests) = (counter.clone(), requests.clone());
                connections.spawn(async move {
                    // A client that goes away ends the connection: that is its right.
                    let _ = behave(manner, stream, &counter, &requests).await;
                });
            }
        });
        Hostile { url, written, task }
    }
}

/// Reads one request whole: its head, and as many bytes as it says.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0_usize) {
            return Ok(());
        }
    }
}

async fn behave(
    manner: Manner,
    mut stream: TcpStream,
    written: &AtomicU64,
    requests: &AtomicU64,
) -> std::io::Result<()> {
    read_request(&mut stream).await?;
    let nth = requests.fetch_add(1, Ordering::Relaxed);
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".as_slice();
    let mut answer = Vec::new();
    let mut repeated: Option<&[u8]> = None;
    let mut pause = Duration::ZERO;
    match manner {
        Manner::NeverAnswers => {}
        Manner::DripsHead => {
            answer = b"HTTP/1.1 200 OK\r\nx-drip: ".to_vec();
            (repeated, pause) = (Some(b"x".as_slice()), Duration::from_millis(20));
        }
        Manner::DripsBody => {
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec();
            (repeated, pause) = (Some(b"x".as_slice()), Duration::from_millis(20));
        }
        Manner::EndlessBody => {
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".to_vec();
            repeated = Some(&[b'x'; 16 * 1024]);
        }
        Manner::EndlessErrorBody => {
            answer = b"HTTP/1.1 500 Oops\r\ncontent-length: 10000000000\r\n\r\n".to_vec();
            repeated = Some(&[b'x'; 16 * 1024]);
        }
        Manner::GzipBomb => {
            // A kilobyte of a stored gzip stream; what counts is that nobody unpacks it.
            answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1024\r\n\r\n"
                .to_vec();
            answer.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
            answer.resize(answer.len() + 1014, 0xff);
        }
        Manner::ClosesInBody => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.")
                .await?;
            return Ok(());
        }
        Manner::ClosesAtOnce => return Ok(()),
        Manner::Resets => {
            stream.set_zero_linger()?;
            return Ok(());
        }
        Manner::FloodsWithContinue => repeated = Some(b"HTTP/1.1 100 Continue\r\n\r\n"),
        Manner::LargeHead => {
            answer = format!(
                "HTTP/1.1 200 OK\r\nx-large: {}\r\ncontent-length: 0\r\n\r\n",
                "x".repeat(100_000)
            )
            .into_bytes();
        }
        Manner::HugeHead => {
            answer = b"HTTP/1.1 200 OK\r\nx-huge: ".to_vec();
            repeated = Some(&[b'x'; 16 * 1024]);
        }
        Manner::ManyHeaders => {
            answer = format!(
                "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
                "x-a: b\r\n".repeat(5_000)
            )
            .into_bytes();
        }
        Manner::BadLength => answer = b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n".to_vec(),
        Manner::TwoLengths => {
            answer =
                b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec();
        }
        Manner::MoreThanItsLength => {
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nmore than that".to_vec();
        }
        Manner::NotHttp => answer = b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
        Manner::SwitchesProtocols => {
            answer =
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                    .to_vec();
        }
        Manner::BadChunks => {
            answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec();
        }
        Manner::KeepsOpen => answer = ok.to_vec(),
        Manner::Flaps if nth.is_multiple_of(2) => {
            answer =
                b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec();
        }
        Manner::Flaps => answer = ok.to_vec(),
    }
    stream.write_all(&answer).await?;
    if let Some(part) = repeated {
        loop {
            stream.write_all(part).await?;
            written.fetch_add(part.len() as u64, Ordering::Relaxed);
            if pause != Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
        }
    }
    // Open until the client goes.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_target_gets_a_clear_end_and_harms_nobody() {
    const HEALTHY: usize = 200;
    let bus = TestBus::start().await;
    let healthy = TestTarget::accepting();
    let good =
        json!({"pattern": {"type": ["good"]}, "targets": [{"id": "t", "url": healthy.url()}]});
    bus.put_rule("healthy", &good).await;
    let mut hostile = Vec::new();
    for (manner, _) in TABLE {
        let target = Hostile::start(*manner).await;
        let name = format!("{manner:?}");
        let rule = json!({"pattern": {"type": [name]}, "targets": [{
            "id": "t", "url": target.url, "timeout": "400ms",
            "retry": {"max_attempts": 2, "initial_delay": "10ms", "max_delay": "10ms"}}]});
        bus.put_rule(&name, &rule).await;
        hostile.push(target);
    }
    // TLS where there is none, and a name that nobody has.
    let nowhere = [
        ("tls", healthy.url().replace("http:", "https:")),
        ("dns", "http://nobody.invalid/".to_owned()),
    ];
    for (name, url) in &nowhere {
        let rule = json!({"pattern": {"type": [name]}, "targets": [{
            "id": "t", "url": url, "timeout": "2s",
            "retry": {"max_attempts": 2, "initial_delay": "10ms", "max_delay": "10ms"}}]});
        bus.put_rule(name, &rule).await;
    }
    let event = |id: String, kind: &str| json!({"specversion": "1.0", "id": id, "source": "/t", "type": kind});
    for (manner, _) in TABLE {
        bus.publish(&event(format!("{manner:?}"), &format!("{manner:?}")))
            .await;
    }
    for (name, _) in &nowhere {
        bus.publish(&event((*name).to_owned(), name)).await;
    }
    for n in 0..HEALTHY {
        bus.publish(&event(n.to_string(), "good")).await;
    }
    healthy.receives(HEALTHY).await;

    for (manner, end) in TABLE {
        let path = format!("/v1/buses/default/rules/{manner:?}/targets/t");
        let health = eventually(&format!("the end of {manner:?}"), async || {
            let health = bus.get(&path).await.json();
            (health["pending"] == 0).then_some(health)
        })
        .await;
        let letters = bus.get(&format!("{path}/dead-letters")).await.json();
        let letters = letters["dead_letters"].as_array().unwrap().clone();
        match end {
            End::Delivered => assert_eq!(health["delivered"], 1, "{manner:?}: {letters:?}"),
            End::Dead(text) => {
                assert_eq!(letters.len(), 1, "{manner:?}: {health}");
                let error = letters[0]["last_error"].as_str().unwrap_or_default();
                assert!(error.contains(text), "{manner:?}: {error}");
                assert!(
                    error.len() <= 1_100,
                    "{manner:?}: {} bytes kept",
                    error.len()
                );
            }
        }
    }
    for (name, _) in &nowhere {
        let path = format!("/v1/buses/default/rules/{name}/targets/t/dead-letters");
        let error = eventually(name, async || {
            let letters = bus.get(&path).await.json();
            letters["dead_letters"][0]["last_error"]
                .as_str()
                .map(str::to_owned)
        })
        .await;
        assert!(error.starts_with("could not connect"), "{name}: {error}");
    }
    for (target, (manner, _)) in hostile.iter().zip(TABLE) {
        // Two attempts; what the sockets' buffers hold comes on top of what was read.
        let written = target.written.load(Ordering::Relaxed);
        let floods = *manner == Manner::FloodsWithContinue;
        assert!(
            written < 64 << 20 || floods,
            "{manner:?} got rid of {written} bytes"
        );
    }
    assert_eq!(healthy.received().len(), HEALTHY, "nothing came twice");
}
