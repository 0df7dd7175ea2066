//! Requests in: what is taken, what is refused and in which words.

use super::*;
use crate::limits;

#[test]
fn binary_mode_reads_headers_and_keeps_the_body() {
    let body = b"{ \"total\": 1.10, \"z\":1, \"a\":12345678901234567890 }\n";
    let headers = [
        ("ce-subject", "Zo%C3%AB%20B"),
        ("content-type", "application/json"),
        ("ce-shard", "07"),
        ("x-other", "no attribute"),
    ];
    let event = post(&headers, body).unwrap();
    assert_eq!(event.id(), "7");
    assert_eq!(event.source(), "/shop");
    assert_eq!(event.kind(), "order.placed");
    assert_eq!(event.data(), Some(Data::Json(body)));
    let attributes: Vec<_> = event.attributes().collect();
    assert_eq!(
        attributes,
        [
            ("specversion", Value::String("1.0")),
            ("id", Value::String("7")),
            ("source", Value::String("/shop")),
            ("type", Value::String("order.placed")),
            ("subject", Value::String("Zoë B")),
            ("datacontenttype", Value::String("application/json")),
            ("shard", Value::String("07")),
        ]
    );
    for (name, value) in attributes {
        assert_eq!(event.attribute(name), Some(value));
    }
    assert_eq!(event.attribute("absent"), None);
}

#[test]
fn binary_mode_refuses_what_breaks_the_rules() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("ce-id", "-")],
            "header `ce-id`: attribute `id` is missing",
        ),
        (&[("ce-specversion", "-")], "`ce-specversion`: attribute"),
        (
            &[("ce-source", "")],
            "`ce-source`: attribute `source` is empty",
        ),
        (&[("ce-specversion", "2.0")], "must be \"1.0\""),
        (
            &[("ce-source", "/ü")],
            "`ce-source`: attribute `source` must be a URI-ref",
        ),
        (&[("ce-source", "http://[")], "`ce-source`"),
        (
            &[("ce-time", "now")],
            "`ce-time`: attribute `time` must be a timestamp",
        ),
        (&[("ce-dataschema", "//x/y")], "`ce-dataschema`"),
        (&[("ce-subject", "%00")], "U+0000"),
        (&[("ce-subject", "%C2%85")], "U+0085"),
        (&[("ce-subject", "%EF%B7%90")], "U+FDD0"),
        (
            &[("ce-subject", "%FF")],
            "`ce-subject`: its value is not UTF-8",
        ),
        (&[("ce-a-b", "x")], "`ce-a-b`: an attribute's name"),
        (&[("ce-data_base64", "x")], "`ce-data_base64`"),
        (&[("ce-data", "x")], "`data` is the payload's name"),
        (
            &[("ce-x", "1"), ("ce-x", "1")],
            "`ce-x`: attribute `x` is given twice",
        ),
        (
            &[("ce-datacontenttype", "a/b")],
            "the Content-Type header is",
        ),
        (
            &[("content-type", "json")],
            "header `content-type`: attribute `data",
        ),
        (&[("content-type", "")], "`datacontenttype` is empty"),
        (
            &[("content-type", "a/b"), ("content-type", "a/b")],
            "`content-type`: it is given twice",
        ),
    ];
    for (headers, sentence) in cases {
        malformed(post(headers, b"x"), sentence);
    }
    let nothing = decode(&header_map(&[]), Bytes::from_static(b"{}"));
    malformed(nothing, "the request is no CloudEvent");
}

#[test]
fn odd_yet_valid_attributes_are_taken() {
    for (header, value) in [
        ("ce-source", "a:b"),
        ("ce-source", "?q#f"),
        ("ce-source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("ce-dataschema", "urn:x:y"),
        ("ce-empty", ""),
        ("ce-9lives", "x"),
        ("ce-id", "🦀"),
        ("ce-time", "2016-12-31T23:59:60Z"),
    ] {
        let event = post(&[(header, value)], b"").unwrap();
        let attribute = event.attribute(&header[3..]);
        assert_eq!(attribute, Some(Value::String(value)));
    }
}

#[test]
fn the_type_says_what_the_data_is() {
    let cases: &[(Option<&str>, &[u8], Data<'_>)] = &[
        (None, b"{}", Data::Binary(b"{}")),
        (Some("text/JSON;v=1"), b" 1 ", Data::Json(b" 1 ")),
        (Some("application/json"), b"{]", Data::Binary(b"{]")),
        (
            Some("application/json"),
            b"\"\xff\"",
            Data::Binary(b"\"\xff\""),
        ),
        (Some("a/b+json"), br#""\ud800""#, Data::Json(br#""\ud800""#)),
        (Some("application/json"), b"1e999", Data::Json(b"1e999")),
        (Some("text/csv"), b"a,b", Data::Text("a,b")),
        (Some("text/csv"), b"\xe9", Data::Binary(b"\xe9")),
        (Some("text/csv; charset=latin1"), b"a", Data::Binary(b"a")),
        (Some("image/png"), b"a", Data::Binary(b"a")),
    ];
    for (media_type, body, data) in cases {
        let headers: Vec<_> = media_type.iter().map(|m| ("content-type", *m)).collect();
        assert_eq!(
            post(&headers, body).unwrap().data(),
            Some(*data),
            "{media_type:?}"
        );
    }
    let empty = post(&[("content-type", "application/json")], b"").unwrap();
    assert_eq!(empty.data(), None);
}

#[test]
fn structured_mode_reads_members() {
    let cases: &[(&str, Option<Data<'_>>)] = &[
        ("", None),
        (r#","data":null"#, Some(Data::Json(b"null"))),
        (
            r#","data": { "b":1.0 , "a":[] } "#,
            Some(Data::Json(b"{ \"b\":1.0 , \"a\":[] }")),
        ),
        (r#","data":"1""#, Some(Data::Json(b"\"1\""))),
        (
            r#","data":"1","datacontenttype":"text/plain""#,
            Some(Data::Text("1")),
        ),
        (
            r#","datacontenttype":"text/plain","data":"\u00e9\n""#,
            Some(Data::Text("é\n")),
        ),
        (
            r#","datacontenttype":null,"data":[]"#,
            Some(Data::Json(b"[]")),
        ),
        (r#","data_base64":"AP8=""#, Some(Data::Binary(b"\x00\xff"))),
        (r#","data_base64":"AP8""#, Some(Data::Binary(b"\x00\xff"))),
        (
            r#","data_base64":"\/\/8=""#,
            Some(Data::Binary(b"\xff\xff")),
        ),
        (r#","data_base64":"""#, Some(Data::Binary(b""))),
        (r#","data_base64":null"#, None),
        (r#","data":1,"data_base64":null"#, Some(Data::Json(b"1"))),
        (
            r#","data_base64":"MQ==","datacontenttype":"x/json""#,
            Some(Data::Json(b"1")),
        ),
        (
            r#","data_base64":"ew==","datacontenttype":"x/json""#,
            Some(Data::Binary(b"{")),
        ),
    ];
    for (members, data) in cases {
        assert_eq!(post_members(members).unwrap().data(), *data, "{members}");
    }
    let event = post_members(r#","a":-0,"b":true,"c":"\u0064","subject":null,"\u0065":5"#).unwrap();
    let attributes: Vec<_> = event.attributes().skip(4).collect();
    assert_eq!(
        attributes,
        [
            ("a", Value::Integer(0)),
            ("b", Value::Boolean(true)),
            ("c", Value::String("d")),
            ("e", Value::Integer(5)),
        ]
    );
}

#[test]
fn structured_mode_refuses_what_breaks_the_rules() {
    for (members, sentence) in [
        (r#","id":"8""#, "`/id`: attribute `id` is given twice"),
        (r#","i\u0064":"8""#, "`/id`: attribute `id` is given twice"),
        (r#","x":null,"x":1"#, "`/x`: attribute `x` is given twice"),
        (r#","data":1,"data":1"#, "`/data`: `data` is given twice"),
        (
            r#","data":1,"data_base64":"MQ==""#,
            "`/data_base64`: an event has",
        ),
        (
            r#","data_base64":"M*==""#,
            "`/data_base64`: `data_base64` is not Base64",
        ),
        (
            r#","data_base64":{}"#,
            "`/data_base64`: `data_base64` must be a JSON string",
        ),
        (
            r#","data":{},"datacontenttype":"text/plain""#,
            "`/data`: `data` must be",
        ),
        (
            r#","data":"\ud800","datacontenttype":"text/plain""#,
            "`/data`",
        ),
        (r#","subject":"\udc00""#, "`/subject`: `subject` holds half"),
        (
            r#","subject":1"#,
            "`/subject`: attribute `subject` must be a string",
        ),
        (
            r#","time":true"#,
            "`/time`: attribute `time` must be a string",
        ),
        (
            r#","x":2147483648"#,
            "`/x`: attribute `x` is the number 2147483648",
        ),
        (r#","x":1e0"#, "`/x`: attribute `x` is the number 1e0"),
        (r#","x":{}"#, "`/x`: attribute `x` is an object"),
        (r#","a/~b":1"#, "`/a~1~0b`: an attribute's name"),
        (r#","subject":"a\tb""#, "U+0009"),
        (
            r#","subject":"""#,
            "`/subject`: attribute `subject` is empty",
        ),
        (
            r#","subject":""#,
            "the body, line 1, column 81: the JSON is broken",
        ),
        ("}\n\n x{", "the body, line 3, column 2"),
    ] {
        malformed(post_members(members), sentence);
    }
    for (body, sentence) in [
        ("[]", "the body: found sequence, wanted a CloudEvent"),
        (" ", "the body is empty"),
        ("{}", "`/specversion`: attribute `specversion` is missing"),
    ] {
        malformed(post_json(STRUCTURED, body), sentence);
    }
    let latin1 = decode(
        &header_map(&[("content-type", STRUCTURED)]),
        Bytes::from_static(b"{\n\"id\":\"\xe9\"}"),
    );
    malformed(latin1, "line 2, column 7: the body is not UTF-8");
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let event = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"t"}"#;
    for (body, count) in [
        ("[]".to_owned(), 0),
        (format!(" [ {event} ] "), 1),
        (format!("\u{feff}[{event},{event}]"), 2),
        (
            format!("[{}]", vec![event; limits::BATCH_EVENTS].join(",")),
            1000,
        ),
    ] {
        let received = post_json("APPLICATION/CloudEvents-Batch+JSON; charset=utf-8", &body);
        let received = received.unwrap();
        assert_eq!(
            (received.mode, received.events.len()),
            (ContentMode::Batch, count)
        );
    }
    for (body, sentence) in [
        (event.to_owned(), "the body: found map, wanted an array"),
        (format!("[{event},{{}}]"), "`/1/specversion`"),
        (format!("[{event},7]"), "`/1`: found integer `7`, wanted"),
        (format!("[{event},{event}"), "the JSON is broken"),
        (format!("[{event}] ]"), "the JSON is broken"),
        (format!("[{event},]"), "the JSON is broken"),
        (
            format!("[{event},{}]", event.replace("\"7\"", "7")),
            "`/1/id`",
        ),
    ] {
        malformed(post_json(BATCH, &body), sentence);
    }
    let many = format!("[{}]", vec![event; limits::BATCH_EVENTS + 1].join(","));
    let class = ErrorClass::TooLarge {
        limit: limits::BATCH_EVENTS,
    };
    refused(
        post_json(BATCH, &many),
        class,
        "`/1000`: a batch has at most 1000",
    );
}

#[test]
fn formats_and_codings_that_the_bus_does_not_read_are_named() {
    let class = ErrorClass::UnsupportedMediaType;
    for media_type in [
        "application/cloudevents",
        "application/cloudevents+avro",
        "Application/CloudEvents-Batch",
        "application/cloudevents-batch+xml",
        "application/cloudevents+jsonx",
    ] {
        refused(
            post_json(media_type, "{}"),
            class,
            "header `content-type`: the event format",
        );
    }
    refused(
        post(&[("content-encoding", "br")], b"x"),
        class,
        "`content-encoding`",
    );
    assert!(post(&[("content-encoding", "identity")], b"x").is_ok());
    assert!(post(&[("content-type", "application/cloudevent+json")], b"x").is_ok());
}

#[test]
fn bounds_are_kept() {
    let too_large = |limit| ErrorClass::TooLarge { limit };
    let long = "x".repeat(limits::EVENT_BYTES);
    refused(
        post(&[], long.as_bytes()),
        too_large(limits::EVENT_BYTES),
        "the request: the event",
    );
    let members = format!(r#","data":"{long}""#);
    refused(
        post_members(&members),
        too_large(limits::EVENT_BYTES),
        "the body: the event",
    );

    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let json = [("content-type", "application/json")];
    assert!(post(&json, deep(limits::JSON_DEPTH).as_bytes()).is_ok());
    let class = too_large(limits::JSON_DEPTH);
    refused(
        post(&json, deep(129).as_bytes()),
        class,
        "the request: the JSON data nests",
    );
    refused(
        post_members(&format!(",\"data\":{}", deep(129))),
        class,
        "`/data`: the JSON data",
    );
    // Nothing recurses, however deep.
    refused(
        post_members(&format!(",\"data\":{}", deep(500_000))),
        class,
        "`/data`",
    );
    malformed(post_members(&format!(",\"x\":{}", deep(1_000_000))), "`/x`");
    malformed(
        post_members(&format!(",\"x\":{}", "[".repeat(1_000_000))),
        "broken",
    );
    malformed(post_json(BATCH, &deep(1_000_000)), "`/0`");

    let name = format!("ce-{}", "n".repeat(limits::ATTRIBUTE_NAME_BYTES));
    assert!(post(&[(&name, "x")], b"").is_ok());
    let name = format!("{name}n");
    refused(
        post(&[(&name, "x")], b""),
        too_large(128),
        "an attribute's name has at most",
    );

    let extensions = |count| {
        (0..count)
            .map(|n| format!(",\"x{n}\":1"))
            .collect::<String>()
    };
    assert!(post_members(&extensions(limits::EXTENSIONS)).is_ok());
    let class = too_large(limits::EXTENSIONS);
    refused(
        post_members(&extensions(129)),
        class,
        "`/x128`: an event has at most 128",
    );

    let value = "v".repeat(limits::ATTRIBUTES_BYTES);
    let class = too_large(limits::ATTRIBUTES_BYTES);
    refused(
        post(&[("ce-x", &value)], b""),
        class,
        "header `ce-x`: with `x`",
    );
}
