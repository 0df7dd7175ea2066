//! The description as a page: one file, no request but for the document itself.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
const FRAME: &str = include_str!("page/frame.html");

/// `GET /docs`
pub(in crate::api) async fn page() -> impl IntoResponse {
    static PAGE: LazyLock<String> = LazyLock::new(whole);
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(policy);
    let headers: [(HeaderName, HeaderValue); 4] = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, PAGE.as_str())
}

fn whole() -> String {
    FRAME
        .replace("/*style*/", STYLE)
        .replace("/*script*/", SCRIPT)
}

/// Only this style and this script, and nothing from elsewhere: a key may be typed in here.
fn policy() -> HeaderValue {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT),
    );
    HeaderValue::try_from(text).expect("a policy is ASCII")
}
