//! The frames of one direction of a connection (RFC 9113, 4.1), however they are cut.
//!
//! Heads are put together from their pieces; payloads are handed on as they come, and copied by nobody.

/// Length (three bytes), type, flags, stream.
pub(super) const HEAD: usize = 9;

/// The types (RFC 9113, 6) and flags that something here looks at.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) length: usize,
}

impl Head {
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A frame begins.
    Head(Head),
    /// More of its payload; `ends` with the last piece, which is empty where the payload is.
    Payload { bytes: &'a [u8], ends: bool },
}

#[derive(Debug)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that are there.
    known: usize,
    /// Bytes of the payload that are missing; `None` between two frames.
    missing: Option<usize>,
}

impl Frames {
    /// Frames that follow so many bytes of something else, which is handed on like the payload of one.
    pub(super) fn after(preface: usize) -> Self {
        Self { head: [0; HEAD], known: 0, missing: Some(preface).filter(|&preface| preface > 0) }
    }

    /// Takes the next piece off the bytes; `None` when they end before it does.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        if let Some(missing) = self.missing {
            if missing > 0 && bytes.is_empty() {
                return None;
            }
            let (payload, rest) = bytes.split_at(missing.min(bytes.len()));
            *bytes = rest;
            let missing = missing - payload.len();
            self.missing = Some(missing).filter(|&missing| missing > 0);
            return Some(Piece::Payload { bytes: payload, ends: missing == 0 });
        }
        let (taken, rest) = bytes.split_at((HEAD - self.known).min(bytes.len()));
        self.head[self.known..self.known + taken.len()].copy_from_slice(taken);
        self.known += taken.len();
        *bytes = rest;
        if self.known < HEAD {
            return None;
        }
        self.known = 0;
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.missing = Some(length);
        Some(Piece::Head(Head { kind, flags, length }))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame of the first stream.
    pub(in super::super) fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &1_u32.to_be_bytes(), payload].concat()
    }

    #[test]
    fn each_frame_has_a_head_all_of_its_payload_and_an_end_however_it_is_cut() {
        let sent = [(DATA, &b"hello"[..]), (RST_STREAM, &[]), (HEADERS, &[7; 300])];
        let frames = sent.map(|(kind, payload)| frame(kind, END_HEADERS, payload)).concat();
        let bytes = [b"preface", &frames[..]].concat();
        for size in 1..=bytes.len() {
            let (mut frames, mut heads) = (Frames::after(7), Vec::new());
            let mut payloads = vec![Vec::<u8>::new()];
            for mut piece in bytes.chunks(size) {
                while let Some(next) = frames.next(&mut piece) {
                    match next {
                        Piece::Head(head) => heads.push(head),
                        Piece::Payload { bytes, ends } => {
                            payloads.last_mut().unwrap().extend(bytes);
                            payloads.extend(ends.then(Vec::new));
                        }
                    }
                }
            }
            let expected =
                sent.map(|(kind, payload)| Head { kind, flags: END_HEADERS, length: payload.len() });
            assert_eq!(heads, expected, "in pieces of {size}");
            let expected = [&b"preface"[..], b"hello", &[], &[7; 300], &[]];
            assert_eq!(payloads, expected, "in pieces of {size}");
        }
    }
}
