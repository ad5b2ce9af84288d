//! Frames without end on one connection, and what the clients of the others notice of it.
//!
//! The hostile client has cores of its own in life; here it shares them, and so gives way to everybody (the highest
//! niceness). It reads what it is sent, or its flood would stop itself, and whenever it is cut off it comes again at once.
//!
//! A p99 of some seconds hangs on ten messages, and a neighbour on the machine delays as many. So every flood has several
//! rounds, each beside a calm of its own with the same arrivals, and the ratio that counts is the median. A calm that others
//! disturbed is done again. A flood is not: what the kernel does for it looks like the work of others.

use std::{
    fmt,
    io::{self, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::{children::own_cpu, figures::median, referee::Referee, server::Server, words::time};

/// What the well-behaved client asks for: a quarter of what two workers can do.
const RATE: f64 = 500.0;
const STREAMS: u32 = 4;
const BUSY_MS: f64 = 1.0;
/// Frames, or pairs of them, in a connection's worth; after the last one it begins anew.
const FRAMES: u32 = 20_000;

/// What may go into runs that others disturbed, and that are done again.
const WASTE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(15));

/// A server that takes nothing for so long is not worth waiting for.
const STANDSTILL: Duration = Duration::from_secs(1);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types and a flag of RFC 9113, 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[derive(Debug, Clone, Copy)]
enum Kind {
    RapidReset,
    MadeYouReset,
    Ping,
    Settings,
    Continuation,
    EmptyData,
    WindowUpdate,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::RapidReset,
        Self::MadeYouReset,
        Self::Ping,
        Self::Settings,
        Self::Continuation,
        Self::EmptyData,
        Self::WindowUpdate,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::RapidReset => "rapid reset",
            Self::MadeYouReset => "MadeYouReset",
            Self::Ping => "PING",
            Self::Settings => "SETTINGS",
            Self::Continuation => "CONTINUATION",
            Self::EmptyData => "empty DATA",
            Self::WindowUpdate => "WINDOW_UPDATE",
        }
    }

    /// All that a connection sends.
    fn bytes(self) -> Vec<u8> {
        let call = frame(HEADERS, END_HEADERS, 1, &head());
        let calls = |break_it: fn(u32) -> Vec<u8>| {
            let pair = |call: u32| [frame(HEADERS, END_HEADERS, call, &head()), break_it(call)].concat();
            (0..FRAMES).flat_map(|number| pair(2 * number + 1)).collect()
        };
        let repeated = |begin: &[u8], frame: Vec<u8>| [begin, &frame.repeat(FRAMES as usize)].concat();
        let flood = match self {
            Self::RapidReset => calls(|call| frame(RST_STREAM, 0, call, &8_u32.to_be_bytes())),
            // An increment of zero breaks the protocol: it is the server that resets the call.
            Self::MadeYouReset => calls(|call| frame(WINDOW_UPDATE, 0, call, &0_u32.to_be_bytes())),
            Self::Ping => repeated(&[], frame(PING, 0, 0, &[0; 8])),
            Self::Settings => repeated(&[], frame(SETTINGS, 0, 0, &[])),
            Self::Continuation => repeated(&frame(HEADERS, 0, 1, &head()), frame(CONTINUATION, 0, 1, &[])),
            Self::EmptyData => repeated(&call, frame(DATA, 0, 1, &[])),
            Self::WindowUpdate => repeated(&call, frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        };
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &flood].concat()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, in HPACK without its Huffman code.
fn head() -> Vec<u8> {
    // Two fields of the static table: POST, http.
    let mut block = vec![0x83, 0x86];
    let fields = [
        (":path", "/millstream.v1.DataPlane/Stream"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("fields are short"));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A client that floods, until this is dropped.
struct Hostile {
    stop: Arc<AtomicBool>,
    cut_off: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Hostile {
    fn start(kind: Kind, address: &str) -> Self {
        let (stop, cut_off) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, address) = (Arc::clone(&stop), Arc::clone(&cut_off), address.to_owned());
        let thread = thread::spawn(move || {
            give_way();
            let bytes = kind.bytes();
            while !stopped.load(Relaxed) {
                if flood(&address, &bytes, &stopped).is_err() {
                    counted.fetch_add(1, Relaxed);
                }
            }
        });
        Self { stop, cut_off, thread: Some(thread) }
    }
}

/// The calling thread runs when nobody else would.
#[allow(unsafe_code)]
fn give_way() {
    // SAFETY: takes no pointer; on Linux 0 names the calling thread.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) } != 0 {
        eprintln!("the hostile client does not give way: {}", io::Error::last_os_error());
    }
}

/// One connection's worth; an error when it was cut off.
fn flood(address: &str, bytes: &[u8], stop: &AtomicBool) -> io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_write_timeout(Some(STANDSTILL))?;
    let mut answers = socket.try_clone()?;
    let reader = thread::spawn(move || {
        give_way();
        let mut sink = [0; 16 << 10];
        while answers.read(&mut sink).is_ok_and(|read| read > 0) {}
    });
    let mut pieces = bytes.chunks(16 << 10);
    let sent = pieces.try_for_each(|piece| if stop.load(Relaxed) { Ok(()) } else { socket.write_all(piece) });
    // An error: it is closed already.
    socket.shutdown(std::net::Shutdown::Both).ok();
    reader.join().expect("the reader does not panic");
    sent
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the hostile client does not panic");
        }
    }
}

/// What the others notice of a flood: medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Flood {
    pub(crate) kind: &'static str,
    pub(crate) calm_p99_ms: f64,
    pub(crate) p99_ms: f64,
    /// The one of the other, in each round.
    pub(crate) ratios: Vec<f64>,
    /// Calls of the others that failed.
    pub(crate) failed: f64,
    pub(crate) cut_off_per_s: f64,
    /// Times of calm that were disturbed, and done again.
    pub(crate) discarded: usize,
}

impl Flood {
    /// The p99 of the others, of the calm one's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        median(self.ratios.iter().copied())
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, calm_p99_ms, p99_ms, ratios, failed, cut_off_per_s, discarded } = self;
        write!(
            f,
            "While one connection floods with {kind}: p99 of the others {} where it is {} in peace, {ratios:.2?} of it in {} \
             rounds ({discarded} disturbed times of peace aside), {failed:.0} failed; the flood was cut off {cut_off_per_s:.0} times \
             a second.",
            time(p99_ms * 1e3),
            time(calm_p99_ms * 1e3),
            ratios.len(),
        )
    }
}

/// What the well-behaved client met with.
struct Run {
    p99_ms: f64,
    failed: f64,
    cut_off: u64,
    valid: bool,
}

/// The well-behaved client at a server of its own, beside a flood or in peace.
fn run(flood: Option<Kind>, length: Duration) -> Result<Run, String> {
    let server = Server::start(&[("MILLSTREAM_WORKER_COUNT", "2")])?;
    let hostile = flood.map(|kind| Hostile::start(kind, &server.address));
    let report = server.load(RATE, STREAMS, "64", BUSY_MS, length)?;
    let figure = |name: &str| report[name].as_f64().ok_or_else(|| format!("the generator reports no {name}"));
    Ok(Run {
        p99_ms: report["latency"]["p99_us"].as_f64().ok_or("the generator reports no p99")? / 1e3,
        failed: figure("sent")? - figure("answered_ok")?,
        cut_off: hostile.map_or(0, |hostile| hostile.cut_off.load(Relaxed)),
        valid: report["valid"].as_bool().ok_or("the generator does not say whether it was in time")?,
    })
}

/// Each flood beside peace, in turn, several times.
pub(crate) fn measure(quick: bool) -> Result<Vec<Flood>, String> {
    let (rounds, length) = if quick { (3, Duration::from_secs(2)) } else { (5, Duration::from_secs(4)) };
    let mut referee = Referee::new(own_cpu, if quick { WASTE.1 } else { WASTE.0 });
    Kind::ALL.into_iter().map(|kind| one(kind, rounds, length, &mut referee)).collect()
}

fn one(kind: Kind, rounds: u32, length: Duration, referee: &mut Referee) -> Result<Flood, String> {
    let discarded = |referee: &Referee| referee.validity.discarded_noise + referee.validity.discarded_late;
    let before = discarded(referee);
    let is_late = |run: &Result<Run, String>| run.as_ref().is_ok_and(|run| !run.valid);
    let mut calm = || referee.judge(is_late, || run(None, length));
    let pairs = (0..rounds).map(|_| Ok((calm()?, run(Some(kind), length)?)));
    let pairs = pairs.collect::<Result<Vec<_>, String>>()?;
    // The warm-up of the generator, a second, is under flood as well.
    let seconds = (length + Duration::from_secs(1)).as_secs_f64() * f64::from(rounds);
    let p99 = |of: fn(&(Run, Run)) -> f64| median(pairs.iter().map(of)).unwrap_or(f64::NAN);
    Ok(Flood {
        kind: kind.name(),
        calm_p99_ms: p99(|(calm, _)| calm.p99_ms),
        p99_ms: p99(|(_, storm)| storm.p99_ms),
        ratios: pairs.iter().map(|(calm, storm)| storm.p99_ms / calm.p99_ms).collect(),
        failed: pairs.iter().map(|(_, storm)| storm.failed).sum(),
        cut_off_per_s: pairs.iter().map(|(_, storm)| storm.cut_off).sum::<u64>() as f64 / seconds,
        discarded: discarded(referee) - before,
    })
}
