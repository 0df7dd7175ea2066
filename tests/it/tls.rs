//! Certificates: private authorities, identities of our own, their rotation, and what goes wrong.

use serde_json::{Value, json};
use tokio_rustls::rustls::{ALL_VERSIONS, version::TLS12, version::TLS13};

use crate::harness::{Authority, TestBus, TestTarget, TlsTarget, eventually};

const TARGET: &str = "/v1/buses/default/rules/r/targets/t";
const HOST: &str = "127.0.0.1";

async fn set(bus: &TestBus, name: &str, value: &str) {
    let body = json!({"value": value, "keep_old": "0s"});
    let answer = bus.put(&format!("/v1/secrets/{name}"), &body).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

async fn put(bus: &TestBus, url: &str, settings: &Value) {
    let mut element = json!({"id": "t", "url": url,
        "retry": {"initial_delay": "10ms", "max_delay": "10ms", "max_attempts": 1000}});
    for (field, value) in settings.as_object().unwrap() {
        element[field] = value.clone();
    }
    bus.put_rule(
        "r",
        &json!({"pattern": {"type": ["a"]}, "targets": [element]}),
    )
    .await;
}

async fn publish(bus: &TestBus, id: &str) {
    bus.publish(&json!({"specversion": "1.0", "id": id, "source": "/s", "type": "a"}))
        .await;
}

/// Waits for the target's error to say this; nothing else of a secret may stand in it.
async fn fails_with(bus: &TestBus, part: &str) {
    let error = eventually(part, async || {
        let error = bus.get(TARGET).await.json()["last_error"].to_string();
        error.contains(part).then_some(error)
    })
    .await;
    assert!(!error.contains("BEGIN"), "{error}");
}

fn named(ca: bool, identity: bool) -> Value {
    let mut tls = json!({});
    if ca {
        tls["ca"] = json!({"secret": "ca"});
    }
    if identity {
        tls["identity"] = json!({"secret": "identity"});
    }
    json!({ "tls": tls })
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_dropped_when_it_changes() {
    let (authority, other) = (Authority::new(), Authority::new());
    let target = TlsTarget::start(&authority.issue(HOST), None, ALL_VERSIONS, "");
    let bus = TestBus::start().await;
    put(&bus, &target.url(), &json!({})).await;
    publish(&bus, "1").await;
    fails_with(&bus, "name the CA's certificate in `tls.ca`").await;

    put(&bus, &target.url(), &named(true, false)).await;
    fails_with(&bus, "eventyard secret set ca").await;
    set(&bus, "ca", &authority.pem()).await;
    target.receives(1).await;
    let used = bus.get("/v1/secrets/ca").await.json();
    assert_eq!(used["used_by"], json!(["default/r/t"]));

    // The connection that is open was made with the authority of before, and is not used again.
    set(&bus, "ca", &other.pem()).await;
    publish(&bus, "2").await;
    fails_with(&bus, "the issuer of its certificate is not trusted").await;
    set(&bus, "ca", &format!("{}{}", other.pem(), authority.pem())).await;
    target.receives(2).await;
}

#[tokio::test]
async fn an_identity_is_shown_and_changes_without_a_restart() {
    let (authority, clients) = (Authority::new(), Authority::new());
    for version in [&TLS13, &TLS12] {
        let target = TlsTarget::start(&authority.issue(HOST), Some(&clients), &[version], "");
        let bus = TestBus::start().await;
        set(&bus, "ca", &authority.pem()).await;
        put(&bus, &target.url(), &named(true, false)).await;
        publish(&bus, "1").await;
        fails_with(&bus, "name one in `tls.identity`").await;

        let first = clients.issue("first");
        set(&bus, "identity", &first.pem()).await;
        put(&bus, &target.url(), &named(true, true)).await;
        let shown = target.receives(1).await;
        assert!(first.is(shown[0].as_ref()), "{version:?}");

        let second = clients.issue("second");
        set(&bus, "identity", &second.pem()).await;
        publish(&bus, "2").await;
        let shown = target.receives(2).await;
        assert!(second.is(shown[1].as_ref()), "{version:?}");

        // One that the target does not know.
        set(&bus, "identity", &authority.issue("stranger").pem()).await;
        publish(&bus, "3").await;
        fails_with(&bus, "refuses the client certificate of `tls.identity`").await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new();
    let other_host = authority.issue("billing.example.com");
    let expired = authority.issue_with(HOST, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let bus = TestBus::start().await;
    set(&bus, "ca", &authority.pem()).await;
    for (issued, part) in [
        (other_host, "for another name than the host"),
        (expired, "has expired"),
    ] {
        let target = TlsTarget::start(&issued, None, ALL_VERSIONS, "");
        put(&bus, &target.url(), &named(true, false)).await;
        publish(&bus, part).await;
        fails_with(&bus, part).await;
    }
    let plain = TestTarget::accepting();
    put(
        &bus,
        &plain.url().replace("http:", "https:"),
        &named(true, false),
    )
    .await;
    fails_with(&bus, "does not speak TLS").await;
}

#[tokio::test]
async fn a_secret_that_is_no_certificate_uses_up_no_attempts_and_is_not_told() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let target = TlsTarget::start(&authority.issue(HOST), Some(&clients), ALL_VERSIONS, "");
    let bus = TestBus::start().await;
    put(&bus, &target.url(), &named(true, true)).await;
    publish(&bus, "1").await;
    let (one, two) = (clients.issue("one"), clients.issue("two"));
    let broken = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    set(&bus, "identity", &one.pem()).await;
    for (name, value, part) in [
        ("ca", "hunter2", "`ca` holds no certificate in PEM"),
        ("ca", broken, "`ca` holds a certificate that does not read"),
        ("ca", &authority.pem(), ""),
        (
            "identity",
            &one.certificate,
            "`identity` holds no certificate with its private key",
        ),
        (
            "identity",
            &format!("{}{}", one.certificate, two.key),
            "does not belong to its first certificate",
        ),
    ] {
        set(&bus, name, value).await;
        if part.is_empty() {
            target.receives(1).await;
            publish(&bus, "2").await;
            target.receives(2).await;
        } else {
            publish(&bus, part).await;
            fails_with(&bus, part).await;
        }
    }
    let health = bus.get(TARGET).await.json();
    assert_eq!(health["dead_lettered"], 0);
    assert_eq!(health["breaker"], "closed");
}

#[tokio::test]
async fn a_token_server_of_the_same_house_is_trusted_too_and_sees_no_identity() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let token = r#"{"access_token": "t", "token_type": "Bearer", "expires_in": 3600}"#;
    let tokens = TlsTarget::start(&authority.issue(HOST), None, ALL_VERSIONS, token);
    let target = TlsTarget::start(&authority.issue(HOST), Some(&clients), ALL_VERSIONS, "");
    let bus = TestBus::start().await;
    set(&bus, "ca", &authority.pem()).await;
    set(&bus, "client", "p").await;
    let identity = clients.issue("shop");
    set(&bus, "identity", &identity.pem()).await;
    let mut settings = named(true, true);
    settings["auth"] = json!({"oauth2": {"token_url": tokens.url(), "client_id": "c",
        "client_secret": {"secret": "client"}}});
    put(&bus, &target.url(), &settings).await;
    publish(&bus, "1").await;
    assert!(identity.is(target.receives(1).await[0].as_ref()));
    assert_eq!(tokens.receives(1).await, [None]);
}
