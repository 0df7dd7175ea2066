//! The bench's target: answers 200, counts every event once, and records its age.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::http;
use super::load::new_histogram;
use super::request::{now_nanos, read_id};
use crate::cli::exit::Failure;

/// What has arrived.
#[derive(Debug)]
pub(super) struct Deliveries {
    /// Different events.
    count: AtomicU64,
    /// Deliveries of events that were here before.
    repeats: AtomicU64,
    /// Requests that were none of the bench's events, or broke.
    strange: AtomicU64,
    seen: Mutex<Seen>,
    /// Ages, in nanoseconds, of the events of the measured time.
    ages: Mutex<Histogram<u64>>,
    /// The measured time, in nanoseconds as the ids have them. What counts is when an event was
    /// sent: one that arrives late, after the end, is the one that matters most.
    measured_from: AtomicU64,
    measured_until: AtomicU64,
    /// Lets a publisher go on for each event that arrives; see [`super::load::Load::ahead`].
    pub(super) room: Semaphore,
}

/// One bit for each event number.
#[derive(Debug, Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// Whether the number is new.
    fn insert(&mut self, number: u64) -> bool {
        let word = (number / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1024, 0);
        }
        let bit = 1 << (number % 64);
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

impl Deliveries {
    fn new() -> Deliveries {
        Deliveries {
            count: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            strange: AtomicU64::new(0),
            seen: Mutex::new(Seen::default()),
            ages: Mutex::new(new_histogram()),
            measured_from: AtomicU64::new(u64::MAX),
            measured_until: AtomicU64::new(0),
            room: Semaphore::new(0),
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    pub(super) fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Acquire)
    }

    pub(super) fn strange(&self) -> u64 {
        self.strange.load(Ordering::Acquire)
    }

    /// Starts or ends the time in which events are sent whose ages are recorded.
    pub(super) fn measure(&self, on: bool) {
        if on {
            self.measured_from.store(now_nanos(), Ordering::Release);
            self.measured_until.store(u64::MAX, Ordering::Release);
        } else {
            self.measured_until.store(now_nanos(), Ordering::Release);
        }
    }

    /// The ages recorded so far; the next time starts from nothing.
    pub(super) fn take_ages(&self) -> Histogram<u64> {
        std::mem::replace(&mut self.ages.lock(), new_histogram())
    }

    fn arrived(&self, head: &[u8]) {
        let id = http::header(head, b"ce-id").and_then(read_id);
        let Some((number, sent_nanos)) = id else {
            self.strange.fetch_add(1, Ordering::AcqRel);
            return;
        };
        if !self.seen.lock().insert(number) {
            self.repeats.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let from = self.measured_from.load(Ordering::Acquire);
        let until = self.measured_until.load(Ordering::Acquire);
        if (from..until).contains(&sent_nanos) {
            let age = now_nanos().saturating_sub(sent_nanos);
            self.ages.lock().saturating_record(age);
        }
        self.count.fetch_add(1, Ordering::AcqRel);
        self.room.add_permits(1);
    }
}

/// A running receiver, on a thread of its own until the process ends.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) addr: SocketAddr,
    pub(super) deliveries: Arc<Deliveries>,
}

impl Receiver {
    /// Starts on a free port of the loopback, or on `addr`.
    pub(super) fn start(addr: Option<SocketAddr>) -> Result<Receiver, Failure> {
        Receiver::start_with(addr, ANSWER)
    }

    /// One that ends each connection after one request, on a free port.
    pub(super) fn closing() -> Result<Receiver, Failure> {
        Receiver::start_with(None, LAST_ANSWER)
    }

    fn start_with(addr: Option<SocketAddr>, answer: &'static [u8]) -> Result<Receiver, Failure> {
        let addr = addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let failed = |error| Failure::failed(format!("the bench's receiver: {error}"));
        let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let deliveries = Arc::new(Deliveries::new());
        let shared = Arc::clone(&deliveries);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed)?;
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, answer, Arc::clone(&shared)));
                }
            });
        });
        Ok(Receiver { addr, deliveries })
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

async fn serve(mut stream: TcpStream, answer: &'static [u8], deliveries: Arc<Deliveries>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = BytesMut::with_capacity(8 * 1024);
    loop {
        match answer_one(&mut stream, &mut buffer, answer, &deliveries).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => {
                deliveries.strange.fetch_add(1, Ordering::AcqRel);
                return;
            }
        }
    }
}

/// Reads one request and answers it; `false` when the sender closed the connection.
async fn answer_one(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    answer: &[u8],
    deliveries: &Deliveries,
) -> std::io::Result<bool> {
    let Some(head_bytes) = http::read_head(stream, buffer).await? else {
        return Ok(false);
    };
    let head = buffer.split_to(head_bytes);
    let body_bytes = http::content_length(&head)?;
    http::skip_body(stream, buffer, body_bytes).await?;
    deliveries.arrived(&head);
    stream.write_all(answer).await?;
    Ok(answer == ANSWER)
}

#[cfg(test)]
mod tests {
    use super::super::http::Connection;
    use super::super::request::Request;
    use super::*;

    #[tokio::test]
    async fn an_event_that_comes_twice_counts_once() {
        let receiver = Receiver::start(None).unwrap();
        let mut request = Request::new(receiver.addr, "default", "bench", 1, 200);
        let mut connection = Connection::open(receiver.addr).await.unwrap();
        for number in [1, 2, 1, 500_000] {
            let bytes = request.stamped(number, now_nanos());
            assert_eq!(connection.call(bytes).await.unwrap(), 200);
        }
        assert_eq!(receiver.deliveries.count(), 3);
        assert_eq!(receiver.deliveries.repeats(), 1);
        assert_eq!(receiver.deliveries.strange(), 0);
    }
}
