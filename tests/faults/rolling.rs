//! A rolling restart: two servers, of which one after the other is stopped and started anew, under load.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::{Client, PATIENCE, Serving, code, request, serving::signal};
use parking_lot::RwLock;

/// Messages that a customer has in flight.
const WINDOW: usize = 20;
const CUSTOMERS: u64 = 4;

/// What the customers know, and what they have done together.
struct Shop {
    /// Where the two servers listen.
    urls: RwLock<[String; 2]>,
    answered: AtomicU64,
    closing: AtomicU64,
}

impl Shop {
    /// Waits until so many more messages have been answered.
    async fn sells(&self, more: u64) {
        let goal = self.answered.load(SeqCst) + more;
        let mut looks = tokio::time::interval(Duration::from_millis(2));
        timeout(PATIENCE, async {
            while self.answered.load(SeqCst) < goal {
                looks.tick().await;
            }
        })
        .await
        .expect("messages are answered");
    }
}

/// A client with retries, and its own count.
struct Customer {
    shop: Arc<Shop>,
    next: u64,
    again: VecDeque<u64>,
    answers: HashMap<u64, u32>,
}

impl Customer {
    fn next(&mut self) -> Option<u64> {
        self.again.pop_front().or_else(|| {
            (self.shop.closing.load(SeqCst) == 0).then(|| {
                self.next += 1;
                self.next
            })
        })
    }

    /// Until the shop closes, and every message has an answer.
    async fn shops(mut self, number: usize) -> (u64, HashMap<u64, u32>) {
        for turn in number.. {
            if self.again.is_empty() && self.shop.closing.load(SeqCst) > 0 {
                break;
            }
            let url = self.shop.urls.read()[turn % 2].clone();
            // One that has just ended is not there.
            if let Ok(client) = Client::connect(url).await {
                self.stream(client).await;
            }
        }
        (self.next, self.answers)
    }

    /// One stream, until the server wants no more; what has no answer then is sent again elsewhere.
    async fn stream(&mut self, mut client: Client) {
        let (sender, feed) = mpsc::channel(WINDOW);
        let mut sender = Some(sender);
        let Ok(answers) = client.stream(ReceiverStream::new(feed)).await else { return };
        let mut answers = answers.into_inner();
        let mut in_flight = BTreeSet::new();
        loop {
            while let Some(open) = &sender
                && in_flight.len() < WINDOW
            {
                let Some(id) = self.next() else {
                    sender = None;
                    break;
                };
                let echo = request(id, "echo", id.to_string(), &[("busy", "1ms")]);
                open.try_send(echo).expect("the window is the feed's");
                in_flight.insert(id);
            }
            match timeout(PATIENCE, answers.message()).await.expect("an answer comes") {
                Ok(Some(answer)) => {
                    assert!(in_flight.remove(&answer.id), "answered twice, or never asked: {answer:?}");
                    match code(&answer) {
                        Code::Ok => {
                            *self.answers.entry(answer.id).or_default() += 1;
                            self.shop.answered.fetch_add(1, SeqCst);
                        }
                        Code::Unavailable => {
                            self.again.push_back(answer.id);
                            sender = None;
                        }
                        other => panic!("{other:?}: {answer:?}"),
                    }
                }
                Ok(None) => break,
                Err(broken) => {
                    assert!(
                        matches!(
                            broken.code(),
                            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
                        ),
                        "{broken}"
                    );
                    break;
                }
            }
        }
        self.again.extend(in_flight);
    }
}

#[tokio::test]
async fn in_a_rolling_restart_no_message_is_lost_and_none_is_answered_twice() {
    let start = || Serving::start(&["--set", "worker_count=2", "--set", "server.drain_timeout=10s"]);
    let (mut first, mut second) = (start().await, start().await);
    let shop = Arc::new(Shop {
        urls: RwLock::new([first.url(), second.url()]),
        answered: AtomicU64::new(0),
        closing: AtomicU64::new(0),
    });
    let mut customers = JoinSet::new();
    for number in 0..CUSTOMERS as usize {
        let (shop, again, answers) = (Arc::clone(&shop), VecDeque::new(), HashMap::new());
        customers.spawn(Customer { shop, next: 0, again, answers }.shops(number));
    }
    for _ in 0..2 {
        shop.sells(300).await;
        signal(&first.child, "-TERM").await;
        assert_eq!(first.ended().await, Some(0));
        first = start().await;
        shop.urls.write()[0] = first.url();
        shop.sells(300).await;
        signal(&second.child, "-TERM").await;
        assert_eq!(second.ended().await, Some(0));
        second = start().await;
        shop.urls.write()[1] = second.url();
    }
    shop.sells(300).await;
    shop.closing.store(1, SeqCst);
    let mut all = 0;
    while let Some(customer) =
        timeout(PATIENCE, customers.join_next()).await.expect("customers come to an end")
    {
        let (sent, answers) = customer.unwrap();
        all += sent;
        let counts: Vec<_> = (1..=sent).map(|id| answers.get(&id).copied().unwrap_or(0)).collect();
        assert!(counts.iter().all(|&count| count == 1), "answers by message: {counts:?}");
    }
    assert!(all >= 1500, "{all}");
}
