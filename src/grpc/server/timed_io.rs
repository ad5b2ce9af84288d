//! A connection that does not wait for ever: the two timers that the HTTP/2 implementation lacks.
//!
//! - **Handshake**: until the client's preface and its first frame (SETTINGS) have been read whole, a patience runs that
//!   the caller hands in. It is not renewed by single bytes. When it is over, reading fails; so a peer that says
//!   nothing, or half of what it has to say, is gone.
//! - **Write**: when the peer takes no bytes, writing fails after `write_timeout`. Each byte that it takes renews it.
//!
//! Both are polled where the transport waits, by the connection's own task: a peer that is blocked on writing is not
//! being read, and the other way round. The transport ends the connection on the error, and with it every call.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{
    counts::{Limit, ServerCounts},
    frames::HEAD,
};

/// `PRI * HTTP/2.0`, two empty lines, `SM`, and an empty line (RFC 9113, 3.4).
pub(super) const PREFACE: usize = 24;

/// Why a handshake was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokenOff {
    /// It took too long.
    Timeout,
    /// The server drains, and a connection without a call has nothing to finish.
    Draining,
}

/// How long the handshake may take.
type Patience = Pin<Box<dyn Future<Output = BrokenOff> + Send>>;

/// What has been read of the handshake.
struct Handshake {
    patience: Patience,
    seen: usize,
    /// Bytes until it is whole, as far as is known.
    needed: usize,
}

impl Handshake {
    /// Notes what was read; true when the handshake is whole.
    fn advance(&mut self, bytes: &[u8]) -> bool {
        for (at, &byte) in (self.seen..).zip(bytes) {
            // The first three bytes of the frame are its length.
            if let Some(digit @ 0..3) = at.checked_sub(PREFACE) {
                self.needed += usize::from(byte) << (8 * (2 - digit));
            }
            if at >= PREFACE + HEAD {
                break;
            }
        }
        self.seen += bytes.len();
        self.seen >= self.needed
    }
}

/// A connection with its timers.
pub(super) struct TimedIo<T> {
    io: T,
    handshake: Option<Handshake>,
    write_timeout: Duration,
    /// Made when the peer takes no bytes for the first time.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
    counts: ServerCounts,
}

impl<T> TimedIo<T> {
    pub(super) fn new(
        io: T,
        patience: impl Future<Output = BrokenOff> + Send + 'static,
        write_timeout: Duration,
        counts: ServerCounts,
    ) -> Self {
        let handshake = Handshake { patience: Box::pin(patience), seen: 0, needed: PREFACE + HEAD };
        Self { io, handshake: Some(handshake), write_timeout, stall: None, stalled: false, counts }
    }

    /// The outcome of a write, or the error that it has waited for too long.
    fn watch<R>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() {
            self.stalled = false;
            return polled;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
        if !self.stalled {
            self.stalled = true;
            stall.as_mut().reset(Instant::now() + self.write_timeout);
        }
        ready!(stall.as_mut().poll(cx));
        self.counts.hit(Limit::Write);
        let text = format!("the peer took no bytes for {:?} (server.write_timeout)", self.write_timeout);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for TimedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(handshake) = &mut this.handshake else {
            return Pin::new(&mut this.io).poll_read(cx, buffer);
        };
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buffer) {
            if handshake.advance(&buffer.filled()[before..]) {
                this.handshake = None;
            }
            return Poll::Ready(read);
        }
        let text = match ready!(handshake.patience.as_mut().poll(cx)) {
            BrokenOff::Draining => "the server drains",
            BrokenOff::Timeout => {
                this.counts.hit(Limit::Handshake);
                "the peer has not spoken HTTP/2 within server.handshake_timeout"
            }
        };
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// A handshake: the preface, and SETTINGS with one setting.
    fn handshake() -> Vec<u8> {
        let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0][..], &[0, 3, 0, 0, 0, 7]].concat();
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_ends_with_its_last_byte_and_not_before_however_it_is_cut() {
        let whole = handshake();
        for size in 1..=whole.len() {
            let mut seen = Handshake { patience: Box::pin(pending()), seen: 0, needed: PREFACE + HEAD };
            let pieces: Vec<_> = whole.chunks(size).collect();
            for (at, piece) in pieces.iter().enumerate() {
                assert_eq!(seen.advance(piece), at + 1 == pieces.len(), "piece {at} of size {size}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_handshake_is_broken_off_and_a_whole_one_never() {
        let whole = handshake();
        for sent in [0, 10, 24, 33, whole.len() - 1] {
            let counts = ServerCounts::default();
            let (mut peer, io) = duplex(1024);
            let mut io = TimedIo::new(io, ready(BrokenOff::Timeout), TIMEOUT, counts.clone());
            peer.write_all(&whole[..sent]).await.unwrap();
            let mut read = Vec::new();
            assert_eq!(io.read_to_end(&mut read).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!((read.len(), counts.hits(Limit::Handshake)), (sent, 1));
        }
        let (mut peer, io) = duplex(1024);
        let mut io = TimedIo::new(io, ready(BrokenOff::Timeout), TIMEOUT, ServerCounts::default());
        peer.write_all(&whole).await.unwrap();
        io.read_exact(&mut vec![0; whole.len()]).await.unwrap();
        let silence = tokio::time::timeout(100 * TIMEOUT, io.read_u8()).await;
        assert!(silence.is_err(), "{silence:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_and_one_that_takes_a_little_is_not() {
        let counts = ServerCounts::default();
        let (mut peer, io) = duplex(1);
        let mut io = TimedIo::new(io, pending(), TIMEOUT, counts.clone());
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(TIMEOUT - Duration::from_secs(1)).await;
                peer.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(io.write_all(&[0; 11]), slow);
        written.unwrap();
        assert_eq!(counts.hits(Limit::Write), 0);
        let begun = Instant::now();
        assert_eq!(io.write_all(&[0; 2]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!((begun.elapsed(), counts.hits(Limit::Write)), (TIMEOUT, 1));
    }
}
