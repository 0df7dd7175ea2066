//! Tokens of an identity provider, beside API keys: what they allow, and keys that change.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::Router;
use axum::http::Method;
use axum::routing::get;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use eventyard::access::{Mode, SignersSource, TokenConfig};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Answer, TestBus, eventually, send};

const ISSUER: &str = "https://id.example.com";
/// Later than any test.
const FAR: u64 = 4_000_000_000;

struct Provider {
    pair: Ed25519KeyPair,
    kid: &'static str,
}

impl Provider {
    fn new(kid: &'static str) -> Provider {
        let pair = Ed25519KeyPair::generate().unwrap();
        Provider { pair, kid }
    }

    fn keys(&self) -> String {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x}]}).to_string()
    }

    fn token(&self, scope: &str, exp: u64) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.kid});
        let claims = json!({"iss": ISSUER, "aud": "bus", "sub": "ci@example.com", "exp": exp, "scope": scope});
        let encode = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn start(signers: SignersSource) -> TestBus {
    let builder = TestBus::builder().config(move |config| {
        config.access.mode = Mode::Keys;
        config.access.tokens = Some(TokenConfig {
            signers,
            issuer: ISSUER.to_owned(),
            audience: "bus".to_owned(),
            scope_claim: "scope".to_owned(),
        });
    });
    builder.start().await
}

async fn ask(bus: &TestBus, method: Method, path: &str, token: &str, body: Value) -> Answer {
    send(bus.request(method, path).bearer_auth(token).json(&body)).await
}

#[tokio::test]
async fn a_token_may_what_its_scopes_say_on_the_buses_that_they_name() {
    let provider = Provider::new("a");
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("keys.json");
    std::fs::write(&path, provider.keys()).unwrap();
    let bus = start(SignersSource::File(path)).await;
    let admin = provider.token("eventyard:manage", FAR);
    for name in ["orders", "others"] {
        let put = ask(
            &bus,
            Method::PUT,
            &format!("/v1/buses/{name}"),
            &admin,
            json!({}),
        )
        .await;
        assert_eq!(put.status, 201, "{}", put.text());
    }
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    let publish = async |bus_name: &str, token: &str| {
        let request = bus.request(Method::POST, &format!("/v1/buses/{bus_name}/events"));
        let request = request
            .bearer_auth(token)
            .header("content-type", "application/cloudevents+json");
        send(request.body(event.to_string())).await.status.as_u16()
    };
    let shop = provider.token("openid eventyard:publish:orders", FAR);
    assert_eq!(publish("orders", &shop).await, 202);
    assert_eq!(publish("others", &shop).await, 403);
    assert_eq!(publish("orders", &admin).await, 403);
    let reader = provider.token("eventyard:read:orders", FAR);
    for (path, status) in [
        ("/v1/buses/orders/rules", 200),
        ("/v1/buses/others/rules", 403),
        ("/v1/keys", 403),
    ] {
        assert_eq!(
            ask(&bus, Method::GET, path, &reader, json!({}))
                .await
                .status,
            status,
            "{path}"
        );
    }
    let delete = ask(&bus, Method::DELETE, "/v1/buses/orders", &reader, json!({})).await;
    assert_eq!(delete.problem(403)["scope"], "manage");
    // Replies to another bus need `publish` there of a token too.
    let manager = provider.token("eventyard:manage:orders", FAR);
    let rule = json!({"pattern": {"type": ["t"]}, "targets": [{"id": "t", "url": "http://127.0.0.1:9/", "reply": {"bus": "others"}}]});
    let put = ask(
        &bus,
        Method::PUT,
        "/v1/buses/orders/rules/r",
        &manager,
        rule,
    )
    .await;
    assert_eq!(put.problem(403)["scope"], "publish");

    let nothing = provider.token("openid", FAR);
    ask(&bus, Method::GET, "/v1/buses", &nothing, json!({}))
        .await
        .problem(403);
    let expired = provider.token("eventyard:read", 1_000);
    let refused = ask(&bus, Method::GET, "/v1/buses", &expired, json!({})).await;
    assert!(refused.header("www-authenticate").contains("invalid_token"));
    let detail = refused.problem(401)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("expired at 1970"), "{detail}");
    let stranger = Provider::new("a").token("eventyard:manage", FAR);
    ask(&bus, Method::GET, "/v1/buses", &stranger, json!({}))
        .await
        .problem(401);

    let audit = ask(
        &bus,
        Method::GET,
        "/v1/audit?actor=ci@example.com",
        &admin,
        json!({}),
    )
    .await;
    let entries = audit.json()["entries"].clone();
    let newest = &entries[0];
    assert_eq!(
        newest["actor"],
        json!({"kind": "token", "name": "ci@example.com"})
    );
    let text = entries.to_string();
    assert!(!text.contains(&admin[..40]), "{text}");
}

#[tokio::test]
async fn a_provider_may_change_its_keys_and_made_up_names_do_not_make_the_bus_ask_again() {
    let (old, new) = (Provider::new("old"), Provider::new("new"));
    let (keys, asked) = (
        Arc::new(Mutex::new(old.keys())),
        Arc::new(AtomicUsize::new(0)),
    );
    let (shown, counted) = (Arc::clone(&keys), Arc::clone(&asked));
    let answer = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let keys = shown.lock().clone();
        async move { keys }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/keys", get(answer)))
            .await
            .unwrap();
    });
    let bus = start(SignersSource::parse(&url).unwrap()).await;
    eventually("the keys were fetched at the start", async || {
        let token = old.token("eventyard:read", FAR);
        let is_taken = bus
            .request(Method::GET, "/v1/buses")
            .bearer_auth(token)
            .send()
            .await;
        let is_taken = is_taken.unwrap().status() == 200;
        (asked.load(Ordering::Relaxed) >= 1 && is_taken).then_some(())
    })
    .await;

    *keys.lock() = new.keys();
    let before = asked.load(Ordering::Relaxed);
    // In one process the first may have been learned by a token already.
    let token = new.token("eventyard:read", FAR);
    let first = ask(&bus, Method::GET, "/v1/buses", &token, json!({})).await;
    if before == 1 {
        assert_eq!(first.status, 200, "{}", first.text());
        let old_token = old.token("eventyard:read", FAR);
        ask(&bus, Method::GET, "/v1/buses", &old_token, json!({}))
            .await
            .problem(401);
    }
    for _ in 0..20 {
        let made_up = Provider::new("made-up").token("eventyard:manage", FAR);
        ask(&bus, Method::GET, "/v1/buses", &made_up, json!({}))
            .await
            .problem(401);
    }
    assert!(asked.load(Ordering::Relaxed) <= 2, "{asked:?}");
    serving.abort();
}
