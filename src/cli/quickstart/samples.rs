//! The events that quickstart publishes.

use serde_json::{Value, json};

use crate::client::Json;

/// One event and what is told of it.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) story: &'static str,
    kind: &'static str,
    source: &'static str,
    data: Value,
}

impl Sample {
    /// The event in the JSON event format, with an id of its own.
    pub(super) fn event(&self) -> String {
        json!({
            "specversion": "1.0",
            "id": format!("{:016x}", fastrand::u64(..)),
            "source": self.source,
            "type": self.kind,
            "datacontenttype": "application/json",
            "data": self.data,
        })
        .to_string()
    }
}

pub(super) fn all() -> Vec<Sample> {
    let order = "com.example.order.placed";
    vec![
        Sample {
            story: "A small order: only the log of all orders wants it",
            kind: order,
            source: "/shop",
            data: json!({ "order": "A-1", "total": 20 }),
        },
        Sample {
            story: "A large order: billing wants it too",
            kind: order,
            source: "/shop",
            data: json!({ "order": "A-2", "total": 250 }),
        },
        Sample {
            story: "An order from a customer in the EU",
            kind: order,
            source: "/shop",
            data: json!({
                "order": "A-3",
                "total": 35,
                "customer": { "region": "eu-west", "email": "ana@example.com" }
            }),
        },
        Sample {
            story: "The weather, which nobody asked for",
            kind: "com.example.weather.changed",
            source: "/sky",
            data: json!({ "now": "rain" }),
        },
    ]
}

/// Sequence and event out of an item of the bus's list.
pub(super) fn read(item: &str) -> Option<(u64, String)> {
    #[derive(serde::Deserialize)]
    struct Item {
        sequence: u64,
        event: Json,
    }
    let item: Item = serde_json::from_str(item).ok()?;
    Some((item.sequence, item.event.get().to_owned()))
}
