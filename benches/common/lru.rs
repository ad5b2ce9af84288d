//! The textbook: one list in the order of use, one lock.

use std::collections::HashMap;

use bytes::Bytes;
use millstream::CacheKey;
use parking_lot::Mutex;

use super::{Placement, contenders::Contender};

/// Links of the list; index 0 is its anchor.
struct Node {
    key: Option<CacheKey>,
    value: Bytes,
    newer: usize,
    older: usize,
}

struct State {
    index: HashMap<CacheKey, usize, Placement>,
    nodes: Vec<Node>,
    capacity: usize,
}

/// Evicts what was not used for longest.
pub(crate) struct Lru(Mutex<State>);

impl Lru {
    pub(crate) fn new(capacity: usize) -> Self {
        let anchor = Node { key: None, value: Bytes::new(), newer: 0, older: 0 };
        Self(Mutex::new(State { index: HashMap::default(), nodes: vec![anchor], capacity }))
    }
}

impl State {
    fn unlink(&mut self, at: usize) {
        let (newer, older) = (self.nodes[at].newer, self.nodes[at].older);
        self.nodes[newer].older = older;
        self.nodes[older].newer = newer;
    }

    /// Puts a node before all others.
    fn link(&mut self, at: usize) {
        let newest = self.nodes[0].older;
        (self.nodes[at].newer, self.nodes[at].older) = (0, newest);
        self.nodes[newest].newer = at;
        self.nodes[0].older = at;
    }

    /// A place for another entry: that of the oldest, if there is no room.
    fn place(&mut self) -> usize {
        if self.nodes.len() <= self.capacity {
            self.nodes.push(Node { key: None, value: Bytes::new(), newer: 0, older: 0 });
            return self.nodes.len() - 1;
        }
        let oldest = self.nodes[0].newer;
        self.unlink(oldest);
        if let Some(key) = self.nodes[oldest].key.take() {
            self.index.remove(&key);
        }
        oldest
    }
}

impl Contender for Lru {
    fn get(&self, key: &CacheKey) -> Option<Bytes> {
        let mut state = self.0.lock();
        let at = *state.index.get(key)?;
        state.unlink(at);
        state.link(at);
        Some(state.nodes[at].value.clone())
    }

    fn insert(&self, key: CacheKey, value: &[u8]) {
        let mut state = self.0.lock();
        let at = match state.index.get(&key).copied() {
            Some(at) => {
                state.unlink(at);
                at
            }
            None => state.place(),
        };
        (state.nodes[at].key, state.nodes[at].value) = (Some(key), Bytes::copy_from_slice(value));
        state.index.insert(key, at);
        state.link(at);
    }
}
