//! TLS towards targets: whose certificates are trusted, and the one that is shown.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls_platform_verifier::Verifier;

/// Whose certificates are trusted.
pub(in crate::delivery) enum Trust {
    /// Those that the system trusts.
    Public,
    /// Those, and these beside them.
    PublicAnd(Vec<CertificateDer<'static>>),
    /// These alone.
    Only(Vec<CertificateDer<'static>>),
}

/// A certificate with its chain and key.
pub(in crate::delivery) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(in crate::delivery) enum Unusable {
    #[error("an authority's certificate does not read: {0}")]
    Authority(rustls::Error),
    #[error("the identity's key and certificate do not fit: {0}")]
    Identity(rustls::Error),
    #[error("{0}")]
    Tls(rustls::Error),
}

/// The certificates of a PEM text; `None` if there is none, or one that is not PEM.
pub(in crate::delivery) fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|certificates| !certificates.is_empty())
}

impl Identity {
    /// `None`: the PEM text has no certificate, or no key.
    pub(in crate::delivery) fn read(pem: &str) -> Option<Identity> {
        Some(Identity {
            chain: certificates(pem)?,
            key: PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?,
        })
    }
}

/// Reads the system's certificates where they are trusted: it blocks.
pub(in crate::delivery) fn config(
    trust: Trust,
    identity: Option<Identity>,
) -> Result<ClientConfig, Unusable> {
    let provider = match CryptoProvider::get_default() {
        Some(provider) => Arc::clone(provider),
        None => Arc::new(aws_lc_rs::default_provider()),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Unusable::Tls)?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = match trust {
        Trust::Only(authorities) => builder.with_root_certificates(store(&authorities)?),
        Trust::Public | Trust::PublicAnd(_) => {
            let verifier = match trust {
                Trust::PublicAnd(authorities) => {
                    // Built alone first, so that one that does not read is known for it.
                    store(&authorities)?;
                    Verifier::new_with_extra_roots(authorities, provider)
                }
                _ => Verifier::new(provider),
            };
            let verifier = Arc::new(verifier.map_err(Unusable::Tls)?);
            builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
        }
    };
    let mut config = match identity {
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(Unusable::Identity)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn store(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        store.add(authority.clone()).map_err(Unusable::Authority)?;
    }
    Ok(store)
}
