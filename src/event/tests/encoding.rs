//! Events out: deliveries, the builder, the SDK.

use super::*;

#[test]
fn a_delivery_carries_the_event() {
    let event = Event::builder("a b", "/s", "t")
        .attribute("subject", "50% \"ü\"")
        .attribute("n", -5)
        .attribute("yes", true)
        .data("text/plain; x=\"a b\"", "hé\n")
        .build()
        .unwrap();
    let (headers, body) = encode(&event, ContentMode::Binary);
    let sent: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(
        sent,
        [
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20b"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-subject", "50%25%20%22%C3%BC%22"),
            ("ce-n", "-5"),
            ("ce-yes", "true"),
            ("content-type", "text/plain; x=\"a b\""),
        ]
    );
    assert_eq!(body, "hé\n");

    let json = concat!(
        r#"{"specversion":"1.0","id":"a b","source":"/s","type":"t","subject":"50% \"ü\"","#,
        r#""n":-5,"yes":true,"datacontenttype":"text/plain; x=\"a b\"","data":"hé\n"}"#
    );
    let (headers, body) = encode(&event, ContentMode::Structured);
    assert_eq!(headers["content-type"], STRUCTURED);
    assert_eq!(body, json);
    let (headers, body) = encode_batch(&[&event, &event]);
    assert_eq!(headers["content-type"], BATCH);
    assert_eq!(body, format!("[{json},{json}]"));
}

#[test]
fn json_without_a_type_gets_one_in_binary_mode_and_bytes_do_not() {
    let json = post_members(r#","data":[1.50]"#).unwrap();
    let (headers, body) = encode(&json, ContentMode::Binary);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(body, "[1.50]");
    let bytes = post_members(r#","data_base64":"MQ==""#).unwrap();
    let (headers, body) = encode(&bytes, ContentMode::Binary);
    assert!(!headers.contains_key("content-type"));
    assert_eq!(body, "1");
    let none = post_members("").unwrap();
    let (headers, body) = encode(&none, ContentMode::Binary);
    assert_eq!((headers.len(), body.len()), (4, 0));
}

#[test]
fn the_builder_checks_the_rules() {
    let event = Event::builder("1", "/s", "t").json("{\"a\":1}").build();
    assert_eq!(event.unwrap().data(), Some(Data::Json(b"{\"a\":1}")));
    for builder in [
        Event::builder("", "/s", "t"),
        Event::builder("1", "a b", "t"),
        Event::builder("1", "/s", "t").attribute("type", "u"),
        Event::builder("1", "/s", "t").attribute("Bad", true),
        Event::builder("1", "/s", "t").json("{"),
        Event::builder("1", "/s", "t").data("nonsense", "x"),
    ] {
        assert!(builder.build().is_err(), "{builder:?}");
    }
}

#[test]
fn the_sdk_gets_and_gives_the_same_event() {
    for members in [
        "",
        r#","time":"2024-01-01T00:00:00Z","subject":"s","dataschema":"https://e.com/x","n":1,"b":false"#,
        r#","datacontenttype":"application/json","data":{"a":[1,null]}"#,
        r#","datacontenttype":"text/plain","data":"x""#,
        r#","data_base64":"AP8=""#,
        r#","data":"x""#,
    ] {
        let event = post_members(members).unwrap();
        let sdk = cloudevents::Event::try_from(&event).unwrap();
        let again = Event::try_from(sdk).unwrap();
        assert_eq!(again.data(), event.data(), "{members}");
        for (name, value) in event.attributes() {
            assert_eq!(again.attribute(name), Some(value), "{members}");
        }
        assert_eq!(again.attributes().count(), event.attributes().count());
    }
    let mut bad = cloudevents::Event::default();
    cloudevents::AttributesWriter::set_id(&mut bad, "");
    assert!(Event::try_from(bad).is_err());
}
