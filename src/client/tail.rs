//! Follows a bus: its events as they come, over broken connections and restarts.

use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;

use super::ClientError;
use super::messages::{Message, Messages};
use super::request::Client;
use super::types::Json;

/// A connection over which nothing has come for so long is broken: the bus says something every 15 s.
const SILENCE: Duration = Duration::from_secs(50);
/// No answer that is read to its end.
pub(super) const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What to follow.
#[derive(Debug, Clone, Default)]
pub struct TailOptions {
    /// An event pattern; all events without it.
    pub pattern: Option<String>,
    /// Begin behind this sequence (0: with the oldest that is kept); without it with the next event.
    pub after: Option<u64>,
}

/// What comes of following a bus.
#[derive(Debug, Clone)]
pub enum TailMessage {
    /// An event with its place: `sequence`, `time`, `bus`, `event`.
    Event {
        /// Its sequence.
        sequence: u64,
        /// The document.
        shown: Json,
    },
    /// Everything up to this sequence was looked at.
    Position(u64),
    /// What lies between these is no longer in the log: it was not seen, and never will be.
    Gap {
        /// The last that was looked at.
        after: u64,
        /// The last of what is gone.
        through: u64,
    },
}

/// Follows a bus; see [`Client::tail`].
#[derive(Debug)]
pub struct Tail {
    client: Client,
    bus: String,
    pattern: Option<String>,
    /// Everything up to here has been given out.
    after: Option<u64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    response: Response,
    read: Messages,
}

impl Client {
    /// Follows a bus. Nothing is asked before the first [`Tail::next`].
    #[must_use]
    pub fn tail(&self, bus: &str, options: TailOptions) -> Tail {
        Tail {
            client: self.clone(),
            bus: bus.to_owned(),
            pattern: options.pattern,
            after: options.after,
            open: None,
        }
    }
}

impl Tail {
    /// The next message. After [`ClientError::Unreachable`] it may be called again, after a pause:
    /// it connects anew and goes on where it was. Cancelled, it loses nothing.
    pub async fn next(&mut self) -> Result<TailMessage, ClientError> {
        loop {
            if let Some(message) = self.open.as_mut().and_then(|open| open.read.next()) {
                if let Some(message) = self.understand(message)? {
                    return Ok(message);
                }
                continue;
            }
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let open = self.connect().await?;
                    self.open.insert(open)
                }
            };
            let part = tokio::time::timeout(SILENCE, open.response.chunk()).await;
            let broken = match part {
                Ok(Ok(Some(part))) => match open.read.push(&part) {
                    true => continue,
                    false => return Err(self.client.not_a_bus("a message without an end")),
                },
                Ok(Ok(None)) => "the bus ended the connection".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("nothing came for {} s", SILENCE.as_secs()),
            };
            self.open = None;
            return Err(ClientError::Unreachable {
                url: self.client.base().to_owned(),
                reason: broken,
            });
        }
    }

    /// Everything up to here has been given out; `None` before the first message.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.after
    }

    async fn connect(&self) -> Result<Open, ClientError> {
        let mut query = Vec::new();
        if let Some(pattern) = &self.pattern {
            query.push(("pattern", pattern.clone()));
        }
        if let Some(after) = self.after {
            query.push(("after", after.to_string()));
        }
        let request = self
            .client
            .get_with(&["buses", &self.bus, "tail"], &query)?;
        let response = self.client.ok(request.timeout(NEVER)).await?;
        let kind = response.headers().get("content-type");
        if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
            return Err(self.client.not_a_bus("a tail is no event stream"));
        }
        let read = Messages::default();
        Ok(Open { response, read })
    }

    fn understand(&mut self, message: Message) -> Result<Option<TailMessage>, ClientError> {
        #[derive(Deserialize)]
        struct Place {
            sequence: u64,
        }
        #[derive(Deserialize)]
        struct Gap {
            after: u64,
            through: u64,
        }
        let bad = |error: serde_json::Error| self.client.not_a_bus(&format!("a tail: {error}"));
        let data = message.data.as_str();
        let understood = match message.kind.as_str() {
            "" | "message" => {
                let Place { sequence } = serde_json::from_str(data).map_err(bad)?;
                let shown = serde_json::from_str(data).map_err(bad)?;
                self.after = Some(sequence);
                TailMessage::Event { sequence, shown }
            }
            "position" => {
                let Place { sequence } = serde_json::from_str(data).map_err(bad)?;
                self.after = Some(sequence);
                TailMessage::Position(sequence)
            }
            "gap" => {
                let Gap { after, through } = serde_json::from_str(data).map_err(bad)?;
                self.after = Some(through);
                TailMessage::Gap { after, through }
            }
            // Of a newer bus.
            _ => return Ok(None),
        };
        Ok(Some(understood))
    }
}
