//! Connections that are read by the clock while the service has more to do than it can: what comes waits for the next tick,
//! and all of it is read, whatever the connection goes over to meanwhile. The clock stands still, so that there is no tick
//! but those of a test.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{task, time};

use super::{
    Running, clock,
    raw::{self, RawClient},
    reception, start_swamped,
};

/// From one tick to the next, as tokio rounds it.
const TICK: Duration = Duration::from_millis(2);
/// More ticks than a connection goes by in vain.
const MANY: usize = 10;
/// Far more than is received at a time, or kept from the system's notice.
const LARGE: usize = 300 << 10;

/// Lets the server look at its sockets some dozen times.
async fn chances() {
    for _ in 0..2000 {
        task::yield_now().await;
    }
}

struct Paced {
    server: Running,
    swamped: Arc<AtomicBool>,
    client: RawClient,
    calls: u32,
}

impl Paced {
    /// A service that has more to do than it can, and a connection that is read by the clock.
    async fn new() -> Self {
        let swamped = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&swamped);
        let server = start_swamped(
            |options| {
                options.max_concurrent_streams = 8;
                options.stream_window = 1 << 20;
            },
            move || asked.load(SeqCst),
        )
        .await;
        let client = reception::client(&server).await;
        let mut paced = Self { server, swamped, client, calls: 0 };
        // Nothing is swamped yet.
        paced.is_read_as_it_comes().await;
        paced.swamped.store(true, SeqCst);
        // One that is read as it comes, and another so soon after it that the next has to wait.
        paced.waits_for_the_tick().await;
        paced.waits_for_the_tick().await;
        paced
    }

    /// Whether a call is answered with the next tick only.
    async fn waits_for_the_tick(&mut self) -> bool {
        self.calls += 1;
        let mut answer = pin!(self.client.is_answered(self.calls));
        tokio::select! {
            biased;
            answered = &mut answer => {
                assert!(answered);
                false
            }
            () = chances() => {
                time::advance(TICK).await;
                assert!(answer.await);
                true
            }
        }
    }

    /// A call is answered though the clock stands still.
    async fn is_read_as_it_comes(&mut self) {
        self.calls += 1;
        assert!(self.client.is_answered(self.calls).await);
    }

    /// Sends a large message, which is seen by nobody yet.
    async fn sends_a_large_message(&mut self) {
        self.calls += 1;
        reception::begin(&mut self.client, self.calls, &reception::message(LARGE)).await;
    }
}

#[tokio::test]
async fn what_comes_is_read_with_the_next_tick_and_not_before() {
    clock::stopped(async {
        let mut paced = Paced::new().await;
        for _ in 0..3 {
            assert!(paced.waits_for_the_tick().await);
        }
    })
    .await;
}

#[tokio::test]
async fn after_the_overload_it_is_read_as_it_comes() {
    clock::stopped(async {
        let mut paced = Paced::new().await;
        paced.swamped.store(false, SeqCst);
        time::advance(TICK).await;
        paced.is_read_as_it_comes().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_read_as_it_comes_again() {
    clock::stopped(async {
        let mut paced = Paced::new().await;
        for _ in 0..MANY {
            time::advance(TICK).await;
            chances().await;
        }
        paced.is_read_as_it_comes().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_larger_than_what_is_read_at_a_time_is_read_whole_tick_by_tick() {
    clock::stopped(async {
        let mut paced = Paced::new().await;
        paced.sends_a_large_message().await;
        let mut answer = pin!(paced.client.next_of(&[raw::DATA]));
        for _ in 0..1000 {
            tokio::select! {
                biased;
                _ = &mut answer => return,
                () = chances() => time::advance(TICK).await,
            }
        }
        panic!("there is no answer");
    })
    .await;
}

#[tokio::test]
async fn nothing_of_a_message_is_left_behind_when_the_overload_ends_in_the_midst_of_it() {
    clock::stopped(async {
        let mut paced = Paced::new().await;
        paced.sends_a_large_message().await;
        paced.swamped.store(false, SeqCst);
        // The one tick that was due: from then on the system tells of what there is.
        time::advance(TICK).await;
        paced.client.next_of(&[raw::DATA]).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_gone_with_the_next_tick() {
    clock::stopped(async {
        let Paced { server, client, .. } = Paced::new().await;
        drop(client);
        chances().await;
        assert_eq!(server.counts.open(), 1);
        time::advance(TICK).await;
        server.left_with(0).await;
    })
    .await;
}
