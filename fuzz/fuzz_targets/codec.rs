//! Decodes arbitrary requests and stored events. Whatever is taken must go out in every mode and
//! come back the same.
//!
//! The first byte chooses the reader. For a binary-mode request, lines up to a blank one are
//! headers, the rest is the body.
#![no_main]

use bytes::Bytes;
use eventyard::event::{ContentMode, Event, Received, decode, encode};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&reader, rest)) = input.split_first() else {
        return;
    };
    match reader % 4 {
        0 => {
            if let Ok(event) = Event::from_stored(Bytes::copy_from_slice(rest)) {
                // Its attributes were never checked against the rules, so it may not be received.
                for mode in [
                    ContentMode::Binary,
                    ContentMode::Structured,
                    ContentMode::Batch,
                ] {
                    let (headers, body) = encode(&event, mode);
                    let _ = decode(&headers, body);
                }
            }
        }
        1 => receive(typed("application/cloudevents+json"), rest),
        2 => receive(typed("application/cloudevents-batch+json"), rest),
        _ => {
            let (headers, body) = request(rest);
            receive(headers, body);
        }
    }
});

fn typed(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])
}

fn request(text: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    let mut rest = text;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            break;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

fn receive(headers: HeaderMap, body: &[u8]) {
    let Ok(received) = decode(&headers, Bytes::copy_from_slice(body)) else {
        return;
    };
    for event in &received.events {
        let stored = Event::from_stored(event.stored().clone());
        assert_eq!(stored.as_ref(), Ok(event));
        for mode in [
            ContentMode::Binary,
            ContentMode::Structured,
            ContentMode::Batch,
        ] {
            let (headers, body) = encode(event, mode);
            let again = decode(&headers, body).expect("what was taken can be sent");
            same(event, &again);
        }
    }
}

fn same(event: &Event, again: &Received) {
    let [again] = &again.events[..] else {
        panic!("one event was sent, {} came", again.events.len());
    };
    assert_eq!(
        (again.id(), again.source(), again.kind()),
        (event.id(), event.source(), event.kind())
    );
    // Blanks around JSON are not part of the value.
    assert_eq!(
        again.data_bytes().trim_ascii(),
        event.data_bytes().trim_ascii()
    );
}
