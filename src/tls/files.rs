//! The PEM files of the listener, as bytes and as what rustls makes of them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::validity::not_after;
use super::{Clients, Config, Current, Ends, TlsError};
use crate::limits;

const CERTIFICATE: &str = "tls_cert_file";
const KEY: &str = "tls_key_file";
const CLIENT_CA: &str = "tls_client_ca_file";

/// One file, and the setting that names it.
struct PemFile {
    path: PathBuf,
    setting: &'static str,
    text: Zeroizing<Vec<u8>>,
}

/// All that are configured.
pub(super) struct Files {
    certificate: PemFile,
    key: Option<PemFile>,
    client_ca: Option<PemFile>,
}

/// Tells one state of the files from another without keeping a private key about; the default is
/// that of files that cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(Vec<[u8; SHA256_OUTPUT_LEN]>);

/// Reads the files; what they hold is not looked at.
pub(super) fn read(config: &Config) -> Result<Files, TlsError> {
    let key = config.key.as_deref();
    let authorities = config.clients.as_ref();
    let authorities = authorities.map(|clients| clients.authorities.as_path());
    Ok(Files {
        certificate: PemFile::read(&config.certificate, CERTIFICATE)?,
        key: key.map(|path| PemFile::read(path, KEY)).transpose()?,
        client_ca: authorities
            .map(|path| PemFile::read(path, CLIENT_CA))
            .transpose()?,
    })
}

impl Files {
    pub(super) fn contents(&self) -> Contents {
        let files = [
            Some(&self.certificate),
            self.key.as_ref(),
            self.client_ca.as_ref(),
        ];
        let digest = |file: &PemFile| {
            let digest = digest(&SHA256, &file.text);
            digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
        };
        Contents(files.into_iter().flatten().map(digest).collect())
    }

    /// What connections are made with.
    pub(super) fn current(&self, config: &Config) -> Result<Current, TlsError> {
        Ok(Current {
            server: Arc::new(self.server(config)?),
            ends: Ends {
                certificate: self.certificate.ends(),
                authorities: self.client_ca.as_ref().and_then(PemFile::ends),
            },
        })
    }

    fn server(&self, config: &Config) -> Result<ServerConfig, TlsError> {
        let chain = self.certificate.certificates()?;
        let key_file = self.key.as_ref().unwrap_or(&self.certificate);
        let key = key_file.private_key()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has the versions of TLS that are safe");
        let server = match (&self.client_ca, &config.clients) {
            (Some(file), Some(Clients { are_optional, .. })) => {
                let roots = Arc::new(file.authorities()?);
                let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                if *are_optional {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier.build();
                let verifier = verifier.map_err(|error| file.unusable(error.to_string()))?;
                server.with_client_cert_verifier(verifier)
            }
            _ => server.with_no_client_auth(),
        };
        let server = server.with_single_cert(chain, key);
        let mut server = server.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::OtherKey {
                certificate: self.certificate.path.clone(),
                key: key_file.path.clone(),
            },
            rustls::Error::InvalidCertificate(_) => self
                .certificate
                .unusable(format!("its first certificate does not read: {error}")),
            other => key_file.unusable(format!("its private key cannot be used: {other}")),
        })?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(server)
    }
}

impl PemFile {
    fn read(path: &Path, setting: &'static str) -> Result<PemFile, TlsError> {
        let unreadable = |error: io::Error| TlsError::Unreadable {
            path: path.to_owned(),
            setting,
            cause: error.to_string(),
        };
        let file = File::open(path).map_err(unreadable)?;
        let most = limits::TLS_FILE_BYTES;
        // As long as it gets, so that no part of a key stays behind in memory that was outgrown.
        let length = file
            .metadata()
            .map_or(0, |metadata| metadata.len() as usize);
        let mut text = Zeroizing::new(Vec::with_capacity(length.min(most) + 1));
        let mut start = file.take(most as u64 + 1);
        start.read_to_end(&mut text).map_err(unreadable)?;
        let file = PemFile {
            path: path.to_owned(),
            setting,
            text,
        };
        match file.text.len() > most {
            true => Err(file.unusable(format!("it is larger than {most} bytes"))),
            false => Ok(file),
        }
    }

    fn unusable(&self, cause: String) -> TlsError {
        TlsError::Unusable {
            path: self.path.clone(),
            setting: self.setting,
            cause,
        }
    }

    /// At least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let found = found.map_err(|error| self.broken(&error))?;
        match found.is_empty() {
            true => Err(self.unusable(
                "it holds no certificate; one in PEM begins with -----BEGIN CERTIFICATE-----"
                    .to_owned(),
            )),
            false => Ok(found),
        }
    }

    /// When the first of its certificates ends.
    fn ends(&self) -> Option<u64> {
        let certificates = self.certificates().ok()?;
        certificates.iter().filter_map(|der| not_after(der)).min()
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) => {
                let is_sealed = memchr::memmem::find(&self.text, b"BEGIN ENCRYPTED PRIVATE KEY");
                Err(self.unusable(match is_sealed {
                    Some(_) => "its private key is sealed with a passphrase, which the bus cannot ask for; `openssl pkey` writes it without".to_owned(),
                    None => format!("it holds no private key; one in PEM begins with -----BEGIN PRIVATE KEY-----. A key in another file is named by `{KEY}`"),
                }))
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in self.certificates()?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                self.unusable(format!(
                    "its certificate number {} does not read: {error}",
                    index + 1
                ))
            })?;
        }
        Ok(roots)
    }

    /// The library's words repeat a line of the file.
    fn broken(&self, error: &pem::Error) -> TlsError {
        self.unusable(match error {
            pem::Error::MissingSectionEnd { .. } => {
                "it breaks off: a section has no -----END line".to_owned()
            }
            pem::Error::IllegalSectionStart { .. } => {
                "one of its -----BEGIN lines is wrong".to_owned()
            }
            pem::Error::Base64Decode(_) => "it holds a section that is no base64".to_owned(),
            _ => "it is no PEM".to_owned(),
        })
    }
}
