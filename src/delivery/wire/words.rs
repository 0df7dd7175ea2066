//! Errors of requests to targets, in words that a person understands.

use std::error::Error;
use std::io;

use hyper_util::client::legacy;

use super::dial::ConnectTimedOut;
use crate::cause;
use crate::guard::Refusal;
use crate::limits;

/// The guard's refusal, where that is at the root of the error.
pub(crate) fn refusal<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refusal> {
    cause::find(error)
}

/// Whether there was no connection in time. One that stood, and ended because its other side gave no
/// sign of life any more, is another matter, although the system has the same word for both.
pub(crate) fn is_connect_timeout(error: &tower::BoxError) -> bool {
    let error: &(dyn Error + 'static) = &**error;
    let was_connecting =
        || cause::find::<legacy::Error>(error).is_some_and(legacy::Error::is_connect);
    let timed_out = || {
        cause::find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    };
    cause::find::<ConnectTimedOut>(error).is_some() || (was_connecting() && timed_out())
}

/// One line: what failed, and why at the root.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let what = if let Some(error) = error.downcast_ref::<legacy::Error>() {
        match error.is_connect() {
            true => "could not connect",
            false => "the connection failed",
        }
    } else if error.is::<http::Error>() {
        "the request could not be built"
    } else if error.is::<reqwest::Error>() {
        "the answer broke off"
    } else {
        ""
    };
    let mut parts = Vec::new();
    if !what.is_empty() {
        parts.push(what.to_owned());
    }
    for error in cause::chain(error) {
        // reqwest's and hyper-util's outer layers only say that there is an inner one.
        if error.is::<reqwest::Error>() {
            continue;
        }
        let text = words(error);
        if text.starts_with("client error (") || text.starts_with("error trying to connect") {
            continue;
        }
        // Many errors repeat their source in their own text: keep the longer of the two.
        match parts.last_mut() {
            Some(last) if last.contains(&text) => {}
            Some(last) if text.contains(last.as_str()) => *last = text,
            _ => parts.push(text),
        }
    }
    let mut text = parts.join(": ");
    cut(&mut text);
    text
}

/// Shortens what is kept of an error or an answer to [`limits::RESPONSE_KEPT_BYTES`].
pub(crate) fn cut(text: &mut String) {
    let mut length = text.len().min(limits::RESPONSE_KEPT_BYTES);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    text.truncate(length);
}

fn words(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    // An HTTP/2 connection keeps of its transport's error the text only.
    if let Some((_, alert)) = text.split_once("received fatal alert: ") {
        return alert_words(alert);
    }
    let Some(io_error) = error.downcast_ref::<io::Error>() else {
        return text;
    };
    if let Some(tls_error) = cause::tls(error) {
        return tls_words(tls_error);
    }
    let plain = match io_error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by the target",
        io::ErrorKind::ConnectionAborted => "connection aborted",
        io::ErrorKind::BrokenPipe => "connection closed by the target",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::TimedOut => "the target gave no sign of life any more",
        io::ErrorKind::UnexpectedEof => "connection closed early",
        _ => return text,
    };
    plain.to_owned()
}

/// Why the other side ended the connection, by the names of RFC 8446, section 6.
fn alert_words(alert: &str) -> String {
    match alert {
        "CertificateRequired" | "NoCertificate" => {
            "TLS: it wants a client certificate; name one in `tls.identity`".to_owned()
        }
        "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateRevoked"
        | "CertificateExpired"
        | "CertificateUnknown"
        | "UnknownCA"
        | "DecryptError"
        | "AccessDenied" => {
            format!("TLS: it refuses the client certificate of `tls.identity` ({alert})")
        }
        other => format!("TLS: it ended the connection ({other})"),
    }
}

/// What went wrong with certificates, and what mends it.
fn tls_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(bad) => match bad {
            // The signature of another authority with the same name does not fit.
            Bad::UnknownIssuer | Bad::BadSignature => "TLS: the issuer of its certificate is not trusted; if it is a private one, name the CA's certificate in `tls.ca`".to_owned(),
            Bad::Expired | Bad::ExpiredContext { .. } => {
                "TLS: its certificate has expired".to_owned()
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "TLS: its certificate is not valid yet".to_owned()
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "TLS: its certificate is for another name than the host of the URL".to_owned()
            }
            other => format!("TLS: its certificate is not valid: {other}"),
        },
        Error::InvalidMessage(_) => "TLS: what answers there does not speak TLS".to_owned(),
        other => format!("TLS: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: inner")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner(#[source] io::Error);

    #[test]
    fn a_chain_is_told_once() {
        let error = Outer(Inner(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert_eq!(describe(&error), "outer: inner: connection refused");
    }
}
