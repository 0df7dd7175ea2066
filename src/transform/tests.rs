//! Templates as tables, and the promise that a JSON template gives JSON.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::event::Event;

const VARIABLES: Variables<'_> = Variables {
    bus: "shop",
    rule: "big",
    target: "billing",
    rule_arn: "arn:eventyard:events:::rule/shop/big",
    ingestion_time: "2026-01-02T03:04:05Z",
    sequence: 7,
};

const DOCUMENT: &str = r#"{"time":"t0","detail-type":"made","detail":{"id":"o-1","n":1.50,"no":null,
    "yes":true,"list":["A", "B"],"o":{"k": "v w"},"bad":"x\",\"admin\":\"y\n"}}"#;

fn variables() -> Vec<(String, Variable)> {
    let path = |name: &str, path: &str| {
        let query = Query::parse(path).unwrap();
        (name.to_owned(), Variable::Path(query))
    };
    let mut variables: Vec<_> = ["id", "n", "no", "yes", "list", "o", "bad", "absent"]
        .into_iter()
        .map(|name| path(name, &format!("$.detail.{name}")))
        .collect();
    variables.push(path("many", "$.detail.list[*]"));
    variables.push(("fixed".to_owned(), Variable::Constant("\"c\"".to_owned())));
    variables
}

fn fill(template: &Template) -> Result<String, TransformError> {
    let subject = Subject::json(DOCUMENT.as_bytes()).unwrap();
    let payload = Transform::Template(template.clone()).apply(&subject, &VARIABLES)?;
    assert_eq!(payload.is_json, template.is_json());
    Ok(String::from_utf8(payload.bytes.to_vec()).unwrap())
}

#[track_caller]
fn check(template: &str, expected: &str) {
    let template = Template::parse(template, Marks::Angles, &variables()).unwrap();
    assert_eq!(fill(&template).unwrap(), expected);
}

#[test]
fn a_json_template_takes_values_outside_of_strings() {
    check(r#"{"a": <id>, "b":<n>}"#, r#"{"a": "o-1", "b":1.50}"#);
    check(r#"[<no>,<yes>,<list>]"#, r#"[null,true,["A", "B"]]"#);
    check(r#"{"a":<absent>,"b":<many>}"#, r#"{"a":"","b":["A","B"]}"#);
    check("<o>", r#"{"k": "v w"}"#);
}

#[test]
fn inside_its_strings_values_are_escaped_text() {
    check(
        r#"{"a":"<id>/<n>-<yes>-<absent>"}"#,
        r#"{"a":"o-1/1.50-true-"}"#,
    );
    check(r#"{"a":"<bad>"}"#, r#"{"a":"x\",\"admin\":\"y\n"}"#);
    check(r#"{"a":"\"<id>\""}"#, r#"{"a":"\"o-1\""}"#);
    check(r#"{"<id>":1}"#, r#"{"o-1":1}"#);
}

#[test]
fn a_string_alone_and_text_take_containers_without_quotes() {
    check(r#""<o> and <list>""#, r#""{k:v w} and [A,B]""#);
    check(r#""<bad>""#, r#""x\",\"admin\":\"y\n""#);
    check("Order <id>: <list> <absent>.", "Order o-1: [A,B] .");
    check("\"<id>\"\n\"<list>\"", "\"o-1\"\n\"[A,B]\"");
    check("<bad>!", "x\",\"admin\":\"y\n!");
    // No numbers, although a digit in the placeholder's place would make them so.
    check("1<id>", "1o-1");
    check("-<n><n>", "-1.501.50");
}

#[test]
fn what_looks_like_a_placeholder_may_be_none() {
    check("a < b and c > d <>", "a < b and c > d <>");
    check(r"\<id> is <id>", "<id> is o-1");
    let error = Template::parse("x <idd>", Marks::Angles, &variables()).unwrap_err();
    assert!(error.to_string().contains("did you mean `id`?"), "{error}");
    let error = Template::parse("<something>", Marks::Angles, &[]).unwrap_err();
    assert!(error.to_string().contains("input_paths"), "{error}");
    let error = Template::parse(r#"{"a": <id>"#, Marks::Angles, &variables()).unwrap_err();
    assert!(error.to_string().contains("must be JSON"), "{error}");
}

#[test]
fn a_container_in_a_string_of_json_is_refused_for_that_event() {
    for text in [r#"{"a":"<o>"}"#, r#"["x <list>"]"#] {
        let template = Template::parse(text, Marks::Angles, &variables()).unwrap();
        assert!(matches!(
            fill(&template),
            Err(TransformError::ContainerInString(_))
        ));
    }
}

#[test]
fn a_template_written_as_json_takes_whole_strings_as_values() {
    for (text, expected) in [
        (
            r#"{"a":"<n>","b":["<o>"]}"#,
            r#"{"a":1.50,"b":[{"k": "v w"}]}"#,
        ),
        (r#"{"a":"n <n>"}"#, r#"{"a":"n 1.50"}"#),
        (r#"{"<id>" : "<absent>"}"#, r#"{"o-1" : ""}"#),
        (r#"{"a":"\u003cid>"}"#, r#"{"a":"\u003cid>"}"#),
        (r#"{"a":"\"<id>"}"#, r#"{"a":"\"o-1"}"#),
    ] {
        let template = Template::from_json(text, Marks::Angles, &variables()).unwrap();
        assert_eq!(fill(&template).unwrap(), expected);
    }
}

#[test]
fn dollars_mark_the_placeholders_of_rocketmq() {
    let template = Template::parse(
        r#"{"t":"${id} <id> $x","f":${fixed}}"#,
        Marks::Dollar,
        &variables(),
    );
    assert_eq!(
        fill(&template.unwrap()).unwrap(),
        r#"{"t":"o-1 <id> $x","f":"c"}"#
    );
}

#[test]
fn reserved_variables_need_no_path() {
    check(
        "<eventyard.bus-name> <aws.events.rule-name> <eventyard.target-id> <eventyard.event.sequence>",
        "shop big billing 7",
    );
    check(
        "<aws.events.rule-arn> <aws.events.event.ingestion-time>",
        "arn:eventyard:events:::rule/shop/big 2026-01-02T03:04:05Z",
    );
    check(
        "<aws.events.event> ",
        r#"{"time":"2026-01-02T03:04:05Z","detailType":"made"} "#,
    );
}

#[test]
fn a_cloudevent_is_given_with_and_without_its_data() {
    let event = Event::builder("1", "/s", "t")
        .data("text/plain", "a \"b\"")
        .build()
        .unwrap();
    let give = |text: &str| {
        let template = Template::parse(text, Marks::Angles, &[]).unwrap();
        let payload = Transform::Template(template).apply(&Subject::event(&event), &VARIABLES);
        serde_json::from_slice::<Json>(&payload.unwrap().bytes).unwrap()
    };
    assert_eq!(give("<eventyard.event.data>"), json!("a \"b\""));
    assert_eq!(give("<aws.events.event.json>")["data"], "a \"b\"");
    assert_eq!(give("<eventyard.event>").get("data"), None);
    assert_eq!(give("<eventyard.event>").get("time"), None);
    assert_eq!(give("<aws.events.event>")["time"], "2026-01-02T03:04:05Z");
}

#[test]
fn a_path_and_a_constant_need_no_template() {
    let subject = Subject::json(DOCUMENT.as_bytes()).unwrap();
    let path = |text: &str| {
        let transform = Transform::Path(Query::parse(text).unwrap());
        let payload = transform.apply(&subject, &VARIABLES);
        payload.map(|payload| String::from_utf8(payload.bytes.to_vec()).unwrap())
    };
    assert_eq!(path("$.detail.id").unwrap(), r#""o-1""#);
    assert_eq!(path("$.detail.list[?@ == 'B']").unwrap(), r#"["B"]"#);
    assert_eq!(path("$.x"), Err(TransformError::Nothing("$.x".to_owned())));
    let constant = Transform::Constant("{\"a\": 1}".to_owned());
    assert!(constant.apply(&subject, &VARIABLES).unwrap().is_json);
}

proptest! {
    #[test]
    fn a_json_template_gives_json_or_a_refusal(
        template in r#"[\[{]?([{}\[\],:"\\<>a01 -]|<id>|<bad>|<o>|<n>|<absent>|"<id>"|:<n>){0,12}[\]}]?"#,
        id in any::<String>(),
        whole in any::<bool>(),
    ) {
        let document = json!({"detail": {"id": id, "bad": "\"\\\n", "n": 1, "o": {"\"": [id]}}}).to_string();
        let subject = Subject::json(document.as_bytes()).unwrap();
        let compile = if whole { Template::from_json } else { Template::parse };
        if whole && serde_json::from_str::<Json>(&template).is_err() {
            return Ok(());
        }
        if let Ok(template) = compile(&template, Marks::Angles, &variables()) {
            let is_json = template.is_json();
            prop_assert!(is_json || !whole);
            if let (true, Ok(payload)) = (is_json, Transform::Template(template).apply(&subject, &VARIABLES)) {
                let result: Result<Json, _> = serde_json::from_slice(&payload.bytes);
                prop_assert!(result.is_ok(), "{:?}", payload.bytes);
            }
        }
    }
}

#[test]
fn a_hole_within_an_escape_breaks_no_json() {
    // Half of an escape before a hole: no JSON, whatever the hole may hold.
    check_kind(r#""\u00<id>41""#, Some((false, r#""\u00o-141""#)));
    check_kind(r#""\ud83d\u<n>""#, Some((false, r#""\ud83d\u1.50""#)));
    check_kind(r#"{"k": "\u00<id>41"}"#, None);
    // An odd number of backslashes escapes the mark, an even one is as many halves.
    check_kind(r#""\<id>""#, Some((true, r#""<id>""#)));
    check_kind(r#"{"k": "\\<id>"}"#, Some((true, r#"{"k": "\\o-1"}"#)));
    check_kind(r#""\\\<id>""#, Some((true, r#""\\<id>""#)));
    check_kind(r#"["\\\\<id>"]"#, Some((true, r#"["\\\\o-1"]"#)));
    check_kind(r#"["\\\\\<id>"]"#, Some((true, r#"["\\\\<id>"]"#)));
}

/// Whether the template gives JSON, and what it gives; `None`: it is refused.
#[track_caller]
fn check_kind(text: &str, expected: Option<(bool, &str)>) {
    let template = Template::parse(text, Marks::Angles, &variables());
    let Some((is_json, filled)) = expected else {
        assert!(
            matches!(template, Err(TemplateError::NotJson { .. })),
            "{text}"
        );
        return;
    };
    let template = template.unwrap();
    assert_eq!(template.is_json(), is_json, "{text}");
    assert_eq!(fill(&template).unwrap(), filled, "{text}");
    let reads = serde_json::from_str::<Json>(filled).is_ok();
    assert_eq!(reads, is_json, "{text}");
}
