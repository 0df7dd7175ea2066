//! Holds the engine against the oracle, and against itself, on small random worlds.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::oracle::{self, Entry, Json, Pattern, Want};
use super::{Document, EventPattern, JsonText, Matcher};

const KEYS: [&str; 5] = ["a", "b", "c", "a.b", "c.a"];

const SCALARS: [&str; 23] = [
    "\"x\"",
    "\"x\"",
    "\"y\"",
    "\"y\"",
    "\"xy\"",
    "\"Xy\"",
    "\"\"",
    "1",
    "1",
    "1.0",
    "2",
    "2.5",
    "-3e2",
    "true",
    "null",
    "\"10.1.2.3\"",
    "\"010.1.2.3\"",
    "12345678901234567890",
    "\"Straße\"",
    "\"STRASSE\"",
    "\"a long text, longer than what keys are cut to: x\"",
    "\"a long text, longer than what keys are cut to: Y\"",
    "300",
];

/// Whether a scalar's JSON is a string, and its text.
fn text(scalar: &str) -> Option<&str> {
    scalar.strip_prefix('"')?.strip_suffix('"')
}

fn number(scalar: &str) -> Option<f64> {
    // The one number of the domain that does not compare.
    scalar.parse().ok().filter(|_| scalar.len() < 10)
}

fn is_text(scalar: &str, test: impl Fn(&str) -> bool) -> bool {
    text(scalar).is_some_and(test)
}

fn is_number(scalar: &str, test: impl Fn(f64) -> bool) -> bool {
    number(scalar).is_some_and(test)
}

const WANTS: [Want; 50] = [
    ("\"x\"", Some(|scalar| scalar == "\"x\"")),
    ("\"y\"", Some(|scalar| scalar == "\"y\"")),
    ("{\"exactly\": \"xy\"}", Some(|scalar| scalar == "\"xy\"")),
    (
        "\"10.1.2.3\"",
        Some(|scalar| is_text(scalar, |text| text.ends_with("10.1.2.3"))),
    ),
    (
        "{\"exactly\": \"10.1.2.3\"}",
        Some(|scalar| scalar == "\"10.1.2.3\""),
    ),
    (
        "1",
        Some(|scalar| is_number(scalar, |number| number == 1.0)),
    ),
    (
        "2.0",
        Some(|scalar| is_number(scalar, |number| number == 2.0)),
    ),
    (
        "12345678901234567890",
        Some(|scalar| scalar == "12345678901234567890"),
    ),
    ("true", Some(|scalar| scalar == "true")),
    ("null", Some(|scalar| scalar == "null")),
    (
        "{\"prefix\": \"x\"}",
        Some(|scalar| is_text(scalar, |text| text.starts_with('x'))),
    ),
    (
        "{\"prefix\": \"\"}",
        Some(|scalar| is_text(scalar, |_| true)),
    ),
    (
        "{\"suffix\": \"y\"}",
        Some(|scalar| is_text(scalar, |text| text.ends_with('y'))),
    ),
    (
        "{\"prefix\": {\"equals-ignore-case\": \"X\"}}",
        Some(|scalar| is_text(scalar, |text| text.starts_with(['x', 'X']))),
    ),
    (
        "{\"suffix\": {\"equals-ignore-case\": \"Y\"}}",
        Some(|scalar| is_text(scalar, |text| text.ends_with(['y', 'Y']))),
    ),
    (
        "{\"equals-ignore-case\": \"xY\"}",
        Some(|scalar| is_text(scalar, |text| text.eq_ignore_ascii_case("xy"))),
    ),
    (
        "{\"wildcard\": \"*\"}",
        Some(|scalar| is_text(scalar, |_| true)),
    ),
    (
        "{\"wildcard\": \"x*\"}",
        Some(|scalar| is_text(scalar, |text| text.starts_with('x'))),
    ),
    (
        "{\"wildcard\": \"1*.*.3\"}",
        Some(|scalar| scalar == "\"10.1.2.3\""),
    ),
    (
        "{\"anything-but\": \"x\"}",
        Some(|scalar| scalar != "\"x\""),
    ),
    (
        "{\"anything-but\": [\"y\", \"xy\"]}",
        Some(|scalar| scalar != "\"y\"" && scalar != "\"xy\""),
    ),
    (
        "{\"anything-but\": [1, 2]}",
        Some(|scalar| !is_number(scalar, |n| n == 1.0 || n == 2.0)),
    ),
    (
        "{\"anything-but\": {\"prefix\": [\"x\", \"1\"]}}",
        Some(|scalar| !is_text(scalar, |text| text.starts_with(['x', '1']))),
    ),
    (
        "{\"anything-but\": {\"suffix\": \"y\"}}",
        Some(|scalar| !is_text(scalar, |text| text.ends_with('y'))),
    ),
    (
        "{\"anything-but\": {\"equals-ignore-case\": \"XY\"}}",
        Some(|scalar| !is_text(scalar, |text| text.eq_ignore_ascii_case("xy"))),
    ),
    (
        "{\"anything-but\": {\"prefix\": [\"xy\", \"10.\"]}}",
        Some(|scalar| {
            !is_text(scalar, |text| {
                text.starts_with("xy") || text.starts_with("10.")
            })
        }),
    ),
    (
        "{\"anything-but\": {\"suffix\": [\"xy\", \".3\"]}}",
        Some(|scalar| !is_text(scalar, |text| text.ends_with("xy") || text.ends_with(".3"))),
    ),
    (
        "{\"anything-but\": {\"wildcard\": [\"xy\", \"10*3\"]}}",
        Some(|scalar| !is_text(scalar, |text| text == "xy" || text == "10.1.2.3")),
    ),
    (
        "{\"anything-but\": {\"wildcard\": [\"*xy\", \"1*.3\"]}}",
        Some(|scalar| !is_text(scalar, |text| text.ends_with("xy") || text == "10.1.2.3")),
    ),
    (
        "{\"anything-but\": {\"wildcard\": \"*y\"}}",
        Some(|scalar| !is_text(scalar, |text| text.ends_with('y'))),
    ),
    (
        "{\"numeric\": [\"=\", 1]}",
        Some(|scalar| is_number(scalar, |number| number == 1.0)),
    ),
    (
        "{\"numeric\": [\">\", 1, \"<=\", 2]}",
        Some(|scalar| is_number(scalar, |n| n > 1.0 && n <= 2.0)),
    ),
    (
        "{\"numeric\": [\"<\", 2]}",
        Some(|scalar| is_number(scalar, |number| number < 2.0)),
    ),
    (
        "{\"cidr\": \"10.0.0.0/8\"}",
        Some(|scalar| is_text(scalar, |text| text.ends_with("10.1.2.3"))),
    ),
    ("{\"exists\": true}", Some(|_| true)),
    ("{\"exists\": false}", None),
    (
        "{\"wildcard\": \"*.1.2*\"}",
        Some(|scalar| is_text(scalar, |text| text.contains(".1.2"))),
    ),
    (
        "{\"wildcard\": \"*10.1.2.3*\"}",
        Some(|scalar| is_text(scalar, |text| text.contains("10.1.2.3"))),
    ),
    (
        "{\"wildcard\": \"a*than*: *\"}",
        Some(|scalar| is_text(scalar, |text| text.starts_with('a'))),
    ),
    (
        "{\"prefix\": \"a long text, longer than what keys are cut to:\"}",
        Some(|scalar| is_text(scalar, |text| text.starts_with("a long"))),
    ),
    (
        "{\"suffix\": \" long text, longer than what keys are cut to: x\"}",
        Some(|scalar| is_text(scalar, |text| text.ends_with("to: x"))),
    ),
    (
        "{\"suffix\": {\"equals-ignore-case\": \"long text, longer than what keys are cut to: y\"}}",
        Some(|scalar| is_text(scalar, |text| text.ends_with("to: Y"))),
    ),
    (
        "{\"prefix\": {\"equals-ignore-case\": \"A LONG TEXT, longer than what keys are cut\"}}",
        Some(|scalar| is_text(scalar, |text| text.starts_with("a long"))),
    ),
    (
        "{\"equals-ignore-case\": \"straße\"}",
        Some(|scalar| is_text(scalar, |text| text == "Straße" || text == "STRASSE")),
    ),
    (
        "{\"prefix\": {\"equals-ignore-case\": \"straß\"}}",
        Some(|scalar| is_text(scalar, |text| text == "Straße" || text == "STRASSE")),
    ),
    (
        "{\"anything-but\": {\"equals-ignore-case\": [\"straße\", \"x\"]}}",
        Some(|scalar| {
            !is_text(scalar, |text| {
                text == "Straße" || text == "STRASSE" || text == "x"
            })
        }),
    ),
    (
        "{\"numeric\": [\">=\", -300]}",
        Some(|scalar| is_number(scalar, |number| number >= -300.0)),
    ),
    (
        "{\"numeric\": [\">\", -301, \"<\", 2.5]}",
        Some(|scalar| is_number(scalar, |n| n > -301.0 && n < 2.5)),
    ),
    (
        "{\"numeric\": [\"<=\", 300]}",
        Some(|scalar| is_number(scalar, |number| number <= 300.0)),
    ),
    (
        "{\"cidr\": \"10.1.2.2/31\"}",
        Some(|scalar| is_text(scalar, |text| text.ends_with("10.1.2.3"))),
    ),
];

/// What documents and patterns are made of.
#[derive(Debug, Clone, Copy)]
struct Domain {
    keys: &'static [&'static str],
    scalars: &'static [&'static str],
    wants: &'static [Want],
}

/// Every operator.
const WIDE: Domain = Domain {
    keys: &KEYS,
    scalars: &SCALARS,
    wants: &WANTS,
};

/// So little that fields meet in arrays all the time.
const NARROW: Domain = Domain {
    keys: &["a", "b"],
    scalars: &["\"x\"", "\"y\""],
    wants: &[WANTS[0], WANTS[0], WANTS[1], WANTS[31]],
};

fn json(domain: Domain) -> impl Strategy<Value = Json> {
    let scalar = select(domain.scalars).prop_map(Json::Scalar);
    scalar.prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            object(domain, inner.clone()),
            prop::collection::vec(inner, 0..4).prop_map(Json::Array),
        ]
    })
}

/// Mostly with keys of their own, as documents have them.
fn object(domain: Domain, inner: BoxedStrategy<Json>) -> impl Strategy<Value = Json> {
    let distinct = subsequence(domain.keys, 1..=domain.keys.len().min(3)).prop_flat_map({
        let inner = inner.clone();
        move |keys| {
            let values = prop::collection::vec(inner.clone(), keys.len());
            values.prop_map(move |values| keys.iter().copied().zip(values).collect::<Vec<_>>())
        }
    });
    let repeated = prop::collection::vec((select(domain.keys), inner), 1..4);
    prop_oneof![4 => distinct, 1 => repeated].prop_map(Json::Object)
}

fn document_of(domain: Domain) -> impl Strategy<Value = Json> {
    object(domain, json(domain).boxed())
}

fn document() -> impl Strategy<Value = Json> {
    document_of(WIDE)
}

fn field(domain: Domain) -> impl Strategy<Value = Entry> {
    let wants = prop_oneof![
        2 => prop::collection::vec(select(domain.wants), 1..3),
        1 => Just(vec![WANTS[31]]),
    ];
    (select(domain.keys), wants).prop_map(|(key, wants)| Entry::Field(key, wants))
}

fn pattern() -> impl Strategy<Value = Pattern> {
    pattern_of(WIDE)
}

fn pattern_of(domain: Domain) -> impl Strategy<Value = Pattern> {
    let entry = field(domain).prop_recursive(3, 12, 3, move |inner| {
        let pattern = prop::collection::vec(inner, 1..4);
        prop_oneof![
            3 => (select(domain.keys), pattern.clone()).prop_map(|(key, inner)| Entry::Object(key, inner)),
            1 => prop::collection::vec(pattern, 2..4).prop_map(Entry::Or),
        ]
    });
    prop::collection::vec(entry, 1..4)
}

/// A few literals and fields for many patterns: entries of the index become crowded.
const CROWDED: Domain = Domain {
    keys: &["a", "b", "c"],
    scalars: &["\"x\"", "\"y\"", "1", "true"],
    wants: &[WANTS[0], WANTS[1], WANTS[5], WANTS[8], WANTS[10], WANTS[31]],
};

/// One fresh value.
fn draw<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> S::Value {
    let tree = strategy.new_tree(runner);
    tree.expect("nothing is filtered out").current()
}

/// A pattern within the bounds of the language: one draw in some millions has `$or`s that multiply
/// to more sub-rules than are taken.
fn draw_rule<S>(patterns: &S, runner: &mut TestRunner) -> (Pattern, EventPattern)
where
    S: Strategy<Value = Pattern>,
{
    loop {
        let pattern = draw(patterns, runner);
        let text = oracle::pattern_text(&pattern);
        match EventPattern::parse(&text) {
            Ok(compiled) => return (pattern, compiled),
            Err(error) => assert!(error.reason.contains("multiply"), "{text}: {error}"),
        }
    }
}

/// Rule sets that grow and shrink, each compared with the oracle over many documents.
/// `EVENTYARD_COMPARISONS` says how often a rule is compared on a document, in all.
#[test]
fn growing_and_shrinking_rule_sets_agree_with_the_oracle() {
    let wanted = std::env::var("EVENTYARD_COMPARISONS");
    let wanted: u64 = wanted.ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let seed = std::env::var("EVENTYARD_SEED").ok();
    let seed: u64 = seed
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("EVENTYARD_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let source = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), source);
    let mut compared = 0;
    while compared < wanted {
        let domain = [WIDE, NARROW, CROWDED][random.usize(..3)];
        let (patterns, documents) = (pattern_of(domain), document_of(domain));
        let rules: Vec<(Pattern, EventPattern)> = (0..random.usize(1..200))
            .map(|_| draw_rule(&patterns, &mut runner))
            .collect();
        let documents: Vec<Json> = (0..20).map(|_| draw(&documents, &mut runner)).collect();
        let texts: Vec<String> = documents.iter().map(oracle::json_text).collect();
        let expected: Vec<Vec<usize>> = documents
            .iter()
            .map(|json| {
                let matching = |rule: &usize| oracle::matches(&rules[*rule].0, json);
                (0..rules.len()).filter(matching).collect()
            })
            .collect();
        let mut matcher = Matcher::default();
        let mut present = vec![false; rules.len()];
        let mut snapshots = Vec::new();
        for _ in 0..3 {
            for _ in 0..random.usize(..2 * rules.len()) {
                let rule = random.usize(..rules.len());
                present[rule] = random.u32(..3) > 0;
                if present[rule] {
                    matcher.add(rule, &rules[rule].1);
                } else {
                    matcher.remove(&rule);
                }
            }
            snapshots.push((matcher.snapshot(), present.clone()));
        }
        // Old ones too: nobody changed them.
        for (snapshot, present) in &snapshots {
            for (text, expected) in texts.iter().zip(&expected) {
                let expected: Vec<usize> = expected
                    .iter()
                    .copied()
                    .filter(|rule| present[*rule])
                    .collect();
                let found = snapshot.matches(&Document::json(text.as_bytes()));
                if found != expected {
                    let wrong = |rule: &usize| found.contains(rule) != expected.contains(rule);
                    let wrong: Vec<String> = (0..rules.len())
                        .filter(wrong)
                        .map(|rule| oracle::pattern_text(&rules[rule].0))
                        .collect();
                    panic!("found {found:?}, not {expected:?}, in {text}: {wrong:?}");
                }
                compared += rules.len() as u64;
            }
        }
        for rule in 0..rules.len() {
            matcher.remove(&rule);
        }
        assert!(matcher.is_empty());
    }
    println!("{compared} comparisons");
}

/// Readers see the rules before a change or after it, and nothing between.
#[test]
fn readers_beside_a_writer_see_whole_rule_sets() {
    const RULES: usize = 60;
    let mut runner = TestRunner::deterministic();
    let (patterns, documents) = (pattern_of(CROWDED), document_of(CROWDED));
    let rules: Vec<EventPattern> = (0..RULES)
        .map(|_| draw_rule(&patterns, &mut runner).1)
        .collect();
    let texts: Vec<String> = (0..50)
        .map(|_| oracle::json_text(&draw(&documents, &mut runner)))
        .collect();
    let matching: Vec<Vec<usize>> = texts
        .iter()
        .map(|text| {
            let document = Document::json(text.as_bytes());
            let matching = |rule: &usize| rules[*rule].matches(&document);
            (0..RULES).filter(matching).collect()
        })
        .collect();
    let live = arc_swap::ArcSwap::from_pointee((vec![false; RULES], Matcher::default().snapshot()));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (live, over, texts, matching) = (&live, &over, &texts, &matching);
            scope.spawn(move || {
                let mut at = reader;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    at = (at + 1) % texts.len();
                    let now = live.load();
                    let expected: Vec<usize> = matching[at]
                        .iter()
                        .copied()
                        .filter(|rule| now.0[*rule])
                        .collect();
                    assert_eq!(
                        now.1.matches(&Document::json(texts[at].as_bytes())),
                        expected
                    );
                }
            });
        }
        let mut matcher = Matcher::default();
        let mut present = vec![false; RULES];
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..3_000 {
            let rule = random.usize(..RULES);
            present[rule] = !present[rule];
            if present[rule] {
                matcher.add(rule, &rules[rule]);
            } else {
                matcher.remove(&rule);
            }
            live.store(std::sync::Arc::new((present.clone(), matcher.snapshot())));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// The same document with the keys of its objects the other way round.
fn reversed(json: &Json) -> Json {
    match json {
        Json::Object(entries) => {
            let entries = entries
                .iter()
                .rev()
                .map(|(key, value)| (*key, reversed(value)));
            Json::Object(entries.collect())
        }
        Json::Array(elements) => Json::Array(elements.iter().map(reversed).collect()),
        Json::Scalar(text) => Json::Scalar(text),
    }
}

fn parsed(pattern: &Pattern) -> EventPattern {
    let text = oracle::pattern_text(pattern);
    EventPattern::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_engine_agrees_with_the_oracle(pattern in pattern(), documents in prop::collection::vec(document(), 1..6)) {
        let compiled = parsed(&pattern);
        for json in documents {
            let text = oracle::json_text(&json);
            let document = Document::json(text.as_bytes());
            let expected = oracle::matches(&pattern, &json);
            prop_assert_eq!(compiled.matches(&document), expected, "{} {}", oracle::pattern_text(&pattern), text);
            prop_assert_eq!(compiled.explain(&document).matches, expected);
        }
    }

    #[test]
    fn the_engine_agrees_with_the_oracle_about_arrays(pattern in pattern_of(NARROW), documents in prop::collection::vec(document_of(NARROW), 1..6)) {
        let compiled = parsed(&pattern);
        for json in documents {
            let text = oracle::json_text(&json);
            let expected = oracle::matches(&pattern, &json);
            prop_assert_eq!(compiled.matches(&Document::json(text.as_bytes())), expected, "{} {}", oracle::pattern_text(&pattern), text);
        }
    }

    #[test]
    fn the_order_of_keys_is_irrelevant(pattern in pattern(), json in document()) {
        let compiled = parsed(&pattern);
        let one = oracle::json_text(&json);
        let other = oracle::json_text(&reversed(&json));
        prop_assert_eq!(
            compiled.matches(&Document::json(one.as_bytes())),
            compiled.matches(&Document::json(other.as_bytes())),
            "{} {}", oracle::pattern_text(&pattern), one
        );
    }

    #[test]
    fn an_event_matches_as_its_json_does(pattern in pattern(), json in document()) {
        let compiled = parsed(&vec![Entry::Field("type", vec![WANTS[0]]), Entry::Object("data", pattern)]);
        let data = oracle::json_text(&json);
        let whole = format!("{{\"type\": \"x\", \"data\": {data}}}");
        let attributes = [("type", super::Scalar::String("x"))];
        let event = Document::Event { attributes: &attributes, data: JsonText::check(data.as_bytes()) };
        prop_assert_eq!(compiled.matches(&event), compiled.matches(&Document::json(whole.as_bytes())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_matcher_finds_what_its_patterns_match(
        patterns in prop::collection::vec(pattern(), 1..20),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        order in any::<u64>(),
        documents in prop::collection::vec(document(), 1..6),
    ) {
        let compiled: Vec<EventPattern> = patterns.iter().map(parsed).collect();
        let mut present: Vec<bool> = vec![true; compiled.len()];
        let mut matcher = Matcher::default();
        let mut keys: Vec<usize> = (0..compiled.len()).collect();
        keys.sort_by_key(|key| (*key as u64).wrapping_mul(order | 1).rotate_left(17));
        for key in keys {
            matcher.add(key, &compiled[key]);
        }
        let whole = matcher.snapshot();
        for index in &removed {
            let key = index.index(compiled.len());
            // Removed, brought back, removed again.
            if present[key] { matcher.remove(&key) } else { matcher.add(key, &compiled[key]) }
            present[key] = !present[key];
        }
        for json in &documents {
            let text = oracle::json_text(json);
            let document = Document::json(text.as_bytes());
            let all: Vec<usize> = (0..compiled.len()).filter(|key| compiled[*key].matches(&document)).collect();
            let left: Vec<usize> = all.iter().copied().filter(|key| present[*key]).collect();
            prop_assert_eq!(whole.matches(&document), all);
            prop_assert_eq!(matcher.matches(&document), left);
        }
        for key in 0..compiled.len() {
            matcher.remove(&key);
        }
        let text = oracle::json_text(&documents[0]);
        prop_assert!(matcher.matches(&Document::json(text.as_bytes())).is_empty());
    }

    /// Rules of nothing but one `anything-but`, of each kind, on each text.
    #[test]
    fn what_is_named_is_excluded_and_nothing_else(
        rules in prop::collection::vec((0_usize..5, prop::collection::vec("[xyXY1.]{1,4}", 1..4)), 1..40),
        texts in prop::collection::vec("[xyXY1.é]{0,5}", 1..20),
    ) {
        let pattern = |kind: usize, named: &[String]| {
            let named = serde_json::json!(named);
            serde_json::json!({"a": [{"anything-but": match kind {
                0 => named,
                1 => serde_json::json!({"prefix": named}),
                2 => serde_json::json!({"suffix": named}),
                3 => serde_json::json!({"equals-ignore-case": named}),
                _ => serde_json::json!({"wildcard": named}),
            }}]})
        };
        let is_named = |kind: usize, named: &str, text: &str| match kind {
            0 => named == text,
            1 => text.starts_with(named),
            2 => text.ends_with(named),
            3 => named.eq_ignore_ascii_case(text),
            // The first character and the rest with anything between.
            _ => text.len() >= named.len() && text.starts_with(&named[..1]) && text[1..].ends_with(&named[1..]),
        };
        let mut matcher = Matcher::default();
        for (number, (kind, named)) in rules.iter().enumerate() {
            let named: Vec<String> = match kind {
                4 => named.iter().map(|text| format!("{}*{}", &text[..1], &text[1..])).collect(),
                _ => named.clone(),
            };
            matcher.add(number, &EventPattern::parse(&pattern(*kind, &named).to_string()).unwrap());
        }
        let snapshot = matcher.snapshot();
        for text in &texts {
            let event = serde_json::json!({"a": text}).to_string();
            let excluded = |(kind, named): &(usize, Vec<String>)| named.iter().any(|named| {
                text.is_char_boundary(1) && is_named(*kind, named, text) || *kind < 4 && is_named(*kind, named, text)
            });
            let numbered = rules.iter().enumerate();
            let expected: Vec<usize> = numbered.filter(|(_, rule)| !excluded(rule)).map(|(number, _)| number).collect();
            prop_assert_eq!(snapshot.matches(&Document::json(event.as_bytes())), expected, "{}", event);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        let _ = EventPattern::parse(&text);
    }

    #[test]
    fn no_change_of_one_byte_makes_the_parser_panic(pattern in pattern(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = oracle::pattern_text(&pattern).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = std::str::from_utf8(&bytes)
            && let Err(error) = EventPattern::parse(text)
        {
            let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
            prop_assert_eq!(error.offset.is_none(), is_json, "{}: {:?}", text, error);
        }
    }

    #[test]
    fn broken_data_is_absent(pattern in pattern(), json in document(), cut in any::<prop::sample::Index>()) {
        let compiled = parsed(&vec![Entry::Object("data", pattern)]);
        let text = oracle::json_text(&json);
        let cut = &text.as_bytes()[..cut.index(text.len())];
        let event = |data| Document::Event { attributes: &[], data: JsonText::check(data) };
        prop_assert_eq!(compiled.matches(&event(cut)), compiled.matches(&Document::Event { attributes: &[], data: None }));
    }
}
