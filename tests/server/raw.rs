//! An HTTP/2 client that does what it is told, right or wrong: just enough frames to see a server's limits.

use std::{net::SocketAddr, time::Duration};

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
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PATIENCE: Duration = Duration::from_secs(30);
/// Large enough for whatever the tests are sent.
const WINDOW: u32 = 1 << 30;

/// A frame that the server has sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

pub(crate) struct RawClient {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
}

/// Calls are numbered from 0, streams of a client are odd.
fn stream(call: u32) -> u32 {
    2 * call + 1
}

fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl RawClient {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let (reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
        writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let window = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
        writer.write_all(&encode(SETTINGS, 0, 0, &window)).await.unwrap();
        writer.write_all(&encode(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes())).await.unwrap();
        Self { reader, writer }
    }

    /// Begins a call of `DataPlane.Stream`.
    pub(crate) async fn open(&mut self, call: u32) {
        // HPACK without Huffman coding: two indexed fields (POST, http), then literals.
        let mut block = vec![0x83, 0x86];
        literal(&mut block, ":path", "/millstream.v1.DataPlane/Stream");
        literal(&mut block, ":authority", "localhost");
        literal(&mut block, "content-type", "application/grpc");
        literal(&mut block, "te", "trailers");
        self.send(&encode(HEADERS, END_HEADERS, stream(call), &block)).await;
    }

    /// Sends each piece in a frame of its own.
    pub(crate) async fn data(&mut self, call: u32, pieces: impl Iterator<Item = &[u8]>) {
        let frames: Vec<u8> = pieces.flat_map(|piece| encode(DATA, 0, stream(call), piece)).collect();
        self.send(&frames).await;
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
        self.send(&encode(WINDOW_UPDATE, 0, stream(call), &(u32::MAX >> 1).to_be_bytes())).await;
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
            if frame.kind != HEADERS || frame.flags & END_STREAM != 0 {
                return frame;
            }
        }
    }

    async fn next(&mut self) -> Frame {
        let mut head = [0; 9];
        self.reader.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.reader.read_exact(&mut payload).await.unwrap();
        Frame { kind: head[3], flags: head[4], payload }
    }

    /// A server that has hung up is seen when its frames are read.
    async fn send(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.ok();
    }
}

fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
}
