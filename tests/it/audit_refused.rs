//! What was refused is never kept: a secret in a body that was not taken shows neither in the audit's
//! answers nor in any file of the bus.

use std::path::Path;

use axum::http::Method;
use eventyard::access::{Mode, RootKeySource};
use eventyard::secret::SecretText;
use serde_json::{Value, json};

use crate::harness::{TestBus, send};

const ROOT: &str = "root-0123456789abcdef0123456789abcdef";
const SECRET: &str = "S3cr3tOfTheShop";

fn bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = [
        json!(SECRET),
        json!([SECRET]),
        json!({SECRET: 1}),
        json!({"value": SECRET, "more": 1}),
        json!({"value": SECRET, "keep_old": SECRET}),
        json!({"value": [SECRET]}),
        json!({"generate": SECRET}),
        json!({"name": format!("{SECRET} !"), "grants": [{"scope": "read"}]}),
        json!({"name": "a", "grants": [{"scope": SECRET}]}),
        json!({"name": "a", "grants": [{"scope": "publish", "pattern": {"type": SECRET}}]}),
        json!({"name": "a", "grants": [{"scope": "read"}], "rate_limit": SECRET}),
        json!({"level": format!("{SECRET}={SECRET}")}),
        json!({"retention": SECRET}),
        json!({"pattern": SECRET, "targets": [{"id": "t", "url": format!("http://h/?k={SECRET}")}]}),
        json!({"pattern": {}, "targets": [{"id": "t", "url": "http://h/", "headers": {"x-key": SECRET}}]}),
        json!({"buses": {"default": {"rules": {"r": {"headers": {"x": SECRET}}}}}}),
        json!({"buses": {SECRET: SECRET}}),
        json!({"ids": [SECRET]}),
        json!({"ids": ["1-1"], "rate": SECRET}),
        json!({"filter": {"reason": SECRET, "since": SECRET, "status": SECRET}}),
        json!({"filter": {"after": SECRET, "rule": format!("{SECRET} !")}}),
        json!({"all": true, "to": {"rule": format!("{SECRET}/"), "target": "t"}}),
    ]
    .iter()
    .map(|body| body.to_string().into_bytes())
    .collect();
    // Malformed: broken off, with something behind, and no UTF-8.
    let whole = json!({"value": SECRET}).to_string().into_bytes();
    bodies.push(whole[..whole.len() - 1].to_vec());
    bodies.push(whole[..whole.len() - 2].to_vec());
    bodies.push([&whole[..], b"}"].concat());
    bodies.push([&whole[..whole.len() - 2], b"\xff\"}"].concat());
    bodies.push(format!("value={SECRET}").into_bytes());
    bodies.push(format!(r#"{{"ids": ["{SECRET}"#).into_bytes());
    bodies
}

fn check_files(folder: &Path, looked_at: &mut u64) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_files(&path, looked_at);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        *looked_at += bytes.len() as u64;
        let mut windows = bytes.windows(SECRET.len());
        let found = windows.any(|window| window == SECRET.as_bytes());
        assert!(!found, "the secret is in {}", path.display());
    }
}

#[tokio::test]
async fn what_was_refused_is_not_kept() {
    let builder = TestBus::builder().config(|config| {
        config.access.mode = Mode::Keys;
        let root = SecretText::new(ROOT.to_owned());
        config.access.root_key = Some(RootKeySource::Text(root));
    });
    let bus = builder.start().await;
    let reader = json!({"name": "reader", "grants": [{"scope": "read"}]});
    let request = bus.request(Method::POST, "/v1/keys").bearer_auth(ROOT);
    let made = send(request.json(&reader)).await.json();
    let reader = made["key"].as_str().unwrap().to_owned();
    let routes = [
        (Method::PUT, "/v1/secrets/s"),
        (Method::POST, "/v1/keys"),
        (Method::PUT, "/v1/log-level"),
        (Method::PUT, "/v1/buses/b"),
        (Method::PUT, "/v1/buses/default/rules/r"),
        (Method::POST, "/v1/apply"),
        (Method::POST, "/v1/buses/default/dead-letters/redrive"),
        (Method::POST, "/v1/buses/default/dead-letters/purge"),
    ];
    let mut refused = 0;
    for (method, path) in &routes {
        for body in bodies() {
            // A stranger, one who may not, and one who may.
            for key in ["nobody", &reader, ROOT] {
                let request = bus.request(method.clone(), path).bearer_auth(key);
                let answer = send(request.body(body.clone())).await;
                let text = String::from_utf8_lossy(&body);
                let (status, may) = (answer.status.as_u16(), key == ROOT);
                let expected = match may {
                    true => [400, 422],
                    false => [401, 403],
                };
                assert!(
                    expected.contains(&status),
                    "{method} {path} {text}: {status}"
                );
                refused += u64::from(may);
            }
        }
    }
    let (mut path, mut written) = ("/v1/audit?limit=1000".to_owned(), 0);
    loop {
        let request = bus.request(Method::GET, &path).bearer_auth(ROOT);
        let answer = send(request).await;
        let text = answer.text();
        assert!(!text.contains(SECRET), "the secret is in {text}");
        let page = answer.json();
        let entries = page["entries"].as_array().unwrap().iter();
        let of_root = entries.filter(|entry| entry["actor"]["kind"] == "root");
        written += of_root.count() as u64;
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/audit?limit=1000&after={next}"),
            None => break,
        }
    }
    // The key that was made, too.
    assert_eq!(written, refused + 1);
    let asked = bus
        .request(Method::GET, "/v1/audit?limit=1")
        .bearer_auth(ROOT);
    let entry: Value = send(asked).await.json()["entries"][0].clone();
    assert!(entry["asked"]["left_out_bytes"].is_u64(), "{entry}");
    let data = bus.drain().await;
    let mut looked_at = 0;
    check_files(data.path(), &mut looked_at);
    assert!(looked_at > 10_000, "{looked_at}");
}
