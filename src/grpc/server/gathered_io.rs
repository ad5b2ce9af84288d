//! A connection that writes at a stroke what several of its calls have to say.
//!
//! The HTTP/2 implementation writes as soon as one call has something to send: that call's task wakes the connection's,
//! and tokio runs who was woken last next. So where many calls are woken together, by what was read from the socket or by a
//! tick of the clock, each of their answers left by itself, for a system call that costs several times what the answer
//! does, and for a wake of the client. Therefore the connection's task, once it has something to write, steps behind the
//! tasks that are ready: what they add to it is written with it. It steps behind each of them once, and waits for nobody.
//!
//! **When it pays.** A step costs a look at the connection. It is won when there is more to write afterwards; where it was
//! for nothing several times running, it is taken only now and then, to find out whether the times have changed. Who has
//! much to write already writes it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are worth a system call by themselves.
const ENOUGH: usize = 4 << 10;

pub(super) struct GatheredIo<T> {
    io: T,
    /// Bytes that there were to write when the task stepped back; `None` where it has not.
    stepped_back: Option<usize>,
    habit: Habit,
}

impl<T: Unpin> GatheredIo<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, stepped_back: None, habit: Habit::default() }
    }

    /// Whether others are to run before so many bytes are written; then the task is woken again.
    fn steps_back(&mut self, bytes: usize, cx: &Context<'_>) -> bool {
        if let Some(before) = self.stepped_back.take() {
            self.habit.settle(bytes > before);
            return false;
        }
        let steps_back = bytes < ENOUGH && self.habit.allows();
        if steps_back {
            self.stepped_back = Some(bytes);
            // tokio puts a task that wakes itself behind all that are ready.
            cx.waker().wake_by_ref();
        }
        steps_back
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for GatheredIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for GatheredIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.steps_back(bytes.len(), cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.steps_back(slices.iter().map(|slice| slice.len()).sum(), cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
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

/// Steps in vain that are taken one after the other.
const PATIENCE: i32 = 8;
/// Writes between two tries, once those were in vain.
const REST: i32 = 32;

/// Whether to step back, by what came of it lately: above zero, so many more may be in vain; else so many writes until the
/// next try.
#[derive(Debug)]
struct Habit(i32);

impl Default for Habit {
    fn default() -> Self {
        Self(1)
    }
}

impl Habit {
    fn allows(&mut self) -> bool {
        if self.0 <= 0 {
            self.0 += 1;
        }
        self.0 > 0
    }

    fn settle(&mut self, won: bool) {
        self.0 = match (won, self.0) {
            (true, _) => PATIENCE,
            (false, ..=1) => -REST,
            (false, left) => left - 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;

    /// Writes `first`, to which others add something while the task has stepped back; says how often it was polled for that.
    async fn write(io: &mut GatheredIo<DuplexStream>, first: &[u8], added: &[u8]) -> usize {
        let mut polls = 0;
        let whole = [first, added].concat();
        let written = poll_fn(|cx| {
            polls += 1;
            let bytes = if polls == 1 { first } else { &whole };
            Pin::new(&mut *io).poll_write(cx, bytes)
        });
        assert!(written.await.unwrap() > 0);
        polls
    }

    #[tokio::test]
    async fn what_is_added_while_others_run_leaves_with_what_was_there() {
        let (mut peer, io) = duplex(1 << 20);
        let mut io = GatheredIo::new(io);
        for _ in 0..100 {
            assert_eq!(write(&mut io, b"one", b"two").await, 2);
            let mut read = [0; 6];
            peer.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"onetwo");
        }
        assert_eq!(write(&mut io, &[0; ENOUGH], b"more").await, 1, "that is enough by itself");
    }

    #[tokio::test]
    async fn where_nobody_adds_anything_it_is_tried_now_and_then_until_somebody_does() {
        let (_peer, io) = duplex(1 << 20);
        let mut io = GatheredIo::new(io);
        let mut tries = 0;
        for _ in 0..1000 {
            tries += write(&mut io, b"one", b"").await - 1;
        }
        assert!((20..50).contains(&tries), "{tries} of 1,000");
        while write(&mut io, b"one", b"two").await == 1 {}
        assert_eq!(write(&mut io, b"one", b"two").await, 2);
    }
}
