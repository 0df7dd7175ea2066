//! Bounds on handshakes: on their time, and on how many are under way.
//!
//! A client that connects and says nothing costs nothing; if newcomers had to wait for it, a few
//! thousand of them would close the bus. So when there is no room the *oldest* unfinished handshake
//! gives way: an honest one takes some round trips, and is through before as many others have come.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the handshake took too long")]
    Slow,
    #[error("newer handshakes needed the place")]
    Displaced,
    #[error("the handshake failed: {0}")]
    Failed(io::Error),
}

/// What came of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Done, the client having shown a certificate.
    pub with_certificate: u64,
    pub without_certificate: u64,
    /// Ended by either side: no common protocol, a certificate that does not please.
    pub failed: u64,
    pub slow: u64,
    pub displaced: u64,
}

pub(super) struct Handshakes {
    most: usize,
    timeout: Duration,
    under_way: Mutex<UnderWay>,
    with_certificate: AtomicU64,
    without_certificate: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
    displaced: AtomicU64,
}

/// By age. What is dropped here ends its handshake.
#[derive(Default)]
struct UnderWay {
    next: u64,
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Gives its place back.
struct Place<'a> {
    handshakes: &'a Handshakes,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.handshakes.under_way.lock();
        under_way.places.remove(&self.number);
    }
}

impl Handshakes {
    pub(super) fn new(most: usize, timeout: Duration) -> Handshakes {
        Handshakes {
            most,
            timeout,
            under_way: Mutex::default(),
            with_certificate: AtomicU64::new(0),
            without_certificate: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            with_certificate: self.with_certificate.load(Relaxed),
            without_certificate: self.without_certificate.load(Relaxed),
            failed: self.failed.load(Relaxed),
            slow: self.slow.load(Relaxed),
            displaced: self.displaced.load(Relaxed),
        }
    }

    /// Waits for a handshake to end, as long as it may take.
    pub(super) async fn shake(
        &self,
        handshake: impl Future<Output = io::Result<TlsStream<TcpStream>>>,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let (_place, displaced) = self.begin();
        let (counter, outcome) = tokio::select! {
            biased;
            ended = handshake => match ended {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    let counter = match shown {
                        Some(_) => &self.with_certificate,
                        None => &self.without_certificate,
                    };
                    (counter, Ok(stream))
                }
                Err(error) => (&self.failed, Err(HandshakeError::Failed(error))),
            },
            _ = displaced => (&self.displaced, Err(HandshakeError::Displaced)),
            () = tokio::time::sleep(self.timeout) => (&self.slow, Err(HandshakeError::Slow)),
        };
        counter.fetch_add(1, Relaxed);
        outcome
    }

    fn begin(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (sender, displaced) = oneshot::channel();
        let mut under_way = self.under_way.lock();
        let number = under_way.next;
        under_way.next += 1;
        while under_way.places.len() >= self.most.max(1) {
            under_way.places.pop_first();
        }
        under_way.places.insert(number, sender);
        let place = Place {
            handshakes: self,
            number,
        };
        (place, displaced)
    }
}
