//! Takes a stream of server-sent events apart.

/// A message is an event and its place: larger than the largest event, whatever its escapes.
const MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// One message of an event stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its `event`; empty is `message`.
    pub(super) kind: String,
    pub(super) data: String,
}

/// Takes an event stream apart as it comes (WHATWG HTML, section 9.2.6). `id` is not needed: each
/// message of a bus says its place in its data.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// Of `bytes`, so many belong to lines that were read.
    read: usize,
    begun: Message,
}

impl Messages {
    /// Adds what came; `false` when too much waits for its end.
    pub(super) fn push(&mut self, part: &[u8]) -> bool {
        self.bytes.drain(..std::mem::take(&mut self.read));
        self.bytes.extend_from_slice(part);
        self.bytes.len() + self.begun.data.len() <= MESSAGE_BYTES
    }

    pub(super) fn next(&mut self) -> Option<Message> {
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
