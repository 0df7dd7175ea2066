//! Clients that are slow, greedy or broken, over raw sockets.

use std::net::SocketAddr;

use axum::body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::api::body::Bodies;

const QUICK: Duration = Duration::from_millis(200);
/// Far above `QUICK`, far below what a test run bears.
const PATIENCE: Duration = Duration::from_secs(10);

struct TestServer {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    /// Told of each request to `/wait`.
    begun: Arc<Notify>,
}

/// Reads bodies of at most 1,000 bytes and answers with their length; `/wait` first waits.
async fn start(connections: usize) -> TestServer {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let config = Config {
        listen: addr,
        connections,
        head_timeout: QUICK,
        body_idle_timeout: QUICK,
        metrics_are_open: false,
    };
    let bodies = Arc::new(Bodies::new(QUICK));
    let begun = Arc::new(Notify::new());
    let tell = Arc::clone(&begun);
    let answer = move |request: Request<Incoming>, _| {
        let (bodies, begun) = (Arc::clone(&bodies), Arc::clone(&tell));
        async move {
            match request.uri().path() {
                "/wait" => {
                    begun.notify_one();
                    tokio::time::sleep(2 * QUICK).await;
                }
                "/panic" => panic!("a bug"),
                _ => {}
            }
            match bodies.read(request.into_body(), 1_000).await {
                Ok(whole) => Response::new(Body::from(whole.bytes.len().to_string())),
                Err(error) => Problem::from(error).into_response(),
            }
        }
    };
    let task = tokio::spawn(serve(listener, config, None, stop.clone(), answer));
    TestServer {
        addr,
        stop,
        task,
        begun,
    }
}

impl TestServer {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends `text` and returns all that comes until the server closes.
    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is a close too.
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    drop(read.expect("the server closes the connection"));
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    assert_eq!(start(10).await.say("").await, "");
}

#[tokio::test]
async fn half_a_head_is_closed() {
    let server = start(10).await;
    server.say("P").await;
    server.say("PRI * HTTP/2.0\r\n").await;
    let answer = server
        .say("POST / HTTP/1.1\r\nhost: bus\r\ncontent-le")
        .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

#[tokio::test]
async fn half_a_body_is_answered_408_and_closed() {
    let answer = start(10)
        .await
        .say("POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_dripping_body_is_closed() {
    let mut stream = start(10).await.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: 900\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let drip = async {
        loop {
            tokio::time::sleep(QUICK / 10).await;
            if writing.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = timeout(PATIENCE, reading.read_to_end(&mut answer)) => {}
        () = drip => {}
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_at_once() {
    let started = Instant::now();
    let answer = start(10)
        .await
        .say("POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: 1001\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(started.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn a_streamed_body_that_grows_too_large_is_refused() {
    let chunk = format!("258\r\n{}\r\n", "x".repeat(0x258));
    let answer = start(10)
        .await
        .say(&format!(
            "POST / HTTP/1.1\r\nhost: bus\r\ntransfer-encoding: chunked\r\n\r\n{chunk}{chunk}"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn garbage_behind_a_good_request_is_answered_400() {
    let answer = start(10)
        .await
        .say("POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: 2\r\n\r\nok\x01\x02 garbage\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other_on_one_connection() {
    let request = "POST / HTTP/1.1\r\nhost: bus\r\ncontent-length: 3\r\n\r\nabc";
    let answer = start(10).await.say(&request.repeat(3)).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
}

#[tokio::test]
async fn a_panic_is_answered_500_and_the_connection_goes_on() {
    let answer = start(10)
        .await
        .say("GET /panic HTTP/1.1\r\nhost: bus\r\n\r\nGET / HTTP/1.1\r\nhost: bus\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let started = Instant::now();
    let server = start(1).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    let request = b"GET /wait HTTP/1.1\r\nhost: bus\r\nconnection: close\r\n\r\n";
    first.write_all(request).await.unwrap();
    second.write_all(request).await.unwrap();
    let (first, second) = tokio::join!(rest(&mut first), rest(&mut second));
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    assert!(
        started.elapsed() >= 4 * QUICK,
        "they were answered together"
    );
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_takes_nothing_new() {
    let server = start(10).await;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: bus\r\n\r\n")
        .await
        .unwrap();
    server.begun.notified().await;
    server.stop.cancel();
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(rest(&mut idle).await, "");
    timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_names_the_flag() {
    let server = start(1).await;
    let error = format!("{:#}", bind(server.addr).await.unwrap_err());
    assert!(error.contains("another program does already"), "{error}");
    assert!(error.contains("--listen"), "{error}");
}
