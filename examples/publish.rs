//! Publishes one event, and tries again while the bus is away.
//!
//! ```sh
//! eventyard quickstart &
//! cargo run --example publish
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use eventyard::client::Client;
use eventyard::event::Event;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("EVENTYARD_URL");
    let client = Client::new(url.as_deref().unwrap_or("http://127.0.0.1:8080"))?;
    // A source and an id name an event: published again, it is a duplicate and not a second one.
    let id = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "order-1".to_owned());
    let event = Event::builder(&id, "/example/shop", "com.example.order.placed")
        .json(r#"{"order": 1, "total": 120.50}"#)
        .build()?;
    let patience = Duration::from_secs(30);
    let accepted = client.publish_until("default", event, patience).await?;
    let seen = if accepted.duplicate {
        ", and was there before"
    } else {
        ""
    };
    println!(
        "{} is on disk as number {}{seen}",
        accepted.id, accepted.sequence
    );
    Ok(())
}
