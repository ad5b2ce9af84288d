//! Memory for nodes, side by side.
//!
//! While a cache fills up, the heap would put each node between two values: three to a page with values of 1 KiB. Then each hit
//! on one that is not asked for all the time waits for its page's address, too, since the processor keeps those of few pages at
//! hand; in a virtual machine that takes as long as the entry itself. So the memory of several nodes is asked for in a row, and
//! each is given back just before a node is made: for a heap that has a cache for each thread, which is all that are in
//! use, gives what came back last. What another heap does costs nothing but these calls.
//!
//! Once the cache is full, a node comes in the place of one that was freed just before, and nothing is asked for here.

use std::{cell::RefCell, mem::MaybeUninit};

use super::{nodes::Node, slot::Entry};

/// Four kilobytes and a half for each thread that stores.
const IN_A_ROW: usize = 30;

/// What the heap is asked for when a node is made: the count of the handles on its bytes, and the node.
type Place = MaybeUninit<(usize, Node<Entry>)>;

thread_local! {
    #[allow(clippy::vec_box, reason = "each is given back to the heap by itself")]
    static PLACES: RefCell<Vec<Box<Place>>> = const { RefCell::new(Vec::new()) };
}

/// A node is made next, and none was freed for it.
pub(super) fn make_place() {
    // A thread that is about to end has none any more.
    let _ended = PLACES.try_with(|places| {
        let mut places = places.borrow_mut();
        if places.is_empty() {
            places.extend((0..IN_A_ROW).map(|_| Box::new_uninit()));
            // The first of them last, so that they are taken in the order in which they lie.
            places.reverse();
        }
        drop(places.pop());
    });
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::*;

    #[test]
    fn places_are_asked_for_in_a_row_and_given_back_one_by_one() {
        let left = || PLACES.with_borrow(Vec::len);
        for before in [IN_A_ROW, 2 * IN_A_ROW] {
            (0..before).for_each(|_| make_place());
            assert_eq!(left(), 0);
            make_place();
            assert_eq!(left(), IN_A_ROW - 1);
            (1..IN_A_ROW).for_each(|_| make_place());
        }
    }
}
