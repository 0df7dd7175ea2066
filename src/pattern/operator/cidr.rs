//! `{"cidr": "10.0.0.0/8"}`: a string that is an IP address within a block.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::PatternError;
use super::super::error::Pointer;
use super::super::value::Datum;
use super::{Words, quoted};

/// A block of addresses of one family; the bits behind the mask do not count. An IPv4 block never
/// holds an IPv6 address (event-ruler compares hex digits and lets `10.0.0.0/8` hold `a00::1`).
#[derive(Debug, Clone)]
pub(crate) struct Cidr {
    text: Box<str>,
    network: IpAddr,
    bits: u32,
}

impl Cidr {
    pub(super) fn parse(text: &str, at: &Pointer<'_>) -> Result<Cidr, PatternError> {
        let (network, mask) = text
            .strip_suffix('/')
            .unwrap_or(text)
            .split_once('/')
            .ok_or_else(|| at.error("a CIDR block is an address, one slash and a number of bits, such as \"10.0.0.0/8\""))?;
        let bits = bits(mask).ok_or_else(|| {
            at.error(format!(
                "{} is no number of bits; a CIDR block is written such as \"10.0.0.0/8\"",
                quoted(mask)
            ))
        })?;
        let address = address(network).ok_or_else(|| {
            at.error(format!(
                "{} is no IP address; write four decimal numbers with dots, or IPv6 groups with colons",
                quoted(network)
            ))
        })?;
        let widest = if address.is_ipv4() { 31 } else { 127 };
        if bits > widest {
            return Err(at.error(format!(
                "a block of this family has 0 to {widest} bits; for one single address write the address itself as a string"
            )));
        }
        Ok(Cidr {
            text: text.into(),
            network: address,
            bits,
        })
    }

    pub(super) fn accepts(&self, datum: &Datum<'_>) -> bool {
        let Datum::String(text) = datum else {
            return false;
        };
        let block = |address| block(address, self.bits);
        address_of(text).is_some_and(|address| block(address) == block(self.network))
    }

    /// The first address of the block, and how many of its bits count.
    pub(crate) fn block(&self) -> (IpAddr, u32) {
        (block(self.network, self.bits), self.bits)
    }

    pub(super) fn words(&self) -> Words {
        let text = &self.text;
        Words::new(
            format!("is within {text}"),
            format!("is not an address within {text}"),
        )
    }
}

/// The address with all bits behind the first `bits` zero.
pub(crate) fn block(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(bits))
                .unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(bits))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// Digits, with a sign if need be, as event-ruler reads them.
fn bits(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits {
        digits.parse().ok()
    } else {
        None
    }
}

/// The address that a value's bytes are; most are none, and show it at once.
pub(crate) fn address_of(text: &[u8]) -> Option<IpAddr> {
    let first = text.first()?;
    if !first.is_ascii_hexdigit() && *first != b':' {
        return None;
    }
    address(std::str::from_utf8(text).ok()?)
}

/// The address that a text is, read as event-ruler does: leading zeros are fine and decimal, and
/// an IPv4 address written as IPv6 (`::ffff:a00:1`) is the IPv4 address.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address = ipv6(text)?;
        Some(match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(address),
        })
    } else {
        ipv4(text).map(IpAddr::V4)
    }
}

fn ipv4(text: &str) -> Option<Ipv4Addr> {
    // The longest spelling is "255.255.255.255"; longer ones are no addresses to event-ruler.
    if text.len() > 15 || !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let all_digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = if all_digits {
            part.parse().ok()?
        } else {
            return None;
        };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn ipv6(text: &str) -> Option<Ipv6Addr> {
    let (head, tail) = match text.split_once("::") {
        Some((head, tail)) => (groups(head)?, Some(groups(tail)?)),
        None => (groups(text)?, None),
    };
    let mut all = [0; 8];
    let tail = match tail {
        Some(tail) if head.len() + tail.len() < 8 => tail,
        None if head.len() == 8 => Vec::new(),
        _ => return None,
    };
    all[..head.len()].copy_from_slice(&head);
    let start = 8 - tail.len();
    all[start..].copy_from_slice(&tail);
    Some(Ipv6Addr::from(all))
}

fn groups(text: &str) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(':')
        .map(|group| {
            let all_hex = !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_hexdigit());
            if all_hex {
                u16::from_str_radix(group, 16).ok()
            } else {
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_event_ruler_does() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(address(text), expected, "{text}");
        };
        check("10.0.0.1", Some("10.0.0.1"));
        check("010.0.0.1", Some("10.0.0.1"));
        check("256.0.0.1", None);
        check("1.2.3", None);
        check("1.2.3.4.5", None);
        check("1.2.3.", None);
        check("0000000001.2.3.4", None);
        check("", None);
        check(":", None);
        check("::", Some("::"));
        check("::1", Some("::1"));
        check("1::", Some("1::"));
        check("1:2:3:4:5:6:7:8", Some("1:2:3:4:5:6:7:8"));
        check("1:2:3:4:5:6:7:00008", Some("1:2:3:4:5:6:7:8"));
        check("1:2:3:4:5:6:7::", Some("1:2:3:4:5:6:7:0"));
        check("1:2:3:4:5:6:7::8", None);
        check("1:2:3:4:5:6:7:8:9", None);
        check("1::2::3", None);
        check("1:::2", None);
        check(":1:2:3:4:5:6:7", None);
        check("1:2:3:4:5:6:7:", None);
        check("::ffff:a00:1", Some("10.0.0.1"));
        check("::ffff:10.0.0.1", None);
        check("fe80::1%eth0", None);
        check("12:30", None);
    }
}
