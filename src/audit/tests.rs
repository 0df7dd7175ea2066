//! Lines over restarts, kills, full disks and long times.

use std::fs;

use serde_json::json;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Place {
    dir: tempfile::TempDir,
    clock: Clock,
}

impl Place {
    fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
            clock: Clock::manual(Timestamp::from_millis(1_800_000_000_000)),
        }
    }

    fn open(&self) -> Audit {
        let config = Config {
            dir: self.dir.path().join("audit"),
            retention: 10 * DAY,
        };
        Audit::open(config, self.clock.clone()).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.dir.path().join("audit")).unwrap();
        let mut paths: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

fn call(name: &str, path: &str) -> Call {
    Call {
        actor: Actor::Key {
            prefix: format!("eyk_{name}"),
            name: name.to_owned(),
        },
        peer: None,
        request_id: None,
        method: "PUT".to_owned(),
        route: "/v1/buses/{bus}".to_owned(),
        path: path.to_owned(),
        before: None,
        asked: None,
    }
}

fn outcome(status: u16) -> Outcome {
    Outcome {
        status,
        after: Some(json!({"revision": status})),
    }
}

fn all() -> Query {
    Query {
        limit: 1_000,
        ..Query::default()
    }
}

fn numbers(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.entry).collect()
}

#[test]
fn what_was_begun_is_there_after_a_kill_and_what_came_of_it_if_it_ended() {
    let place = Place::new();
    let audit = place.open();
    let first = audit.begin(call("a", "/v1/buses/a")).unwrap();
    let second = audit.begin(call("b", "/v1/buses/b")).unwrap();
    audit.end(first, outcome(200));
    // As a kill leaves it: in the middle of a line.
    let newest = place.files().pop().unwrap();
    let text = fs::read_to_string(&newest).unwrap();
    fs::write(&newest, format!("{text}{{\"ends\":2,\"at\":18000")).unwrap();
    let again = place.open();
    let third = again.begin(call("c", "/v1/buses/c")).unwrap();
    again.end(third, outcome(409));
    assert_eq!([first, second, third], [1, 2, 3]);
    let page = again.page(&all()).unwrap();
    let shown: Vec<_> = page
        .entries
        .iter()
        .map(|entry| (entry.entry, entry.status))
        .collect();
    assert_eq!(shown, [(3, Some(409)), (2, None), (1, Some(200))]);
    assert_eq!(page.entries[2].after, Some(json!({"revision": 200})));
    assert_eq!(page.next, None);
}

#[test]
fn pages_go_back_through_the_files_and_filters_hold() {
    let place = Place::new();
    let audit = place.open();
    // About a hundred to a file.
    let large = json!("x".repeat(limits::AUDIT_DOCUMENT_BYTES - 100));
    let begun = |number: u64| {
        let name = if number.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        };
        let mut call = call(name, &format!("/v1/buses/b{}", number % 3));
        call.before = Some(large.clone());
        let entry = audit.begin(call).unwrap();
        audit.end(entry, outcome(200));
        place.clock.advance(Duration::from_secs(1));
        entry
    };
    let count = 200;
    assert_eq!(
        (1..=count).map(begun).collect::<Vec<_>>(),
        (1..=count).collect::<Vec<_>>()
    );
    assert!(place.files().len() > 2, "{:?}", place.files());
    let mut found = Vec::new();
    let mut query = Query { limit: 7, ..all() };
    loop {
        let page = audit.page(&query).unwrap();
        assert!(page.entries.iter().all(|entry| entry.status == Some(200)));
        found.extend(numbers(&page));
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=count).rev().collect::<Vec<_>>());

    let check = |query: Query, fits: &dyn Fn(u64) -> bool| {
        let expected: Vec<u64> = (1..=count).rev().filter(|number| fits(*number)).collect();
        assert_eq!(numbers(&audit.page(&query).unwrap()), expected, "{query:?}");
    };
    let text = |text: &str| Some(text.to_owned());
    check(
        Query {
            actor: text("even"),
            ..all()
        },
        &|n| n % 2 == 0,
    );
    check(
        Query {
            actor: text("eyk_odd"),
            ..all()
        },
        &|n| n % 2 == 1,
    );
    check(
        Query {
            actor: text("root"),
            ..all()
        },
        &|_| false,
    );
    check(
        Query {
            subject: text("/v1/buses/b1"),
            ..all()
        },
        &|n| n % 3 == 1,
    );
    let at = |number: u64| {
        Some(Timestamp::from_millis(
            1_800_000_000_000 + (number - 1) * 1_000,
        ))
    };
    check(
        Query {
            since: at(50),
            until: at(60),
            ..all()
        },
        &|n| (50..60).contains(&n),
    );
}

#[test]
fn what_is_old_or_too_much_goes_and_numbers_go_on() {
    let place = Place::new();
    let audit = place.open();
    let large = json!("x".repeat(limits::AUDIT_DOCUMENT_BYTES - 100));
    for _ in 0..150 {
        let mut call = call("a", "/v1/buses/a");
        call.before = Some(large.clone());
        audit.begin(call).unwrap();
        place.clock.advance(DAY / 10);
    }
    let before = place.files().len();
    // The first file was written within the first seven days; seventeen have passed.
    place.clock.advance(2 * DAY);
    audit.forget().unwrap();
    assert_eq!(place.files().len(), before - 1);
    audit
        .0
        .writing
        .lock()
        .files
        .forget(Timestamp::default(), 1)
        .unwrap();
    assert_eq!(place.files().len(), 1, "the one that is written stays");
    let again = place.open();
    assert_eq!(again.begin(call("a", "/")).unwrap(), 151);
}

#[test]
fn a_document_that_is_too_large_is_told_by_its_size() {
    let place = Place::new();
    let audit = place.open();
    let large = json!("x".repeat(limits::AUDIT_DOCUMENT_BYTES));
    let mut one = call("a", &"/é".repeat(limits::AUDIT_PATH_BYTES));
    one.before = Some(large.clone());
    let entry = audit.begin(one).unwrap();
    let after = Some(large.clone());
    audit.end(entry, Outcome { status: 200, after });
    let page = audit.page(&all()).unwrap();
    let bytes = json!({"left_out_bytes": large.to_string().len()});
    assert_eq!(page.entries[0].call.before, Some(bytes.clone()));
    assert_eq!(page.entries[0].after, Some(bytes));
    assert!(page.entries[0].call.path.len() <= limits::AUDIT_PATH_BYTES);
}

#[test]
fn refused_calls_are_written_down_up_to_a_rate_and_then_counted() {
    let place = Place::new();
    let audit = place.open();
    for _ in 0..10_000 {
        audit.refused(call("a", "/v1/keys"), 401);
    }
    let page = audit.page(&all()).unwrap();
    assert_eq!(page.entries.len() as u64, limits::AUDIT_REFUSALS_AT_ONCE);
    place.clock.advance(Duration::from_secs(60));
    audit.refused(call("a", "/v1/keys"), 403);
    let newest = audit
        .page(&Query { limit: 1, ..all() })
        .unwrap()
        .entries
        .remove(0);
    assert_eq!(newest.status, Some(403));
    assert_eq!(
        newest.refusals_left_out,
        Some(10_000 - limits::AUDIT_REFUSALS_AT_ONCE)
    );
}

#[test]
fn what_cannot_be_written_down_is_told_before_anything_is_done() {
    let place = Place::new();
    let audit = place.open();
    audit.begin(call("a", "/")).unwrap();
    // A folder where the next file would be.
    audit.0.writing.lock().files.close().unwrap();
    fs::create_dir(place.dir.path().join("audit/00000000000000000002.jsonl")).unwrap();
    let error = audit.begin(call("a", "/")).unwrap_err();
    assert!(error.to_string().contains("audit"), "{error}");
    assert_eq!(audit.begin(call("a", "/")).unwrap(), 3, "it goes on behind");
    assert_eq!(numbers(&audit.page(&all()).unwrap()), [3, 1]);
}
