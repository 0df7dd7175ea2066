//! Publish requests as ready bytes, into which only the events' ids are written.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

/// An id is `<number>-<time>`: which event it is, and when it was (to be) sent, in nanoseconds since
/// the bench began. So the receiver needs no table to know an event's age.
const NUMBER_DIGITS: usize = 10;
const TIME_DIGITS: usize = 15;
const ID_BYTES: usize = NUMBER_DIGITS + 1 + TIME_DIGITS;
const BLANK_ID: &str = "0000000000-000000000000000";

/// One request's bytes and the places of the ids in them.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    ids: Vec<usize>,
}

impl Request {
    /// A request to publish `events` events of type `kind` to `bus`: one in binary mode, more as a
    /// batch. Each has `event_bytes` bytes of JSON data.
    pub(super) fn new(
        addr: SocketAddr,
        bus: &str,
        kind: &str,
        events: usize,
        event_bytes: usize,
    ) -> Request {
        let head = format!("POST /v1/buses/{bus}/events HTTP/1.1\r\nhost: {addr}\r\n");
        let data = data(event_bytes);
        let text = if events == 1 {
            format!(
                "{head}ce-specversion: 1.0\r\nce-type: {kind}\r\nce-source: /bench\r\nce-id: {BLANK_ID}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{data}",
                data.len()
            )
        } else {
            let event = format!(
                "{{\"specversion\":\"1.0\",\"type\":\"{kind}\",\"source\":\"/bench\",\"id\":\"{BLANK_ID}\",\
                 \"datacontenttype\":\"application/json\",\"data\":{data}}}"
            );
            let body = format!("[{}]", vec![event; events].join(","));
            format!(
                "{head}content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let ids = text
            .match_indices(BLANK_ID)
            .map(|(offset, _)| offset)
            .collect();
        Request {
            bytes: text.into_bytes(),
            ids,
        }
    }

    /// How many events it carries.
    pub(super) fn events(&self) -> u64 {
        self.ids.len() as u64
    }

    /// The bytes with the ids of the events from `first` on, sent at `nanos`.
    pub(super) fn stamped(&mut self, first: u64, nanos: u64) -> &[u8] {
        for (number, offset) in (first..).zip(&self.ids) {
            let id = &mut self.bytes[*offset..*offset + ID_BYTES];
            write_digits(&mut id[..NUMBER_DIGITS], number);
            write_digits(&mut id[NUMBER_DIGITS + 1..], nanos);
        }
        &self.bytes
    }
}

/// Event number and nanoseconds out of an id; `None` when it is none of ours.
pub(super) fn read_id(id: &[u8]) -> Option<(u64, u64)> {
    let id: &[u8; ID_BYTES] = id.try_into().ok()?;
    let number = read_digits(&id[..NUMBER_DIGITS])?;
    let nanos = read_digits(&id[NUMBER_DIGITS + 1..])?;
    Some((number, nanos))
}

/// Nanoseconds since the bench first asked.
pub(super) fn now_nanos() -> u64 {
    nanos_at(Instant::now())
}

pub(super) fn nanos_at(moment: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| moment);
    u64::try_from(moment.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

/// JSON data of exactly `bytes` bytes (at least a small order's), shaped as real events are.
fn data(bytes: usize) -> String {
    let start = r#"{"order":{"total":129.5,"currency":"EUR","lines":[{"sku":"a-1","quantity":2}],"customer":{"country":"PT"}},"note":""#;
    let end = "\"}";
    let pad = bytes.saturating_sub(start.len() + end.len());
    format!("{start}{}{end}", "x".repeat(pad))
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 80))
    }

    fn id_text(number: u64, nanos: u64) -> String {
        format!("{number:010}-{nanos:015}")
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let mut request = Request::new(addr(), "default", "bench", 1, 1_024);
        let bytes = request.stamped(42, 1_234_567).to_vec();
        let head_end = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap() + 4;
        let id = super::super::http::header(&bytes[..head_end], b"ce-id").unwrap();
        assert_eq!(read_id(id), Some((42, 1_234_567)));
        assert_eq!(id, id_text(42, 1_234_567).as_bytes());
        assert_eq!(bytes.len() - head_end, 1_024);
        assert_eq!(read_id(b"something-else"), None);
    }

    #[test]
    fn a_batch_is_json_whose_events_are_numbered() {
        let mut request = Request::new(addr(), "default", "bench", 3, 200);
        let bytes = request.stamped(7, 1);
        let head_end = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap() + 4;
        let batch: serde_json::Value = serde_json::from_slice(&bytes[head_end..]).unwrap();
        assert_eq!(batch[2]["id"], id_text(9, 1));
        assert_eq!(batch[0]["data"]["order"]["currency"], "EUR");
        assert_eq!(request.events(), 3);
    }
}
