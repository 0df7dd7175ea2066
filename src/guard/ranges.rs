//! Which addresses do not belong to the public internet, and what they are instead.
//!
//! After IANA's registries of special-purpose addresses. Of IPv6 only 2000::/3 is given out, so
//! everything outside of it is refused without being named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::Network;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// The first three groups of a network; the rest is zero.
const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const V4: [(Ipv4Net, Network); 16] = [
    // On Linux 0.0.0.0 reaches the machine itself.
    (v4(0, 0, 0, 0, 8), Network::Unspecified),
    (v4(10, 0, 0, 0, 8), Network::Private),
    (v4(100, 64, 0, 0, 10), Network::Shared),
    (v4(127, 0, 0, 0, 8), Network::Loopback),
    (v4(169, 254, 0, 0, 16), Network::LinkLocal),
    (v4(172, 16, 0, 0, 12), Network::Private),
    (v4(192, 0, 0, 0, 24), Network::Reserved),
    (v4(192, 0, 2, 0, 24), Network::Documentation),
    // Relays from 6to4, given up.
    (v4(192, 88, 99, 0, 24), Network::Translated),
    (v4(192, 168, 0, 0, 16), Network::Private),
    (v4(198, 18, 0, 0, 15), Network::Benchmarking),
    (v4(198, 51, 100, 0, 24), Network::Documentation),
    (v4(203, 0, 113, 0, 24), Network::Documentation),
    (v4(224, 0, 0, 0, 4), Network::Multicast),
    // The end of the reserved block below; named for its better word.
    (v4(255, 255, 255, 255, 32), Network::Multicast),
    (v4(240, 0, 0, 0, 4), Network::Reserved),
];

/// The first that fits holds. NAT64 and 6to4 are not here: they are judged by the address in them.
const V6: [(Ipv6Net, Network); 15] = [
    (v6(0, 0, 0, 128), Network::Unspecified),
    (
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128),
        Network::Loopback,
    ),
    // "Compatible" addresses, given up.
    (v6(0, 0, 0, 96), Network::Translated),
    // NAT64 prefixes of a network's own.
    (v6(0x64, 0xff9b, 1, 48), Network::Translated),
    (v6(0x100, 0, 0, 64), Network::Reserved),
    // Teredo
    (v6(0x2001, 0, 0, 32), Network::Translated),
    (v6(0x2001, 2, 0, 48), Network::Benchmarking),
    (v6(0x2001, 0, 0, 23), Network::Reserved),
    (v6(0x2001, 0xdb8, 0, 32), Network::Documentation),
    (v6(0x3fff, 0, 0, 20), Network::Documentation),
    // Segment routing
    (v6(0x5f00, 0, 0, 16), Network::Reserved),
    (v6(0xfc00, 0, 0, 7), Network::Private),
    (v6(0xfe80, 0, 0, 10), Network::LinkLocal),
    (v6(0xfec0, 0, 0, 10), Network::Private),
    (v6(0xff00, 0, 0, 8), Network::Multicast),
];

const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Where clouds serve credentials to whoever asks from inside.
const METADATA: [IpAddr; 13] = [
    // AWS, Azure, Google, Oracle, DigitalOcean, OpenStack and more
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS: credentials of ECS tasks, and of EKS pods
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Tencent, Scaleway
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    // Alibaba
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's wire server; a public address that is served inside of Azure only
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // AWS over IPv6, instances and EKS pods
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    // Google, Oracle, Scaleway over IPv6
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    // OpenStack over IPv6
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

/// The address that is reached: what an IPv6 address with an IPv4 address in it stands for.
pub(super) fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let octets = v6.octets();
    let embedded = |at: usize| {
        IpAddr::V4(Ipv4Addr::from([
            octets[at],
            octets[at + 1],
            octets[at + 2],
            octets[at + 3],
        ]))
    };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        IpAddr::V4(mapped)
    } else if NAT64.contains(&v6) {
        embedded(12)
    } else if v6.segments()[0] == 0x2002 {
        embedded(2)
    } else {
        address
    }
}

/// The special network that an address belongs to; `None` for the public internet.
pub(super) fn network(address: IpAddr) -> Option<Network> {
    match address {
        IpAddr::V4(v4) => {
            let found = V4.iter().find(|(range, _)| range.contains(&v4));
            found.map(|(_, network)| *network)
        }
        IpAddr::V6(v6) => {
            let found = V6.iter().find(|(range, _)| range.contains(&v6));
            match found {
                Some((_, network)) => Some(*network),
                None if GLOBAL_V6.contains(&v6) => None,
                None => Some(Network::Reserved),
            }
        }
    }
}

pub(super) fn is_metadata(address: IpAddr) -> bool {
    METADATA.contains(&address)
}
