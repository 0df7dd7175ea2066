//! The language by example: one line a case.

use super::{Document, EventPattern, JsonText, Matcher, Scalar};
use crate::limits;

fn check(pattern: &str, event: &str, expected: bool) {
    let parsed = EventPattern::parse(pattern)
        .unwrap_or_else(|error| panic!("{pattern} is refused at {}: {error}", error.pointer));
    let document = Document::json(event.as_bytes());
    assert_eq!(
        parsed.matches(&document),
        expected,
        "{pattern} against {event}"
    );
    let explanation = parsed.explain(&document);
    assert_eq!(
        explanation.matches, expected,
        "{pattern} against {event}: {explanation:?}"
    );
    let mut matcher = Matcher::default();
    matcher.add("rule", &parsed);
    assert_eq!(
        matcher.matches(&document).len() == 1,
        expected,
        "{pattern} against {event}"
    );
}

fn refused(pattern: &str, pointer: &str, reason: &str) {
    match EventPattern::parse(pattern) {
        Ok(_) => panic!("{pattern} is taken for valid"),
        Err(error) => {
            assert_eq!(error.pointer, pointer, "{pattern}: {error}");
            assert!(error.reason.contains(reason), "{pattern}: {error}");
        }
    }
}

#[test]
fn a_literal_equals_in_type_and_value() {
    check(r#"{"kind": ["paid"]}"#, r#"{"kind": "paid"}"#, true);
    check(r#"{"kind": ["paid"]}"#, r#"{"kind": "Paid"}"#, false);
    check(r#"{"kind": ["paid", "sent"]}"#, r#"{"kind": "sent"}"#, true);
    check(r#"{"kind": ["paid"]}"#, r#"{"kinds": "paid"}"#, false);
    check(
        r#"{"kind": ["paid"]}"#,
        r#"{"kind": ["new", "paid"]}"#,
        true,
    );
    check(
        r#"{"kind": ["paid"]}"#,
        r#"{"kind": {"kind": "paid"}}"#,
        false,
    );
    check(r#"{"n": [7]}"#, r#"{"n": 7.00}"#, true);
    check(r#"{"n": [70]}"#, r#"{"n": 7e1}"#, true);
    check(r#"{"n": [7]}"#, r#"{"n": "7"}"#, false);
    check(r#"{"n": [-0]}"#, r#"{"n": 0.0}"#, true);
    check(
        r#"{"n": [98765432109876543210]}"#,
        r#"{"n": 98765432109876543210}"#,
        true,
    );
    check(
        r#"{"n": [98765432109876543210]}"#,
        r#"{"n": 98765432109876543211}"#,
        false,
    );
    check(r#"{"ok": [true]}"#, r#"{"ok": true}"#, true);
    check(r#"{"ok": [true]}"#, r#"{"ok": "true"}"#, false);
    check(r#"{"ok": [null]}"#, r#"{"ok": null}"#, true);
    check(r#"{"ok": [null]}"#, r#"{}"#, false);
}

#[test]
fn a_literal_that_is_an_ip_address_equals_all_its_spellings() {
    check(
        r#"{"ip": ["192.0.2.7"]}"#,
        r#"{"ip": "192.0.02.007"}"#,
        true,
    );
    check(
        r#"{"ip": ["2001:db8::a"]}"#,
        r#"{"ip": "2001:0DB8:0:0::A"}"#,
        true,
    );
    check(
        r#"{"ip": ["192.0.2.7"]}"#,
        r#"{"ip": "::ffff:c000:207"}"#,
        true,
    );
    check(r#"{"ip": ["192.0.2.7"]}"#, r#"{"ip": "192.0.2.70"}"#, false);
    check(
        r#"{"ip": ["192.0.2.777"]}"#,
        r#"{"ip": "192.0.2.777"}"#,
        true,
    );
    check(
        r#"{"ip": [{"exactly": "192.0.2.7"}]}"#,
        r#"{"ip": "192.0.02.007"}"#,
        false,
    );
    check(r#"{"ip": ["12:30"]}"#, r#"{"ip": "12:30"}"#, true);
}

#[test]
fn prefix_and_suffix_are_of_strings() {
    check(
        r#"{"type": [{"prefix": "com.shop."}]}"#,
        r#"{"type": "com.shop.order"}"#,
        true,
    );
    check(
        r#"{"type": [{"prefix": "com.shop."}]}"#,
        r#"{"type": "com.shop"}"#,
        false,
    );
    check(r#"{"type": [{"prefix": ""}]}"#, r#"{"type": ""}"#, true);
    check(r#"{"type": [{"prefix": ""}]}"#, r#"{"type": 4}"#, false);
    check(r#"{"type": [{"prefix": "1"}]}"#, r#"{"type": 12}"#, false);
    check(
        r#"{"file": [{"suffix": ".é"}]}"#,
        r#"{"file": "a.\u00e9"}"#,
        true,
    );
    check(
        r#"{"file": [{"suffix": ".png"}]}"#,
        r#"{"file": "png"}"#,
        false,
    );
    check(
        r#"{"file": [{"prefix": {"equals-ignore-case": "IMG"}}]}"#,
        r#"{"file": "imG1"}"#,
        true,
    );
    check(
        r#"{"file": [{"suffix": {"equals-ignore-case": "fuß"}}]}"#,
        r#"{"file": "im FUSS"}"#,
        true,
    );
    check(
        r#"{"file": [{"suffix": {"equals-ignore-case": "fuß"}}]}"#,
        r#"{"file": "im FUss"}"#,
        false,
    );
}

#[test]
fn case_is_folded_in_the_pattern_one_unit_at_a_time() {
    check(
        r#"{"a": [{"equals-ignore-case": "Zürich"}]}"#,
        r#"{"a": "zÜRICH"}"#,
        true,
    );
    check(
        r#"{"a": [{"equals-ignore-case": "STRASSE"}]}"#,
        r#"{"a": "straße"}"#,
        false,
    );
    check(
        r#"{"a": [{"equals-ignore-case": "straße"}]}"#,
        r#"{"a": "STRASSE"}"#,
        true,
    );
    check(
        r#"{"a": [{"equals-ignore-case": "\u212a"}]}"#,
        r#"{"a": "k"}"#,
        true,
    );
    check(
        r#"{"a": [{"equals-ignore-case": "k"}]}"#,
        r#"{"a": "\u212a"}"#,
        false,
    );
    // `ſ` is an `s` in upper case, and no spelling of one.
    for (pattern, accepts) in [("street", false), ("\u{17f}treet", true)] {
        check(
            &format!(r#"{{"a": [{{"equals-ignore-case": "{pattern}"}}], "b": [1]}}"#),
            r#"{"a": "ſTREET", "b": 1}"#,
            accepts,
        );
    }
    check(
        r#"{"a": [{"equals-ignore-case": "Yes 🎉"}]}"#,
        r#"{"a": "YES 🎉"}"#,
        true,
    );
    check(
        r#"{"a": [{"equals-ignore-case": "𐐀"}]}"#,
        r#"{"a": "𐐨"}"#,
        false,
    );
    check(
        r#"{"a": [{"equals-ignore-case": ""}]}"#,
        r#"{"a": ""}"#,
        true,
    );
    check(
        r#"{"a": [{"equals-ignore-case": "ab"}]}"#,
        r#"{"a": "abc"}"#,
        false,
    );
}

#[test]
fn a_wildcard_is_for_the_whole_string() {
    check(
        r#"{"p": [{"wildcard": "/img/*.png"}]}"#,
        r#"{"p": "/img/a/b.png"}"#,
        true,
    );
    check(
        r#"{"p": [{"wildcard": "/img/*.png"}]}"#,
        r#"{"p": "/img/.png"}"#,
        true,
    );
    check(
        r#"{"p": [{"wildcard": "/img/*.png"}]}"#,
        r#"{"p": "/img/a.pngx"}"#,
        false,
    );
    check(
        r#"{"p": [{"wildcard": "ab*ba"}]}"#,
        r#"{"p": "aba"}"#,
        false,
    );
    check(
        r#"{"p": [{"wildcard": "*a*b*"}]}"#,
        r#"{"p": "xbxa"}"#,
        false,
    );
    check(r#"{"p": [{"wildcard": "*a*b*"}]}"#, r#"{"p": "ab"}"#, true);
    check(
        r#"{"p": [{"wildcard": "2\\*3=*"}]}"#,
        r#"{"p": "2*3=6"}"#,
        true,
    );
    check(
        r#"{"p": [{"wildcard": "2\\*3"}]}"#,
        r#"{"p": "2x3"}"#,
        false,
    );
    check(
        r#"{"p": [{"wildcard": "c:\\\\*"}]}"#,
        r#"{"p": "c:\\dir"}"#,
        true,
    );
    check(r#"{"p": [{"wildcard": "*"}]}"#, r#"{"p": 1}"#, false);
}

#[test]
fn anything_but_asks_for_a_value_that_is_another() {
    check(
        r#"{"s": [{"anything-but": "new"}]}"#,
        r#"{"s": "old"}"#,
        true,
    );
    check(
        r#"{"s": [{"anything-but": "new"}]}"#,
        r#"{"s": "new"}"#,
        false,
    );
    check(
        r#"{"s": [{"anything-but": "new"}]}"#,
        r#"{"s": null}"#,
        true,
    );
    check(r#"{"s": [{"anything-but": "new"}]}"#, r#"{}"#, false);
    check(r#"{"s": [{"anything-but": "new"}]}"#, r#"{"s": []}"#, false);
    check(
        r#"{"s": [{"anything-but": ["new", "old"]}]}"#,
        r#"{"s": ["new", "odd"]}"#,
        true,
    );
    check(
        r#"{"s": [{"anything-but": [1, 2]}]}"#,
        r#"{"s": 2.0}"#,
        false,
    );
    check(r#"{"s": [{"anything-but": 1}]}"#, r#"{"s": "1"}"#, true);
    check(
        r#"{"s": [{"anything-but": {"prefix": ["a", "b"]}}]}"#,
        r#"{"s": "bc"}"#,
        false,
    );
    check(
        r#"{"s": [{"anything-but": {"suffix": "c"}}]}"#,
        r#"{"s": 3}"#,
        true,
    );
    check(
        r#"{"s": [{"anything-but": {"wildcard": "*/tmp/*"}}]}"#,
        r#"{"s": "/tmp/x"}"#,
        false,
    );
    check(
        r#"{"s": [{"anything-but": {"equals-ignore-case": ["NO"]}}]}"#,
        r#"{"s": "no"}"#,
        false,
    );
    check(
        r#"{"s": [{"anything-but": "192.0.2.7"}]}"#,
        r#"{"s": "192.0.2.07"}"#,
        true,
    );
}

#[test]
fn a_number_is_compared_exactly() {
    check(
        r#"{"n": [{"numeric": [">", 0, "<=", 0.1]}]}"#,
        r#"{"n": 0.1}"#,
        true,
    );
    check(
        r#"{"n": [{"numeric": [">", 0.1]}]}"#,
        r#"{"n": 0.1000000000000000055}"#,
        false,
    );
    check(
        r#"{"n": [{"numeric": ["=", 1e3]}]}"#,
        r#"{"n": 1000}"#,
        true,
    );
    check(r#"{"n": [{"numeric": ["<", 0]}]}"#, r#"{"n": -0.0}"#, false);
    check(r#"{"n": [{"numeric": ["<", 10]}]}"#, r#"{"n": "9"}"#, false);
    check(
        r#"{"n": [{"numeric": [">=", 10]}]}"#,
        r#"{"n": [3, 10]}"#,
        true,
    );
}

#[test]
fn a_cidr_block_holds_addresses_of_its_family() {
    check(
        r#"{"ip": [{"cidr": "192.0.2.128/25"}]}"#,
        r#"{"ip": "192.0.2.200"}"#,
        true,
    );
    check(
        r#"{"ip": [{"cidr": "192.0.2.129/25"}]}"#,
        r#"{"ip": "192.0.2.128"}"#,
        true,
    );
    check(
        r#"{"ip": [{"cidr": "192.0.2.128/25"}]}"#,
        r#"{"ip": "192.0.2.100"}"#,
        false,
    );
    check(
        r#"{"ip": [{"cidr": "0.0.0.0/0"}]}"#,
        r#"{"ip": "203.0.113.9"}"#,
        true,
    );
    check(
        r#"{"ip": [{"cidr": "2001:db8::/32"}]}"#,
        r#"{"ip": "2001:db8:1::1"}"#,
        true,
    );
    check(
        r#"{"ip": [{"cidr": "32.0.0.0/8"}]}"#,
        r#"{"ip": "2001:db8:1::1"}"#,
        false,
    );
    check(
        r#"{"ip": [{"cidr": "10.0.0.0/8"}]}"#,
        r#"{"ip": "host"}"#,
        false,
    );
}

#[test]
fn exists_is_about_values_and_objects_are_none() {
    check(
        r#"{"a": {"b": [{"exists": true}]}}"#,
        r#"{"a": {"b": null}}"#,
        true,
    );
    check(r#"{"a": [{"exists": true}]}"#, r#"{"a": {"b": 1}}"#, false);
    check(r#"{"a": [{"exists": false}]}"#, r#"{"a": {"b": 1}}"#, true);
    check(r#"{"a": [{"exists": false}]}"#, r#"{"a": [[], {}]}"#, true);
    check(r#"{"a": [{"exists": false}]}"#, r#"{"a": [[0]]}"#, false);
    check(r#"{"a": [{"exists": false}, 5]}"#, r#"{"a": 5}"#, true);
    check(r#"{"a": [{"exists": false}, 5]}"#, r#"{"a": 6}"#, false);
    check(
        r#"{"a": [{"exists": false}], "b": [1]}"#,
        r#"{"b": 1}"#,
        true,
    );
}

#[test]
fn fields_of_one_array_come_from_one_element() {
    let pattern = r#"{"items": {"sku": ["x"], "qty": [2]}}"#;
    check(
        pattern,
        r#"{"items": [{"sku": "x", "qty": 1}, {"sku": "y", "qty": 2}]}"#,
        false,
    );
    check(
        pattern,
        r#"{"items": [{"sku": "x", "qty": 1}, {"sku": "x", "qty": 2}]}"#,
        true,
    );
    check(
        pattern,
        r#"{"items": {"sku": ["y", "x"], "qty": [1, 2]}}"#,
        true,
    );
    check(pattern, r#"{"items": [[{"sku": "x"}, {"qty": 2}]]}"#, false);
    check(
        pattern,
        r#"{"items": [{"sku": "x"}], "items": [{"qty": 2}]}"#,
        true,
    );
    let deep = r#"{"o": {"k": [1], "l": {"s": ["x"], "q": [2]}}}"#;
    check(
        deep,
        r#"{"o": [{"k": 1, "l": [{"s": "x"}, {"q": 2}]}, {"l": {"s": "x", "q": 2}}]}"#,
        false,
    );
    check(
        deep,
        r#"{"o": [{"k": 0}, {"k": 1, "l": [{"s": "x"}, {"s": "x", "q": 2}]}]}"#,
        true,
    );
    check(
        r#"{"a": {"x": [1]}, "b": {"x": [1]}}"#,
        r#"{"a": [{}, {"x": 1}], "b": [{"x": 1}]}"#,
        true,
    );
}

#[test]
fn absence_beside_values_in_arrays_is_judged_in_the_order_of_keys() {
    check(
        r#"{"c": {"a": ["x"], "b": [{"exists": false}]}}"#,
        r#"{"c": [{"a": "x"}, {"b": 1}]}"#,
        true,
    );
    check(
        r#"{"c": {"b": ["x"], "a": [{"exists": false}]}}"#,
        r#"{"c": [{"b": "x"}, {"a": 1}]}"#,
        false,
    );
    check(
        r#"{"c": {"a": ["x"], "b": [{"exists": false}]}}"#,
        r#"{"c": [{"a": "x", "b": 1}]}"#,
        false,
    );
    check(
        r#"{"c": {"a": ["x"], "b": [2, {"exists": false}]}}"#,
        r#"{"c": [{"a": "x", "b": 1}, {"a": "x"}]}"#,
        true,
    );
    // U+FF5E stands before U+1F600 by code point, after its surrogates by UTF-16 unit.
    check(
        r#"{"c": {"😀": ["x"], "～": [{"exists": false}]}}"#,
        r#"{"c": [{"😀": "x"}, {"～": 1}]}"#,
        true,
    );
}

#[test]
fn a_dot_in_a_key_is_nesting() {
    check(r#"{"a.b": ["x"]}"#, r#"{"a": {"b": "x"}}"#, true);
    check(r#"{"a": {"b.c": ["x"]}}"#, r#"{"a.b": {"c": "x"}}"#, true);
    check(
        r#"{"a": {"b": ["x"]}, "a.b": ["y"]}"#,
        r#"{"a": {"b": "x"}}"#,
        false,
    );
    check(
        r#"{"a.b": ["x"]}"#,
        r#"{"a": {"b": "y"}, "a.b": "x"}"#,
        true,
    );
    check(r#"{"a..b": ["x"]}"#, r#"{"a": {"": {"b": "x"}}}"#, true);
    check(r#"{"": {"a": ["x"]}}"#, r#"{"a": "x"}"#, true);
}

#[test]
fn of_duplicate_keys_the_patterns_last_and_the_events_all_count() {
    check(r#"{"a": ["x"], "a": ["y"]}"#, r#"{"a": "x"}"#, false);
    check(
        r#"{"a": {"b": ["x"]}, "a": {"c": ["y"]}}"#,
        r#"{"a": {"b": "x"}}"#,
        false,
    );
    check(r#"{"a": ["x"]}"#, r#"{"a": "x", "a": "y"}"#, true);
    check(r#"{"\u0061": ["x"]}"#, r#"{"\u0061": "\u0078"}"#, true);
}

#[test]
fn or_is_one_of_its_objects_with_all_that_stands_beside() {
    let pattern = r#"{"s": ["k"], "$or": [{"a": [1]}, {"b": [{"exists": false}], "c": [2]}]}"#;
    check(pattern, r#"{"s": "k", "a": 1}"#, true);
    check(pattern, r#"{"s": "k", "c": 2}"#, true);
    check(pattern, r#"{"s": "k", "c": 2, "b": 0}"#, false);
    check(pattern, r#"{"a": 1, "c": 2}"#, false);
    check(
        r#"{"d": {"$or": [{"e": {"$or": [{"f": [1]}, {"g": [1]}]}}, {"h": [1]}]}}"#,
        r#"{"d": {"e": {"g": 1}}}"#,
        true,
    );
    // What stands later replaces, inside and outside.
    check(
        r#"{"a": [3], "$or": [{"a": [1]}, {"b": [2]}]}"#,
        r#"{"a": 1}"#,
        true,
    );
    check(
        r#"{"$or": [{"a": [1]}, {"b": [2]}], "a": [3]}"#,
        r#"{"a": 1}"#,
        false,
    );
}

#[test]
fn events_have_attributes_at_the_top_and_json_under_data() {
    let attributes = [
        ("type", Scalar::String("paid")),
        ("retries", Scalar::Integer(-3)),
        ("test", Scalar::Boolean(true)),
    ];
    let check = |pattern: &str, data: Option<&[u8]>, expected: bool| {
        let pattern = EventPattern::parse(pattern).unwrap();
        let event = Document::Event {
            attributes: &attributes,
            data: data.and_then(JsonText::check),
        };
        assert_eq!(pattern.matches(&event), expected, "{pattern:?} {data:?}");
    };
    check(
        r#"{"type": ["paid"], "retries": [-3.0], "test": [true]}"#,
        None,
        true,
    );
    check(
        r#"{"type": ["paid"], "data": {"total": [5]}}"#,
        Some(br#"{"total": 5}"#),
        true,
    );
    check(r#"{"data": ["x"]}"#, Some(br#"["x"]"#), true);
    check(r#"{"data": [{"exists": false}]}"#, None, true);
    check(
        r#"{"data": {"a": [{"exists": false}]}}"#,
        Some(b"{\"a\": 1, \"b\": }"),
        true,
    );
    check(
        r#"{"data": {"a": [{"exists": false}]}}"#,
        Some(b"{\"a\": \"\xff\"}"),
        true,
    );
}

#[test]
fn data_that_is_nested_too_deeply_is_absent_and_overflows_nothing() {
    let pattern = EventPattern::parse(r#"{"data": {"a": [1]}}"#).unwrap();
    let nested = |depth: usize| {
        let data = format!(
            r#"{{"a": 1, "b": {}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        pattern.matches(&Document::Event {
            attributes: &[],
            data: JsonText::check(data.as_bytes()),
        })
    };
    assert!(nested(100));
    assert!(!nested(1_000));
    assert!(!nested(1_000_000));
    let open = "[".repeat(1_000_000);
    assert!(EventPattern::parse(&open[..limits::PATTERN_BYTES]).is_err());
}

#[test]
fn broken_json_is_refused_with_its_offset() {
    let refused = |pattern: &str, offset: usize| {
        let error = EventPattern::parse(pattern).unwrap_err();
        assert_eq!(
            (error.offset, error.pointer.as_str()),
            (Some(offset), ""),
            "{pattern}: {error}"
        );
    };
    refused("", 0);
    refused("{", 1);
    refused(r#"{"a": ["x"]"#, 11);
    refused(r#"{"a": ["x"],}"#, 12);
    refused(r#"{'a': ["x"]}"#, 1);
    refused(r#"{"a": ["x"]} {}"#, 13);
    refused(r#"{"a": [1 2]}"#, 9);
    refused(r#"{"a": [01]}"#, 7);
    refused(r#"{"a": [1.]}"#, 9);
    refused(r#"{"a": ["\x"]}"#, 8);
    refused("{\"a\": [\"\n\"]}", 8);
}

#[test]
fn all_that_is_wrong_is_told_in_the_order_in_which_it_stands() {
    let faults = |pattern: &str| -> Vec<(String, String)> {
        let faults = EventPattern::parse_whole(pattern).unwrap_err();
        let faults = faults.into_iter();
        faults.map(|fault| (fault.pointer, fault.reason)).collect()
    };
    let check = |pattern: &str, expected: &[&str]| {
        let found = faults(pattern);
        let found: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(found, expected, "{pattern}");
    };
    check(
        r#"{"a": "x", "b": [], "c": {"d": {}, "e": [1]}, "f": [{"prefx": "x"}, 1, {"numeric": []}]}"#,
        &["/a", "/b", "/c/d", "/f/0/prefx", "/f/2/numeric"],
    );
    check(
        r#"{"$or": [{"a": 1}, 2, {"prefix": ["x"], "b": [3]}, {}], "c": null}"#,
        &["/$or/0/a", "/$or/1", "/$or/2/prefix", "/$or/3", "/c"],
    );
    check(
        r#"{"$or": [{"a": 1}], "c": {"$or": 1}}"#,
        &["/$or/0/a", "/$or", "/c/$or"],
    );
    // What is no JSON is not gone on with.
    check(r#"{"a": "x", "b": ]"#, &[""]);
    // What is too large is not gone on with, and what was found before it is told.
    let many: Vec<String> = (0..=limits::PATTERN_FIELDS)
        .map(|field| format!(r#""f{field}": [1]"#))
        .collect();
    let large = format!(r#"{{"a": 1, {}, "z": 1}}"#, many.join(", "));
    check(&large, &["/a", &format!("/f{}", limits::PATTERN_FIELDS)]);

    let most = limits::PATTERN_FAULTS;
    for (count, more) in [(most, None), (most + 1, Some(1)), (most + 70, Some(70))] {
        let bad = vec!["[]"; count].join(",");
        let found = faults(&format!(r#"{{"a": [{bad}]}}"#));
        let left_out = found.get(most).cloned();
        let expected = more.map(|more| {
            let text = format!("and {more} more; mend the others first");
            (String::new(), text)
        });
        assert_eq!(left_out, expected);
        assert_eq!(found.len(), most + usize::from(more.is_some()));
    }
}

#[test]
fn what_is_no_pattern_is_refused_where_it_stands() {
    refused("[]", "", "object of fields");
    refused("{}", "", "empty object");
    refused(r#"{"a": {"b": {}}}"#, "/a/b", "empty object");
    refused(r#"{"a": "x"}"#, "/a", r#"such as ["x"]"#);
    refused(r#"{"a/b~": 1}"#, "/a~1b~0", "must be an array");
    refused(r#"{"a": []}"#, "/a", "empty array");
    refused(r#"{"a": [["x"]]}"#, "/a/0", "cannot stand inside");
    refused(r#"{"a": ["x", {}]}"#, "/a/1", "operator object is empty");
    refused(
        r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#,
        "/a/0",
        "\"suffix\" as an object of its own",
    );
    refused(
        r#"{"a": [{"prefx": "x"}]}"#,
        "/a/0/prefx",
        "did you mean \"prefix\"?",
    );
    refused(
        r#"{"a": [{"regex": "x"}]}"#,
        "/a/0/regex",
        "the operators are",
    );
    refused(
        r#"{"a": [{"prefix": ["x"]}]}"#,
        "/a/0/prefix",
        "one string, not a list",
    );
    refused(
        r#"{"a": [{"suffix": {"wildcard": "x"}}]}"#,
        "/a/0/suffix",
        "equals-ignore-case",
    );
    refused(
        r#"{"a": [{"exists": "no"}]}"#,
        "/a/0/exists",
        "true or false",
    );
    refused(
        r#"{"a": [{"wildcard": "a**"}]}"#,
        "/a/0/wildcard",
        "side by side",
    );
    refused(
        r#"{"a": [{"wildcard": "a\\b"}]}"#,
        "/a/0/wildcard",
        "backslash",
    );
    refused(r#"{"a": [{"cidr": "10.0.0.1"}]}"#, "/a/0/cidr", "one slash");
    refused(
        r#"{"a": [{"cidr": "10.0.0.1/32"}]}"#,
        "/a/0/cidr",
        "0 to 31",
    );
    refused(
        r#"{"a": [{"cidr": "10.0.0/8"}]}"#,
        "/a/0/cidr",
        "no IP address",
    );
    refused(
        r#"{"a": [{"cidr": "10.0.0.0/x"}]}"#,
        "/a/0/cidr",
        "number of bits",
    );
    refused(r#"{"a": [{"numeric": 5}]}"#, "/a/0/numeric", "takes a list");
    refused(r#"{"a": [{"numeric": []}]}"#, "/a/0/numeric", "empty");
    refused(
        r#"{"a": [{"numeric": ["<"]}]}"#,
        "/a/0/numeric",
        "must follow \"<\"",
    );
    refused(
        r#"{"a": [{"numeric": ["<", "5"]}]}"#,
        "/a/0/numeric/1",
        "without quotes",
    );
    refused(
        r#"{"a": [{"numeric": ["!", 5]}]}"#,
        "/a/0/numeric/0",
        "no comparison",
    );
    refused(
        r#"{"a": [{"numeric": ["<", 5, ">", 1]}]}"#,
        "/a/0/numeric/0",
        "lower end first",
    );
    refused(
        r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#,
        "/a/0/numeric/3",
        "greater than its lower end",
    );
    refused(
        r#"{"a": [{"numeric": ["=", 1e400]}]}"#,
        "/a/0/numeric/1",
        "cannot be compared",
    );
    refused(
        r#"{"a": [{"anything-but": true}]}"#,
        "/a/0/anything-but",
        "cannot name this",
    );
    refused(
        r#"{"a": [{"anything-but": []}]}"#,
        "/a/0/anything-but",
        "excludes nothing",
    );
    refused(
        r#"{"a": [{"anything-but": ["x", 1]}]}"#,
        "/a/0/anything-but/1",
        "not both",
    );
    refused(
        r#"{"a": [{"anything-but": {"suffix": ["x", ""]}}]}"#,
        "/a/0/anything-but/suffix/1",
        "empty suffix",
    );
    refused(
        r#"{"a": [{"anything-but": {"cidr": "x"}}]}"#,
        "/a/0/anything-but/cidr",
        "cannot be combined",
    );
    refused(r#"{"$or": {"a": [1]}}"#, "/$or", "at least two objects");
    refused(r#"{"$or": [{"a": [1]}]}"#, "/$or", "at least two objects");
    refused(r#"{"$or": [{"a": [1]}, 5]}"#, "/$or/1", "no object");
    refused(
        r#"{"$or": [{"a": [1]}, {"suffix": [1]}]}"#,
        "/$or/1/suffix",
        "operator's name",
    );
}

#[test]
fn patterns_are_bounded() {
    let branches = |count: usize| {
        let branches: Vec<String> = (0..count).map(|n| format!(r#"{{"a": [{n}]}}"#)).collect();
        format!("\"$or\": [{}]", branches.join(","))
    };
    let nested = |inner: &str| format!("{{\"x\": {{{inner}}}, {}}}", branches(25));
    assert!(EventPattern::parse(&nested(&branches(40))).is_ok());
    refused(&nested(&branches(41)), "/$or", "1000 combinations");
    refused(
        &format!(r#"{{"a": ["{}"]}}"#, "x".repeat(limits::PATTERN_BYTES)),
        "",
        "bytes",
    );
    let fields: Vec<String> = (0..257).map(|n| format!(r#""f{n}": [1]"#)).collect();
    refused(&format!("{{{}}}", fields.join(",")), "/f256", "256 fields");
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    refused(&deep, "", "nested too deeply");
}

#[test]
fn wildcards_are_bounded_by_what_one_value_may_match_at_once() {
    let complex = |pattern: &str| {
        let error = EventPattern::parse(pattern).map(|_| ());
        error.is_err_and(|error| error.reason.contains("too complex"))
    };
    // Ten beginnings of this one at most: five stars and five colons.
    assert!(!complex(
        r#"{"a": [{"wildcard": "*:*:*:*:*:event-bus/x"}]}"#
    ));
    assert!(complex(r#"{"a": [{"wildcard": "*:*:*:*:*:event-bus/*"}]}"#));
    assert!(complex(r#"{"a": [{"wildcard": "*aaaaaaaaaaaa"}]}"#));
    assert!(!complex(r#"{"a": [{"wildcard": "*abcdefghijklmnop"}]}"#));
    assert!(!complex(r#"{"a": [{"wildcard": "*a*b*c*d"}]}"#));
    // Each of its own field, each of its own beginning.
    assert!(!complex(
        r#"{"a": [{"wildcard": "*:*:*:*"}], "b": [{"wildcard": "*:*:*:*"}]}"#
    ));
    assert!(complex(
        r#"{"a": [{"wildcard": "*:*:*:*a"}, {"wildcard": "*:*:*:*b"}]}"#
    ));
    let suffixes: Vec<String> = (0..200).map(|n| format!("\"*.e{n}\"")).collect();
    let suffixes = suffixes.join(",");
    assert!(!complex(&format!(
        r#"{{"a": [{{"anything-but": {{"wildcard": [{suffixes}]}}}}]}}"#
    )));
}

#[test]
fn an_explanation_names_the_field_and_the_cause() {
    let pattern = r#"{"type": [{"prefix": "com."}], "data": {"total": [{"numeric": [">=", 100]}, null], "x/y": [{"exists": false}]}}"#;
    let event = br#"{"type": "org.a", "data": {"total": [5, "6"], "x/y": true}}"#;
    let explanation = EventPattern::parse(pattern)
        .unwrap()
        .explain(&Document::json(event));
    assert!(!explanation.matches);
    let lines: Vec<String> = explanation
        .fields
        .iter()
        .map(|field| {
            format!(
                "{} {} {} {:?}: {}",
                field.pointer, field.matches, field.wanted, field.seen, field.reason
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            r#"/type false [{"prefix":"com."}] ["\"org.a\""]: "org.a" does not start with "com.""#,
            r#"/data/total false [{"numeric":[">=",100]},null] ["5", "\"6\""]: none of its 2 values fits: 5 is no number >= 100 and is not null, and so on"#,
            r#"/data/x~1y false [{"exists":false}] ["true"]: true is present and should be absent"#,
        ]
    );
}

#[test]
fn an_explanation_tells_when_fields_hold_apart_only() {
    let pattern = EventPattern::parse(r#"{"i": {"s": ["x"], "q": [2]}, "t": ["k"]}"#).unwrap();
    let event = br#"{"t": "k", "i": [{"s": "x"}, {"q": 2}]}"#;
    let explanation = pattern.explain(&Document::json(event));
    assert!(!explanation.matches);
    let told: Vec<(bool, bool)> = explanation
        .fields
        .iter()
        .map(|field| (field.matches, field.reason.contains("no one array element")))
        .collect();
    assert_eq!(told, [(true, true), (true, true), (true, false)]);
}

#[test]
fn every_branch_of_an_or_is_explained() {
    let pattern = EventPattern::parse(r#"{"$or": [{"a": [1]}, {"a": [2], "b": [3]}]}"#).unwrap();
    let explanation = pattern.explain(&Document::json(br#"{"a": 2}"#));
    let told: Vec<(&str, bool, &str)> = explanation
        .fields
        .iter()
        .map(|field| (field.pointer.as_str(), field.matches, field.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("/$or/0/a", false, "2 is not 1"),
            ("/$or/1/a", true, "2 is 2"),
            ("/$or/1/b", false, "is absent")
        ]
    );
}

#[test]
fn a_matcher_is_a_set_of_patterns_by_key() {
    let pattern = |text: &str| EventPattern::parse(text).unwrap();
    let event = Document::json(br#"{"type": "a", "n": 5}"#);
    let mut matcher = Matcher::default();
    assert!(matcher.matches(&event).is_empty());
    matcher.add(3, &pattern(r#"{"type": ["a"]}"#));
    matcher.add(
        1,
        &pattern(r#"{"$or": [{"type": ["a"]}, {"n": [{"numeric": [">", 1]}]}]}"#),
    );
    matcher.add(2, &pattern(r#"{"type": ["b"]}"#));
    let before = matcher.snapshot();
    assert_eq!(matcher.matches(&event), [1, 3]);
    matcher.add(3, &pattern(r#"{"type": ["c"]}"#));
    matcher.add(2, &pattern(r#"{"missing": [{"exists": false}]}"#));
    matcher.remove(&1);
    matcher.remove(&9);
    assert_eq!(matcher.matches(&event), [2]);
    assert_eq!(before.matches(&event), [1, 3]);
}

#[test]
fn a_large_array_is_checked_in_one_pass() {
    let pattern =
        EventPattern::parse(r#"{"a": {"x": [1], "y": [2], "z": [{"exists": false}]}}"#).unwrap();
    let elements: Vec<&str> = (0..10_000)
        .map(|n| {
            if n % 2 == 0 {
                r#"{"x":1,"z":0}"#
            } else {
                r#"{"y":2}"#
            }
        })
        .collect();
    let event = format!(r#"{{"a": [{}]}}"#, elements.join(","));
    // Quadratic work would take minutes here.
    assert!(!pattern.matches(&Document::json(event.as_bytes())));
}

#[test]
fn a_clause_takes_its_value_from_one_of_two_arrays() {
    // The value of `b` drives `b.a` out of one of the arrays, never out of both.
    check(
        r#"{"b": ["x"], "b.a": [{"exists": false}]}"#,
        r#"{"b": [{"a": "x"}, ["x"]], "b": [["x"], {"a": "x"}]}"#,
        false,
    );
    check(
        r#"{"b": ["x"], "b.a": [{"exists": false}]}"#,
        r#"{"b": [{"a": "x"}, ["x"]], "b": [["x"]]}"#,
        true,
    );
}

#[test]
fn a_value_in_an_array_may_be_taken_though_one_outside_would_do() {
    check(
        r#"{"b": ["y"], "b.a": [{"exists": false}]}"#,
        r#"{"b": [{"a": "y"}, ["y"]], "b": ["y", ["y"]]}"#,
        true,
    );
}

#[test]
fn a_value_may_be_left_for_one_in_another_array() {
    check(
        r#"{"c": {"a": ["x"], "b": ["x"], "c": [{"exists": false}]}}"#,
        r#"{"c": [{"a": "x", "b": "x"}], "c": [{"c": true}, {"b": "x"}]}"#,
        true,
    );
}
