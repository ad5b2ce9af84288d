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

use tokio::time::Instant;

use super::{
    frames::{DATA, END_STREAM, Frames, HEADERS, Head, Piece},
    timed_io::PREFACE,
};

/// A handshake takes a handful.
const AT_FIRST: u32 = 50;
/// A window update for the call, one for the connection.
const EARNED_BY_FRAME: u32 = 2;
/// Clients tell of what they have read in steps of kilobytes; the smallest answers are some hundred bytes.
const BYTES_EARN_ONE: usize = 128;

/// A connection has sent more control frames than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Follows the frames that one client sends.
#[derive(Debug)]
pub(super) struct FrameMeter {
    frames: Frames,
    budget: u32,
    pub(super) most: u32,
    refilled: Instant,
    /// Bytes sent that have not earned a frame yet.
    sent: usize,
}

impl FrameMeter {
    pub(super) fn new(frames_per_second: u32, now: Instant) -> Self {
        Self {
            frames: Frames::after(PREFACE),
            budget: frames_per_second.min(AT_FIRST),
            most: frames_per_second,
            refilled: now,
            sent: 0,
        }
    }

    /// Bytes came from the client.
    pub(super) fn received(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Flood> {
        while let Some(piece) = self.frames.next(&mut bytes) {
            if let Piece::Head(head) = piece {
                self.frame(head, &now)?;
            }
        }
        Ok(())
    }

    /// The head of a frame is there.
    fn frame(&mut self, head: Head, now: &impl Fn() -> Instant) -> Result<(), Flood> {
        let carries = match head.kind {
            DATA => head.length > 0 || head.has(END_STREAM),
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
    pub(super) fn delivered(&mut self, bytes: usize) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::frames::tests, *};

    const PING: u8 = 6;
    const MOST: u32 = 10;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        tests::frame(kind, flags, &vec![PING; length])
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
