//! The smallest HTTP/1.1 client that keeps a connection: prebuilt bytes out, a status back. The load
//! generator shares the machine with the server it measures, so it must cost next to nothing.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest head that is read; more is taken for a broken peer.
const HEAD_BYTES: usize = 64 * 1024;

/// One kept-alive connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Connection {
    pub(super) async fn open(addr: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            buffer: BytesMut::with_capacity(4 * 1024),
        })
    }

    /// Sends one request and reads its whole answer; returns the status.
    pub(super) async fn call(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let head_bytes = read_head(&mut self.stream, &mut self.buffer)
            .await?
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = &self.buffer[..head_bytes];
        let status = status(head)?;
        let body_bytes = content_length(head)?;
        self.buffer.advance(head_bytes);
        skip_body(&mut self.stream, &mut self.buffer, body_bytes).await?;
        Ok(status)
    }
}

/// Reads until a whole head is in the buffer; its length, or `None` when the peer closed before it.
pub(super) async fn read_head(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
) -> io::Result<Option<usize>> {
    let mut searched = 0;
    loop {
        if let Some(end) = memmem::find(&buffer[searched..], b"\r\n\r\n") {
            return Ok(Some(searched + end + 4));
        }
        if buffer.len() > HEAD_BYTES {
            return Err(invalid("the head has no end"));
        }
        // The end may straddle two reads.
        searched = buffer.len().saturating_sub(3);
        if stream.read_buf(buffer).await? == 0 {
            return match buffer.is_empty() {
                true => Ok(None),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
}

/// Reads and forgets a body.
pub(super) async fn skip_body(
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    mut body_bytes: usize,
) -> io::Result<()> {
    loop {
        let here = body_bytes.min(buffer.len());
        buffer.advance(here);
        body_bytes -= here;
        if body_bytes == 0 {
            return Ok(());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn status(head: &[u8]) -> io::Result<u16> {
    head.strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .ok_or_else(|| invalid("the answer does not start with a status line"))
}

/// The body's length: 0 when none is announced; chunked bodies are beyond this client.
pub(super) fn content_length(head: &[u8]) -> io::Result<usize> {
    if header(head, b"transfer-encoding").is_some() {
        return Err(invalid("a chunked body, which the bench does not read"));
    }
    match header(head, b"content-length") {
        None => Ok(0),
        Some(value) => std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| invalid("a content-length that is no number")),
    }
}

/// A header's value by its lower-case name.
pub(super) fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (line_name, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        line_name
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_ascii())
    })
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 17\r\nx-long: a\r\n\r\n";

    #[test]
    fn a_head_is_read() {
        assert_eq!(status(HEAD).unwrap(), 202);
        assert_eq!(content_length(HEAD).unwrap(), 17);
        assert_eq!(header(HEAD, b"x-long"), Some(&b"a"[..]));
        assert_eq!(header(HEAD, b"x"), None);
        assert!(status(b"SSH-2.0").is_err());
        assert!(content_length(b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn answers_split_anywhere_are_read_whole() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nabc";
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            for split in 1..answer.len() {
                let mut request = [0; 4];
                stream.read_exact(&mut request).await.unwrap();
                stream.write_all(&answer[..split]).await.unwrap();
                tokio::task::yield_now().await;
                stream.write_all(&answer[split..]).await.unwrap();
            }
        });
        let mut connection = Connection::open(addr).await.unwrap();
        for _ in 1..answer.len() {
            assert_eq!(connection.call(b"ping").await.unwrap(), 202);
        }
        drop(connection);
        server.await.unwrap();
    }
}
