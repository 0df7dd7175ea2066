//! Makes a rule with a target that is pulled, and works on what comes for it.
//!
//! ```sh
//! eventyard quickstart &
//! cargo run --example subscribe        # and in another terminal:
//! cargo run --example publish order-2
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use anyhow::Context as _;
use eventyard::client::{Client, NackOptions, SubscribeOptions};
use eventyard::event::Event;

const RULE: &str = r#"{
  "description": "Orders for the worker, which asks for them",
  "pattern": {"type": [{"prefix": "com.example.order."}]},
  "targets": [{"id": "worker", "pull": {}, "retry": {"max_attempts": 5}}]
}"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("EVENTYARD_URL");
    let client = Client::new(url.as_deref().unwrap_or("http://127.0.0.1:8080"))?;
    client.put_rule("default", "worker", RULE, None).await?;
    let options = SubscribeOptions::default();
    let mut deliveries = client.subscribe("default", "worker", "worker", options);
    // How many to work on; without a number until it is interrupted.
    let most: Option<usize> = std::env::args()
        .nth(1)
        .map(|text| text.parse())
        .transpose()
        .context("how many events is a whole number")?;
    let mut done = 0;
    while most.is_none_or(|most| done < most) {
        let delivery = deliveries.next().await?;
        // The lease is extended for as long as this takes.
        match work(delivery.event()).await {
            Ok(()) => {
                println!(
                    "{} is done (attempt {})",
                    delivery.event().id(),
                    delivery.attempt()
                );
                // Once this returns `true` it does not come again, whatever happens to us or the bus.
                delivery.ack().await?;
                done += 1;
            }
            Err(error) => {
                let options = NackOptions {
                    error: Some(error.to_string()),
                    ..NackOptions::default()
                };
                delivery.nack(&options).await?;
            }
        }
    }
    Ok(())
}

async fn work(event: &Event) -> anyhow::Result<()> {
    let order: serde_json::Value = serde_json::from_slice(&event.data_bytes())?;
    println!("{}: {order}", event.kind());
    Ok(())
}
