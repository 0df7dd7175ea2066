//! Parses arbitrary text as an event pattern; when it is one, matches and explains the rest of the
//! input against it, alone and in a matcher, which must agree.

#![no_main]

use eventyard::pattern::{Document, EventPattern, JsonText, Matcher, Scalar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // A NUL stands in no JSON text, so it divides the pattern from the document.
    let middle = input
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(input.len());
    let (pattern, document) = input.split_at(middle);
    let document = document.get(1..).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(pattern) else {
        return;
    };
    let pattern = match EventPattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(error.offset.is_none_or(|offset| offset <= text.len()));
            return;
        }
    };
    let mut matcher = Matcher::default();
    matcher.add(0, &pattern);
    let attributes = [("type", Scalar::String("x")), ("n", Scalar::Integer(1))];
    let documents = [
        Document::json(document),
        Document::Event {
            attributes: &attributes,
            data: JsonText::check(document),
        },
    ];
    for document in &documents {
        let matches = pattern.matches(document);
        assert_eq!(pattern.explain(document).matches, matches);
        assert_eq!(
            matcher.matches(document),
            if matches { vec![0] } else { vec![] }
        );
    }
    matcher.remove(&0);
    assert!(
        documents
            .iter()
            .all(|document| matcher.matches(document).is_empty())
    );
});
