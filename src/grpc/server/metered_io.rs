//! A connection whose frames are looked at on their way: those of the client for [floods](super::floods), the server's own
//! for calls that are [declined](super::declined).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    counts::{Limit, ServerCounts},
    declined::Declined,
    floods::FrameMeter,
};

pub(super) struct MeteredIo<T> {
    io: T,
    meter: FrameMeter,
    declined: Declined,
    counts: ServerCounts,
}

impl<T> MeteredIo<T> {
    pub(super) fn new(io: T, frames_per_second: u32, counts: ServerCounts) -> Self {
        let meter = FrameMeter::new(frames_per_second, Instant::now());
        Self { io, meter, declined: Declined::new(), counts }
    }

    /// Notes as much of these bytes as was written.
    fn note<'a>(
        &mut self,
        slices: impl IntoIterator<Item = &'a [u8]>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = written {
            self.meter.delivered(written);
            let mut left = written;
            for slice in slices {
                let sent = &slice[..left.min(slice.len())];
                left -= sent.len();
                self.declined.sent(sent, |limit| self.counts.hit(limit));
            }
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for MeteredIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        if this.meter.received(&buffer.filled()[before..], Instant::now).is_err() {
            this.counts.hit(Limit::ControlFrames);
            let text = format!(
                "the peer sent more control frames than {} a second (server.max_control_frames_per_second)",
                this.meter.most
            );
            return Poll::Ready(Err(io::Error::other(text)));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for MeteredIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note([bytes], written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.note(slices.iter().map(|slice| &**slice), written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
