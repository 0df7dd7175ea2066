//! Why a call brought no answer, in words that say what to change.

use crate::cause;

/// The cause at the bottom, since reqwest's own message says only that sending failed; of TLS, what
/// mends it.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let is_tls = error.url().is_some_and(|url| url.scheme() == "https");
    let tls = cause::chain(error).find_map(cause::tls);
    // What a certificate of our own is refused for, before anything is sent, stands in no I/O error.
    if let Some(tls) = tls.or_else(|| cause::find(error)) {
        return words(tls);
    }
    let text = cause::chain(error).last().unwrap_or(error).to_string();
    match text.split_once("received fatal alert: ") {
        // HTTP/2 keeps of its transport's error the text only.
        Some((_, alert)) => alert_words(alert),
        None if text.contains("invalid HTTP version") => {
            format!("{text}; if the bus speaks TLS, its URL begins with https://")
        }
        // With TLS 1.3 a client is told after it has begun to speak, and may hear of the end only.
        None if is_tls && (text.contains("closed") || text.contains("reset")) => {
            format!("{text}; a bus does so that wants a certificate, or another one: see --cert")
        }
        None => text,
    }
}

fn words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => "nobody who is trusted vouches for its certificate; if its authority is a private one, name that with --ca or EVENTYARD_CA".to_owned(),
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another name than the host of the URL".to_owned()
        }
        // webpki's own, which rustls does not name.
        Error::InvalidCertificate(Bad::Other(other))
            if other.0.to_string() == "UnsupportedCertVersion" =>
        {
            "the certificate is of X.509 version 1; one of version 3 is wanted: `openssl x509 -req` makes it with -copy_extensions copy of a request with extensions".to_owned()
        }
        Error::InvalidMessage(_) => {
            "what answers there speaks no TLS; without it the URL begins with http://".to_owned()
        }
        Error::AlertReceived(alert) => alert_words(&format!("{alert:?}")),
        other => format!("TLS: {other}"),
    }
}

/// Why the bus ended the connection, by the names of RFC 8446, section 6.
fn alert_words(alert: &str) -> String {
    match alert {
        "CertificateRequired" | "NoCertificate" => {
            "it wants a client certificate; name one with --cert or EVENTYARD_CERT".to_owned()
        }
        "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateRevoked"
        | "CertificateExpired"
        | "CertificateUnknown"
        | "UnknownCA"
        | "DecryptError"
        | "AccessDenied" => format!("it refuses the certificate of --cert ({alert})"),
        other => format!("TLS: it ended the connection ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{CertificateError, OtherError};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("UnsupportedCertVersion")]
    struct OfWebpki;

    #[test]
    fn a_certificate_of_version_1_is_told_with_what_mends_it() {
        let other = CertificateError::Other(OtherError(Arc::new(OfWebpki)));
        let told = words(&rustls::Error::InvalidCertificate(other));
        assert!(told.contains("-copy_extensions"), "{told}");
    }
}
