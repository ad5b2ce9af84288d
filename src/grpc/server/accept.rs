//! Accepts connections, and rests when that fails.
//!
//! A process that is out of file descriptors cannot accept, and is told so at once, each time that it tries: the
//! loop around `accept` would take a whole core from the workers. So after such a failure the listener rests for
//! [`REST`]; the connections wait in the kernel meanwhile. A connection that the peer has broken off before it was
//! accepted is no reason to rest.

use std::{io, time::Duration};

use super::counts::Limit;
use crate::platform::socket::is_out_of_descriptors;

/// Long enough to cost nothing, short enough for a client not to notice.
const REST: Duration = Duration::from_millis(50);

/// The next connection that `listen` gives, whatever fails before it; `failed` hears of each failure that makes it rest.
/// Dropped early it loses none.
pub(super) async fn next<C, F>(mut listen: impl FnMut() -> F, failed: impl Fn(&io::Error)) -> C
where
    F: Future<Output = io::Result<C>>,
{
    loop {
        match listen().await {
            Ok(connection) => return connection,
            Err(error) if broken_off(&error) => {}
            Err(error) => {
                failed(&error);
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// What a failure that makes it rest is counted as.
pub(super) fn limit(error: &io::Error) -> Limit {
    if is_out_of_descriptors(error) { Limit::Descriptors } else { Limit::Accept }
}

fn broken_off(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_is_out_of_descriptors_rests_and_goes_on() {
        let exhausted = || Err(io::Error::from_raw_os_error(libc::EMFILE));
        let broken = || Err(io::Error::from(io::ErrorKind::ConnectionAborted));
        let script = [Ok(1), broken(), broken(), Ok(2), exhausted(), exhausted(), Ok(3)];
        let mut script = script.into_iter();
        let mut listen = || std::future::ready(script.next().unwrap());
        let failures = Cell::new(0);
        let failed = |_: &io::Error| failures.set(failures.get() + 1);
        let start = Instant::now();
        assert_eq!(next(&mut listen, failed).await, 1);
        assert_eq!(next(&mut listen, failed).await, 2);
        assert_eq!((start.elapsed(), failures.get()), (Duration::ZERO, 0));
        assert_eq!(next(&mut listen, failed).await, 3);
        assert!(start.elapsed() >= 2 * REST, "{:?}", start.elapsed());
        assert_eq!(failures.get(), 2);
    }

    #[test]
    fn what_fails_for_want_of_descriptors_is_told_apart_from_the_rest() {
        let counted = |code| limit(&io::Error::from_raw_os_error(code));
        assert_eq!([libc::EMFILE, libc::ENFILE].map(counted), [Limit::Descriptors; 2]);
        assert_eq!([libc::ENOMEM, libc::ENOBUFS].map(counted), [Limit::Accept; 2]);
    }
}
