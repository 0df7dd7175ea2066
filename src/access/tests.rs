//! Keys over restarts, uses, ends and changes of the key that seals.

use super::*;
use crate::secret::{self, KeySource};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ROOT: &str = "0123456789abcdef0123456789abcdef";

struct Place {
    dir: tempfile::TempDir,
    clock: Clock,
    root: Option<&'static str>,
    sealing: Option<String>,
}

impl Place {
    fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
            clock: Clock::manual(Timestamp::from_millis(1_000_000)),
            root: None,
            sealing: None,
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("keys.json")
    }

    fn try_open(&self) -> Result<Access, AccessError> {
        let key = match &self.sealing {
            Some(lines) => KeySource::Text(SecretText::new(lines.clone())),
            None => KeySource::File(self.dir.path().join("secrets.key")),
        };
        let secrets = secret::Config {
            file: self.dir.path().join("secrets.json"),
            key,
        };
        let secrets = Secrets::open(secrets, self.clock.clone())?;
        let root_key = self
            .root
            .map(|text| RootKeySource::Text(SecretText::new(text.to_owned())));
        let config = Config {
            mode: Mode::Keys,
            file: self.file(),
            root_key,
            tokens: None,
        };
        Access::open(config, secrets, self.clock.clone())
    }

    fn open(&self) -> Access {
        self.try_open().unwrap()
    }
}

fn new(expires_in: Option<Duration>) -> NewKey {
    let document = serde_json::from_str(r#"{"scope":"read","buses":["a"]}"#).unwrap();
    NewKey {
        name: KeyName::new("shop").unwrap(),
        expires_in,
        rate_limit: None,
        grants: vec![Grant::new(document).unwrap()],
    }
}

#[test]
fn a_key_survives_a_restart_and_does_not_show_on_disk_or_in_debug() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let access = place.open();
    assert!(!place.file().exists(), "no file before it is needed");
    let (key, text) = access.create(new(None)).unwrap();
    let again = place.open();
    for access in [&access, &again] {
        let Ok(Caller::Key(found)) = access.admit(Some(text.expose())) else {
            panic!("the key is good");
        };
        assert_eq!(found.id, key.id);
        assert!(Caller::Key(found).may(Scope::Read, &BusName::new("a").unwrap()));
        let hidden = &text.expose()[17..];
        let shown = format!("{access:?} {:?} {text:?}", access.all());
        assert!(!shown.contains(hidden), "{shown}");
    }
    let mode = std::fs::metadata(place.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for file in std::fs::read_dir(place.dir.path()).unwrap() {
        let text_of_file = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text_of_file.contains(&text.expose()[17..]));
    }
}

#[test]
fn only_the_whole_key_is_let_in() {
    let place = Place::new();
    let access = place.open();
    let (_, text) = access.create(new(None)).unwrap();
    let (_, other) = access.create(new(None)).unwrap();
    assert_eq!(access.admit(None).unwrap_err(), Refused::NoKey);
    let text = text.expose();
    let crossed = format!("{}{}", &text[..17], &other.expose()[17..]);
    for wrong in ["", "x", &text[..16], &text[..80], &crossed, ROOT] {
        assert_eq!(access.admit(Some(wrong)).unwrap_err(), Refused::Unknown);
    }
    for at in 17..text.len() {
        let mut changed = text.to_owned();
        let digit = if &text[at..=at] == "0" { "1" } else { "0" };
        changed.replace_range(at..=at, digit);
        assert_eq!(access.admit(Some(&changed)).unwrap_err(), Refused::Unknown);
    }
}

#[test]
fn keys_end_by_expiry_and_by_revocation_and_are_forgotten_later() {
    let place = Place::new();
    let access = place.open();
    let (short, short_text) = access.create(new(Some(DAY))).unwrap();
    let (gone, gone_text) = access.create(new(None)).unwrap();
    assert!(access.admit(Some(short_text.expose())).is_ok());
    access.revoke(gone.id).unwrap();
    let at = access.now();
    place.clock.advance(DAY);
    let refused =
        |access: &Access, text: &SecretText| access.admit(Some(text.expose())).unwrap_err();
    for access in [&access, &place.open()] {
        let expired = Refused::Expired(short.name.clone(), at.plus(DAY));
        assert_eq!(refused(access, &short_text), expired);
        let revoked = Refused::Revoked(gone.name.clone(), at);
        assert_eq!(refused(access, &gone_text), revoked);
    }
    // Again: it stays revoked since the first time.
    access.revoke(gone.id).unwrap();
    assert_eq!(access.get(gone.id).unwrap().revoked, Some(at));
    place.clock.advance(limits::API_KEY_SHOWN_AFTER_END);
    access.create(new(None)).unwrap();
    assert_eq!(access.all().len(), 1);
    assert_eq!(access.revoke(gone.id), Err(AccessError::NoKey(gone.id)));
    assert_eq!(refused(&access, &gone_text), Refused::Unknown);
}

#[test]
fn a_rate_is_kept_and_bounds_its_key_alone() {
    let place = Place::new();
    let access = place.open();
    let slow = NewKey {
        rate_limit: RateLimit::parse("1/h"),
        ..new(None)
    };
    let (key, text) = access.create(slow).unwrap();
    let (_, other) = access.create(new(None)).unwrap();
    let again = place.open();
    for access in [&access, &again] {
        assert_eq!(
            access.get(key.id).unwrap().rate_limit(),
            RateLimit::parse("1/h")
        );
        let caller = access.admit(Some(text.expose())).unwrap();
        let wait = |access: &Access| match access.admit(Some(text.expose())) {
            Err(Refused::TooFast(name, _, wait)) => {
                assert_eq!(name, key.name);
                wait
            }
            other => panic!("{other:?}"),
        };
        let one = wait(access);
        assert!(one < 60 * 60 * Duration::from_secs(1), "{one:?}");
        caller.brought(1);
        assert!(wait(access) <= one);
        caller.brought(3);
        assert!(wait(access) > 2 * 60 * 60 * Duration::from_secs(1));
        assert!(access.admit(Some(other.expose())).is_ok());
    }
    // What has ended is told before what is too fast.
    again.revoke(key.id).unwrap();
    let refused = again.admit(Some(text.expose())).unwrap_err();
    assert!(matches!(refused, Refused::Revoked(..)), "{refused}");
}

#[test]
fn ended_keys_give_way_to_new_ones_and_living_ones_never() {
    let place = Place::new();
    let access = place.open();
    let make = |expires_in| access.create(new(expires_in)).unwrap().0.id;
    let (lives, short, shorter) = (make(None), make(Some(2 * DAY)), make(Some(DAY)));
    let keys = || BTreeMap::clone(&access.0.keys.load().by_id);
    let room = |most: usize, now: Timestamp| {
        let mut keys = keys();
        let made = make_room(&mut keys, most, now);
        made.map(|()| keys.into_keys().collect::<Vec<_>>())
    };
    let sorted = |mut ids: Vec<KeyId>| {
        ids.sort();
        Ok(ids)
    };
    let now = access.now();
    assert_eq!(room(4, now), sorted(vec![lives, short, shorter]));
    assert_eq!(room(3, now), Err(AccessError::TooMany));
    assert_eq!(room(3, now.plus(DAY)), sorted(vec![lives, short]));
    assert_eq!(room(3, now.plus(2 * DAY)), sorted(vec![lives, short]));
    assert_eq!(room(2, now.plus(2 * DAY)), sorted(vec![lives]));
    assert_eq!(room(1, now.plus(2 * DAY)), Err(AccessError::TooMany));
}

#[test]
fn the_last_use_is_known_to_a_minute_and_outlives_a_restart_once_written() {
    let place = Place::new();
    let access = place.open();
    let (key, text) = access.create(new(None)).unwrap();
    let last_used = |access: &Access| access.get(key.id).unwrap().last_used();
    assert_eq!(last_used(&access), None);
    let first = access.now();
    access.admit(Some(text.expose())).unwrap();
    place.clock.advance(limits::API_KEY_USE_STEP / 2);
    access.admit(Some(text.expose())).unwrap();
    assert_eq!(last_used(&access), Some(first));
    place.clock.advance(limits::API_KEY_USE_STEP / 2);
    access.admit(Some(text.expose())).unwrap();
    assert_eq!(last_used(&access), Some(access.now()));
    assert_eq!(last_used(&place.open()), None);
    access.write_uses().unwrap();
    assert_eq!(last_used(&place.open()), Some(access.now()));
    // Nothing was used since: the file is left alone.
    std::fs::remove_file(place.file()).unwrap();
    access.write_uses().unwrap();
    assert!(!place.file().exists());
}

#[test]
fn the_root_key_may_do_everything_and_must_be_long() {
    let mut place = Place::new();
    place.root = Some(ROOT);
    let access = place.open();
    assert!(matches!(access.admit(Some(ROOT)), Ok(Caller::Root)));
    // Beside it, keys; and it may look like one.
    let (_, text) = access.create(new(None)).unwrap();
    assert!(matches!(
        access.admit(Some(text.expose())),
        Ok(Caller::Key(_))
    ));
    let like_a_key =
        "eyk_0123456789ab_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert!(KeyId::of_key(like_a_key).is_some());
    place.root = Some(like_a_key);
    let access = place.open();
    assert!(matches!(access.admit(Some(like_a_key)), Ok(Caller::Root)));
    assert!(matches!(
        access.admit(Some(text.expose())),
        Ok(Caller::Key(_))
    ));
    assert_eq!(
        access.admit(Some(&ROOT[1..])).unwrap_err(),
        Refused::Unknown
    );
    for weak in [
        "",
        "hunter2",
        &ROOT[1..],
        "0123456789abcdef 0123456789abcdef",
    ] {
        place.root = Some(Box::leak(weak.to_owned().into_boxed_str()));
        let error = place.try_open().unwrap_err();
        assert!(matches!(error, AccessError::WeakRootKey(_)), "{error}");
        assert!(weak.is_empty() || !error.to_string().contains(weak));
    }
}

#[test]
fn a_new_sealing_key_above_the_old_one_keeps_all_keys() {
    let mut place = Place::new();
    let (old, new_key) = ("11".repeat(32), "22".repeat(32));
    place.sealing = Some(old.clone());
    let (_, text) = place.open().create(new(None)).unwrap();
    place.sealing = Some(new_key.clone());
    let error = place.try_open().unwrap_err();
    let is_other = matches!(error, AccessError::Secrets(SecretsError::OtherKey { .. }));
    assert!(is_other, "{error}");
    place.sealing = Some(format!("{new_key}\n{old}"));
    place.open();
    place.sealing = Some(new_key);
    assert!(place.open().admit(Some(text.expose())).is_ok());
}

#[test]
fn a_damaged_file_is_told_and_left_alone() {
    let place = Place::new();
    place.open().create(new(None)).unwrap();
    let good = std::fs::read_to_string(place.file()).unwrap();
    let cut = &good[..good.len() / 2];
    let other_format = good.replace("\"format\": 1", "\"format\": 2");
    let no_bus = good.replace("\"a\"", "");
    for bad in ["", "{}", cut, &other_format, &no_bus] {
        std::fs::write(place.file(), bad).unwrap();
        let error = place.try_open().unwrap_err();
        assert!(matches!(error, AccessError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(place.file()).unwrap(), bad);
    }
}

#[test]
fn a_change_that_cannot_be_written_changes_nothing() {
    let place = Place::new();
    let access = place.open();
    let (key, text) = access.create(new(None)).unwrap();
    std::fs::create_dir(place.dir.path().join("keys.json.new")).unwrap();
    let error = access.revoke(key.id).unwrap_err();
    assert!(matches!(error, AccessError::File { .. }), "{error}");
    assert!(access.create(new(None)).is_err());
    assert_eq!(access.all().len(), 1);
    assert!(access.admit(Some(text.expose())).is_ok());
}

#[test]
fn an_open_bus_is_for_loopback_addresses_unless_somebody_says_so() {
    let check = |mode: Mode, address: &str, allowed: bool| {
        let result = mode.check(address.parse().unwrap());
        assert_eq!(result.is_ok(), allowed, "{mode:?} {address}");
    };
    for loopback in [
        "127.0.0.1:80",
        "127.9.9.9:1",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
    ] {
        check(Mode::Unsaid, loopback, true);
    }
    for public in [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        check(Mode::Unsaid, public, false);
        check(Mode::Off, public, true);
        check(Mode::Keys, public, true);
    }
}
