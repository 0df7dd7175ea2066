//! Secrets over restarts, changes of value and changes of key.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config(dir: &Path) -> Config {
    Config {
        file: dir.join("secrets.json"),
        key: KeySource::File(dir.join("secrets.key")),
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_000_000))
}

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn text(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

fn values(secrets: &Secrets, of: &str, now: Timestamp) -> Vec<String> {
    let secret = secrets.get(&name(of)).unwrap();
    secret
        .holding(now)
        .map(|version| version.value.expose().to_owned())
        .collect()
}

#[test]
fn secrets_survive_a_restart_and_do_not_show_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::open(config(dir.path()), clock()).unwrap();
    assert!(
        !dir.path().join("secrets.key").exists(),
        "no key before it is needed"
    );
    secrets.set(&name("a"), text("hunter2"), DAY).unwrap();
    for file in ["secrets.json", "secrets.key"] {
        let path = dir.path().join(file);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));
    }
    let again = Secrets::open(config(dir.path()), clock()).unwrap();
    assert_eq!(again.get(&name("a")), secrets.get(&name("a")));
    again.remove(&name("a"), &Expected::Anything).unwrap();
    let left = Secrets::open(config(dir.path()), clock()).unwrap();
    assert!(left.all().is_empty());
}

#[test]
fn an_earlier_value_holds_for_as_long_as_was_said() {
    let clock = clock();
    let secrets = Secrets::in_memory(clock.clone());
    secrets.set(&name("a"), text("one"), DAY).unwrap();
    secrets.set(&name("a"), text("two"), DAY).unwrap();
    assert_eq!(values(&secrets, "a", clock.now()), ["two", "one"]);
    // A later, longer grace does not bring an earlier version more time.
    clock.advance(DAY / 2);
    secrets.set(&name("a"), text("three"), 2 * DAY).unwrap();
    assert_eq!(values(&secrets, "a", clock.now()), ["three", "two", "one"]);
    clock.advance(DAY / 2);
    assert_eq!(values(&secrets, "a", clock.now()), ["three", "two"]);
    let set = secrets
        .set(&name("a"), text("four"), Duration::ZERO)
        .unwrap();
    assert_eq!(values(&secrets, "a", clock.now()), ["four"]);
    assert_eq!(set.newest().number, 4);
}

#[test]
fn an_earlier_version_can_be_dropped_and_the_one_in_use_cannot() {
    let secrets = Secrets::in_memory(clock());
    secrets.set(&name("a"), text("one"), DAY).unwrap();
    secrets.set(&name("a"), text("two"), DAY).unwrap();
    let in_use = SecretsError::InUse(name("a"), 2);
    assert_eq!(secrets.remove_version(&name("a"), 2), Err(in_use));
    assert_eq!(secrets.remove_version(&name("a"), 1), Ok(()));
    let gone = SecretsError::NoVersion(name("a"), 1);
    assert_eq!(secrets.remove_version(&name("a"), 1), Err(gone));
    assert_eq!(values(&secrets, "a", Timestamp::from_millis(0)), ["two"]);
}

#[test]
fn versions_and_sizes_are_bounded() {
    let secrets = Secrets::in_memory(clock());
    for n in 0..30 {
        secrets.set(&name("a"), text(&n.to_string()), DAY).unwrap();
    }
    let kept = values(&secrets, "a", Timestamp::from_millis(0));
    assert_eq!(kept.len(), limits::SECRET_VERSIONS);
    assert_eq!(kept[0], "29");
    let long = text(&"x".repeat(limits::SECRET_BYTES + 1));
    let error = secrets.set(&name("a"), long, DAY).unwrap_err();
    assert_eq!(error, SecretsError::Length(limits::SECRET_BYTES + 1));
    assert_eq!(
        secrets.set(&name("a"), text(""), DAY),
        Err(SecretsError::Length(0))
    );
}

#[test]
fn a_new_key_above_the_old_one_seals_anew() {
    let dir = tempfile::tempdir().unwrap();
    let with = |lines: &str| Config {
        file: dir.path().join("secrets.json"),
        key: KeySource::Text(text(lines)),
    };
    let (old, new) = ("11".repeat(32), "22".repeat(32));
    let secrets = Secrets::open(with(&old), clock()).unwrap();
    secrets.set(&name("a"), text("one"), DAY).unwrap();
    let other = Secrets::open(with(&new), clock()).unwrap_err();
    assert!(matches!(other, SecretsError::OtherKey { .. }), "{other}");
    Secrets::open(with(&format!("{new}\n{old}")), clock()).unwrap();
    let moved = Secrets::open(with(&new), clock()).unwrap();
    assert_eq!(values(&moved, "a", Timestamp::from_millis(0)), ["one"]);
}

#[test]
fn a_damaged_file_is_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::open(config(dir.path()), clock()).unwrap();
    secrets.set(&name("a"), text("one"), DAY).unwrap();
    secrets.set(&name("b"), text("two"), DAY).unwrap();
    let path = dir.path().join("secrets.json");
    let good = std::fs::read_to_string(&path).unwrap();
    // Two sealed values change places: each would open, under the wrong name.
    let swapped = good.replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"");
    for bad in ["", "{}", &good[..good.len() / 2], &swapped] {
        std::fs::write(&path, bad).unwrap();
        let error = Secrets::open(config(dir.path()), clock()).unwrap_err();
        assert!(matches!(error, SecretsError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
    }
    std::fs::remove_file(dir.path().join("secrets.key")).unwrap();
    std::fs::write(&path, good).unwrap();
    let error = Secrets::open(config(dir.path()), clock()).unwrap_err();
    assert!(matches!(error, SecretsError::OtherKey { .. }), "{error}");
}

#[test]
fn a_change_that_cannot_be_written_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = Secrets::open(config(dir.path()), clock()).unwrap();
    secrets.set(&name("a"), text("one"), DAY).unwrap();
    let data = dir.path().join("secrets.json.new");
    std::fs::create_dir(&data).unwrap();
    let error = secrets.set(&name("a"), text("two"), DAY).unwrap_err();
    assert!(matches!(error, SecretsError::File { .. }), "{error}");
    assert_eq!(values(&secrets, "a", Timestamp::from_millis(0)), ["one"]);
}

#[test]
fn names_are_checked_and_not_repeated() {
    for good in ["a", "billing-token", "A.b_c", &"x".repeat(64)] {
        assert!(SecretName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", ".a", "a b", "a/b", "é", &"x".repeat(65)] {
        let error = SecretName::new(bad).unwrap_err().to_string();
        assert!(bad.is_empty() || bad == "-a" || bad == ".a" || !error.contains(bad));
    }
}
