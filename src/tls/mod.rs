//! TLS on the bus's listener: certificates from files, read anew when these change, and handshakes
//! that slow clients cannot use up.
//!
//! A client's certificate is checked here and means nothing further up: it is wanted beside an API
//! key, not in its place.

mod files;
mod handshakes;
mod validity;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use self::handshakes::{Figures, HandshakeError};

use self::files::{Contents, Files};
use self::handshakes::Handshakes;
use crate::limits;

/// Which certificates, and which clients.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bus's certificate and those that lead from it to an authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key; `None` when that stands in the certificate's file.
    pub key: Option<PathBuf>,
    /// Whose certificates clients show; `None`: they are not asked.
    pub clients: Option<Clients>,
    /// How often the files are looked at.
    pub look_every: Duration,
    /// Time for a whole handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once.
    pub handshakes: usize,
}

/// Which certificates are wanted of clients.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The authorities that give them out, in PEM.
    pub authorities: PathBuf,
    /// Whether a client without one is let in: for the time in which clients get theirs.
    pub are_optional: bool,
}

impl Config {
    /// TLS with this certificate, for clients that show none.
    #[must_use]
    pub fn new(certificate: PathBuf, key: Option<PathBuf>) -> Config {
        Config {
            certificate,
            key,
            clients: None,
            look_every: limits::TLS_FILES_READ_EVERY,
            handshake_timeout: limits::TLS_HANDSHAKE_TIMEOUT,
            handshakes: limits::TLS_HANDSHAKES,
        }
    }
}

/// Why certificates cannot be used: which file, and what mends it. Nothing of a file is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}, which `{setting}` names: {cause}")]
    Unreadable {
        path: PathBuf,
        setting: &'static str,
        cause: String,
    },
    #[error("{path}, which `{setting}` names: {cause}")]
    Unusable {
        path: PathBuf,
        setting: &'static str,
        cause: String,
    },
    #[error(
        "the private key in {key} is not that of the first certificate in {certificate}; the bus's own certificate stands first, those that lead to its authority follow"
    )]
    OtherKey { certificate: PathBuf, key: PathBuf },
}

/// The listener's certificates and handshakes. Clones share them; readers never wait.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

/// When the certificates end that are in use, in seconds since 1970: of each file the one that ends
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Of the bus's own, and of those that lead to its authority.
    pub certificate: Option<u64>,
    /// Of the authorities of clients.
    pub authorities: Option<u64>,
}

/// What connections are made with.
struct Current {
    server: Arc<ServerConfig>,
    ends: Ends,
}

struct Shared {
    config: Config,
    current: ArcSwap<Current>,
    read: Mutex<Read>,
    handshakes: Handshakes,
}

/// What was found in the files.
struct Read {
    /// What is in use.
    used: Contents,
    /// What was found last and cannot be used, and whether that was told.
    refused: Option<(Contents, bool)>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.0.config.certificate.display())
    }
}

impl Tls {
    /// Reads the files, which must be good now.
    pub fn open(config: Config) -> Result<Tls, TlsError> {
        let files = files::read(&config)?;
        let current = files.current(&config)?;
        let clients = match &config.clients {
            None => "not asked for",
            Some(clients) if clients.are_optional => "optional",
            Some(_) => "required",
        };
        tracing::info!(
            certificate = %config.certificate.display(), client_certificates = clients,
            "the bus speaks TLS"
        );
        let handshakes = Handshakes::new(config.handshakes, config.handshake_timeout);
        Ok(Tls(Arc::new(Shared {
            current: ArcSwap::from_pointee(current),
            read: Mutex::new(Read {
                used: files.contents(),
                refused: None,
            }),
            handshakes,
            config,
        })))
    }

    /// How often [`Tls::look`] is to be called.
    #[must_use]
    pub fn look_every(&self) -> Duration {
        self.0.config.look_every
    }

    /// Reads the files again, and uses what it finds from the next connection on; what cannot be used
    /// leaves the old ones in place. Reads files: not for a thread that others wait for.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.look_again(true)
    }

    /// The same, now and then. A private key comes a moment after its certificate: what cannot be used
    /// is told when it is found a second time.
    pub fn look(&self) {
        // It is told.
        let _ = self.look_again(false);
    }

    fn look_again(&self, is_told_at_once: bool) -> Result<(), TlsError> {
        let shared = &*self.0;
        let mut read = shared.read.lock();
        let files = files::read(&shared.config);
        let found = files.as_ref().map(Files::contents).unwrap_or_default();
        if found == read.used {
            read.refused = None;
            return Ok(());
        }
        match files.and_then(|files| files.current(&shared.config)) {
            Ok(current) => {
                shared.current.store(Arc::new(current));
                *read = Read {
                    used: found,
                    refused: None,
                };
                tracing::info!("the certificates are others now, for connections to come");
                Ok(())
            }
            Err(error) => {
                let before = read.refused.take().filter(|(before, _)| *before == found);
                let (is_second, was_told) =
                    (before.is_some(), before.is_some_and(|(_, told)| told));
                let tells = is_told_at_once || (is_second && !was_told);
                if tells {
                    tracing::error!(%error, "the certificates stay as they were");
                }
                read.refused = Some((found, was_told || tells));
                Err(error)
            }
        }
    }

    /// Shakes hands with a client, within the bounds.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let server = Arc::clone(&self.0.current.load().server);
        let acceptor = TlsAcceptor::from(server);
        self.0.handshakes.shake(acceptor.accept(stream)).await
    }

    /// What came of handshakes so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.handshakes.figures()
    }

    /// When the certificates in use end.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.0.current.load().ends
    }
}

#[cfg(test)]
mod tests;
