//! What is to be reached; see [`goal`](crate::goal).

use crate::{
    experiments::Load,
    expiry::Expiry,
    floods::Flood,
    goal::{Goal, Part, least, most},
    memory::{Memory, Refusals},
    recovery::Recovery,
    refusals::Alone,
};

const MIB: f64 = (1 << 20) as f64;
/// What the server may hold beyond the bytes that it may accept.
const BEYOND: f64 = 64.0;

pub(crate) fn judge(
    loads: &[Load],
    recoveries: &[Recovery],
    expiry: &Expiry,
    memory: &Memory,
    alone: &Alone,
    refusals: &Refusals,
    floods: &[Flood],
) -> Vec<Goal> {
    let load = |offered: f64| loads.iter().find(|load| load.offered == offered);
    let recovery = |offered: f64| recoveries.iter().find(|recovery| recovery.offered == offered);
    let goodput = |offered| load(offered).map(|load| load.goodput);
    let error = |offered| load(offered).and_then(|load| load.forecast_error);
    let p99 = |offered| load(offered).map(|load| load.p99_ms);
    vec![
        Goal::new(
            1,
            "in this process: at twice the capacity with deadlines of 50 ms, goodput at least 95% of it, p99 at most 35 \
             ms; at four times at least 90%",
            vec![
                Part::at_least("twice: goodput, of the capacity", goodput(2.0), 0.95),
                Part::at_most("twice: p99, ms", p99(2.0), 35.0),
                Part::at_least("four times: goodput, of the capacity", goodput(4.0), 0.90),
                Part::at_most("four times: p99, ms", p99(4.0), 35.0).informative(),
            ],
        ),
        Goal::new(
            2,
            "200 ms after 10 s at twice the capacity the p99 is at most 1.2 times the calm one's",
            vec![Part::at_most("p99, of the calm one's", recovery(2.0).and_then(Recovery::ratio), 1.2)],
        ),
        Goal::new(
            4,
            "the predicted wait is off by at most 20% of the real one, in the median",
            vec![
                Part::at_most(
                    "above the capacity: median error, at the worst load",
                    most([error(2.0), error(4.0)]),
                    0.2,
                ),
                Part::at_most("the same, at the best load", least([error(2.0), error(4.0)]), 0.2)
                    .informative(),
                Part::at_most("at half of the capacity", error(0.5), 0.2).informative(),
            ],
        ),
        Goal::new(
            5,
            "what expires while all workers are busy is answered within 2 ms of its deadline (p99), and holds nothing",
            vec![
                Part::at_most("p99 of the lateness, ms", Some(expiry.late_p99_ms), 2.0),
                Part::at_most(
                    "those included that others disturbed, ms",
                    Some(expiry.late_p99_of_all_ms),
                    2.0,
                )
                .informative(),
                Part::at_most("places held", Some(expiry.held as f64), 0.0),
            ],
        ),
        Goal::new(
            6,
            "after 15 s at three times the capacity, then half of it: everything in time within a second, nothing left \
             behind",
            vec![
                Part::below(
                    "well again after, ms",
                    recovery(3.0).map(|recovery| recovery.well_after_ms),
                    1000.0,
                ),
                Part::at_most("left behind", recovery(3.0).map(|recovery| recovery.left_behind as f64), 0.0),
            ],
        ),
        Goal::new(
            7,
            "at four times the capacity, with 100 streams and payloads of 64 KiB, memory stays within the configured \
             bytes and 64 MiB more",
            vec![Part::at_most(
                "MiB at most",
                Some(memory.peak_bytes as f64 / MIB),
                memory.budget_bytes as f64 / MIB + BEYOND,
            )],
        ),
        Goal::new(
            0,
            "a refusal costs the server at most 20 µs of CPU time",
            vec![
                Part::at_most("the refusal and its status, µs", Some(alone.cpu_us), 20.0),
                Part::at_most(
                    "with the message from the socket and the answer to it, µs",
                    Some(refusals.cpu_us),
                    20.0,
                ),
            ],
        ),
        Goal::new(
            0,
            "while one connection floods with frames, the p99 of the others is at most twice the calm one's",
            floods.iter().map(|flood| Part::at_most(flood.kind, flood.ratio(), 2.0)).collect(),
        ),
    ]
}
