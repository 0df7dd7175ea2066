//! Makes up rules of every operator, and events that some of them match. The same each time.

use fastrand::Rng;

const SEED: u64 = 20_261_127;

const KINDS: [&str; 5] = [
    "order.created",
    "order.paid",
    "order.shipped",
    "order.cancelled",
    "refund.issued",
];

const COUNTRIES: [&str; 10] = ["US", "DE", "FR", "GB", "IN", "JP", "BR", "CA", "AU", "NL"];

fn source(random: &mut Rng) -> String {
    format!("/shops/{:03}", random.u32(..200))
}

fn customer(random: &mut Rng) -> String {
    // Half of the customers that rules name are ones that events are about.
    let most = if random.bool() { 100_000 } else { 1_000_000 };
    format!("c-{:07}", random.u32(..most))
}

/// Rules, each an id and a pattern: mostly of a customer's orders, with ranges, prefixes, suffixes, wildcards,
/// blocks of addresses, absence and alternatives among them.
pub(super) fn rules(count: usize) -> impl Iterator<Item = (String, String)> {
    let mut random = Rng::with_seed(SEED);
    (0..count).map(move |number| (format!("r{number}"), rule(&mut random)))
}

fn rule(random: &mut Rng) -> String {
    let source = source(random);
    let kind = KINDS[random.usize(..KINDS.len())];
    let customer = customer(random);
    let country = COUNTRIES[random.usize(..COUNTRIES.len())];
    match random.u32(..100) {
        0..45 => format!(
            r#"{{"source":["{source}"],"type":["{kind}"],"data":{{"customer":{{"id":["{customer}"]}}}}}}"#
        ),
        45..57 => format!(
            r#"{{"source":["{source}"],"data":{{"path":[{{"prefix":"/api/v{}/p{:05}/"}}]}}}}"#,
            random.u32(1..4),
            random.u32(..50_000)
        ),
        57..65 => format!(
            r#"{{"type":["{kind}"],"data":{{"items":{{"sku":["SKU-{:06}"],"quantity":[{{"numeric":[">=",{}]}}]}}}}}}"#,
            random.u32(..200_000),
            random.u32(1..5)
        ),
        65..73 => {
            let from = f64::from(random.u32(..1_000_000)) / 100.0;
            format!(
                r#"{{"source":["{source}"],"data":{{"amount":[{{"numeric":[">",{from},"<=",{:.2}]}}],"customer":{{"country":["{country}"]}}}}}}"#,
                from + 0.5
            )
        }
        73..80 => format!(
            r#"{{"source":["{source}"],"data":{{"status":[{{"anything-but":["CANCELLED"]}}],"customer":{{"id":["{customer}"]}}}}}}"#
        ),
        80..85 => format!(
            r#"{{"data":{{"customer":{{"email":[{{"suffix":"@d{:05}.example"}}]}}}}}}"#,
            random.u32(..50_000)
        ),
        85..90 => format!(
            r#"{{"source":["{source}"],"data":{{"customer":{{"id":[{{"equals-ignore-case":"{}"}}]}}}}}}"#,
            customer.to_uppercase()
        ),
        90..94 => format!(
            r#"{{"source":["{source}"],"data":{{"customer":{{"id":["{customer}"]}},"coupon":[{{"exists":false}}]}}}}"#
        ),
        94..97 => format!(
            r#"{{"data":{{"resources":[{{"wildcard":"urn:*:bucket-{:06}/*"}}]}}}}"#,
            random.u32(..200_000)
        ),
        97..99 => format!(
            r#"{{"data":{{"ip":[{{"cidr":"10.{}.{}.0/24"}}]}}}}"#,
            random.u8(..),
            random.u8(..)
        ),
        _ => format!(
            r#"{{"$or":[{{"data":{{"customer":{{"id":["{customer}"]}}}}}},{{"data":{{"order":["o-{:08}"]}}}}]}}"#,
            random.u32(..10_000_000)
        ),
    }
}

/// Events, one a line, of a good thousand bytes.
pub(super) fn events(count: usize) -> String {
    let mut random = Rng::with_seed(SEED + 1);
    let mut text = String::new();
    for number in 0..count {
        text.push_str(&event(&mut random, number));
        text.push('\n');
    }
    text
}

fn event(random: &mut Rng, number: usize) -> String {
    let items: Vec<String> = (0..random.u32(1..6))
        .map(|item| {
            format!(
                r#"{{"sku":"SKU-{:06}","quantity":{},"price":{:.2},"title":"An item with a somewhat long title {item}"}}"#,
                random.u32(..200_000),
                random.u32(1..9),
                random.f64() * 500.0
            )
        })
        .collect();
    let coupon = match random.u32(..10) {
        0..3 => format!(r#""coupon":"SAVE{}","#, random.u32(..99)),
        _ => String::new(),
    };
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{:032x}","type":"{}","source":"{}","time":"2026-11-27T16:{:02}:{:02}Z","#,
            r#""data":{{"order":"o-{:08}","status":"{}","#,
            r#""customer":{{"id":"c-{:07}","name":"Customer Number {}","tier":"gold","country":"{}","email":"user{}@d{:05}.example"}},"#,
            r#""amount":{:.2},"currency":"EUR","ip":"10.{}.{}.{}","path":"/api/v{}/p{:05}/orders/{}","#,
            r#""items":[{}],{}"resources":["urn:shop:x:bucket-{:06}/key{}"],"#,
            r#""shipping":{{"method":"ground","address":{{"street":"Main Street {}","city":"Springfield","zip":"{:05}"}}}},"#,
            r#""notes":"as long as the notes that people write beside an order when nobody is at home"}}}}"#
        ),
        random.u128(..),
        KINDS[random.usize(..KINDS.len())],
        source(random),
        random.u32(..60),
        random.u32(..60),
        random.u32(..10_000_000),
        ["PLACED", "PAID", "SHIPPED", "CANCELLED", "REFUNDED"][random.usize(..5)],
        random.u32(..100_000),
        number,
        COUNTRIES[random.usize(..COUNTRIES.len())],
        number,
        random.u32(..50_000),
        random.f64() * 10_000.0,
        random.u8(..),
        random.u8(..),
        random.u8(..),
        random.u32(1..4),
        random.u32(..50_000),
        number,
        items.join(","),
        coupon,
        random.u32(..200_000),
        number,
        number,
        random.u32(..99_999),
    )
}
