//! The configuration: what wins over what, and what an error says.

use clap::{Args, FromArgMatches};

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn setting<'a>(loaded: &'a Loaded, key: &str) -> &'a Setting {
    loaded.settings.iter().find(|s| s.key == key).unwrap()
}

fn toml_file(text: &str) -> (tempfile::TempDir, Flags) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("eventyard.toml");
    std::fs::write(&path, text).unwrap();
    let flags = Flags::default().with_file(path.to_str().unwrap());
    (dir, flags)
}

fn check_refused(text: &str, expected: &str) {
    let error = file::parse("eventyard.toml", text).unwrap_err();
    assert_eq!(error.to_string(), expected, "{text}");
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let (_dir, flags) =
        toml_file("listen = \"127.0.0.1:1\"\ngrace = \"1s\"\nsegment_bytes = 2097152\n");
    let flags = flags.with("listen", "127.0.0.1:3");
    let env = env(&[
        ("EVENTYARD_LISTEN", "127.0.0.1:2"),
        ("EVENTYARD_GRACE", "2s"),
    ]);
    let loaded = load_from(&flags, &env).unwrap();
    assert_eq!(loaded.config.api.listen.port(), 3);
    assert_eq!(
        setting(&loaded, "listen").origin,
        Origin::Flag("--listen".to_owned())
    );
    assert_eq!(loaded.config.grace, Duration::from_secs(2));
    assert_eq!(loaded.config.log.segment_bytes, 2 << 20);
    let Origin::File(place) = &setting(&loaded, "segment_bytes").origin else {
        panic!("the file set it");
    };
    assert!(place.ends_with("eventyard.toml:3:17"), "{place}");
    assert_eq!(setting(&loaded, "data_dir").origin, Origin::Default);
}

#[test]
fn the_defaults_are_the_limits() {
    let loaded = load_from(&Flags::default(), &[]).unwrap();
    assert_eq!(loaded.config.log.segment_bytes, limits::SEGMENT_BYTES);
    assert_eq!(loaded.config.log.cache_bytes, limits::VIEW_CACHE_BYTES);
    assert_eq!(loaded.config.api.connections, limits::CONNECTIONS);
    assert_eq!(loaded.config.grace, limits::GRACE);
    let traces = &loaded.config.delivery.traces;
    assert_eq!(*traces, delivery::TracesConfig::default());
    assert_eq!(loaded.config.audit.retention, limits::AUDIT_RETENTION);
}

#[test]
fn an_unknown_key_names_its_place_and_the_near_one() {
    check_refused(
        "listen = \"127.0.0.1:1\"\n  data_dri = \"x\"\n",
        "eventyard.toml:2:3: unknown setting `data_dri`; did you mean `data_dir`?",
    );
    check_refused(
        "listen = \n",
        "eventyard.toml:1:10: string values must be quoted, expected literal string",
    );
    check_refused(
        "grace = true\n",
        "eventyard.toml:1:9: `grace` is \"true\", but a string or integer is wanted, not a boolean",
    );
}

#[test]
fn a_bad_value_says_what_is_wanted_and_where_it_stands() {
    let flags = Flags::default().with("listen", "8080");
    assert_eq!(
        load_from(&flags, &[]).unwrap_err().to_string(),
        "flag --listen: `listen` is \"8080\", but an IP address and port is wanted, such as 0.0.0.0:8080"
    );
    let env = env(&[("EVENTYARD_VIEW_CACHE_BYTES", "3")]);
    assert_eq!(
        load_from(&Flags::default(), &env).unwrap_err().to_string(),
        "environment variable EVENTYARD_VIEW_CACHE_BYTES: `view_cache_bytes` is \"3\", but a size from 1MiB to 64GiB is wanted"
    );
}

#[test]
fn a_mistyped_level_is_no_silence() {
    let with_level = |level| load_from(&Flags::default().with("log_level", level), &[]);
    for level in ["warn", "INFO", "off", "info,eventyard::delivery=debug"] {
        assert_eq!(with_level(level).unwrap().config.telemetry.level, level);
    }
    let error = with_level("warn,inof").unwrap_err().to_string();
    assert!(error.contains("\"inof\" is no level"), "{error}");
    with_level("eventyard=loud").unwrap_err();
}

#[test]
fn what_is_shown_holds_no_secret_wherever_it_came_from() {
    let url = "https://user:hunter2@id.example.com/keys?token=hunter2";
    let digits = "0123456789abcdef0123456789abcdef";
    let (_dir, with_file) = toml_file(&format!(
        "jwt_keys = \"{url}\"\njwt_issuer = \"i\"\njwt_audience = \"a\"\nroot_key_file = \"{digits}\"\n"
    ));
    let needed = |flags: Flags| flags.with("jwt_issuer", "i").with("jwt_audience", "a");
    let keys = env(&[
        ("EVENTYARD_ROOT_KEY", digits),
        ("EVENTYARD_SECRETS_KEY", digits),
        ("EVENTYARD_API_KEY", digits),
    ]);
    let in_env = env(&[("EVENTYARD_JWT_KEYS", url)]);
    for (flags, env) in [
        (with_file, keys),
        (needed(Flags::default()), in_env),
        (needed(Flags::default()).with("jwt_keys", url), Vec::new()),
    ] {
        let loaded = load_from(&flags, &env).unwrap();
        let shown = loaded.shown();
        let text = format!("{shown:?}{}", serde_json::to_string(&shown).unwrap());
        assert!(
            !text.contains("hunter2") && !text.contains(digits),
            "{text}"
        );
        let found = shown
            .iter()
            .find(|setting| setting.key == "jwt_keys")
            .unwrap();
        assert_eq!(found.value, "https://***@id.example.com/keys?***");
        let held = shown
            .iter()
            .filter(|setting| ["root_key", "secrets_key"].contains(&setting.key));
        assert_eq!(held.count(), env.len().saturating_sub(1));
    }
    // Nor does what is wrong with one.
    for bad in [
        "http://user:hunter2@id.example.com/",
        "ftp://id.example.com/?hunter2",
    ] {
        let flags = needed(Flags::default()).with("jwt_keys", bad);
        let error = load_from(&flags, &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    // Elsewhere a value is what was written.
    let flags = Flags::default().with("data_dir", "/var/lib/eventyard");
    let shown = load_from(&flags, &[]).unwrap().shown();
    assert!(
        shown
            .iter()
            .any(|setting| setting.value == "/var/lib/eventyard")
    );
}

#[test]
fn tokens_need_keys_an_issuer_and_an_audience() {
    let load = |settings: &[(&str, &str)]| {
        let flags = settings
            .iter()
            .fold(Flags::default(), |flags, (key, value)| {
                flags.with(key, *value)
            });
        load_from(&flags, &[]).map(|loaded| loaded.config.access.tokens)
    };
    assert!(load(&[]).unwrap().is_none());
    let all = [
        ("jwt_keys", "a.json"),
        ("jwt_issuer", "i"),
        ("jwt_audience", "a"),
    ];
    assert_eq!(load(&all).unwrap().unwrap().scope_claim, "scope");
    for left_out in 0..3 {
        let mut some = all.to_vec();
        let (missing, _) = some.remove(left_out);
        let error = load(&some).unwrap_err().to_string();
        assert!(error.contains(&format!("`{missing}` is not")), "{error}");
    }
    let error = load(&[("jwt_keys", "http://id.example.com/"), all[1], all[2]]).unwrap_err();
    assert!(error.to_string().contains("https://"), "{error}");
}

#[test]
fn certificates_turn_tls_on_and_what_would_be_without_effect_is_refused() {
    let load = |settings: &[(&str, &str)]| {
        let flags = settings
            .iter()
            .fold(Flags::default(), |flags, (key, value)| {
                flags.with(key, *value)
            });
        load_from(&flags, &[]).map(|loaded| loaded.config.tls)
    };
    assert!(load(&[]).unwrap().is_none());
    let tls = load(&[("tls_cert_file", "a")]).unwrap().unwrap();
    assert!(tls.key.is_none() && tls.clients.is_none());
    let clients = [
        ("tls_cert_file", "a"),
        ("tls_key_file", "b"),
        ("tls_client_ca_file", "c"),
    ];
    let tls = load(&clients).unwrap().unwrap();
    assert!(tls.key.is_some() && !tls.clients.unwrap().are_optional);
    let optional = [clients.as_slice(), &[("tls_client_certs", "optional")]].concat();
    assert!(
        load(&optional)
            .unwrap()
            .unwrap()
            .clients
            .unwrap()
            .are_optional
    );
    for key in ["tls_key_file", "tls_client_ca_file"] {
        let error = load(&[(key, "b")]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("flag --{}: ", key.replace('_', "-"))),
            "{error}"
        );
        assert!(error.contains("`tls_cert_file`"), "{error}");
    }
}

#[test]
fn a_receiver_of_spans_is_named_without_its_keys() {
    let with = |key, value| load_from(&Flags::default().with(key, value), &[]);
    let spans = load_from(&Flags::default(), &[]).unwrap().config.spans;
    assert_eq!((spans.endpoint, spans.sample), (None, 1.0));
    let spans = with("otlp_endpoint", "http://c:4318").unwrap().config.spans;
    assert_eq!(spans.endpoint.unwrap().as_str(), "http://c:4318/");
    for bad in ["c:4318", "ftp://c/", "http://u:p@c/"] {
        with("otlp_endpoint", bad).unwrap_err();
    }
    for bad in ["2", "-1", "half", "NaN"] {
        with("otlp_sample", bad).unwrap_err();
    }
    let (_dir, flags) = toml_file("otlp_sample = 0.25\n");
    assert_eq!(load_from(&flags, &[]).unwrap().config.spans.sample, 0.25);

    let headers = |text| load_from(&Flags::default(), &env(&[("EVENTYARD_OTLP_HEADERS", text)]));
    let loaded = headers("authorization=Basic a2V5PQ==, x-team = a").unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let spans = loaded.config.spans;
    assert_eq!(spans.headers["authorization"], "Basic a2V5PQ==");
    assert_eq!(spans.headers["x-team"], "a");
    assert!(!format!("{spans:?}").contains("a2V5PQ"), "{spans:?}");
    let error = headers("hush").unwrap_err().to_string();
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_named_rules_folder_must_exist() {
    let flags = Flags::default().with("rules_dir", "no/such/folder");
    let error = load_from(&flags, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::NoRulesDir { .. }), "{error}");
}

#[test]
fn a_named_file_must_exist() {
    let flags = Flags::default().with_file("no/such.toml");
    let error = load_from(&flags, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
}

#[test]
fn a_mistyped_variable_is_warned_about_and_a_foreign_one_is_not() {
    let env = env(&[
        ("EVENTYARD_LISTN", "x"),
        ("EVENTYARD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("EVENTYARD_API_KEY", "eyk_0123456789ab"),
        ("EVENTYARD_API_KEY_FILE", "admin.key"),
    ]);
    let loaded = load_from(&Flags::default(), &env).unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "environment variable EVENTYARD_LISTN is no setting and is ignored; did you mean EVENTYARD_LISTEN?"
        ]
    );
}

#[test]
fn every_setting_is_a_flag() {
    let command = Flags::augment_args(clap::Command::new("serve"));
    let matches = command.get_matches_from(["serve", "--data-dir", "d", "--grace", "3s"]);
    let flags = Flags::from_arg_matches(&matches).unwrap();
    assert_eq!(flags.value("data_dir"), Some("d"));
    assert_eq!(flags.value("grace"), Some("3s"));
    assert_eq!(flags.value("listen"), None);
}

#[test]
fn the_schema_file_is_the_schema_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/config.schema.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let written: serde_json::Value = serde_json::from_str(&written).unwrap_or_default();
    assert_eq!(
        written,
        schema(),
        "write this to schemas/config.schema.json:\n{:#}",
        schema()
    );
}

#[test]
fn the_schema_takes_what_the_code_takes() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let good =
        serde_json::json!({"listen": "127.0.0.1:1", "segment_bytes": 2_097_152, "grace": "5s"});
    assert!(validator.is_valid(&good));
    for bad in [
        serde_json::json!({"listn": "x"}),
        serde_json::json!({"grace": "5"}),
        serde_json::json!({"log_format": "xml"}),
    ] {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}
