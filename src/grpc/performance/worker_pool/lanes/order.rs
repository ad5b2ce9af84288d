//! Which lane a pick looks at first.
//!
//! Of [`TURNS`] picks of a worker nearly all go down the lines as they are served: high, normal, low, and within each
//! priority modest, keen, greedy. Of [`PRIORITY_TURNS`] some begin with normal, one with low. In two of four such rounds
//! the first pick that begins with a priority begins with its keen line, or with its greedy one. So each line comes first
//! once in `TURNS` picks at least.

use super::Line;

/// Picks after which every priority has come first.
const PRIORITY_TURNS: usize = 16;
/// Picks after which every line has.
pub(in super::super) const TURNS: usize = 4 * PRIORITY_TURNS;

/// Which priority is looked at first, by the turn. Ranks as in [`Priority::ALL`](super::Priority::ALL).
pub(in super::super) const fn priorities(turn: usize) -> [usize; 3] {
    match turn % PRIORITY_TURNS {
        3 | 7 | 11 => [1, 0, 2],
        15 => [2, 0, 1],
        _ => [0, 1, 2],
    }
}

/// The same of the lines within the priority that is looked at first. Ranks as in
/// [`Appetite::ALL`](crate::grpc::performance::overload::Appetite::ALL).
const fn appetites(turn: usize) -> [usize; 3] {
    match (turn / PRIORITY_TURNS % 4, turn % PRIORITY_TURNS) {
        (1, 0 | 3 | 15) => [1, 0, 2],
        (3, 0 | 3 | 15) => [2, 0, 1],
        _ => [0, 1, 2],
    }
}

/// The ranks of the lines in the order of a pick, by its turn.
static ORDERS: [[u8; Line::COUNT]; TURNS] = orders();

const fn orders() -> [[u8; Line::COUNT]; TURNS] {
    let mut orders = [[0; Line::COUNT]; TURNS];
    let mut turn = 0;
    while turn < TURNS {
        let (priorities, first) = (priorities(turn), appetites(turn));
        let mut place = 0;
        while place < Line::COUNT {
            let appetite = if place < 3 { first[place] } else { place % 3 };
            orders[turn][place] = (priorities[place / 3] * 3 + appetite) as u8;
            place += 1;
        }
        turn += 1;
    }
    orders
}

/// The ranks of the lines in the order in which a worker looks at them on its `turn`-th pick.
pub(crate) fn order_of_service(turn: usize) -> impl Iterator<Item = usize> + Clone {
    ORDERS[turn % TURNS].iter().map(|&rank| usize::from(rank))
}
