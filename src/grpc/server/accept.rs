//! Accepts connections, and rests when that fails.
//!
//! A process that is out of file descriptors cannot accept, and is told so at once, each time that it tries: the
//! loop around `accept` would take a whole core from the workers. So after such a failure the listener rests for
//! [`REST`]; the connections wait in the kernel meanwhile. A connection that the peer has broken off before it was
//! accepted is no reason to rest.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::{Instant, Sleep};

/// Long enough to cost nothing, short enough for a client not to notice.
const REST: Duration = Duration::from_millis(50);

pin_project_lite::pin_project! {
    /// The connections of `listener`, without the failures to accept one.
    pub(super) struct Accept<S> {
        #[pin]
        listener: S,
        #[pin]
        rest: Sleep,
        resting: bool,
    }
}

impl<S> Accept<S> {
    pub(super) fn new(listener: S) -> Self {
        Self { listener, rest: tokio::time::sleep(Duration::ZERO), resting: false }
    }
}

impl<S, C> Stream for Accept<S>
where
    S: Stream<Item = io::Result<C>>,
{
    type Item = io::Result<C>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if *this.resting {
                ready!(this.rest.as_mut().poll(cx));
                *this.resting = false;
            }
            match ready!(this.listener.as_mut().poll_next(cx)) {
                Some(Err(error)) if broken_off(&error) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, rest = ?REST, "cannot accept connections");
                    this.rest.as_mut().reset(Instant::now() + REST);
                    *this.resting = true;
                }
                connection => return Poll::Ready(connection),
            }
        }
    }
}

fn broken_off(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    struct Script<I>(I);

    impl<I: Iterator<Item = io::Result<u32>> + Unpin> Stream for Script<I> {
        type Item = io::Result<u32>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.next())
        }
    }

    async fn next<I: Iterator<Item = io::Result<u32>> + Unpin>(
        accept: &mut Pin<Box<Accept<Script<I>>>>,
    ) -> Option<u32> {
        poll_fn(|cx| accept.as_mut().poll_next(cx)).await.transpose().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_out_of_descriptors_rests_and_goes_on() {
        let exhausted = || Err(io::Error::from_raw_os_error(libc::EMFILE));
        let broken = || Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        let script = [Ok(1), broken(), broken(), Ok(2), exhausted(), exhausted(), Ok(3)];
        let mut accept = Box::pin(Accept::new(Script(script.into_iter())));
        let start = Instant::now();
        assert_eq!(next(&mut accept).await, Some(1));
        assert_eq!(next(&mut accept).await, Some(2));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(next(&mut accept).await, Some(3));
        assert!(start.elapsed() >= 2 * REST, "{:?}", start.elapsed());
        assert_eq!(next(&mut accept).await, None);
    }
}
