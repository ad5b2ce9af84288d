//! Frames that carry nothing, and how many of them a client may send.
//!
//! PING, SETTINGS, WINDOW_UPDATE, RST_STREAM, PRIORITY, CONTINUATION, empty DATA and frames of unknown kinds cost the
//! server work and bring it none. HTTP/2 needs them, a few beside each call; a flood of them takes the CPU from
//! everybody else. The HTTP/2 implementation answers them as fast as they come, so they are counted before it sees
//! them, on their way out of the socket.
//!
//! **The budget** of a connection is a bucket of `max_control_frames_per_second` frames: each of them takes one out,
//! time puts that many back each second. What carries something puts some back as well, since it is what honest
//! clients send control frames for: a call that is begun or a piece of a message [`EARNED_BY_FRAME`], bytes that the
//! client is sent one for each [`BYTES_EARN_ONE`]. (Envoy bounds the same frames by the same two measures.) The bucket
//! never holds more than a second's worth, and at first only [`AT_FIRST`]: who is cut off may come again at once, and would
//! have a full one each time. Who takes from an empty one is cut off: the connection ends, and with it its
//! calls.
//!
//! **Cost.** Frame heads alone are looked at; what is between them is stepped over. The clock is read only when the
//! bucket is empty.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    counts::{Limit, ServerCounts},
    timed_io::{FRAME_HEAD, PREFACE},
};

/// A handshake takes a handful.
const AT_FIRST: u32 = 50;
/// A window update for the call, one for the connection.
const EARNED_BY_FRAME: u32 = 2;
/// Clients tell of what they have read in steps of kilobytes; the smallest answers are some hundred bytes.
const BYTES_EARN_ONE: usize = 128;

/// Frame types (RFC 9113, 6) that carry something, and the flag that ends a stream.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

/// A connection has sent more control frames than it may.
#[derive(Debug, PartialEq, Eq)]
struct Flood;

/// Follows the frames of one connection, however they are cut.
#[derive(Debug)]
struct FrameMeter {
    /// Bytes that belong to the frame before.
    skip: usize,
    head: [u8; FRAME_HEAD],
    /// Bytes of the head that are there.
    known: usize,
    budget: u32,
    most: u32,
    refilled: Instant,
    /// Bytes sent that have not earned a frame yet.
    sent: usize,
}

impl FrameMeter {
    fn new(frames_per_second: u32, now: Instant) -> Self {
        Self {
            skip: PREFACE,
            head: [0; FRAME_HEAD],
            known: 0,
            budget: frames_per_second.min(AT_FIRST),
            most: frames_per_second,
            refilled: now,
            sent: 0,
        }
    }

    /// Bytes came from the client.
    fn received(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Flood> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (FRAME_HEAD - self.known).min(bytes.len());
            self.head[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == FRAME_HEAD {
                self.known = 0;
                self.frame(&now)?;
            }
        }
    }

    /// The head of a frame is there.
    fn frame(&mut self, now: &impl Fn() -> Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = length as usize;
        let carries = match kind {
            DATA => length > 0 || flags & END_STREAM != 0,
            HEADERS => true,
            _ => false,
        };
        if carries {
            self.earn(EARNED_BY_FRAME);
            return Ok(());
        }
        if self.budget == 0 {
            self.refill(now());
        }
        self.budget = self.budget.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    /// Bytes went to the client.
    fn delivered(&mut self, bytes: usize) {
        self.sent += bytes;
        let earned = self.sent / BYTES_EARN_ONE;
        self.sent %= BYTES_EARN_ONE;
        self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
    }

    fn earn(&mut self, frames: u32) {
        self.budget = self.budget.saturating_add(frames).min(self.most);
    }

    /// What time has put back since the last time that it was asked.
    fn refill(&mut self, now: Instant) {
        let earned = (now - self.refilled).as_secs_f64() * f64::from(self.most);
        if earned >= 1.0 {
            self.refilled = now;
            // Saturates: a connection that was quiet for an hour has earned a full bucket, no more.
            self.earn(earned as u32);
        }
    }
}

/// A connection whose frames are counted.
pub(super) struct MeteredIo<T> {
    io: T,
    meter: FrameMeter,
    counts: ServerCounts,
}

impl<T> MeteredIo<T> {
    pub(super) fn new(io: T, frames_per_second: u32, counts: ServerCounts) -> Self {
        Self { io, meter: FrameMeter::new(frames_per_second, Instant::now()), counts }
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.delivered(bytes);
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
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.note(written)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;
    const MOST: u32 = 10;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let head = u32::try_from(length).unwrap().to_be_bytes();
        [&head[1..], &[kind, flags], &[0; 4], &vec![PING; length]].concat()
    }

    struct Peer {
        meter: FrameMeter,
        now: Instant,
    }

    impl Peer {
        fn new() -> Self {
            let now = Instant::now();
            let mut meter = FrameMeter::new(MOST, now);
            assert_eq!(meter.received(&[0; PREFACE], || now), Ok(()));
            Self { meter, now }
        }

        fn sends(&mut self, bytes: &[u8]) -> Result<(), Flood> {
            let now = self.now;
            self.meter.received(bytes, || now)
        }
    }

    #[test]
    fn one_below_the_limit_and_the_limit_pass_and_one_above_is_a_flood_however_the_frames_are_cut() {
        for kind in [2, 3, 4, PING, 8, 9, 200] {
            for size in [1, 4, 9, 17, 1000] {
                for (frames, passes) in [(MOST - 1, true), (MOST, true), (MOST + 1, false)] {
                    let mut peer = Peer::new();
                    let bytes = frame(kind, 0, 8).repeat(frames as usize);
                    let passed = bytes.chunks(size).all(|piece| peer.sends(piece).is_ok());
                    assert_eq!(passed, passes, "{frames} frames of kind {kind} in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn an_empty_piece_of_a_message_counts_and_the_end_of_one_does_not() {
        let mut peer = Peer::new();
        assert_eq!(peer.sends(&frame(DATA, END_STREAM, 0).repeat(100)), Ok(()));
        assert_eq!(peer.sends(&frame(DATA, 0, 0).repeat(MOST as usize)), Ok(()));
        assert_eq!(peer.sends(&frame(DATA, 0, 0)), Err(Flood));
    }

    #[test]
    fn what_carries_something_earns_control_frames_up_to_the_full_budget() {
        let mut peer = Peer::new();
        for carrying in [frame(HEADERS, 4, 100), frame(DATA, 0, 1)] {
            peer.sends(&carrying.repeat(1000)).unwrap();
            assert_eq!(peer.sends(&frame(PING, 0, 8).repeat(MOST as usize)), Ok(()));
            peer.sends(&carrying).unwrap();
            assert_eq!(peer.sends(&frame(PING, 0, 8).repeat(EARNED_BY_FRAME as usize)), Ok(()));
        }
        for _ in 0..BYTES_EARN_ONE {
            peer.meter.delivered(1);
        }
        assert_eq!(peer.sends(&frame(PING, 0, 8)), Ok(()));
        assert_eq!(peer.sends(&frame(PING, 0, 8)), Err(Flood));
    }

    #[test]
    fn time_gives_the_budget_back_and_no_more() {
        let mut peer = Peer::new();
        for pause in [1, 3600] {
            peer.now += Duration::from_secs(pause);
            assert_eq!(peer.sends(&frame(PING, 0, 8).repeat(MOST as usize)), Ok(()), "after {pause} s");
        }
        peer.now += Duration::from_secs(1);
        assert_eq!(peer.sends(&frame(PING, 0, 8).repeat(MOST as usize)), Ok(()));
        assert_eq!(peer.sends(&frame(PING, 0, 8)), Err(Flood));
    }
}
