//! An HTTP/2 client that does what it is told, right or wrong: just enough frames to see a server's limits.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The code with which a client takes a call back.
const CANCEL: u32 = 8;

const PATIENCE: Duration = Duration::from_secs(30);
/// Large enough for whatever the tests are sent.
const WINDOW: u32 = 1 << 30;

/// A frame that the server has sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

pub(crate) struct RawClient {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

/// Calls are numbered from 0, streams of a client are odd.
pub(crate) fn stream(call: u32) -> u32 {
    2 * call + 1
}

pub(crate) fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl RawClient {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with_window(addr, WINDOW).await
    }

    /// A client that has room for so many bytes of each call.
    pub(crate) async fn connect_with_window(addr: SocketAddr, window: u32) -> Self {
        let socket = TcpStream::connect(addr).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (reader, writer) = socket.into_split();
        let mut client = Self { reader, writer };
        client.send(PREFACE).await;
        let settings = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        client.send(&encode(SETTINGS, 0, 0, &settings)).await;
        client.send(&encode(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes())).await;
        client
    }

    /// Tells the server that its settings are known: only then do the windows that they give hold.
    pub(crate) async fn accept_settings(&mut self) {
        self.send(&encode(SETTINGS, ACK, 0, &[])).await;
    }

    /// Begins a call of `DataPlane.Stream`.
    pub(crate) async fn open(&mut self, call: u32) {
        self.send(&headers(call, 0)).await;
    }

    /// Begins a call, and takes it back, so often and at once.
    pub(crate) async fn open_and_reset(&mut self, calls: std::ops::Range<u32>) {
        let frames: Vec<u8> = calls
            .flat_map(|call| {
                [headers(call, 0), encode(RST_STREAM, 0, stream(call), &CANCEL.to_be_bytes())].concat()
            })
            .collect();
        self.send(&frames).await;
    }

    /// Makes room for the answers of a call.
    pub(crate) async fn widen(&mut self, call: u32, bytes: u32) {
        self.send(&encode(WINDOW_UPDATE, 0, stream(call), &bytes.to_be_bytes())).await;
    }

    /// Sends each piece in a frame of its own.
    pub(crate) async fn data(&mut self, call: u32, pieces: impl Iterator<Item = &[u8]>) {
        let frames: Vec<u8> = pieces.flat_map(|piece| encode(DATA, 0, stream(call), piece)).collect();
        self.send(&frames).await;
    }

    /// Takes a call back.
    pub(crate) async fn reset(&mut self, call: u32) {
        self.send(&encode(RST_STREAM, 0, stream(call), &CANCEL.to_be_bytes())).await;
    }

    /// Breaks the protocol on a call that is open: its window is raised above what there is.
    pub(crate) async fn overflow(&mut self, call: u32) {
        self.widen(call, u32::MAX >> 1).await;
    }

    pub(crate) async fn half_close(&mut self, call: u32) {
        self.send(&encode(DATA, END_STREAM, stream(call), &[])).await;
    }

    pub(crate) async fn ping(&mut self) {
        self.send(&encode(PING, 0, 0, &[0; 8])).await;
    }

    /// A call that breaks the protocol: its window is raised above what there is.
    pub(crate) async fn break_the_protocol(&mut self, call: u32) {
        self.open(call).await;
        self.overflow(call).await;
    }

    /// What the server's first frame says about a setting.
    pub(crate) async fn setting(&mut self, setting: u16) -> Option<u32> {
        let settings = self.next_of(&[SETTINGS]).await;
        settings
            .payload
            .chunks(6)
            .find(|entry| entry[..2] == setting.to_be_bytes())
            .map(|entry| u32::from_be_bytes(entry[2..].try_into().unwrap()))
    }

    /// The next frame of one of these kinds.
    pub(crate) async fn next_of(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = timeout(PATIENCE, self.next()).await.expect("the server answers");
            if kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }

    /// The next frame of one of these kinds that ends its stream, or the connection.
    pub(crate) async fn next_end_of_stream(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.next_of(kinds).await;
            if frame.kind != HEADERS || frame.ends_stream() {
                return frame;
            }
        }
    }

    /// Whether a call that carries one empty message is answered; else it was reset, or the connection is at its end.
    ///
    /// It sends nothing that counts as a control frame.
    pub(crate) async fn is_answered(&mut self, call: u32) -> bool {
        self.send(&[headers(call, 0), encode(DATA, END_STREAM, stream(call), &[0; 5])].concat()).await;
        let answer = async {
            while let Ok(frame) = self.read().await {
                match frame.kind {
                    DATA if frame.stream == stream(call) => return true,
                    RST_STREAM if frame.stream == stream(call) => return false,
                    GO_AWAY => return false,
                    _ => {}
                }
            }
            false
        };
        timeout(PATIENCE, answer).await.expect("the server answers or hangs up")
    }

    /// Reads until the server hangs up.
    pub(crate) async fn hung_up(&mut self) {
        let hung_up = async { while self.read().await.is_ok() {} };
        timeout(PATIENCE, hung_up).await.expect("the server hangs up");
    }

    async fn next(&mut self) -> Frame {
        self.read().await.unwrap()
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.reader.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.reader.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Sends the same again and again, reading nothing, until the server hangs up.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) {
        let flood = async { while self.writer.write_all(bytes).await.is_ok() {} };
        timeout(PATIENCE, flood).await.expect("the server hangs up");
    }

    /// Sends the same now and then, reading nothing, until the server hangs up.
    pub(crate) async fn dribble(&mut self, bytes: &[u8], every: Duration) {
        let mut ticks = tokio::time::interval(every);
        let dribble = async {
            while self.writer.write_all(bytes).await.is_ok() {
                ticks.tick().await;
            }
        };
        timeout(PATIENCE, dribble).await.expect("the server hangs up");
    }

    /// A server that has hung up is seen when its frames are read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.ok();
    }
}

impl Frame {
    /// Whether its stream ends with it.
    pub(crate) fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

pub(crate) const STREAM: &str = "/millstream.v1.DataPlane/Stream";

const FIELDS: [(&str, &str); 4] = [
    (":path", STREAM),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];
const FILL: &str = "fill";
/// What HTTP/2 counts for a field beside its name and its value (RFC 9113, 6.5.2).
const FIELD: usize = 32;

/// The size of the smallest list of headers that [`headers`] makes with a fill, without the fill.
pub(crate) fn list_size_without_fill() -> usize {
    let fields = FIELDS.iter().map(|(name, value)| name.len() + value.len() + FIELD).sum::<usize>();
    fields + ":methodPOST:schemehttp".len() + 2 * FIELD + FILL.len() + FIELD
}

/// The frame that begins a call of `DataPlane.Stream`, with so many bytes of metadata.
pub(crate) fn headers(call: u32, fill: usize) -> Vec<u8> {
    encode(HEADERS, END_HEADERS, stream(call), &headers_block(fill))
}

/// The same, as HPACK has it.
pub(crate) fn headers_block(fill: usize) -> Vec<u8> {
    block(STREAM, fill)
}

/// The frame that begins a call of any method.
pub(crate) fn headers_to(path: &str, call: u32) -> Vec<u8> {
    encode(HEADERS, END_HEADERS, stream(call), &block(path, 0))
}

fn block(path: &str, fill: usize) -> Vec<u8> {
    // HPACK without Huffman coding: two indexed fields (POST, http), then literals.
    let mut block = vec![0x83, 0x86];
    for (name, value) in FIELDS {
        literal(&mut block, name, if name == ":path" { path } else { value });
    }
    if fill > 0 {
        literal(&mut block, FILL, &"x".repeat(fill));
    }
    block
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        length(block, text.len());
        block.extend(text.as_bytes());
    }
}

/// An integer with a prefix of 7 bits (RFC 7541, 5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(length as u8) };
    block.push(127);
    while rest >= 128 {
        block.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}
