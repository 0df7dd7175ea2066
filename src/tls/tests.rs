//! Files that are good, broken, exchanged one after the other; handshakes that give way.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

struct Place(tempfile::TempDir);

/// A certificate that vouches for itself, and its key.
fn issue() -> (String, String) {
    let mut params = CertificateParams::new(vec!["bus.test".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let pem = issuer.pem();
    (pem, issuer.key().serialize_pem())
}

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn config(&self) -> Config {
        Config {
            clients: Some(Clients {
                authorities: self.path("clients.pem"),
                are_optional: false,
            }),
            ..Config::new(self.path("cert.pem"), Some(self.path("key.pem")))
        }
    }
}

fn is_in_use(tls: &Tls, before: &Arc<Current>) -> bool {
    Arc::ptr_eq(&tls.0.current.load_full(), before)
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_name_and_setting() {
    let (certificate, key) = issue();
    let (_, other_key) = issue();
    let half = &key[..key.len() / 2];
    let cut = &certificate[..certificate.len() / 2];
    let sealed =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let empty_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let large = "#".repeat(limits::TLS_FILE_BYTES + 1);
    let check = |[cert, key, clients]: [&str; 3], file: &str, setting: &str, words: &str| {
        let place = Place::new();
        for (name, text) in [
            ("cert.pem", cert),
            ("key.pem", key),
            ("clients.pem", clients),
        ] {
            if !text.is_empty() {
                place.write(name, text);
            }
        }
        let error = Tls::open(place.config()).unwrap_err().to_string();
        for part in [file, setting, words] {
            assert!(error.contains(part), "no {part:?} in: {error}");
        }
        let secret = &other_key.lines().nth(1).unwrap()[..20];
        assert!(
            !error.contains(secret) && !error.contains(&half[40..60]),
            "{error}"
        );
    };
    let (cert, clients) = (certificate.as_str(), certificate.as_str());
    check(
        ["", &key, clients],
        "cert.pem",
        "tls_cert_file",
        "cannot read",
    );
    check(
        [cert, "", clients],
        "key.pem",
        "tls_key_file",
        "cannot read",
    );
    check(
        [cert, &key, ""],
        "clients.pem",
        "tls_client_ca_file",
        "cannot read",
    );
    check(
        ["hello", &key, clients],
        "cert.pem",
        "tls_cert_file",
        "no certificate",
    );
    check(
        [&key, &key, clients],
        "cert.pem",
        "tls_cert_file",
        "no certificate",
    );
    check(
        [cut, &key, clients],
        "cert.pem",
        "tls_cert_file",
        "breaks off",
    );
    check(
        [empty_der, &key, clients],
        "cert.pem",
        "tls_cert_file",
        "does not read",
    );
    check(
        [&large, &key, clients],
        "cert.pem",
        "tls_cert_file",
        "larger than",
    );
    check(
        [cert, cert, clients],
        "key.pem",
        "tls_key_file",
        "no private key",
    );
    check(
        [cert, half, clients],
        "key.pem",
        "tls_key_file",
        "breaks off",
    );
    check(
        [cert, sealed, clients],
        "key.pem",
        "tls_key_file",
        "passphrase",
    );
    check(
        [cert, &other_key, clients],
        "key.pem",
        "cert.pem",
        "is not that of",
    );
    check(
        [cert, &key, &key],
        "clients.pem",
        "tls_client_ca_file",
        "no certificate",
    );
    check(
        [cert, &key, empty_der],
        "clients.pem",
        "tls_client_ca_file",
        "number 1",
    );
}

#[test]
fn a_key_may_stand_in_the_certificates_file() {
    let place = Place::new();
    let (certificate, key) = issue();
    place.write("both.pem", &format!("{key}{certificate}"));
    Tls::open(Config::new(place.path("both.pem"), None)).unwrap();
    place.write("both.pem", &certificate);
    let error = Tls::open(Config::new(place.path("both.pem"), None)).unwrap_err();
    assert!(error.to_string().contains("`tls_key_file`"), "{error}");
}

#[test]
fn files_that_change_are_used_once_they_fit_together() {
    let place = Place::new();
    let (certificate, key) = issue();
    for (name, text) in [
        ("cert.pem", &certificate),
        ("key.pem", &key),
        ("clients.pem", &certificate),
    ] {
        place.write(name, text);
    }
    let tls = Tls::open(place.config()).unwrap();
    let first = tls.0.current.load_full();
    tls.look();
    tls.reload().unwrap();
    assert!(is_in_use(&tls, &first), "nothing changed");

    let told = |tls: &Tls| tls.0.read.lock().refused.as_ref().map(|(_, told)| *told);
    let (new_certificate, new_key) = issue();
    place.write("cert.pem", &new_certificate);
    tls.look();
    assert_eq!(told(&tls), Some(false), "the key may be about to come");
    tls.look();
    assert_eq!(told(&tls), Some(true));
    assert!(is_in_use(&tls, &first));
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsError::OtherKey { .. }), "{error}");

    place.write("key.pem", &new_key);
    tls.look();
    assert_eq!(told(&tls), None);
    let second = tls.0.current.load_full();
    assert!(!is_in_use(&tls, &first));

    // Gone is as broken as wrong, and what was there before is there again without a change.
    fs::remove_file(place.path("clients.pem")).unwrap();
    for expected in [false, true, true] {
        tls.look();
        assert_eq!(told(&tls), Some(expected));
    }
    place.write("clients.pem", &certificate);
    tls.look();
    assert_eq!(told(&tls), None);
    assert!(is_in_use(&tls, &second));
}

#[test]
fn a_private_key_does_not_show() {
    let place = Place::new();
    let (certificate, key) = issue();
    place.write("cert.pem", &format!("{certificate}{key}"));
    let config = Config::new(place.path("cert.pem"), None);
    let shown = format!("{config:?} {:?}", Tls::open(config.clone()).unwrap());
    assert!(shown.contains("cert.pem"));
    assert!(
        !shown.contains(&key.lines().nth(1).unwrap()[..20]),
        "{shown}"
    );
    assert!(Path::new(&config.certificate).exists());
}
