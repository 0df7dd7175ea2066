//! Follows a bus: its events as they come, over broken connections and restarts.

use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;

use super::ClientError;
use super::request::Client;
use super::types::Json;

/// A connection over which nothing has come for so long is broken: the bus says something every 15 s.
const SILENCE: Duration = Duration::from_secs(50);
/// No answer that is read to its end.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A message is an event and its place: larger than the largest event, whatever its escapes.
const MESSAGE_BYTES: usize = 32 * 1024 * 1024;

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

/// One message of an event stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    /// Its `event`; empty is `message`.
    kind: String,
    data: String,
}

/// Takes an event stream apart as it comes (WHATWG HTML, section 9.2.6). `id` is not needed: each
/// message of a bus says its place in its data.
#[derive(Debug, Default)]
struct Messages {
    bytes: Vec<u8>,
    /// Of `bytes`, so many belong to lines that were read.
    read: usize,
    begun: Message,
}

impl Messages {
    /// Adds what came; `false` when too much waits for its end.
    fn push(&mut self, part: &[u8]) -> bool {
        self.bytes.drain(..std::mem::take(&mut self.read));
        self.bytes.extend_from_slice(part);
        self.bytes.len() + self.begun.data.len() <= MESSAGE_BYTES
    }

    fn next(&mut self) -> Option<Message> {
        loop {
            let rest = &self.bytes[self.read..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            self.read += end + 1;
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if line.is_empty() {
                let message = std::mem::take(&mut self.begun);
                if message != Message::default() {
                    return Some(message);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.begun.kind),
                "data" => {
                    if !self.begun.data.is_empty() {
                        self.begun.data.push('\n');
                    }
                    self.begun.data.push_str(value);
                }
                // A comment, `id`, `retry`.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut() {
        let stream = b": hello\n\nid: 3\nevent: position\ndata: {\"sequence\":3}\n\ndata: a\r\ndata:b\n\n\ndata\n\nevent: gap\ndata: {}\n\ndata: half";
        let read = |size: usize| {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for part in stream.chunks(size) {
                assert!(messages.push(part));
                found.extend(std::iter::from_fn(|| messages.next()));
            }
            found
        };
        let message = |kind: &str, data: &str| Message {
            kind: kind.to_owned(),
            data: data.to_owned(),
        };
        let whole = read(stream.len());
        assert_eq!(
            whole,
            [
                message("position", "{\"sequence\":3}"),
                message("", "a\nb"),
                message("gap", "{}"),
            ]
        );
        for size in 1..stream.len() {
            assert_eq!(read(size), whole, "in parts of {size}");
        }
    }

    #[test]
    fn a_message_without_an_end_is_given_up() {
        let mut messages = Messages::default();
        let part = vec![b'x'; 1024 * 1024];
        let taken = (0..64).take_while(|_| messages.push(&part)).count();
        assert_eq!(taken, 32);
    }
}
