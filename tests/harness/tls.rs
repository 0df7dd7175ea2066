//! Authorities that give out certificates, and a target that shows one and may ask for one.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::eventually;

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a host.
    pub(crate) fn issue(&self, host: &str) -> Issued {
        self.issue_with(host, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        host: &str,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    /// As an identity is written.
    pub(crate) fn pem(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }

    fn der(&self) -> Vec<u8> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        der.unwrap().to_vec()
    }

    /// Whether this is the certificate that was shown.
    pub(crate) fn is(&self, shown: Option<&Vec<u8>>) -> bool {
        shown == Some(&self.der())
    }
}

/// A target behind TLS on a free port of 127.0.0.1, which answers 200 with a fixed body.
pub(crate) struct TlsTarget {
    addr: SocketAddr,
    /// The client's certificate of each request.
    received: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    task: JoinHandle<()>,
}

impl TlsTarget {
    /// Shows `issued`; asks for a certificate of `clients` when that is given.
    pub(crate) fn start(
        issued: &Issued,
        clients: Option<&Authority>,
        versions: &[&'static SupportedProtocolVersion],
        body: &'static str,
    ) -> TlsTarget {
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
                roots.add(root).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let chain = vec![CertificateDer::from(issued.der())];
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let record = received.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (acceptor, record) = (acceptor.clone(), record.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(socket).await else {
                        return;
                    };
                    let shown = stream.get_ref().1.peer_certificates();
                    let shown = shown.map(|chain| chain[0].to_vec());
                    let routes = axum::Router::new().fallback(move |method: Method| {
                        assert_eq!(method, Method::POST);
                        record.lock().push(shown.clone());
                        async move { (StatusCode::OK, body) }
                    });
                    let service = TowerToHyperService::new(routes);
                    let serving = Builder::new(TokioExecutor::new());
                    let _ = serving
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        TlsTarget {
            addr,
            received,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.addr)
    }

    /// Waits for at least so many requests; the certificates that clients showed.
    pub(crate) async fn receives(&self, count: usize) -> Vec<Option<Vec<u8>>> {
        eventually(&format!("{count} requests at a TLS target"), async || {
            let received = self.received.lock().clone();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

impl Drop for TlsTarget {
    fn drop(&mut self) {
        self.task.abort();
    }
}
