//! Secrets and API keys of every kind, in use and in trouble, show nowhere: not in what the bus prints
//! at its most verbose, not in what it answers, not in its files.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use eventyard::access::{Access, KeyName, Mode, NewKey, RootKeySource};
use eventyard::clock::Clock;
use eventyard::rule::RuleDocument;
use eventyard::secret::{KeySource, SecretName, SecretText, Secrets};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::ALL_VERSIONS;

use crate::harness::{
    Authority, PATIENCE, Received, Reply, TestTarget, TlsTarget, eventually, send,
};

const PASSWORD: &str = "p4ss/w\"rd +of the shop&";
const BEARER: &str = "b3arer/tok=n~of&the+shop";
const HEADER_KEY: &str = "h3ader/k=y~of&the+shop";
const QUERY_KEY: &str = "qu3ry/k=y of&the+shop\u{e9}";
const CLIENT_SECRET: &str = "cl1ent/secr=t~of&the+shop";
/// Of the bus itself, as are the API keys that are made with it.
const ROOT_KEY: &str = "r00t/key=of~the+shop&and-of-nobody-else";
const TOKEN: &str = "t0ken/fetch=d~by&the+shop";
/// Never set: sent where it does not belong.
const MISPLACED: &str = "m1splaced/secr=t~of&the+shop";

/// The real binary, its output in files.
struct Bus {
    child: Child,
    dir: TempDir,
    url: String,
    /// What the bus is shown.
    key: String,
    /// Everything that it has answered.
    answers: Vec<u8>,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bus {
    async fn start() -> Bus {
        let dir = TempDir::new().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventyard"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EVENTYARD_") {
                command.env_remove(name);
            }
        }
        std::fs::create_dir(dir.path().join("rules")).unwrap();
        let child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--grace", "10s"])
            .args(["--log-level", "trace", "--log-format", "json"])
            .args(["--data-dir", "data", "--rules-dir", "rules"])
            .args(["--access", "keys"])
            .env("EVENTYARD_ROOT_KEY", ROOT_KEY)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        let log = dir.path().join("stderr");
        let url = eventually("the bus's address", async || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let line = log.lines().find(|line| line.contains("the bus answers"))?;
            let line: Value = serde_json::from_str(line).ok()?;
            Some(format!("http://{}", line["addr"].as_str()?))
        })
        .await;
        Bus {
            child,
            dir,
            url,
            key: ROOT_KEY.to_owned(),
            answers: Vec::new(),
        }
    }

    async fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> (u16, Vec<u8>) {
        let client = reqwest::Client::new();
        let mut request = client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.record(request.bearer_auth(&self.key)).await
    }

    async fn record(&mut self, request: reqwest::RequestBuilder) -> (u16, Vec<u8>) {
        let answer = send(request).await;
        self.answers
            .extend_from_slice(format!("\n{:?}\n", answer.headers).as_bytes());
        self.answers.extend_from_slice(&answer.body);
        (answer.status.as_u16(), answer.body)
    }

    /// Makes an API key. The answer that gives it out is the one that may.
    async fn make_key(&self) -> String {
        let body = json!({"name": "shop", "grants": [{"scope": "manage"}, {"scope": "publish"}]});
        let request = reqwest::Client::new().post(format!("{}/v1/keys", self.url));
        let answer = send(request.bearer_auth(ROOT_KEY).json(&body)).await;
        assert_eq!(answer.status, 201);
        answer.json()["key"].as_str().unwrap().to_owned()
    }

    /// Shows a key over HTTP/1.1 and HTTP/2, to what asks by itself and to what a layer guards.
    async fn show(&mut self, key: &str, expected: u16) {
        let http2 = reqwest::Client::builder().http2_prior_knowledge();
        for client in [reqwest::Client::new(), http2.build().unwrap()] {
            for path in ["/", "/v1/buses/default/events"] {
                let request = client.post(format!("{}{path}", self.url)).bearer_auth(key);
                let (status, _) = self.record(request.body("{}")).await;
                // What was sent is no event: 400 from behind the door.
                let expected = if expected == 200 { 400 } else { expected };
                assert_eq!(status, expected);
            }
            for path in ["/v1/buses", "/v1/keys", "/metrics"] {
                let request = client.get(format!("{}{path}", self.url)).bearer_auth(key);
                assert_eq!(self.record(request).await.0, expected);
            }
        }
    }

    async fn get(&mut self, path: &str) -> Value {
        let (_, body) = self.ask(Method::GET, path, None).await;
        serde_json::from_slice(&body).unwrap_or_default()
    }

    async fn put(&mut self, path: &str, body: &Value) -> u16 {
        self.ask(Method::PUT, path, Some(body)).await.0
    }

    async fn rule(&mut self, name: &str, url: &str, settings: &Value) {
        let mut target = json!({"id": "t", "url": url,
            "retry": {"max_attempts": 2, "initial_delay": "10ms", "max_delay": "10ms"}});
        for (field, value) in settings.as_object().unwrap() {
            target[field] = value.clone();
        }
        let rule = json!({"pattern": {"type": ["a"]}, "targets": [target]});
        let path = format!("/v1/buses/default/rules/{name}");
        assert_eq!(self.put(&path, &rule).await, 201, "{name}");
    }

    /// Runs a subcommand against it; what it prints counts as an answer.
    fn run(&mut self, arguments: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_eventyard"))
            .args(arguments)
            .args(["--url", &self.url])
            .env("EVENTYARD_API_KEY", &self.key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        self.answers.extend_from_slice(&output.stdout);
        self.answers.extend_from_slice(&output.stderr);
    }
}

/// A value in every form in which it could be found.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut url = reqwest::Url::parse("http://h/").unwrap();
    url.query_pairs_mut().append_pair("k", value);
    let form = url.query().unwrap()[2..].to_owned();
    let quoted = serde_json::to_string(value).unwrap();
    let twice = serde_json::to_string(&quoted[1..quoted.len() - 1]).unwrap();
    let mut forms = vec![
        value.to_owned(),
        quoted[1..quoted.len() - 1].to_owned(),
        twice[1..twice.len() - 1].to_owned(),
        form.replace('+', "%20"),
        form,
        format!("{:?}", value.as_bytes()),
    ];
    // Wherever it stands in a longer text, base64 shows one of three faces.
    for before in 0..3 {
        let face = BASE64_STANDARD.encode(format!("{}{value}", &"xx"[..before]));
        forms.push(face[before * 2..face.len() - 4].to_owned());
    }
    forms.into_iter().map(String::into_bytes).collect()
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// A target that answers with all that it was sent, in every form.
fn echoing(status: u16, values: &[&str]) -> TestTarget {
    let mut body = b"you sent ".to_vec();
    for value in values {
        let within = BASE64_STANDARD.encode(format!("Bearer {value}, said somebody"));
        let quoted = serde_json::to_string(value).unwrap();
        let base64 = BASE64_STANDARD.encode(value);
        let query = String::from_utf8(forms(value)[3].clone()).unwrap();
        body.extend(format!("{value} {quoted} {base64} {within} {query} ").into_bytes());
    }
    TestTarget::replying([Reply::from(status).body(body)])
}

#[tokio::test]
async fn secrets_show_nowhere() {
    let hmac = format!(
        "whsec_{}",
        BASE64_STANDARD.encode([7_u8, 91, 3, 200].repeat(8))
    );
    let ed25519 = format!(
        "whsk_{}",
        BASE64_STANDARD.encode([9_u8, 17, 99, 250].repeat(8))
    );
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = clients.issue("shop");
    let pair = format!("shop:{PASSWORD}");
    let mut secrets = BTreeMap::from([
        ("password", PASSWORD.to_owned()),
        ("bearer", BEARER.to_owned()),
        ("header-key", HEADER_KEY.to_owned()),
        ("query-key", QUERY_KEY.to_owned()),
        ("client", CLIENT_SECRET.to_owned()),
        ("hmac", hmac.clone()),
        ("ed25519", ed25519.clone()),
        ("ca", authority.pem()),
        ("identity", identity.pem()),
    ]);
    let auth = |value: Value| json!({ "auth": value });
    let token = json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600});
    let tokens = TestTarget::replying([Reply::from(200).body(token.to_string())]);
    let no_tokens = echoing(401, &[CLIENT_SECRET]);
    let oauth2 = |server: &TestTarget, way: &str| {
        auth(
            json!({"oauth2": {"token_url": format!("{}token?k=v", server.url()),
            "client_id": "shop", "client_secret": {"secret": "client"}, "client_auth": way}}),
        )
    };
    let basic = json!({"basic": {"username": "shop", "password": {"secret": "password"}}});
    let key = |place: &str| {
        let secret = format!("{place}-key");
        auth(json!({"api_key": {"in": place, "name": "x-key", "value": {"secret": secret}}}))
    };
    let kinds: [(&str, Value, Vec<&str>); 6] = [
        ("basic", auth(basic), vec![PASSWORD, &pair]),
        (
            "bearer",
            auth(json!({"bearer": {"secret": "bearer"}})),
            vec![BEARER],
        ),
        ("header", key("header"), vec![HEADER_KEY]),
        ("query", key("query"), vec![QUERY_KEY]),
        ("oauth2", oauth2(&tokens, "basic"), vec![TOKEN]),
        (
            "signed",
            json!({"signing": {"secrets": ["hmac", "ed25519"]}}),
            vec![],
        ),
    ];

    let mut bus = Bus::start().await;
    bus.show(ROOT_KEY, 200).await;
    bus.key = bus.make_key().await;
    let key = bus.key.clone();
    bus.show(&key, 200).await;
    let revoked = bus.make_key().await;
    bus.ask(
        Method::DELETE,
        &format!("/v1/keys/{}", &revoked[..16]),
        None,
    )
    .await;
    // In the wrong place.
    let (status, _) = bus
        .ask(Method::DELETE, &format!("/v1/keys/{revoked}"), None)
        .await;
    assert_eq!(status, 400);
    let guess = format!("{}{}", &key[..17], "0a1b2c3d".repeat(8));
    for refused in [&*revoked, &guess, MISPLACED] {
        bus.show(refused, 401).await;
    }
    for (name, value) in &secrets {
        let body = json!({"value": value});
        assert_eq!(bus.put(&format!("/v1/secrets/{name}"), &body).await, 201);
        // A second version, so that there is one that only holds on.
        assert_eq!(bus.put(&format!("/v1/secrets/{name}"), &body).await, 200);
    }
    let (good, hanging) = (TestTarget::accepting(), TestTarget::replying([204]));
    let mut targets = Vec::new();
    for (name, settings, values) in &kinds {
        bus.rule(&format!("{name}-good"), &good.url(), settings)
            .await;
        for status in [400, 401, 503] {
            let target = echoing(status, values);
            bus.rule(&format!("{name}-{status}"), &target.url(), settings)
                .await;
            targets.push(target);
        }
        // Nobody listens there.
        let gone = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}/?a=b", listener.local_addr().unwrap())
        };
        bus.rule(&format!("{name}-gone"), &gone, settings).await;
    }
    bus.rule("no-token", &hanging.url(), &oauth2(&no_tokens, "body"))
        .await;
    let certificates = json!({"tls": {"ca": {"secret": "ca"}, "identity": {"secret": "identity"}},
        "auth": {"bearer": {"secret": "bearer"}}});
    let secure = TlsTarget::start(
        &authority.issue("127.0.0.1"),
        Some(&clients),
        ALL_VERSIONS,
        "",
    );
    bus.rule("tls-good", &secure.url(), &certificates).await;
    let other = Authority::new().issue("127.0.0.1");
    let stranger = TlsTarget::start(&other, Some(&clients), ALL_VERSIONS, "");
    bus.rule("tls-stranger", &stranger.url(), &certificates)
        .await;

    // What is put in the wrong place, or does not fit.
    secrets.insert("misplaced", MISPLACED.to_owned());
    for bad in [
        json!({"value": MISPLACED, "x": MISPLACED}),
        json!({"generate": MISPLACED}),
        json!(MISPLACED),
    ] {
        assert_eq!(bus.put("/v1/secrets/bad", &bad).await, 422);
    }
    for bad in [
        json!({"bearer": MISPLACED}),
        json!({"bearer": {"secret": MISPLACED}}),
        json!({"basic": {"username": "u", "password": MISPLACED}}),
        json!({"oauth2": {"token_url": "http://h/", "client_id": "c", "client_secret": MISPLACED}}),
    ] {
        let rule = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/", "auth": bad}]});
        assert_eq!(bus.put("/v1/buses/default/rules/bad", &rule).await, 422);
    }

    let mut sequences = Vec::new();
    for id in 0..3 {
        let event = json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "a", "data": {"n": 1}});
        let path = "/v1/buses/default/events";
        let client = reqwest::Client::new();
        let request = client
            .post(format!("{}{path}", bus.url))
            .header("content-type", "application/cloudevents+json")
            .bearer_auth(&bus.key)
            .body(event.to_string());
        let answer = send(request).await;
        assert_eq!(answer.status, 202);
        let sequence = &answer.json()["accepted"][0]["sequence"];
        sequences.push(sequence.to_string());
    }
    // Each credential arrived.
    let received = good.receives(3 * kinds.len()).await;
    let sent = |part: &dyn Fn(&Received) -> bool| received.iter().any(part);
    let basic = format!("Basic {}", BASE64_STANDARD.encode(&pair));
    assert!(sent(&|one| one.header("authorization") == basic));
    assert!(sent(
        &|one| one.header("authorization") == format!("Bearer {BEARER}")
    ));
    assert!(sent(
        &|one| one.header("authorization") == format!("Bearer {TOKEN}")
    ));
    assert!(sent(&|one| one.header("x-key") == HEADER_KEY));
    assert!(sent(&|one| one.path.contains("x-key=qu3ry")));
    assert!(sent(&|one| one
        .header("webhook-signature")
        .contains("v1a,")));
    assert!(identity.is(secure.receives(3).await[0].as_ref()));
    // 400, 401, 503 and nobody of each kind, and the stranger.
    let expected = 3 * (4 * kinds.len() + 1);
    let letters = eventually("all dead letters", async || {
        let list = bus.get("/v1/buses/default/dead-letters?limit=1000").await;
        let letters = list["dead_letters"].as_array().cloned().unwrap_or_default();
        (letters.len() >= expected).then_some(letters)
    })
    .await;
    let echoes = letters.iter().filter(|letter| {
        let error = letter["last_error"].as_str().unwrap_or_default();
        error.contains("<secret>")
    });
    assert!(
        echoes.count() >= 3 * 3 * 5,
        "the targets repeat what they got"
    );

    for letter in &letters {
        let id = letter["id"].as_str().unwrap();
        bus.get(&format!("/v1/buses/default/dead-letters/{id}"))
            .await;
    }
    for sequence in &sequences {
        let path = format!("/v1/buses/default/events/{sequence}/trace");
        let trace = bus.get(&path).await;
        let traced = trace["rules"].as_array().unwrap();
        assert!(traced.len() > 5 * kinds.len(), "{trace}");
        bus.run(&["event", "trace", sequence]);
    }
    let rules = bus.get("/v1/buses/default/rules?limit=1000").await;
    for rule in rules["rules"].as_array().unwrap() {
        let path = format!("/v1/buses/default/rules/{}", rule["name"].as_str().unwrap());
        bus.get(&path).await;
        bus.get(&format!("{path}/targets/t")).await;
        bus.ask(Method::POST, &format!("{path}/targets/t/test"), None)
            .await;
    }
    for name in secrets.keys() {
        bus.get(&format!("/v1/secrets/{name}")).await;
    }
    for path in [
        "/v1/secrets",
        "/v1/keys",
        "/v1/buses",
        "/v1/buses/default",
        "/v1/buses/default/dead-letters/groups",
        "/v1/buses/default/dead-letters/export",
        "/v1/buses/default/events?limit=1000",
        "/v1/buses/default/events/1",
        "/metrics",
        "/readyz",
        "/healthz",
        "/nowhere",
    ] {
        bus.get(path).await;
    }
    bus.run(&["key", "list"]);
    bus.run(&["secret", "list"]);
    bus.run(&["rule", "list"]);
    bus.run(&["target", "list"]);
    bus.run(&["dead-letter", "list"]);
    let id = bus.child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(asked.success());
    let end = async || bus.child.try_wait().unwrap();
    // Its grace is ten seconds, and it logs all that it does: on a busy machine that takes its time.
    if tokio::time::timeout(PATIENCE.mul_f32(0.9), eventually("the bus's end", end))
        .await
        .is_err()
    {
        let log = std::fs::read_to_string(bus.dir.path().join("stderr")).unwrap();
        let last = log.len() - log.len().min(20_000);
        panic!(
            "the bus does not end: {}",
            log.get(last..).unwrap_or_default()
        );
    }

    let mut places = vec![("an answer".to_owned(), bus.answers.clone())];
    let mut found = Vec::new();
    files(bus.dir.path(), &mut found);
    for path in found {
        places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    let log = &places
        .iter()
        .find(|(name, _)| name.ends_with("stderr"))
        .unwrap()
        .1;
    for talkative in ["hyper", "rustls", "h2::"] {
        assert!(
            holds(log, talkative.as_bytes()),
            "{talkative} logs at this level"
        );
    }
    let mut values: Vec<String> = secrets.into_values().collect();
    values.retain(|value| !value.starts_with("-----BEGIN"));
    values.push(TOKEN.to_owned());
    values.push(ROOT_KEY.to_owned());
    values.extend([key, revoked, guess].map(|key| key[17..].to_owned()));
    values.push(pair);
    values.push(hmac["whsec_".len()..].to_owned());
    values.push(ed25519["whsk_".len()..].to_owned());
    let lines = identity.key.lines().filter(|line| !line.starts_with('-'));
    values.extend(lines.filter(|line| line.len() > 16).map(str::to_owned));
    assert!(values.len() > 12);
    for value in values {
        for form in forms(&value) {
            for (place, text) in &places {
                if let Some(at) = memchr::memmem::find(text, &form) {
                    let around =
                        &text[at.saturating_sub(300)..(at + form.len() + 40).min(text.len())];
                    panic!(
                        "{value:?} is in {place}: {}",
                        String::from_utf8_lossy(around)
                    );
                }
            }
        }
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let secrets = Secrets::in_memory(Clock::system());
    let name = SecretName::new("s").unwrap();
    let text = || SecretText::new(BEARER.to_owned());
    let secret = secrets
        .set(&name, text(), std::time::Duration::ZERO)
        .unwrap();
    let config = eventyard::secret::Config {
        file: PathBuf::from("secrets.json"),
        key: KeySource::Text(text()),
    };
    let dir = TempDir::new().unwrap();
    let access = eventyard::access::Config {
        mode: Mode::Keys,
        file: dir.path().join("keys.json"),
        root_key: Some(RootKeySource::Text(SecretText::new(ROOT_KEY.to_owned()))),
        tokens: None,
    };
    let keys = Access::open(access.clone(), secrets.clone(), Clock::system()).unwrap();
    let (made, key) = keys
        .create(NewKey {
            name: KeyName::new("shop").unwrap(),
            expires_in: None,
            rate_limit: None,
            grants: Vec::new(),
        })
        .unwrap();
    let caller = keys.admit(Some(key.expose())).unwrap();
    let root = keys.admit(Some(ROOT_KEY)).unwrap();
    let shown = format!("{access:?} {keys:?} {made:?} {key:?} {caller:?} {root:?}");
    for value in [ROOT_KEY, &key.expose()[17..]] {
        for form in forms(value) {
            assert!(!holds(shown.as_bytes(), &form), "{shown}");
        }
    }
    let rule = json!({"pattern": {"type": ["a"]}, "targets": [{"id": "t", "url": "http://h/",
        "headers": {"x-token": BEARER}, "auth": {"bearer": {"secret": "s"}}}]});
    let rule = RuleDocument::parse(&rule.to_string()).unwrap();
    let shown = format!(
        "{secrets:?} {secret:?} {config:?} {:?} {:?}",
        rule.targets,
        secrets.all()
    );
    for form in forms(BEARER) {
        assert!(!holds(shown.as_bytes(), &form), "{shown}");
    }
}
