//! The shared rules over a real log: what is put is live, on disk, and there after a restart.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::event::Event;
use crate::log::{BusName, Config, Disk, Log, LoggedEvent, RuleName, TargetId};

fn open(dir: &Path) -> Log {
    let config = Config {
        dir: dir.to_owned(),
        segment_bytes: 1 << 20,
        cache_bytes: 1 << 20,
    };
    Log::open(config, Disk::real(), Clock::system()).unwrap()
}

fn bus(name: &str) -> BusName {
    BusName::new(name).unwrap()
}

fn name(name: &str) -> RuleName {
    RuleName::new(name).unwrap()
}

fn rule(kind: &str, targets: &[&str]) -> String {
    let targets: Vec<String> = targets
        .iter()
        .map(|id| format!(r#"{{"id": "{id}", "url": "http://h/{id}"}}"#))
        .collect();
    format!(
        r#"{{"pattern": {{"type": ["{kind}"]}}, "targets": [{}]}}"#,
        targets.join(", ")
    )
}

fn event(bus: &BusName, kind: &str, sequence: u64) -> LoggedEvent {
    let event = Event::builder("1", "/test", kind).json(r#"{"items": [{"price": 11}]}"#);
    LoggedEvent {
        sequence,
        time: Timestamp::default(),
        bus: bus.clone(),
        event: event.build().unwrap(),
    }
}

fn targets(rules: &RuleSet, bus: &BusName, kind: &str) -> Vec<String> {
    let found: Vec<Arc<Target>> = rules.matches(&event(bus, kind, 1));
    found
        .iter()
        .map(|target| format!("{}/{}", target.rule, target.id))
        .collect()
}

fn keys(rules: &Rules, bus: &BusName, rule: &str) -> Vec<u32> {
    let rule = rules.rule(bus, &name(rule)).unwrap();
    rule.targets.iter().map(|target| target.key.0).collect()
}

#[tokio::test]
async fn a_put_rule_matches_until_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    let mut changes = rules.changes();
    assert!(targets(&rules.current(), &default, "a").is_empty());

    let put = rules
        .put_rule(
            &default,
            &name("r"),
            &rule("a", &["x", "y"]),
            IfMatch::Absent,
        )
        .await;
    let (outcome, revision) = put.unwrap();
    assert_eq!(outcome, PutOutcome::Created);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    rules
        .put_rule(&default, &name("b"), &rule("a", &["z"]), IfMatch::Always)
        .await
        .unwrap();
    assert_eq!(
        targets(&rules.current(), &default, "a"),
        ["b/z", "r/x", "r/y"]
    );
    assert!(targets(&rules.current(), &default, "other").is_empty());
    assert!(targets(&rules.current(), &bus("elsewhere"), "a").is_empty());

    // An event appended before the change is met by the set of then.
    assert!(targets(&rules.at(revision), &default, "a").is_empty());
    assert_eq!(
        targets(&rules.at(revision + 1), &default, "a"),
        ["r/x", "r/y"]
    );

    rules
        .delete_rule(&default, &name("r"), IfMatch::Revision(revision))
        .await
        .unwrap();
    assert_eq!(targets(&rules.current(), &default, "a"), ["b/z"]);
    assert_eq!(rules.current().target(TargetId(1)), None);
    assert_eq!(rules.current().targets().len(), 1);
}

#[tokio::test]
async fn an_unchanged_put_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    let first = rules
        .put_rule(&default, &name("r"), &rule("a", &["x"]), IfMatch::Always)
        .await
        .unwrap();
    let changes = rules.changes();
    let second = rules
        .put_rule(&default, &name("r"), &rule("a", &["x"]), IfMatch::Always)
        .await
        .unwrap();
    assert_eq!(second, (PutOutcome::Unchanged, first.1));
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test]
async fn a_target_keeps_its_number_while_it_keeps_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    let put = async |text: String| {
        rules
            .put_rule(&default, &name("r"), &text, IfMatch::Always)
            .await
            .unwrap();
        keys(&rules, &default, "r")
    };
    assert_eq!(put(rule("a", &["x", "y"])).await, [1, 2]);
    assert_eq!(put(rule("a", &["z", "y"])).await, [3, 2]);
    assert_eq!(
        put(rule("b", &["x"])).await,
        [4],
        "a number is not used again"
    );
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let rules = Rules::load(log.clone()).unwrap();
    let orders = bus("orders");
    rules
        .put_bus(&orders, r#"{"dedup_window": "1h"}"#, IfMatch::Always)
        .await
        .unwrap();
    rules
        .put_rule(&orders, &name("r"), &rule("a", &["x"]), IfMatch::Always)
        .await
        .unwrap();
    let revision = rules.rule(&orders, &name("r")).unwrap().revision;
    rules.drain().await;
    drop(rules);
    log.close();
    drop(log);

    let rules = Rules::load(open(dir.path())).unwrap();
    assert_eq!(rules.rule(&orders, &name("r")).unwrap().revision, revision);
    assert_eq!(targets(&rules.current(), &orders, "a"), ["r/x"]);
    assert_eq!(targets(&rules.at(1), &orders, "a"), ["r/x"]);
    assert_eq!(
        rules.window(&orders),
        Some(std::time::Duration::from_secs(3_600))
    );
    assert_eq!(rules.window(&bus("none")), None);
    assert_eq!(rules.buses().len(), 2);
    rules
        .put_rule(&orders, &name("s"), &rule("a", &["x"]), IfMatch::Always)
        .await
        .unwrap();
    assert_eq!(keys(&rules, &orders, "s"), [2]);
}

#[tokio::test]
async fn conditions_hold_or_nothing_happens() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    let put = |expected| {
        let (rules, default) = (rules.clone(), default.clone());
        async move {
            rules
                .put_rule(&default, &name("r"), &rule("a", &["x"]), expected)
                .await
        }
    };
    for expected in [IfMatch::Exists, IfMatch::Revision(7)] {
        assert!(matches!(
            put(expected).await,
            Err(RuleError::PreconditionFailed { current: None })
        ));
    }
    let (_, revision) = put(IfMatch::Absent).await.unwrap();
    for expected in [IfMatch::Absent, IfMatch::Revision(revision + 1)] {
        let refused = put(expected).await.unwrap_err();
        assert!(
            matches!(refused, RuleError::PreconditionFailed { current } if current == Some(revision)),
            "{refused}"
        );
    }
    put(IfMatch::Exists).await.unwrap();
    let missing = rules
        .delete_rule(&default, &name("none"), IfMatch::Always)
        .await;
    assert!(matches!(missing, Err(RuleError::NoRule(..))));
    let missing = rules
        .put_rule(
            &bus("none"),
            &name("r"),
            &rule("a", &["x"]),
            IfMatch::Always,
        )
        .await;
    assert!(matches!(missing, Err(RuleError::NoBus(_))));
    let invalid = rules
        .put_rule(&default, &name("r"), "{}", IfMatch::Always)
        .await;
    assert!(matches!(invalid, Err(RuleError::Invalid(problems)) if problems.len() == 2));
}

#[tokio::test]
async fn a_bus_with_rules_stays_and_so_does_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let orders = bus("orders");
    rules.put_bus(&orders, "{}", IfMatch::Always).await.unwrap();
    rules
        .put_rule(&orders, &name("r"), &rule("a", &["x"]), IfMatch::Always)
        .await
        .unwrap();
    let refused = rules.delete_bus(&orders, IfMatch::Always).await;
    assert!(matches!(
        refused,
        Err(RuleError::BusHasRules { rules: 1, .. })
    ));
    rules
        .delete_rule(&orders, &name("r"), IfMatch::Always)
        .await
        .unwrap();
    rules.delete_bus(&orders, IfMatch::Always).await.unwrap();
    assert!(rules.bus(&orders).is_none());
    let refused = rules
        .delete_bus(&BusName::default_bus(), IfMatch::Always)
        .await;
    assert!(matches!(refused, Err(RuleError::DefaultBusStays)));
}

#[tokio::test]
async fn a_disabled_rule_matches_nothing_and_keeps_its_targets() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    rules
        .put_rule(&default, &name("r"), &rule("a", &["x"]), IfMatch::Always)
        .await
        .unwrap();
    let (outcome, _) = rules
        .set_enabled(&default, &name("r"), false, IfMatch::Always)
        .await
        .unwrap();
    assert_eq!(outcome, PutOutcome::Replaced);
    assert!(targets(&rules.current(), &default, "a").is_empty());
    assert_eq!(rules.current().targets().len(), 1);
    assert_eq!(keys(&rules, &default, "r"), [1]);
    let (outcome, _) = rules
        .set_enabled(&default, &name("r"), false, IfMatch::Always)
        .await
        .unwrap();
    assert_eq!(outcome, PutOutcome::Unchanged);
    rules
        .set_enabled(&default, &name("r"), true, IfMatch::Always)
        .await
        .unwrap();
    assert_eq!(targets(&rules.current(), &default, "a"), ["r/x"]);
}

#[tokio::test]
async fn the_filter_must_hold_beside_the_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    for (rule_name, query) in [
        ("dear", "$.data.items[?@.price > 10]"),
        ("dearer", "$.data.items[?@.price > 11]"),
        ("kind", "$[?@ == 'a']"),
    ] {
        let text = rule("a", &["x"]).replacen(
            '{',
            &format!(r#"{{"filter": {{"jsonpath": "{query}"}}, "#),
            1,
        );
        rules
            .put_rule(&default, &name(rule_name), &text, IfMatch::Always)
            .await
            .unwrap();
    }
    assert_eq!(
        targets(&rules.current(), &default, "a"),
        ["dear/x", "kind/x"]
    );
    let explanation = rules
        .rule(&default, &name("dearer"))
        .unwrap()
        .explain(&event(&default, "a", 1).event);
    assert!(!explanation.matches && explanation.pattern.matches);
    assert_eq!(explanation.filter.unwrap().reason, "selects nothing");
}

#[tokio::test]
async fn many_changes_apply_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let orders = bus("orders");
    let put = |rule_name: &str, on: &BusName| Change::PutRule {
        bus: on.clone(),
        rule: name(rule_name),
        document: RuleDocument::parse(&rule("a", &["x"])).unwrap(),
    };
    let refused = rules
        .apply(vec![
            put("r", &BusName::default_bus()),
            put("r", &bus("none")),
        ])
        .await;
    assert!(matches!(refused, Err(RuleError::NoBus(_))));
    assert!(rules.rules(&BusName::default_bus()).unwrap().is_empty());
    let refused = rules
        .apply(vec![
            put("r", &BusName::default_bus()),
            put("r", &BusName::default_bus()),
        ])
        .await;
    assert!(matches!(refused, Err(RuleError::ChangedTwice(_))));

    let new_bus = Change::PutBus {
        bus: orders.clone(),
        document: BusDocument::default(),
    };
    let outcomes = rules
        .apply(vec![new_bus, put("r", &orders), put("s", &orders)])
        .await
        .unwrap();
    assert_eq!(outcomes.len(), 3);
    // The revisions given out are those that the log reports.
    for rule in rules.rules(&orders).unwrap() {
        let reloaded = Rules::load(open_again(&rules)).unwrap();
        assert_eq!(
            reloaded.rule(&orders, &rule.name).unwrap().revision,
            rule.revision
        );
    }
}

fn open_again(rules: &Rules) -> Log {
    rules.log().clone()
}

#[tokio::test]
async fn a_change_whose_caller_went_away_is_live_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let rules = Rules::load(open(dir.path())).unwrap();
    let default = BusName::default_bus();
    let mut changes = rules.changes();
    let (rule_name, text) = (name("r"), rule("a", &["x"]));
    {
        let mut put = std::pin::pin!(rules.put_rule(&default, &rule_name, &text, IfMatch::Always));
        let polled = futures_util::poll!(put.as_mut());
        assert!(polled.is_pending());
    }
    changes.changed().await.unwrap();
    assert_eq!(targets(&rules.current(), &default, "a"), ["r/x"]);
    rules.drain().await;
    let refused = rules
        .delete_rule(&default, &rule_name, IfMatch::Always)
        .await;
    assert!(matches!(refused, Err(RuleError::Closing)));
}
