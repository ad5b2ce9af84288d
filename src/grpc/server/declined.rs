//! Calls that the HTTP/2 implementation declines by itself, told by what it writes.
//!
//! A call above `max_concurrent_streams`, one whose headers are above `max_header_list_size`, and one that breaks the
//! protocol are answered within h2: nobody above it hears why. But they leave as frames that it writes for nothing else:
//! RST_STREAM with the code REFUSED_STREAM, headers with the status 431, and RST_STREAM with a code that says what was
//! broken. So those are looked for among the bytes on their way to the socket.
//!
//! **The status** is a field of HPACK (RFC 7541), which h2 writes out once and then refers to by its place in the table that
//! both sides keep of what was sent. Each field that is added moves it by one. So the blocks are followed for what they add;
//! what is evicted from the table need not be, since it is written out again before it is referred to again. Values are
//! compared as they were encoded, and not decoded.
//!
//! **Cost.** Payloads of DATA are stepped over. Of each block of headers the lengths are read, some 100 bytes a call, once
//! they have been copied to where a block is whole, however the socket took it.

use super::{
    counts::Limit,
    frames::{CONTINUATION, END_HEADERS, Frames, HEADERS, Head, Piece, RST_STREAM},
};

/// The code of a call that was refused (RFC 9113, 7).
const REFUSED_STREAM: u32 = 7;
/// The codes of calls that have broken the protocol: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR.
const BROKEN: [u32; 4] = [1, 3, 5, 6];

/// Bytes of a block of headers that memory is kept for.
const KEPT: usize = 1 << 10;

/// Follows what the server sends on one connection.
#[derive(Debug)]
pub(super) struct Declined {
    frames: Frames,
    head: Head,
    /// The payload of an RST_STREAM, or a block of headers (which h2 neither pads nor gives a priority), as far as it has
    /// come.
    payload: Vec<u8>,
    fields: Fields,
}

impl Declined {
    pub(super) fn new() -> Self {
        let head = Head { kind: 0, flags: 0, length: 0 };
        Self { frames: Frames::after(0), head, payload: Vec::new(), fields: Fields::default() }
    }

    /// Bytes have left; `hit` hears of each call that they decline.
    pub(super) fn sent(&mut self, mut bytes: &[u8], mut hit: impl FnMut(Limit)) {
        while let Some(piece) = self.frames.next(&mut bytes) {
            match piece {
                Piece::Head(head) => self.head = head,
                Piece::Payload { bytes, ends } if self.is_looked_at() => {
                    self.payload.extend_from_slice(bytes);
                    if ends && let Some(limit) = self.ended() {
                        hit(limit);
                    }
                }
                Piece::Payload { .. } => {}
            }
        }
    }

    fn is_looked_at(&self) -> bool {
        matches!(self.head.kind, HEADERS | CONTINUATION | RST_STREAM)
    }

    /// A frame is whole.
    fn ended(&mut self) -> Option<Limit> {
        let limit = if self.head.kind == RST_STREAM {
            match self.payload.as_slice().try_into().map(u32::from_be_bytes) {
                Ok(REFUSED_STREAM) => Some(Limit::ConcurrentStreams),
                Ok(code) if BROKEN.contains(&code) => Some(Limit::CallProtocol),
                _ => None,
            }
        } else if self.head.has(END_HEADERS) {
            self.fields.say_too_large(&self.payload).then_some(Limit::HeaderListSize)
        } else {
            // The rest of the block comes with the next frame.
            return None;
        };
        self.payload.clear();
        self.payload.shrink_to(KEPT);
        limit
    }
}

/// The first entry of HPACK's table that fields are added to; new ones come in here.
const FIRST_ADDED: usize = 62;
/// The entries of its static table that are named `:status`.
const STATUS: std::ops::RangeInclusive<usize> = 8..=14;
/// The value `431`, plain and in HPACK's Huffman code.
const TOO_LARGE: Text<'_> = Text { huffman: false, bytes: b"431" };
const TOO_LARGE_IN_HUFFMAN: Text<'_> = Text { huffman: true, bytes: &[0x69, 0x90, 0xff] };

/// A string as HPACK encodes it.
#[derive(PartialEq, Eq)]
struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

/// What is known of the table of fields that were sent.
#[derive(Debug, Default)]
struct Fields {
    /// Where the status 431 is, counted from the newest entry, if it was ever added.
    too_large: Option<usize>,
}

impl Fields {
    /// Whether a block has the status 431. It is h2's own, and sound.
    fn say_too_large(&mut self, mut block: &[u8]) -> bool {
        let mut found = false;
        while let Some(&first) = block.first() {
            let Some(is_it) = self.next_is_too_large(first, &mut block) else {
                debug_assert!(false, "a block of headers ends in the midst of a field");
                break;
            };
            found |= is_it;
        }
        found
    }

    /// Whether the next field of a block is the status 431 (RFC 7541, 6).
    fn next_is_too_large(&mut self, first: u8, block: &mut &[u8]) -> Option<bool> {
        if first & 0x80 != 0 {
            let index = number(block, 7)?;
            return Some(self.too_large.is_some_and(|back| index == FIRST_ADDED + back));
        }
        if first & 0xe0 == 0x20 {
            // The table's size changes.
            number(block, 5)?;
            return Some(false);
        }
        let is_added = first & 0x40 != 0;
        let name = number(block, if is_added { 6 } else { 4 })?;
        if name == 0 {
            text(block)?;
        }
        let value = text(block)?;
        let found = STATUS.contains(&name) && (value == TOO_LARGE || value == TOO_LARGE_IN_HUFFMAN);
        if is_added {
            self.too_large = if found { Some(0) } else { self.too_large.map(|back| back + 1) };
        }
        Some(found)
    }
}

/// An integer whose first byte has so many bits of it (RFC 7541, 5.1).
fn number(block: &mut &[u8], bits: u32) -> Option<usize> {
    let (&first, mut rest) = block.split_first()?;
    let most = (1 << bits) - 1;
    let mut number = usize::from(first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (&next, after) = rest.split_first()?;
            rest = after;
            number = number.checked_add((usize::from(next) & 0x7f).checked_shl(shift)?)?;
            shift += 7;
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Some(number)
}

/// A string (RFC 7541, 5.2).
fn text<'a>(block: &mut &'a [u8]) -> Option<Text<'a>> {
    let huffman = block.first()? & 0x80 != 0;
    let length = number(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(Text { huffman, bytes })
}

#[cfg(test)]
mod tests {
    use super::{
        super::frames::{DATA, END_STREAM, tests::frame},
        *,
    };

    /// `:status: 431`, added to the table.
    const FIRST_431: &[u8] = &[0x48, 0x83, 0x69, 0x90, 0xff];
    /// `:status: 200` by its place in the static table, then a field `a: b` that is added to the table.
    const OTHER: &[u8] = &[0x88, 0x40, 1, b'a', 1, b'b'];

    fn headers(block: &[u8]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, block)
    }

    /// What is seen of these bytes, which have to be seen alike however they are cut.
    fn seen(bytes: &[u8]) -> Vec<Limit> {
        let in_pieces_of = |size| {
            let (mut declined, mut hits) = (Declined::new(), Vec::new());
            bytes.chunks(size).for_each(|piece| declined.sent(piece, |limit| hits.push(limit)));
            hits
        };
        let hits = in_pieces_of(bytes.len());
        (1..bytes.len()).for_each(|size| assert_eq!(in_pieces_of(size), hits, "in pieces of {size}"));
        hits
    }

    #[test]
    fn a_call_that_is_refused_is_told_from_one_that_is_reset_for_another_reason() {
        let reset = |code: u32| frame(RST_STREAM, 0, &code.to_be_bytes());
        let bytes = [frame(DATA, 0, &reset(7)), reset(0), reset(7), reset(2), reset(8)].concat();
        assert_eq!(seen(&bytes), [Limit::ConcurrentStreams]);
        let bytes = (0..=13).flat_map(reset).collect::<Vec<_>>();
        let broken = Limit::CallProtocol;
        assert_eq!(seen(&bytes), [broken, broken, broken, broken, Limit::ConcurrentStreams]);
    }

    #[test]
    fn the_status_431_is_seen_wherever_it_has_moved_in_the_table_and_nothing_else_is() {
        let newest = [0xbe];
        let third = [0xc0];
        assert_eq!(seen(&headers(&newest)), [], "a field that was added before, and not this one");
        let bytes = [FIRST_431, &newest, OTHER, OTHER, &newest, &third].map(headers).concat();
        assert_eq!(seen(&bytes), [Limit::HeaderListSize; 3]);
        // As it is written where the table has no room for it; and again once it was evicted.
        let unindexed = [0x08, 3, b'4', b'3', b'1'];
        assert_eq!(
            seen(&[&[0x20][..], &unindexed, FIRST_431].map(headers).concat()),
            [Limit::HeaderListSize; 2]
        );
        assert_eq!(seen(&[OTHER, &[0x48, 3, b'4', b'3', b'0'], &newest].map(headers).concat()), []);
    }

    #[test]
    fn a_block_that_goes_on_in_another_frame_is_read_as_one() {
        let long = [&[0x88, 0x40, 1, b'a', 0x7f, 0x80, 0x02][..], &[b'x'; 383], FIRST_431].concat();
        let (begin, rest) = long.split_at(100);
        let (middle, end) = rest.split_at(290);
        let bytes = [
            frame(HEADERS, END_STREAM, begin),
            frame(CONTINUATION, 0, middle),
            frame(CONTINUATION, 0, &[]),
            frame(CONTINUATION, END_HEADERS, end),
            headers(&[0xbe]),
        ];
        assert_eq!(seen(&bytes.concat()), [Limit::HeaderListSize; 2]);
    }
}
