//! Keeps web pages away from a bus that is open to everybody on its machine.
//!
//! Whoever on this machine reads a page lets it send requests from here: it may post to the bus's
//! address without being asked (only the answer is kept from it), and a name of its own that begins to
//! mean 127.0.0.1 lets it read answers too. Keys end both, since no browser adds them by itself; so
//! does `access = "off"`, which says that something else guards the address.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};

use super::Problem;

/// Suffixes of names that nobody on the internet can own (RFC 6761; `internal` is reserved too).
const PRIVATE: [&str; 3] = [".localhost", ".internal", ".test"];

/// Refuses what comes from a page of another address, or was sent to a name that anybody may own.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    // Of HTTP/1, as browsers speak it without TLS.
    let host = text(headers, &header::HOST).unwrap_or_default();
    if !is_private(host) {
        return Err(Problem::web_page(format!(
            "This bus is open to everybody on its machine and to nobody else, and was addressed as {host:?}: by a proxy or tunnel, or by a web page whose name was pointed here. Address it as 127.0.0.1 or localhost, or set `access`: to `keys`, or to `off` if something else guards it."
        )));
    }
    match text(headers, &header::ORIGIN) {
        Some(origin) if !is_of(origin, host) => Err(Problem::web_page(format!(
            "A web page of {origin:?} must not use a bus that asks for no API keys. If it is yours, set `access`: to `keys`, or to `off` if something else guards the bus."
        ))),
        _ => Ok(()),
    }
}

/// What is no text equals nothing, and is refused for it.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or("?"))
}

fn is_of(origin: &str, host: &str) -> bool {
    let of = origin.split_once("://").map(|(_, authority)| authority);
    of.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether a host, perhaps with a port, is an address or a name that is of this machine's network only.
/// Names without a dot are: the internet has none.
fn is_private(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if bare.unwrap_or(name).parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_owned = name.contains('.') && !PRIVATE.iter().any(|suffix| name.ends_with(suffix));
    name.bytes().all(plain) && !is_owned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_are_kept_away_from_an_open_bus() {
        let check = |host: &str, origin: &str, allowed: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(super::check(&headers).is_ok(), allowed, "{host} {origin}");
        };
        for host in [
            "",
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "localhost:8080",
            "LocalHost.",
            "bus.localhost:80",
            "host.docker.internal:8080",
            "bus.test",
            "bus:8080",
        ] {
            check(host, "", true);
        }
        for host in [
            "attacker.example:8080",
            "attacker.example",
            "127.0.0.1.attacker.example",
            "localhost.attacker.example.:8080",
            "attackerlocalhost.example",
            "1.2.3.4.5:80",
            "\u{e9}:80",
            "a b",
        ] {
            check(host, "", false);
            // Pointed here, it is its own origin.
            check(host, &format!("http://{host}"), false);
        }
        check("localhost:8080", "http://localhost:8080", true);
        check("localhost:8080", "http://LOCALHOST:8080", true);
        for origin in [
            "http://attacker.example",
            "https://attacker.example:8080",
            "http://localhost:3000",
            "http://localhost",
            "null",
            "\u{e9}",
        ] {
            check("localhost:8080", origin, false);
        }
    }
}
