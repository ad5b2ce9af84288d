//! A connection that is read by the clock while the service has more to do than it can.
//!
//! Clients send each message as it comes to them, so that a busy connection becomes readable thousands of times a second.
//! Each time costs a wake of a thread of tokio, a call of `recv`, and a poll of the connection, for one message: more than
//! to refuse that. While the service is swamped the cores have better to do. So the connection goes by the clock then, by
//! the rules of [`Reading`], as the streams do that it carries: what has come is read at a stroke every other millisecond.
//! Refusing 10,000 messages a second took 23 µs of CPU time for each before, and takes 10 so (`cargo bench --features cli
//! --bench overload`).
//!
//! ```text
//!              reads come one upon the other, swamped          a tick: all that is there
//!  by arrival ────────────────────────────────────► by the clock ◄────────────────┐
//!      ▲                                             │        └───────────────────┘
//!      └────────── leaving ◄─────────────────────────┘ nothing came for some ticks, or no longer swamped
//!            all that is there
//! ```
//! **What the system is told.** Nobody waits for the socket between two ticks, but the system would wake the thread that
//! waits for all sockets for every segment nevertheless. The low-water mark of the socket keeps it from that.
//!
//! **No lost wake.** By the clock the task is woken by the timer alone, which is set whenever reading rests. tokio may not
//! have been told of what came under the mark. Therefore the mark is lowered first, and then everything is received that
//! is there: until a read finds less than it had room for. What comes later comes under a mark of 1, of which tokio is told.
//!
//! What comes waits for up to two milliseconds more so, urgent messages too: whether one is urgent is not known before it is
//! read. Where the system has no such mark the connection stays by arrival.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use crate::{grpc::performance::processor::Reading, platform::socket};

/// Bytes of which the system tells between two ticks all the same. A socket of Linux has room for twice as many from the
/// beginning; a higher mark would make it grow.
const LOW_WATER: u16 = 32 << 10;

/// Whether the service has more to do than it can.
pub(super) type Swamped = Arc<dyn Fn() -> bool + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    ByArrival,
    ByTheClock,
    Leaving,
}

pub(super) struct PacedIo {
    socket: TcpStream,
    swamped: Swamped,
    mode: Mode,
    reading: Reading,
    /// Made with the first tick.
    tick: Option<Pin<Box<Sleep>>>,
}

impl PacedIo {
    pub(super) fn new(socket: TcpStream, swamped: Swamped) -> Self {
        Self { socket, swamped, mode: Mode::ByArrival, reading: Reading::default(), tick: None }
    }

    /// Bytes came by arrival; from now on they may come by the clock.
    fn arrived(&mut self) {
        let now = Instant::now();
        self.reading.found(false, now.into_std());
        // A socket that cannot be told is read as ever.
        if self.reading.by_the_clock(true) && socket::set_low_water(&self.socket, LOW_WATER).is_ok() {
            self.mode = Mode::ByTheClock;
            self.rest(true, now);
        }
    }

    /// Until the next tick; `read`: something came with this one.
    fn rest(&mut self, read: bool, now: Instant) {
        self.reading.pause(read, false, now.into_std(), Duration::ZERO);
        let at = self.reading.next_tick().expect("a pause ends with a tick").into();
        match &mut self.tick {
            Some(tick) => tick.as_mut().reset(at),
            None => self.tick = Some(Box::pin(sleep_until(at))),
        }
    }

    /// Takes what is there; true when there is no more.
    fn receive(&self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let room = buffer.remaining();
        let received = socket::receive(&self.socket, buffer.initialize_unfilled())?;
        buffer.advance(received);
        Ok(received < room)
    }
}

impl AsyncRead for PacedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.mode {
                Mode::ByArrival => {
                    let before = buffer.filled().len();
                    ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
                    if buffer.filled().len() > before && (this.swamped)() {
                        this.arrived();
                    }
                    return Poll::Ready(Ok(()));
                }
                Mode::ByTheClock => {
                    let tick = this.tick.as_mut().expect("it was set when this began");
                    ready!(tick.as_mut().poll(cx));
                    if !this.reading.by_the_clock((this.swamped)()) {
                        socket::set_low_water(&this.socket, 1)?;
                        this.mode = Mode::Leaving;
                        continue;
                    }
                    match this.receive(buffer) {
                        Ok(all) => {
                            let now = Instant::now();
                            this.reading.found(false, now.into_std());
                            if all {
                                this.rest(true, now);
                            }
                            return Poll::Ready(Ok(()));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            this.rest(false, Instant::now());
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Mode::Leaving => match this.receive(buffer) {
                    Ok(all) => {
                        if all {
                            this.mode = Mode::ByArrival;
                        }
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => this.mode = Mode::ByArrival,
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
    }
}

impl AsyncWrite for PacedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
