//! Interim answers of HTTP/1 (1xx; RFC 9110, section 15.2), counted as their bytes come.

use crate::limits;

/// More came before the answer than [`limits::INTERIM_ANSWERS`] or [`limits::INTERIM_BYTES`] allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it sent more than {} interim answers (1xx), or {} bytes of them, and no final one",
    limits::INTERIM_ANSWERS,
    limits::INTERIM_BYTES
)]
pub(super) struct TooManyInterim;

/// `HTTP/1.1 100`: up to here a head does not show which kind it is.
const STATUS_END: usize = 12;

/// What has come since the last request.
#[derive(Debug, Default)]
pub(super) struct Interim {
    place: Place,
    answers: usize,
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a head's first bytes.
    Start { read: [u8; STATUS_END], len: usize },
    /// Behind them in an interim answer, which ends with an empty line.
    Head { line_is_empty: bool },
    /// In or behind the final answer.
    Final,
}

impl Default for Place {
    fn default() -> Place {
        Place::Start {
            read: [0; STATUS_END],
            len: 0,
        }
    }
}

impl Interim {
    /// Whether the final answer has begun.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.place, Place::Final)
    }

    /// Something was sent: if an answer was at hand, this begins the next request.
    pub(super) fn wrote(&mut self) {
        if self.is_over() {
            *self = Interim::default();
        }
    }

    /// Looks at bytes that were read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), TooManyInterim> {
        for &byte in bytes {
            self.place = match self.place {
                Place::Final => return Ok(()),
                // Empty lines before a head are passed over, as the client does.
                Place::Start { len: 0, .. } if matches!(byte, b'\r' | b'\n') => self.place,
                Place::Start { mut read, len } => {
                    read[len] = byte;
                    let len = len + 1;
                    match len == STATUS_END {
                        false => Place::Start { read, len },
                        true if is_interim(&read) => Place::Head {
                            line_is_empty: false,
                        },
                        true => Place::Final,
                    }
                }
                Place::Head {
                    line_is_empty: true,
                } if byte == b'\n' => {
                    self.answers += 1;
                    Place::default()
                }
                Place::Head { .. } if byte == b'\n' => Place::Head {
                    line_is_empty: true,
                },
                Place::Head { line_is_empty } => Place::Head {
                    line_is_empty: line_is_empty && byte == b'\r',
                },
            };
            self.bytes += 1;
            if self.answers > limits::INTERIM_ANSWERS || self.bytes > limits::INTERIM_BYTES {
                return Err(TooManyInterim);
            }
        }
        Ok(())
    }
}

/// `101` switches protocols, and is final (RFC 9110, section 15.2.2).
fn is_interim(start: &[u8; STATUS_END]) -> bool {
    start.starts_with(b"HTTP/1.") && start[8..10] == *b" 1" && start[10..] != *b"01"
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

    /// In pieces of every size, or the first of them that is refused.
    fn read_in_pieces(bytes: &[u8]) -> Result<Interim, TooManyInterim> {
        let mut whole = Interim::default();
        let verdict = whole.read(bytes);
        for size in 1..bytes.len() {
            let mut interim = Interim::default();
            let pieces = bytes.chunks(size).try_for_each(|piece| interim.read(piece));
            assert_eq!(pieces, verdict, "in pieces of {size}");
            assert_eq!(interim.is_over(), whole.is_over(), "in pieces of {size}");
        }
        verdict.map(|()| whole)
    }

    #[test]
    fn a_few_come_before_the_answer_and_none_after_it_counts() {
        let hints = b"\r\nHTTP/1.1 103 Early Hints\nlink: </a>\n\n";
        let mut interim = read_in_pieces(&[CONTINUE, hints, OK].concat()).unwrap();
        assert!(interim.is_over());
        assert_eq!(interim.read(&CONTINUE.repeat(100)), Ok(()), "a body");
        interim.wrote();
        assert!(
            !interim.is_over(),
            "the next request waits for the next answer"
        );
        assert_eq!(interim.answers, 0);
    }

    #[test]
    fn too_many_are_refused_and_so_are_too_large_ones() {
        let allowed = CONTINUE.repeat(limits::INTERIM_ANSWERS);
        assert!(read_in_pieces(&allowed).is_ok());
        assert!(read_in_pieces(&[&allowed, OK].concat()).unwrap().is_over());
        assert_eq!(
            read_in_pieces(&[&allowed, CONTINUE].concat()).unwrap_err(),
            TooManyInterim
        );
        let mut interim = Interim::default();
        interim
            .read(b"HTTP/1.1 102 Processing\r\nx-large: ")
            .unwrap();
        let large = vec![b'x'; limits::INTERIM_BYTES];
        assert_eq!(interim.read(&large), Err(TooManyInterim));
    }

    #[test]
    fn a_request_that_goes_on_while_interim_answers_come_starts_no_new_count() {
        let mut interim = Interim::default();
        for _ in 0..limits::INTERIM_ANSWERS {
            interim.read(CONTINUE).unwrap();
            interim.wrote();
        }
        assert_eq!(interim.read(CONTINUE), Err(TooManyInterim));
    }

    #[test]
    fn what_is_final_is_final() {
        for text in [
            "HTTP/1.1 101 Switching",
            "HTTP/1.0 500 Oops",
            "SSH-2.0-OpenSSH",
        ] {
            assert!(read_in_pieces(text.as_bytes()).unwrap().is_over(), "{text}");
        }
    }
}
