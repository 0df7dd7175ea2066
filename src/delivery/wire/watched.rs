//! A connection whose other side may send only so much that is no answer.
//!
//! An HTTP client reads on past interim answers until the final one comes, as fast as they are sent:
//! a target that sends `100 Continue` without end would keep a core busy for as long as its timeout
//! allows, and over HTTP/2 its interim answers would pile up in memory. So what is read is looked at
//! here, below the client, and the connection ends when it is too much.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

use super::frames::Frames;
use super::interim::Interim;

/// Bytes looked at in one go: more than an answer without a body has.
const LOOK_BYTES: usize = 1024;

pub(super) struct Watched<T> {
    io: T,
    watch: Watch,
}

enum Watch {
    Http1(Interim),
    Http2(Frames),
}

impl<T: Connection> Watched<T> {
    pub(super) fn new(io: T) -> Watched<T> {
        let watch = if io.connected().is_negotiated_h2() {
            Watch::Http2(Frames::default())
        } else {
            Watch::Http1(Interim::default())
        };
        Watched { io, watch }
    }
}

impl Watch {
    /// Whether what is read is of no further interest.
    fn is_over(&self) -> bool {
        matches!(self, Watch::Http1(interim) if interim.is_over())
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Watch::Http1(interim) => interim.read(bytes).map_err(io::Error::other),
            Watch::Http2(frames) => frames.read(bytes).map_err(io::Error::other),
        }
    }

    fn wrote(&mut self, bytes: usize) {
        match self {
            Watch::Http1(interim) => interim.wrote(),
            Watch::Http2(frames) => frames.wrote(bytes),
        }
    }
}

impl<T: Connection> Connection for Watched<T> {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.watch.is_over() {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let mut bytes = [0; LOOK_BYTES];
        let room = LOOK_BYTES.min(buffer.remaining());
        let mut part = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut this.io).poll_read(context, part.unfilled()))?;
        this.watch.read(part.filled())?;
        buffer.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write(context, bytes))?;
        this.watch.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(context, parts))?;
        this.watch.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
