//! Where in a sequence of gRPC messages the bytes of a request are, however they are cut.
//!
//! Each message begins with five bytes: one says whether it is compressed, four say its length. What lies between two of
//! these prefixes is stepped over.

use super::SMALL;

/// One byte says whether the message is compressed, four say its length.
const PREFIX: usize = 5;

/// Where in a sequence of gRPC messages the bytes are.
pub(super) struct Scan {
    pub(super) limit: usize,
    prefix: [u8; PREFIX],
    /// Bytes of the current prefix that have been seen.
    seen: usize,
    /// Bytes of the current message that are still to come.
    remaining: usize,
    /// Bytes that a large message takes, unpacked, which was begun in what was looked at last.
    pub(super) begun: usize,
    /// The current message is large.
    large: bool,
    /// What was looked at last ends a message, or the prefix of one.
    pub(super) went_on: bool,
    /// The length of the message that is too long.
    pub(super) too_long: Option<usize>,
}

impl Scan {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            prefix: [0; PREFIX],
            seen: 0,
            remaining: 0,
            begun: 0,
            large: false,
            went_on: false,
            too_long: None,
        }
    }

    pub(super) fn is_between_messages(&self) -> bool {
        self.seen == 0 && self.remaining == 0
    }

    /// Looks at the next bytes, up to the end of a large message, or to the prefix of one that is too long, and says how
    /// many those are.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        (self.begun, self.went_on) = (0, false);
        let mut at = 0;
        while at < bytes.len() {
            let skipped = self.remaining.min(bytes.len() - at);
            at += skipped;
            self.remaining -= skipped;
            self.went_on |= skipped > 0 && self.remaining == 0;
            if self.remaining == 0 && std::mem::take(&mut self.large) {
                return at;
            }
            let taken = (PREFIX - self.seen).min(bytes.len() - at);
            self.prefix[self.seen..self.seen + taken].copy_from_slice(&bytes[at..at + taken]);
            self.seen += taken;
            if self.seen < PREFIX {
                return bytes.len();
            }
            let [compressed, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length) as usize;
            if length > self.limit {
                self.too_long = Some(length);
                return at;
            }
            at += taken;
            self.seen = 0;
            self.remaining = length;
            self.went_on = true;
            // What a compressed one unpacks to is not known before.
            let unpacked = if compressed == 0 { length } else { self.limit };
            self.large = unpacked > SMALL;
            if self.large {
                self.begun = unpacked;
            }
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend(vec![7; length]);
        bytes
    }

    #[test]
    fn messages_up_to_the_limit_pass_however_they_are_cut() {
        let bytes = [message(0), message(10), message(1), message(9)].concat();
        for size in 1..=bytes.len() {
            let mut scan = Scan::new(10);
            for piece in bytes.chunks(size) {
                assert_eq!(scan.advance(piece), piece.len(), "in pieces of {size}");
            }
            assert_eq!(scan.too_long, None, "in pieces of {size}");
        }
    }

    #[test]
    fn the_end_of_a_large_message_is_handed_on_by_itself_however_it_is_cut() {
        let large = message(SMALL + 1);
        let mut bomb = message(3);
        bomb[0] = 1;
        let bytes = [message(5), large, message(7), bomb, message(0)].concat();
        let ends = [10 + 5 + SMALL + 1, bytes.len() - 5];
        for size in [1, 3, 6, 1000, bytes.len()] {
            let mut scan = Scan::new(1 << 20);
            let (mut at, mut begun, mut stops) = (0, Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let seen = scan.advance(piece);
                    begun.extend(Some(scan.begun).filter(|&begun| begun > 0));
                    at += seen;
                    piece = &piece[seen..];
                    stops.push(at);
                }
            }
            assert_eq!(begun, [SMALL + 1, 1 << 20], "in pieces of {size}");
            assert!(ends.iter().all(|end| stops.contains(end)), "in pieces of {size}: {stops:?}");
        }
    }

    #[test]
    fn what_comes_before_a_message_above_the_limit_passes_however_it_is_cut() {
        let sound = [message(3), message(10)].concat();
        let bytes = [sound.clone(), message(11), message(2)].concat();
        for size in 1..=bytes.len() {
            let mut scan = Scan::new(10);
            let mut passed = 0;
            for piece in bytes.chunks(size) {
                passed += scan.advance(piece);
                if scan.too_long.is_some() {
                    break;
                }
            }
            assert_eq!(scan.too_long, Some(11), "in pieces of {size}");
            assert!((sound.len()..sound.len() + PREFIX).contains(&passed), "in pieces of {size}: {passed}");
        }
    }
}
