//! Targets that misbehave, each in its manner, over real sockets. The integration tests run the same
//! file: how a delivery to each must end, and what it may cost in memory, is shown there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a target does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Manner {
    /// Reads the request, then nothing.
    NeverAnswers,
    /// Takes the connection and reads not a byte.
    NeverReads,
    /// A header that comes byte by byte and has no end.
    DripsHead,
    /// The same with the body.
    DripsBody,
    /// A body said to be 10 GB, as fast as it is taken.
    EndlessBody,
    /// The same after a 500.
    EndlessErrorBody,
    /// A gzip stream of zeros without end; each byte of it unpacks to 158.
    GzipBomb,
    /// Ends the connection after ten bytes of a hundred.
    ClosesInBody,
    /// Ends the connection without an answer.
    ClosesAtOnce,
    /// Resets the connection.
    Resets,
    /// `100 Continue` without end.
    FloodsWithContinue,
    /// An answer with 100 KB of headers.
    LargeHead,
    /// A header without end, as fast as it is taken.
    HugeHead,
    /// An answer with five thousand headers.
    ManyHeaders,
    /// A length that is no number.
    BadLength,
    /// Two lengths.
    TwoLengths,
    /// A body longer than its length says.
    MoreThanItsLength,
    /// Something else than HTTP.
    NotHttp,
    /// `101 Switching Protocols`, which nobody asked for.
    SwitchesProtocols,
    /// Chunks without a size.
    BadChunks,
    /// Answers as it should and never ends a connection.
    KeepsOpen,
    /// Answers as it should and ends each connection after one request.
    ClosesAlways,
    /// Answers the first request of each connection, and no further one.
    GoesSilent,
    /// `https`, where plain HTTP is answered.
    TlsIsPlain,
    /// `https`, where each handshake is refused with an alert.
    TlsAlerts,
    /// `https`, where no handshake is answered.
    TlsHangs,
    /// Accepts one request and refuses the next, in turns.
    Flaps,
}

/// Faster than the byte a second of the wild, so that short timeouts see some of them.
const DRIP: Duration = Duration::from_millis(50);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const GIGABYTES: &str = "content-length: 10000000000\r\n\r\n";
/// A handshake failure of TLS, fatal.
const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];
/// The head of a gzip stream, and a last block with fixed codes that begins with a zero.
const BOMB_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x63];
/// Eight times "the last byte 258 times more", which is 13 bits, so that it may be repeated.
const BOMB: &[u8] = &[
    0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x82, 0x51, 0x30, 0x0a, 0x46, 0xc1, 0x28,
];

impl Manner {
    fn scheme(self) -> &'static str {
        match self {
            Manner::TlsIsPlain | Manner::TlsAlerts | Manner::TlsHangs => "https",
            _ => "http",
        }
    }

    /// What it answers one request with; `nth` counts a connection's requests and `of_all` the
    /// target's, both from 0.
    fn answer(self, nth: u64, of_all: u64) -> Answer {
        match self {
            Manner::NeverAnswers | Manner::NeverReads | Manner::TlsHangs => Answer::Silence,
            Manner::DripsHead => Answer::drip("HTTP/1.1 200 OK\r\nx-drip: "),
            Manner::DripsBody => Answer::drip("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
            Manner::EndlessBody => {
                Answer::endless(format!("HTTP/1.1 200 OK\r\n{GIGABYTES}"), &[b'x'; 16])
            }
            Manner::EndlessErrorBody => {
                Answer::endless(format!("HTTP/1.1 500 Oops\r\n{GIGABYTES}"), &[b'x'; 16])
            }
            Manner::GzipBomb => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n{GIGABYTES}");
                Answer::endless([head.as_bytes(), BOMB_HEAD].concat(), BOMB)
            }
            Manner::ClosesInBody => {
                Answer::last(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.")
            }
            Manner::ClosesAtOnce => Answer::last(b""),
            Manner::Resets => Answer::Reset,
            Manner::FloodsWithContinue => Answer::endless("", b"HTTP/1.1 100 Continue\r\n\r\n"),
            Manner::LargeHead => {
                let value = "x".repeat(100_000);
                Answer::once(format!(
                    "HTTP/1.1 200 OK\r\nx-large: {value}\r\ncontent-length: 0\r\n\r\n"
                ))
            }
            Manner::HugeHead => Answer::endless("HTTP/1.1 200 OK\r\nx-huge: ", &[b'x'; 16]),
            Manner::ManyHeaders => {
                let headers = "x-a: b\r\n".repeat(5_000);
                Answer::once(format!(
                    "HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"
                ))
            }
            Manner::BadLength => Answer::once("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"),
            Manner::TwoLengths => {
                Answer::once("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")
            }
            Manner::MoreThanItsLength => {
                Answer::once("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nmore than that")
            }
            Manner::NotHttp => Answer::once("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            Manner::SwitchesProtocols => Answer::once(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            ),
            Manner::BadChunks => {
                Answer::once("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
            }
            Manner::GoesSilent if nth > 0 => Answer::Silence,
            Manner::KeepsOpen | Manner::GoesSilent => Answer::once(OK),
            Manner::ClosesAlways => {
                Answer::last(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            }
            Manner::TlsIsPlain => Answer::last(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Manner::TlsAlerts => Answer::last(ALERT),
            Manner::Flaps if of_all.is_multiple_of(2) => {
                Answer::last(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            }
            Manner::Flaps => Answer::once(OK),
        }
    }
}

/// What follows a request.
enum Answer {
    /// Nothing; the connection stays open until the client goes.
    Silence,
    /// These bytes, then the next request.
    Once(Vec<u8>),
    /// These bytes, and the connection ends.
    Last(Vec<u8>),
    /// The connection ends with a reset.
    Reset,
    /// The head, then the part again and again, with a pause after each.
    Endless {
        head: Vec<u8>,
        part: Vec<u8>,
        pause: Duration,
    },
}

impl Answer {
    fn once(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer::Once(bytes.into())
    }

    fn last(bytes: &[u8]) -> Answer {
        Answer::Last(bytes.to_vec())
    }

    fn drip(head: &str) -> Answer {
        Answer::Endless {
            head: head.into(),
            part: b"x".to_vec(),
            pause: DRIP,
        }
    }

    /// Some 16 KB of the part with each write.
    fn endless(head: impl Into<Vec<u8>>, part: &[u8]) -> Answer {
        Answer::Endless {
            head: head.into(),
            part: part.repeat(16 * 1024 / part.len()),
            pause: Duration::ZERO,
        }
    }
}

/// A listener on a free port whose every connection behaves so, until it is dropped.
#[derive(Debug)]
pub(super) struct Hostile {
    manner: Manner,
    addr: SocketAddr,
    counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    written: AtomicU64,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostile {
    pub(super) async fn start(manner: Manner) -> io::Result<Hostile> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(accept(listener, manner, Arc::clone(&counts)));
        Ok(Hostile {
            manner,
            addr,
            counts,
            task,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}/", self.manner.scheme(), self.addr)
    }

    /// Requests that came, or connections where none are read.
    pub(super) fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Acquire)
    }

    /// Bytes of answers without end that it got rid of, into the buffers of sockets included.
    pub(super) fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Acquire)
    }
}

async fn accept(listener: TcpListener, manner: Manner, counts: Arc<Counts>) {
    // Its end is the end of all connections.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let counts = Arc::clone(&counts);
        connections.spawn(async move {
            // A client that goes away ends the connection: that is its right.
            let _ = behave(manner, stream, &counts).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn behave(manner: Manner, mut stream: TcpStream, counts: &Counts) -> io::Result<()> {
    for nth in 0.. {
        match (manner, manner.scheme()) {
            (Manner::NeverReads, _) => {
                counts.requests.fetch_add(1, Ordering::AcqRel);
                return std::future::pending().await;
            }
            // The client's greeting, or a part of it.
            (_, "https") => stream.readable().await?,
            _ => read_request(&mut stream).await?,
        }
        let of_all = counts.requests.fetch_add(1, Ordering::AcqRel);
        match manner.answer(nth, of_all) {
            Answer::Silence => {
                let mut rest = [0; 1024];
                while stream.read(&mut rest).await? > 0 {}
                return Ok(());
            }
            Answer::Once(bytes) => stream.write_all(&bytes).await?,
            Answer::Last(bytes) => {
                stream.write_all(&bytes).await?;
                stream.shutdown().await?;
                // Closed with something unread, it would reset the connection.
                let mut rest = [0; 1024];
                while stream.read(&mut rest).await? > 0 {}
                return Ok(());
            }
            Answer::Reset => return stream.set_zero_linger(),
            Answer::Endless { head, part, pause } => {
                stream.write_all(&head).await?;
                loop {
                    stream.write_all(&part).await?;
                    counts
                        .written
                        .fetch_add(part.len() as u64, Ordering::AcqRel);
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Reads one request whole: its head, and as many bytes as it says.
async fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
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
