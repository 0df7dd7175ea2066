//! The events that the test publishes: each has a number, and everything else follows from it.

use std::fmt::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// `source` of every event.
pub(crate) const SOURCE: &str = "/crash";

/// What an event is for; decides its `type`, and so the targets that must get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Plain,
    Structured,
    Batched,
    Refused,
    Stubborn,
    /// For the rule of this number, put while the bus is under load.
    Late(u32),
}

/// Where the bus delivers to; the path of the receiver's URL tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    /// Gets every event, in binary mode.
    Audit,
    Structured,
    Batched,
    /// Always answers 400.
    Refusing,
    /// Answers 400 until the dead letter is redriven.
    Stubborn,
    Late(u32),
}

/// An event's payload.
pub(crate) enum Data {
    Json(String),
    Bytes(Vec<u8>),
}

impl Kind {
    pub(crate) fn type_name(self) -> String {
        match self {
            Kind::Plain => "crash.plain".to_owned(),
            Kind::Structured => "crash.structured".to_owned(),
            Kind::Batched => "crash.batched".to_owned(),
            Kind::Refused => "crash.refused".to_owned(),
            Kind::Stubborn => "crash.stubborn".to_owned(),
            Kind::Late(rule) => format!("crash.late.{rule}"),
        }
    }

    /// The targets that must get it.
    pub(crate) fn targets(self) -> impl Iterator<Item = Target> {
        let own = match self {
            Kind::Plain => None,
            Kind::Structured => Some(Target::Structured),
            Kind::Batched => Some(Target::Batched),
            Kind::Refused => Some(Target::Refusing),
            Kind::Stubborn => Some(Target::Stubborn),
            Kind::Late(rule) => Some(Target::Late(rule)),
        };
        std::iter::once(Target::Audit).chain(own)
    }
}

impl Target {
    /// Path of the target's URL; also the name of its rule.
    pub(crate) fn name(self) -> String {
        match self {
            Target::Audit => "audit".to_owned(),
            Target::Structured => "structured".to_owned(),
            Target::Batched => "batched".to_owned(),
            Target::Refusing => "refusing".to_owned(),
            Target::Stubborn => "stubborn".to_owned(),
            Target::Late(rule) => format!("late-{rule}"),
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Target> {
        Some(match name {
            "audit" => Target::Audit,
            "structured" => Target::Structured,
            "batched" => Target::Batched,
            "refusing" => Target::Refusing,
            "stubborn" => Target::Stubborn,
            late => Target::Late(late.strip_prefix("late-")?.parse().ok()?),
        })
    }
}

/// `ey-00000017`: of one length, and found nowhere else in an event's bytes.
pub(crate) fn id(number: usize) -> String {
    format!("ey-{number:08}")
}

/// The number in an id.
pub(crate) fn number(id: &str) -> Option<usize> {
    let digits = id.strip_prefix("ey-")?;
    (digits.len() == 8).then(|| digits.parse().ok())?
}

/// The numbers of the events whose bytes these are: ids are looked for in any stored form.
pub(crate) fn numbers_in(bytes: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(bytes, b"ey-").filter_map(|at| {
        let id = bytes.get(at..at + 11)?;
        number(std::str::from_utf8(id).ok()?)
    })
}

/// The payload of an event: mostly small, some of a few KiB, a few of a hundred.
pub(crate) fn data(seed: u64, number: usize) -> Data {
    let mut random = fastrand::Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9E37_79B9));
    let bytes = match random.u32(0..1000) {
        0..=5 => random.usize(64 * 1024..128 * 1024),
        6..=150 => random.usize(1024..6 * 1024),
        _ => random.usize(0..400),
    };
    if random.u32(0..4) == 0 {
        let mut noise = vec![0; bytes];
        random.fill(&mut noise);
        return Data::Bytes(noise);
    }
    // Digits and order that a parser would not give back, and characters of several bytes.
    let mut json = String::from(r#"{"z":12345678901234567890.10, "a":1E400,"text":"ä€ "#);
    while json.len() < bytes {
        let _ = write!(json, "{:x}", random.u64(..));
    }
    json.push_str("\"}");
    Data::Json(json)
}

impl Data {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Data::Json(text) => text.as_bytes(),
            Data::Bytes(bytes) => bytes,
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Data::Json(_) => "application/json",
            Data::Bytes(_) => "application/octet-stream",
        }
    }
}

/// What tells whether data is whole.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    (bytes.len() as u64) << 32 | u64::from(crc32c::crc32c(bytes))
}

/// An event in the JSON event format.
pub(crate) fn structured(number: usize, kind: Kind, data: &Data) -> String {
    let mut event = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"{SOURCE}","type":"{}","datacontenttype":"{}","#,
        id(number),
        kind.type_name(),
        data.content_type(),
    );
    let _ = match data {
        Data::Json(json) => write!(event, r#""data":{json}}}"#),
        Data::Bytes(bytes) => {
            write!(
                event,
                r#""data_base64":"{}"}}"#,
                BASE64_STANDARD.encode(bytes)
            )
        }
    };
    event
}
