//! Reads arbitrary text as a target's settings and as a template; what is accepted is applied to an
//! event made of the rest. JSON must stay JSON, no event may change more of a request than its
//! places, and nothing that is made is larger than its limit.

#![no_main]

use eventyard::clock::Timestamp;
use eventyard::delivery::preview;
use eventyard::event::Event;
use eventyard::limits;
use eventyard::log::{BusName, RuleName};
use eventyard::query::{Query, Subject};
use eventyard::rule::{Mode, TargetDocument};
use eventyard::transform::{Marks, Template, Transform, Variable, Variables};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // A NUL stands in no JSON text, so it divides the settings from the event's data.
    let middle = input
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(input.len());
    let (settings, data) = input.split_at(middle);
    let data = data.get(1..).unwrap_or_default();
    let Ok(settings) = std::str::from_utf8(settings) else {
        return;
    };
    let event = Event::builder("1", "/s", "t");
    let Ok(event) = event
        .json(data)
        .build()
        .or_else(|_| Event::builder("1", "/s", "t").data("text/plain", data).build())
    else {
        return;
    };
    request(settings, &event);
    template(settings, &event);
    query(settings, &event);
});

fn request(settings: &str, event: &Event) {
    // A whole target, or the fields that stand behind an id and a URL.
    let around =
        format!(r#"{{"id":"t","url":"https://h:8443/{{a}}/x?y=1","path":{{"a":{{"path":"$.data.a"}}}},{settings}}}"#);
    for text in [settings, &around] {
        let Ok(document) = TargetDocument::parse(text) else {
            continue;
        };
        let (bus, rule) = (BusName::default_bus(), RuleName::new("r").expect("a name"));
        let target = document.for_preview(&bus, &rule);
        let Ok(sent) = preview(&target, event.clone(), Timestamp::from_millis(0)) else {
            continue;
        };
        let url: reqwest::Url = sent.url.parse().expect("a URL that was sent");
        assert_eq!(url.host(), target.url.host());
        assert_eq!(url.port(), target.url.port());
        assert_eq!(url.scheme(), target.url.scheme());
        assert!(sent.url.len() <= limits::URL_BYTES);
        // The event's attributes stand around what was made of its data, and text in a JSON string
        // takes six bytes for one at most.
        if target.transform.is_some() {
            assert!(sent.body.len() <= 6 * limits::TRANSFORM_RESULT_BYTES + 4 * limits::EVENT_BYTES);
        }
        let segments = |url: &reqwest::Url| url.path().split('/').count();
        assert_eq!(segments(&url), segments(&target.url));
        let is_json = sent.content_type() == Some("application/json");
        if is_json && target.transform.is_some() && target.request.content_type.is_none() {
            serde_json::from_slice::<&serde_json::value::RawValue>(&sent.body)
                .expect("a transform's JSON is JSON");
        }
        if target.mode != Mode::Binary {
            serde_json::from_slice::<&serde_json::value::RawValue>(&sent.body)
                .expect("an event format is JSON");
        }
    }
}

fn template(text: &str, event: &Event) {
    let path = Query::parse("$.data.a").expect("a path");
    let variables = [("a".to_owned(), Variable::Path(path))];
    let names = Variables {
        bus: "b",
        rule: "r\"",
        target: "t",
        rule_arn: "arn",
        ingestion_time: "1970-01-01T00:00:00Z",
        sequence: 1,
    };
    for marks in [Marks::Angles, Marks::Dollar] {
        for template in [
            Template::parse(text, marks, &variables),
            Template::from_json(text, marks, &variables),
        ] {
            let Ok(template) = template else { continue };
            let is_json = template.is_json();
            let transform = Transform::Template(template);
            let Ok(payload) = transform.apply(&Subject::event(event), &names) else {
                continue;
            };
            assert_eq!(payload.is_json, is_json);
            assert!(payload.bytes.len() <= limits::TRANSFORM_RESULT_BYTES);
            if is_json {
                serde_json::from_slice::<&serde_json::value::RawValue>(&payload.bytes)
                    .expect("a JSON template gives JSON");
            }
        }
    }
}

fn query(text: &str, event: &Event) {
    let Ok(query) = Query::parse(text) else {
        return;
    };
    let subject = Subject::event(event);
    let (first, all) = (query.first(&subject), query.all(&subject));
    let (Ok(first), Ok(all)) = (first, all) else {
        return;
    };
    let texts: Vec<_> = all.iter().map(|found| found.json().into_owned()).collect();
    assert_eq!(first.map(|found| found.json().into_owned()), texts.first().cloned());
    assert_eq!(query.selects_any(&subject), Ok(!texts.is_empty()));
    assert!(!query.is_singular() || texts.len() <= 1);
    for text in texts {
        serde_json::from_str::<&serde_json::value::RawValue>(&text).expect("a value is JSON");
    }
}
