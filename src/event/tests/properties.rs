//! What holds for any event, any request and any bytes.

use proptest::prelude::*;

use super::*;

#[test]
fn damaged_stored_events_are_refused() {
    let event = post_members(r#","x":1,"y":"z","w":true,"data":{}"#).unwrap();
    let good = event.stored().to_vec();
    assert_eq!(Event::from_stored(event.stored().clone()).unwrap(), event);
    for len in 0..good.len() {
        let cut = Bytes::copy_from_slice(&good[..len]);
        assert!(Event::from_stored(cut).is_err(), "cut to {len}");
    }
    let longer = [&good[..], b"x"].concat();
    assert!(Event::from_stored(longer.into()).is_err());
    for at in 0..good.len() {
        for flip in [1, 0x20, 0x80, 0xFF] {
            let mut damaged = good.clone();
            damaged[at] ^= flip;
            read_all(damaged.into());
        }
    }
}

/// Reads all of a stored event, if it reads; nothing may panic.
fn read_all(stored: Bytes) {
    if let Ok(event) = Event::from_stored(stored) {
        let _ = (event.id(), event.source(), event.kind(), event.data());
        for (name, value) in event.attributes() {
            assert!(event.attribute(name).is_some(), "{name} is {value:?}");
        }
        for mode in [
            ContentMode::Binary,
            ContentMode::Structured,
            ContentMode::Batch,
        ] {
            let (headers, body) = encode(&event, mode);
            let _ = decode(&headers, body);
        }
        let _ = cloudevents::Event::try_from(&event);
    }
}

fn attribute_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{1,20}",
        proptest::collection::vec(any::<char>(), 1..12).prop_map(|chars| {
            let text: String = chars.into_iter().filter(|c| !c.is_control()).collect();
            let keep = |c: &char| {
                !matches!(u32::from(*c), 0xFDD0..=0xFDEF) && u32::from(*c) & 0xFFFE != 0xFFFE
            };
            format!("x{}", text.chars().filter(keep).collect::<String>())
        }),
    ]
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-1.50e+7".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(" , "))),
            proptest::collection::vec(inner, 0..4).prop_map(|items| {
                let members: Vec<_> = items.iter().map(|item| format!("\"k\": {item}")).collect();
                format!("{{{}}}", members.join(",\n"))
            }),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    let payload = prop_oneof![
        Just(None),
        json_text().prop_map(|json| Some(("application/json", json.into_bytes()))),
        any::<Vec<u8>>().prop_map(|bytes| Some(("application/json", bytes))),
        any::<String>().prop_map(|text| Some(("text/plain", text.into_bytes()))),
        any::<Vec<u8>>().prop_map(|bytes| Some(("text/plain; charset=utf-8", bytes))),
        any::<Vec<u8>>().prop_map(|bytes| Some(("application/octet-stream", bytes))),
    ];
    let extensions = proptest::collection::btree_map("x[a-z0-9]{0,8}", attribute_text(), 0..5);
    (attribute_text(), attribute_text(), extensions, payload).prop_map(
        |(id, kind, extensions, payload)| {
            let mut builder = Event::builder(&id, "/s%20t?u#v", &kind);
            for (n, (name, value)) in extensions.iter().enumerate() {
                builder = match n {
                    3 => builder.attribute(name, i32::MIN),
                    4 => builder.attribute(name, false),
                    _ => builder.attribute(name, value.as_str()),
                };
            }
            if let Some((media_type, bytes)) = payload {
                builder = builder.data(media_type, bytes);
            }
            builder.build().unwrap()
        },
    )
}

/// What headers can say of an event: values as text, empty data as none.
fn as_in_binary_mode(event: &Event) -> (Vec<(String, String)>, Vec<u8>) {
    let attributes = event.attributes().map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(truth) => truth.to_string(),
        };
        (name.to_owned(), text)
    });
    (attributes.collect(), event.data_bytes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_is_what_is_received(event in event()) {
        let (headers, body) = encode(&event, ContentMode::Binary);
        let again = decode(&headers, body).unwrap();
        // A header loses blanks around a value only if it is sent raw; ours are escaped.
        prop_assert_eq!(as_in_binary_mode(&again.events[0]), as_in_binary_mode(&event));

        for mode in [ContentMode::Structured, ContentMode::Batch] {
            let (headers, body) = encode(&event, mode);
            let again = decode(&headers, body).unwrap();
            prop_assert_eq!(again.mode, mode);
            let again = &again.events[0];
            prop_assert!(again.attributes().eq(event.attributes()));
            // Blanks around JSON are not part of the value.
            match (again.data(), event.data()) {
                (Some(Data::Json(got)), Some(Data::Json(sent))) => prop_assert_eq!(got, sent.trim_ascii()),
                (got, sent) => prop_assert_eq!(got, sent),
            }
        }
        prop_assert_eq!(Event::from_stored(event.stored().clone()), Ok(event));
    }

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(bytes in any::<Vec<u8>>(), lengths in any::<[u8; 5]>()) {
        read_all(Bytes::from(bytes.clone()));
        let mut stored = vec![1, lengths[0] % 5, 0, 0];
        for len in lengths {
            stored.extend_from_slice(&u32::from(len % 16).to_le_bytes());
        }
        stored.extend_from_slice(&bytes);
        read_all(Bytes::from(stored));
    }

    #[test]
    fn arbitrary_requests_are_no_reason_to_panic(
        names in proptest::collection::vec("(ce-)?[a-z_-]{0,6}|content-type|ce-(id|type|source|time)", 0..6),
        values in proptest::collection::vec(any::<Vec<u8>>(), 6),
        media_type in prop_oneof![Just("application/json"), Just(STRUCTURED), Just(BATCH), Just("text/plain")],
        body in prop_oneof![any::<Vec<u8>>(), "[{\\[\"a-z0-9:,\\]}\\\\]{0,60}".prop_map(String::into_bytes), json_text().prop_map(String::into_bytes)],
    ) {
        let mut headers = header_map(&[("content-type", media_type)]);
        for (name, value) in names.iter().zip(&values) {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let _ = consent(&headers);
        if let Ok(received) = decode(&headers, Bytes::from(body)) {
            prop_assert!(received.mode == ContentMode::Batch || received.events.len() == 1);
        }
    }

    #[test]
    fn the_depth_check_agrees_with_a_parser(json in json_text()) {
        let event = Event::builder("1", "/s", "t").json(json.as_bytes()).build().unwrap();
        prop_assert_eq!(event.data(), Some(Data::Json(json.as_bytes())));
    }
}
