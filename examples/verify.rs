//! A receiver of signed deliveries that lets nobody else in.
//!
//! It sets a signing secret, makes a rule that sends to itself, and verifies what comes.
//!
//! ```sh
//! eventyard quickstart &
//! cargo run --example verify           # and in another terminal:
//! cargo run --example publish order-3
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use eventyard::client::Client;
use eventyard::clock::Clock;
use eventyard::webhook::Verifying;
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("EVENTYARD_URL");
    let client = Client::new(url.as_deref().unwrap_or("http://127.0.0.1:8080"))?;
    // The bus makes a key and shows it this once.
    let made = client
        .put_secret("example-signing-key", &json!({"generate": "hmac"}))
        .await?;
    let made: serde_json::Value = serde_json::from_str(made.get())?;
    let key = made["value"].as_str().context("the bus shows no key")?;
    let keys = Arc::new(Verifying::with_keys([key])?);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let rule = json!({
        "pattern": {"type": [{"prefix": "com.example.order."}]},
        "targets": [{
            "id": "verify",
            "url": format!("http://{}/", listener.local_addr()?),
            "signing": {"secret": "example-signing-key"},
        }],
    });
    client
        .put_rule("default", "verify", &rule.to_string(), None)
        .await?;
    let routes = Router::new().route("/", post(receive)).with_state(keys);
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn receive(
    State(keys): State<Arc<Verifying>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let now = Clock::system().now().as_millis() / 1_000;
    let verdict = keys.verify(
        header("webhook-id"),
        header("webhook-timestamp"),
        header("webhook-signature"),
        // As it came: a body that was read and written again has other bytes.
        &body,
        now,
    );
    match verdict {
        Ok(()) => {
            println!(
                "{}: {}",
                header("webhook-id"),
                String::from_utf8_lossy(&body)
            );
            StatusCode::NO_CONTENT
        }
        Err(error) => {
            println!("somebody else: {error}");
            StatusCode::FORBIDDEN
        }
    }
}
