//! Every range, every spelling, and what the operator's lists change.

use super::*;

fn on() -> Guard {
    guard(Mode::On, "", "")
}

fn guard(mode: Mode, allow: &str, deny: &str) -> Guard {
    let config = Config {
        mode,
        allow: parse_networks(allow).unwrap(),
        deny: parse_networks(deny).unwrap(),
    };
    Guard::new(config, false)
}

#[track_caller]
fn check(guard: &Guard, address: &str, expected: Option<Network>) {
    let found = guard.check(address.parse().unwrap());
    assert_eq!(found.err().map(|refusal| refusal.0), expected, "{address}");
}

#[track_caller]
fn check_url(guard: &Guard, url: &str, expected: Option<Network>) {
    let found = guard.check_url(&url.parse().unwrap());
    assert_eq!(found.err().map(|refusal| refusal.0), expected, "{url}");
}

#[test]
fn every_range_is_refused_from_its_first_address_to_its_last() {
    use Network::*;
    let guard = on();
    for (before, first, last, after, network) in [
        ("", "0.0.0.0", "0.255.255.255", "1.0.0.0", Unspecified),
        (
            "9.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "11.0.0.0",
            Private,
        ),
        (
            "100.63.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "100.128.0.0",
            Shared,
        ),
        (
            "126.255.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "128.0.0.0",
            Loopback,
        ),
        (
            "169.253.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "169.255.0.0",
            LinkLocal,
        ),
        (
            "172.15.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "172.32.0.0",
            Private,
        ),
        (
            "191.255.255.255",
            "192.0.0.0",
            "192.0.0.255",
            "192.0.1.0",
            Reserved,
        ),
        (
            "192.0.1.255",
            "192.0.2.0",
            "192.0.2.255",
            "192.0.3.0",
            Documentation,
        ),
        (
            "192.88.98.255",
            "192.88.99.0",
            "192.88.99.255",
            "192.88.100.0",
            Translated,
        ),
        (
            "192.167.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "192.169.0.0",
            Private,
        ),
        (
            "198.17.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.20.0.0",
            Benchmarking,
        ),
        (
            "198.51.99.255",
            "198.51.100.0",
            "198.51.100.255",
            "198.51.101.0",
            Documentation,
        ),
        (
            "203.0.112.255",
            "203.0.113.0",
            "203.0.113.255",
            "203.0.114.0",
            Documentation,
        ),
        (
            "223.255.255.255",
            "224.0.0.0",
            "239.255.255.255",
            "",
            Multicast,
        ),
        ("", "240.0.0.0", "255.255.255.254", "", Reserved),
        ("", "255.255.255.255", "255.255.255.255", "", Multicast),
        (
            "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001::",
            "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Translated,
        ),
        (
            "",
            "2001:2::",
            "2001:2:0:ffff:ffff:ffff:ffff:ffff",
            "",
            Benchmarking,
        ),
        (
            "",
            "2001:1::",
            "2001:1:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Reserved,
        ),
        (
            "",
            "2001:3::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:200::",
            Reserved,
        ),
        (
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            Documentation,
        ),
        (
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
            Documentation,
        ),
        ("", "::", "::", "", Unspecified),
        ("", "::1", "::1", "", Loopback),
        ("", "::2", "::ffff:ffff", "", Translated),
        (
            "",
            "64:ff9b:1::",
            "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
            "",
            Translated,
        ),
        ("", "100::", "100::ffff:ffff:ffff:ffff", "", Reserved),
        (
            "",
            "5f00::",
            "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Reserved,
        ),
        (
            "",
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Private,
        ),
        (
            "",
            "fe80::",
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            LinkLocal,
        ),
        (
            "",
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Private,
        ),
        (
            "",
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Multicast,
        ),
        // Not given out to anybody.
        (
            "",
            "::1:0:0:0:0",
            "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2000::",
            Reserved,
        ),
        (
            "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "4000::",
            "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Reserved,
        ),
        (
            "",
            "5f01::",
            "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Reserved,
        ),
        (
            "",
            "fe00::",
            "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "",
            Reserved,
        ),
    ] {
        check(&guard, first, Some(network));
        check(&guard, last, Some(network));
        // An empty neighbour is refused as well, by a line of its own.
        for neighbour in [before, after].into_iter().filter(|text| !text.is_empty()) {
            check(&guard, neighbour, None);
        }
    }
}

#[test]
fn an_ipv4_address_inside_of_an_ipv6_one_is_judged_as_itself() {
    use Network::*;
    let guard = on();
    for (v4, expected) in [
        ("127.0.0.1", Some(Loopback)),
        ("10.1.2.3", Some(Private)),
        ("169.254.1.1", Some(LinkLocal)),
        ("169.254.169.254", Some(Metadata)),
        ("0.0.0.0", Some(Unspecified)),
        ("8.8.8.8", None),
    ] {
        check(&guard, v4, expected);
        check(&guard, &format!("::ffff:{v4}"), expected);
        check(&guard, &format!("64:ff9b::{v4}"), expected);
        let octets = v4.parse::<Ipv4Addr>().unwrap().octets();
        let [a, b, c, d] = octets;
        check(
            &guard,
            &format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            expected,
        );
        // Ways that nobody follows any more, whatever they carry.
        check(&guard, &format!("64:ff9b:1::{v4}"), Some(Translated));
        check(&guard, &format!("::ffff:0:{v4}"), Some(Reserved));
    }
}

#[test]
fn a_host_that_is_an_address_is_found_in_every_spelling() {
    use Network::*;
    let guard = on();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.0x1",
        "%31%32%37.0.0.1",
        "１２７.０.０.１",
        "127。0。0。1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "a.b.LocalHost.",
    ] {
        check_url(&guard, &format!("http://{host}/"), Some(Loopback));
        check_url(&guard, &format!("https://{host}:8443/x?y"), Some(Loopback));
    }
    for host in ["0", "0.0.0.0", "0x0", "[::]", "[::ffff:0:0]"] {
        check_url(&guard, &format!("http://{host}/"), Some(Unspecified));
    }
    for host in [
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "[::ffff:a9fe:a9fe]",
        "[fd00:ec2::254]",
    ] {
        check_url(
            &guard,
            &format!("http://{host}/latest/meta-data"),
            Some(Metadata),
        );
    }
    for host in [
        "8.8.8.8",
        "[2606:4700:4700::1111]",
        "example.com",
        "localhost.example.com",
        "mylocalhost",
        "127.0.0.1.nip.io",
        "10.example",
    ] {
        check_url(&guard, &format!("http://{host}/"), None);
    }
}

#[test]
fn allowing_punches_holes_and_denying_wins() {
    use Network::*;
    let guard = guard(
        Mode::On,
        "10.0.0.0/8, 127.0.0.1,fd00::/8",
        "10.66.0.0/16,8.8.8.0/24",
    );
    check(&guard, "10.1.2.3", None);
    check(&guard, "::ffff:10.1.2.3", None);
    check(&guard, "10.66.1.1", Some(Denied));
    check(&guard, "::ffff:10.66.1.1", Some(Denied));
    check(&guard, "8.8.8.8", Some(Denied));
    check(&guard, "64:ff9b::8.8.8.8", Some(Denied));
    check(&guard, "8.8.4.4", None);
    check(&guard, "127.0.0.1", None);
    check(&guard, "127.0.0.2", Some(Loopback));
    check(&guard, "192.168.0.1", Some(Private));
    check(&guard, "fd12::1", None);
    check_url(&guard, "http://localhost/", None);
    check_url(&guard, "http://127.1/", None);
}

#[test]
fn metadata_addresses_are_allowed_only_when_named_exactly() {
    use Network::Metadata;
    let metadata = [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.0.23",
        "169.254.42.42",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fe80::a9fe:a9fe",
        "::ffff:169.254.169.254",
    ];
    let wide = guard(Mode::On, "0.0.0.0/0,::/0", "");
    for address in metadata {
        check(&on(), address, Some(Metadata));
        check(&wide, address, Some(Metadata));
        check(&guard(Mode::On, address, ""), address, None);
        check(
            &guard(Mode::On, address, address),
            address,
            Some(Network::Denied),
        );
        check(&guard(Mode::Off, "", ""), address, None);
    }
    check(&wide, "10.0.0.1", None);
    check(
        &guard(Mode::On, "169.254.169.254/31", ""),
        "169.254.169.254",
        Some(Metadata),
    );
}

#[test]
fn a_bus_on_loopback_reaches_all_but_metadata_and_what_is_denied() {
    let config = Config {
        deny: parse_networks("10.0.0.0/8").unwrap(),
        ..Config::default()
    };
    let loopback = Guard::new(config.clone(), true);
    check(&loopback, "127.0.0.1", None);
    check(&loopback, "192.168.0.1", None);
    check(&loopback, "169.254.169.254", Some(Network::Metadata));
    check(&loopback, "10.0.0.1", Some(Network::Denied));
    check_url(&loopback, "http://localhost:9000/", None);
    let outside = Guard::new(config, false);
    check(&outside, "127.0.0.1", Some(Network::Loopback));
    let on = Config {
        mode: Mode::On,
        ..Config::default()
    };
    check(&Guard::new(on, true), "127.0.0.1", Some(Network::Loopback));
}

#[test]
fn of_a_names_addresses_those_that_may_be_are_left() {
    let guard = on();
    let at = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let mixed = at(&["10.0.0.1:0", "8.8.8.8:0", "[::1]:0", "[2606:4700::1]:0"]);
    let left = guard.admit_resolved("mixed.example", mixed).unwrap();
    assert_eq!(left, at(&["8.8.8.8:0", "[2606:4700::1]:0"]));
    assert!(
        guard
            .admit_resolved("none.example", Vec::new())
            .unwrap()
            .is_empty()
    );
    assert!(guard.refusals().all(|(_, count)| count == 0));

    let refused = guard.admit_resolved("inside.example", at(&["10.0.0.1:0", "127.0.0.1:0"]));
    assert_eq!(refused, Err(Refusal(Network::Private)));
    assert!(guard.admit(&"http://127.1/".parse().unwrap()).is_err());
    let counted: Vec<_> = guard.refusals().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(Network::Loopback, 1), (Network::Private, 1)]);
}

#[test]
fn a_refusal_says_what_to_do_and_no_address() {
    let text = |address: &str, guard: &Guard| {
        guard
            .check(address.parse().unwrap())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        text("10.1.2.3", &on()),
        "the address is not allowed: it is a private network; the operator may allow it with `targets_allow`"
    );
    let denying = guard(Mode::Off, "", "8.8.8.8");
    assert_eq!(
        text("8.8.8.8", &denying),
        "the address is not allowed: it is on the operator's deny list (`targets_deny`)"
    );
    for (index, network) in Network::ALL.into_iter().enumerate() {
        assert_eq!(
            network as usize, index,
            "{network:?} counts at its own place"
        );
        let text = Refusal(network).to_string().replace("IPv4", "");
        assert!(!text.contains(|c: char| c.is_ascii_digit()), "{text}");
    }
}

#[test]
fn lists_of_networks_are_read_or_refused_with_the_remedy() {
    let read = |text: &str| -> Vec<String> {
        let networks = parse_networks(text).unwrap();
        networks.iter().map(ToString::to_string).collect()
    };
    assert!(read("").is_empty());
    assert_eq!(
        read(" 10.0.0.0/8 ,::1,192.168.1.7, fd00::/8"),
        ["10.0.0.0/8", "::1/128", "192.168.1.7/32", "fd00::/8"]
    );
    assert_eq!(read("::ffff:10.0.0.1"), ["10.0.0.1/32"]);
    let error = parse_networks("10.1.2.3/8").unwrap_err();
    assert!(error.ends_with("did you mean 10.0.0.0/8?"), "{error}");
    for bad in [
        "10.0.0.0/33",
        "example.com",
        "10.0.0",
        "10.0.0.0-10.0.0.9",
        "fd00::/129",
    ] {
        let error = parse_networks(bad).unwrap_err();
        assert!(error.contains("CIDR"), "{error}");
    }
}
