//! Decides which addresses the bus may connect to on behalf of its rules.
//!
//! Whoever may put a rule could else reach, through the bus, what only the bus can reach: its own
//! machine, its network, a cloud's metadata service. Names are judged by the addresses they resolve
//! to, at the moment of connecting ([`Guard::admit_resolved`]); hosts that are addresses by
//! themselves, in whatever spelling, before that ([`Guard::admit`]).

mod ranges;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use parking_lot::Mutex;

use crate::seldom::Seldom;

/// What the operator says.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub mode: Mode,
    /// Networks that may be connected to although the guard would refuse them.
    pub allow: Vec<IpNet>,
    /// Networks that may not be connected to, whatever else is said.
    pub deny: Vec<IpNet>,
}

/// How much is refused beside what the operator denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As `On`; but a bus that listens on a loopback address, which is for developing, may reach
    /// all but metadata addresses.
    #[default]
    Auto,
    /// All but the public internet.
    On,
    /// Nothing.
    Off,
}

/// What an address belongs to that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Denied,
    Metadata,
    Loopback,
    Unspecified,
    Private,
    LinkLocal,
    Shared,
    Translated,
    Multicast,
    Documentation,
    Benchmarking,
    Reserved,
}

/// Why an address is not connected to. It names no address: whoever put the rule reads it, and
/// should not learn what a name resolves to inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is not allowed: {}", reason(*.0))]
pub struct Refusal(pub Network);

/// The guard; clones share its counters.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reach: Reach,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    refused: [AtomicU64; Network::ALL.len()],
    told: Mutex<Seldom>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Everything,
    AllButMetadata,
    PublicOnly,
}

impl Guard {
    /// `on_loopback`: the bus listens on a loopback address.
    #[must_use]
    pub fn new(config: Config, on_loopback: bool) -> Guard {
        let reach = match config.mode {
            Mode::Off => Reach::Everything,
            Mode::Auto if on_loopback => Reach::AllButMetadata,
            Mode::Auto | Mode::On => Reach::PublicOnly,
        };
        Guard(Arc::new(Inner {
            reach,
            allow: config.allow,
            deny: config.deny,
            refused: Default::default(),
            told: Mutex::default(),
        }))
    }

    /// A guard that refuses nothing, for tools.
    #[must_use]
    pub fn off() -> Guard {
        let config = Config {
            mode: Mode::Off,
            ..Config::default()
        };
        Guard::new(config, false)
    }

    /// What the guard refuses, in words.
    #[must_use]
    pub fn describe(&self) -> &'static str {
        match self.0.reach {
            Reach::Everything => "off: targets may be anywhere",
            Reach::AllButMetadata => "targets may be anywhere but at cloud metadata addresses",
            Reach::PublicOnly => "on: targets may be on the public internet only",
        }
    }

    /// Whether an address may be connected to.
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let meant = ranges::meant(address);
        let within = |networks: &[IpNet]| {
            networks
                .iter()
                .any(|network| network.contains(&address) || network.contains(&meant))
        };
        if within(&self.0.deny) {
            return Err(Refusal(Network::Denied));
        }
        if self.0.reach == Reach::Everything {
            return Ok(());
        }
        if ranges::is_metadata(meant) {
            // A hole punched for a whole network is not meant for these.
            let named = self.0.allow.iter().any(|network| {
                network.prefix_len() == network.max_prefix_len()
                    && [address, meant].contains(&network.addr())
            });
            return named.then_some(()).ok_or(Refusal(Network::Metadata));
        }
        if self.0.reach == Reach::AllButMetadata || within(&self.0.allow) {
            return Ok(());
        }
        match ranges::network(meant) {
            None => Ok(()),
            Some(network) => Err(Refusal(network)),
        }
    }

    /// Whether a URL's host may be connected to, as far as the text alone tells. The parser has
    /// turned every spelling of an address (`127.1`, `0x7f000001`, `2130706433`) into the usual one.
    pub fn check_url(&self, url: &reqwest::Url) -> Result<(), Refusal> {
        let host = url.host_str().unwrap_or_default();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
            return self.check(address);
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        if name == "localhost" || name.ends_with(".localhost") {
            // Whatever a resolver says of it; where one of the two is allowed, the resolver is asked.
            let v4 = self.check(Ipv4Addr::LOCALHOST.into());
            return v4.or_else(|_| self.check(Ipv6Addr::LOCALHOST.into()));
        }
        Ok(())
    }

    /// [`Guard::check_url`] for a request that is about to be sent; a refusal is counted.
    pub fn admit(&self, url: &reqwest::Url) -> Result<(), Refusal> {
        self.check_url(url).inspect_err(|refusal| {
            self.refused(url.host_str().unwrap_or_default(), None, *refusal);
        })
    }

    /// Those of a name's addresses that may be connected to. Refused, and counted, when none is
    /// left.
    pub fn admit_resolved(
        &self,
        name: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let mut first = None;
        let mut admitted = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.check(address.ip()) {
                Ok(()) => admitted.push(address),
                Err(refusal) => first = first.or(Some((address.ip(), refusal))),
            }
        }
        match first {
            Some((address, refusal)) if admitted.is_empty() => {
                self.refused(name, Some(address), refusal);
                Err(refusal)
            }
            _ => Ok(admitted),
        }
    }

    /// How many connections were refused since the start, by network.
    pub fn refusals(&self) -> impl Iterator<Item = (Network, u64)> + '_ {
        let counts = self.0.refused.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        Network::ALL.into_iter().zip(counts)
    }

    /// Counts it, and tells the operator now and then what the author of the rule is not told.
    fn refused(&self, host: &str, address: Option<IpAddr>, refusal: Refusal) {
        let Refusal(network) = refusal;
        self.0.refused[network as usize].fetch_add(1, Ordering::Relaxed);
        // A rule may cause thousands a second.
        if !self.0.told.lock().tells() {
            return;
        }
        let address = address.map_or_else(|| host.to_owned(), |address| address.to_string());
        tracing::warn!(
            host,
            address,
            network = network.as_str(),
            "a connection for a rule was refused: the address is not allowed (`targets_guard`)"
        );
    }
}

impl Network {
    /// In the order of the variants.
    pub const ALL: [Network; 12] = [
        Network::Denied,
        Network::Metadata,
        Network::Loopback,
        Network::Unspecified,
        Network::Private,
        Network::LinkLocal,
        Network::Shared,
        Network::Translated,
        Network::Multicast,
        Network::Documentation,
        Network::Benchmarking,
        Network::Reserved,
    ];

    /// As the metrics write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::Unspecified => "unspecified",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Shared => "shared",
            Self::Translated => "translated",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "on the operator's deny list",
            Self::Metadata => "a cloud's metadata service",
            Self::Loopback => "the bus's own machine",
            Self::Unspecified => "the unspecified network",
            Self::Private => "a private network",
            Self::LinkLocal => "a link-local network",
            Self::Shared => "a carrier's shared network",
            Self::Translated => "an IPv4 address translated in a way that is not followed",
            Self::Multicast => "a multicast or broadcast address",
            Self::Documentation => "a network for documentation",
            Self::Benchmarking => "a network for benchmarks",
            Self::Reserved => "a reserved network",
        })
    }
}

fn reason(network: Network) -> String {
    match network {
        Network::Denied => format!("it is {network} (`targets_deny`)"),
        Network::Metadata => {
            format!("it is {network}; the operator may allow exactly it with `targets_allow`")
        }
        network => format!("it is {network}; the operator may allow it with `targets_allow`"),
    }
}

/// Reads a list of networks: CIDR or single addresses, parted by commas.
pub fn parse_networks(text: &str) -> Result<Vec<IpNet>, String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(parse_network)
        .collect()
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| {
        format!(
            "{text:?} is no network; CIDR such as 10.0.0.0/8 or fd00::/8, or an address, is wanted"
        )
    })?;
    if network.trunc() != network {
        return Err(format!(
            "{text} names an address inside of a network; did you mean {}?",
            network.trunc()
        ));
    }
    Ok(network)
}

#[cfg(test)]
mod tests;
