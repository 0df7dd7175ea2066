//! The rules folder: what is read, what is refused and how it shows, what is applied.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::log::{BusName, Config, Disk, Log, RuleName};

const GOOD: &str = r#"{"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/"}]}"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(dir.path(), path, text);
    }
    dir
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn rules(dir: &Path) -> Rules {
    let config = Config {
        dir: dir.to_owned(),
        segment_bytes: 1 << 20,
        cache_bytes: 1 << 20,
    };
    Rules::load(Log::open(config, Disk::real(), Clock::system()).unwrap()).unwrap()
}

/// The rendered error, the folder's own path taken out.
#[track_caller]
fn refused(dir: &Path) -> String {
    let error = read_folder(dir).unwrap_err().to_string();
    error.replace(&dir.display().to_string(), "rules")
}

#[test]
fn rule_and_bus_files_are_read_and_the_rest_is_left_alone() {
    let dir = folder(&[
        ("default/b.json", GOOD),
        ("default/a.json", GOOD),
        ("default/a.tests.json", "no rule"),
        ("default/a.event.json", "no rule"),
        ("default/.hidden.json", "no rule"),
        ("default/a.json~", "no rule"),
        ("default/.a.json.swp", "no rule"),
        ("default/README.md", "# no rule"),
        ("orders/bus.json", r#"{"dedup_window": "1m"}"#),
        ("x.json/README.md", "# no rule"),
        ("README.md", "# no rule"),
        (".git/config", "no rule"),
    ]);
    let read = read_folder(dir.path()).unwrap();
    let names: Vec<String> = read
        .rules
        .iter()
        .map(|(bus, rule, _)| format!("{bus}/{rule}"))
        .collect();
    assert_eq!(names, ["default/a", "default/b"]);
    let buses: Vec<(&str, bool)> = read
        .buses
        .iter()
        .map(|(bus, document)| (bus.as_str(), document.is_some()))
        .collect();
    let wanted = [("default", false), ("orders", true), ("x.json", false)];
    assert_eq!(buses, wanted);
}

#[test]
fn a_folder_that_does_not_exist_is_empty() {
    let dir = folder(&[]);
    let read = read_folder(&dir.path().join("none")).unwrap();
    assert!(read.buses.is_empty() && read.rules.is_empty());
}

#[test]
fn every_problem_of_every_file_shows_with_its_place() {
    let dir = folder(&[
        ("default/good.json", GOOD),
        (
            "default/typo.json",
            "{\n  \"pattern\": { \"type\": [\"a\"] },\n  \"targets\": [\n    { \"id\": \"t\", \"ulr\": \"http://h/\", \"timeout\": \"1x\" }\n  ]\n}\n",
        ),
        ("orders/broken.json", "{\n  \"pattern\": {,\n}\n"),
    ]);
    assert_eq!(
        refused(dir.path()),
        r#"error: a target needs `url`; add where to send, such as "url": "https://example.com/hooks", or "pull": {} for a subscriber that asks
  --> rules/default/typo.json:4:5 at /targets/0
  |
4 |     { "id": "t", "ulr": "http://h/", "timeout": "1x" }
  |     ^

error: a target has no `ulr`; did you mean `url`?
  --> rules/default/typo.json:4:18 at /targets/0/ulr
  |
4 |     { "id": "t", "ulr": "http://h/", "timeout": "1x" }
  |                  ^

error: "1x" does not read: a duration is a whole number and a unit, such as 200ms, 5s, 10m, 24h or 14d
  --> rules/default/typo.json:4:49 at /targets/0/timeout
  |
4 |     { "id": "t", "ulr": "http://h/", "timeout": "1x" }
  |                                                 ^

error: this is not JSON: key must be a string
  --> rules/orders/broken.json:2:15
  |
2 |   "pattern": {,
  |               ^

4 problems in 2 files; nothing of `rules` was applied"#
    );
}

#[test]
fn misplaced_and_misnamed_files_are_problems() {
    let dir = folder(&[
        ("stray.json", GOOD),
        ("a bus/r.json", GOOD),
        ("default/my rule.json", GOOD),
        ("default/deeper/r.json", GOOD),
        ("default/loud.JSON", GOOD),
        ("default/loud.tests.JSON", "no rule"),
    ]);
    let error = refused(dir.path());
    for part in [
        "move it to `rules/default/stray.json`",
        "is no bus's folder: a bus name holds letters",
        "is no rule's file: a rule name holds letters",
        "holds files only",
        "in lower case; rename it\n  --> rules/default/loud.JSON",
        "5 problems in 5 files",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn files_that_cannot_be_text_or_are_too_long_are_problems() {
    let dir = folder(&[]);
    fs::create_dir(dir.path().join("default")).unwrap();
    fs::write(
        dir.path().join("default/latin.json"),
        b"{\"description\": \"caf\xe9\"}",
    )
    .unwrap();
    fs::write(dir.path().join("default/long.json"), "é".repeat(200_000)).unwrap();
    let error = refused(dir.path());
    assert!(
        error.contains("latin.json:1:21") && error.contains("save it as UTF-8"),
        "{error}"
    );
    assert!(error.contains("a rule has at most 262144 bytes"), "{error}");
}

/// A pipe would be waited for, and the bus never start.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_waited_for() {
    let dir = folder(&[("default/a.json", GOOD)]);
    let at = |name: &str| dir.path().join("default").join(name);
    let made = std::process::Command::new("mkfifo")
        .arg(at("pipe.json"))
        .status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink(at("loop.json"), at("loop.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("zero.json")).unwrap();
    let error = refused(dir.path());
    for part in [
        "cannot be read: it is no regular file\n  --> rules/default/pipe.json",
        "cannot be read: it is no regular file\n  --> rules/default/zero.json",
        "rules/default/loop.json",
        "3 problems in 3 files",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_pattern_problem_points_into_the_pattern() {
    let dir = folder(&[(
        "default/p.json",
        "{\n  \"pattern\": {\n    \"type\": \"a\"\n  },\n  \"targets\": [{\"id\": \"t\", \"url\": \"http://h/\"}]\n}",
    )]);
    let error = refused(dir.path());
    assert!(error.contains("p.json:3:13 at /pattern/type"), "{error}");
}

#[tokio::test]
async fn a_folder_is_ensured_and_a_second_time_changes_nothing() {
    let (data, dir) = (
        tempfile::tempdir().unwrap(),
        folder(&[
            ("default/a.json", GOOD),
            ("orders/bus.json", "{}"),
            ("orders/b.json", GOOD),
            ("empty/README.md", ""),
        ]),
    );
    let rules = rules(data.path());
    let default = BusName::default_bus();
    rules
        .put_rule(
            &default,
            &RuleName::new("api").unwrap(),
            GOOD,
            IfMatch::Always,
        )
        .await
        .unwrap();
    let report = rules
        .ensure(read_folder(dir.path()).unwrap())
        .await
        .unwrap();
    let extra = vec![(default.clone(), RuleName::new("api").unwrap())];
    let expected = Report {
        created: 4,
        replaced: 0,
        unchanged: 0,
        extra: extra.clone(),
    };
    assert_eq!(report, expected);
    assert_eq!(rules.buses().len(), 3);

    let changes = rules.changes();
    let report = rules
        .ensure(read_folder(dir.path()).unwrap())
        .await
        .unwrap();
    assert!(!report.changed() && !changes.has_changed().unwrap());
    assert_eq!(report.unchanged, 3);

    write(
        dir.path(),
        "default/a.json",
        &GOOD.replace("\"a\"", "\"b\""),
    );
    fs::remove_file(dir.path().join("orders/b.json")).unwrap();
    let report = rules
        .ensure(read_folder(dir.path()).unwrap())
        .await
        .unwrap();
    assert_eq!(
        (
            report.created,
            report.replaced,
            report.unchanged,
            report.extra.len()
        ),
        (0, 1, 1, 2)
    );
    assert_eq!(
        report.to_string(),
        "0 created, 1 replaced, 1 unchanged, 2 without a file"
    );
}

fn watch(rules: &Rules, dir: &Path) -> FolderWatch {
    let (rules, folder) = (rules.clone(), dir.to_owned());
    let ensure: Ensure = Box::new(move || {
        let (rules, folder) = (rules.clone(), folder.clone());
        Box::pin(async move { Ok(rules.ensure(read_admitted(&rules, &folder).await?).await?) })
    });
    FolderWatch::start(dir.to_owned(), ensure)
}

#[tokio::test]
async fn a_change_of_the_folder_is_applied_and_a_bad_one_is_not() {
    let (data, dir) = (
        tempfile::tempdir().unwrap(),
        folder(&[("default/a.json", GOOD)]),
    );
    let rules = rules(data.path());
    let watch = watch(&rules, dir.path());
    assert_eq!(watch.reload().await.unwrap().created, 1);

    let mut changes = rules.changes();
    write(dir.path(), "default/b.json", GOOD);
    tokio::time::timeout(Duration::from_secs(20), changes.changed())
        .await
        .unwrap()
        .unwrap();
    let default = BusName::default_bus();
    assert_eq!(rules.rules(&default).unwrap().len(), 2);

    write(dir.path(), "default/c.json", GOOD);
    write(dir.path(), "default/d.json", "{");
    let refused = watch.reload().await.unwrap_err();
    assert!(matches!(refused, ReloadError::Folder(_)), "{refused}");
    assert_eq!(rules.rules(&default).unwrap().len(), 2, "the old set stays");
    watch.drain().await;
}

#[tokio::test]
async fn a_folder_that_is_created_later_is_seen() {
    let (data, dir) = (tempfile::tempdir().unwrap(), folder(&[]));
    let rules = rules(data.path());
    let later = dir.path().join("rules");
    let watch = watch(&rules, &later);
    // Answered once the watch stands.
    watch.reload().await.unwrap();

    for (name, count) in [("default/a.json", 1), ("default/b.json", 2)] {
        let mut changes = rules.changes();
        write(&later, name, GOOD);
        tokio::time::timeout(Duration::from_secs(20), changes.changed())
            .await
            .unwrap()
            .unwrap();
        let default = BusName::default_bus();
        assert_eq!(rules.rules(&default).unwrap().len(), count);
        // Away with all of it, and there again.
        std::fs::rename(&later, dir.path().join(format!("old-{count}"))).unwrap();
    }
    watch.drain().await;
}
