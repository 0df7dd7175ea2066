//! Publishes many events in batches.
//!
//! ```sh
//! eventyard quickstart &
//! cargo run --release --example batch 10000
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, Instant};

use anyhow::Context as _;
use eventyard::client::Client;
use eventyard::event::{Event, InvalidEvent};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("EVENTYARD_URL");
    let client = Client::new(url.as_deref().unwrap_or("http://127.0.0.1:8080"))?;
    let many: usize = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |text| text.parse())
        .context("how many events is a whole number")?;
    let run = std::process::id();
    let events = (0..many)
        .map(|n| {
            Event::builder(
                &format!("{run}-{n}"),
                "/example/meter",
                "com.example.reading",
            )
            .json(format!(r#"{{"reading": {n}}}"#))
            .build()
        })
        .collect::<Result<Vec<Event>, InvalidEvent>>()?;
    let started = Instant::now();
    let patience = Duration::from_secs(30);
    let accepted = client.publish_all("default", events, patience).await?;
    println!(
        "{} events are on disk after {:.0?}",
        accepted.len(),
        started.elapsed()
    );
    Ok(())
}
