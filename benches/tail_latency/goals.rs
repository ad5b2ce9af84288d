//! What millstream is to reach, judged by the medians over rounds of one run; see [`goal`](crate::goal).
//!
//! The peers of a goal are the executors that hand work over; `inline` hands nothing over, is no peer, and is what
//! overheads are measured from.

mod handoff;
mod sharing;
mod tail;

pub(crate) use tail::duels;

use serde::Serialize;

use crate::{
    goal::{Goal, Part},
    results::Results,
};

/// A goal of the same list that another command judges.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Elsewhere {
    pub(crate) number: u32,
    pub(crate) text: &'static str,
    pub(crate) command: &'static str,
}

/// What of the list takes a whole server, or another program, to judge.
pub(crate) const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        number: 11,
        text: "end to end over gRPC, beside naive tonic servers",
        command: "cargo bench --features cli --bench grpc_tail",
    },
    Elsewhere {
        number: 12,
        text: "no heap allocation per message in the steady state",
        command: "cargo test --test allocations",
    },
    Elsewhere {
        number: 13,
        text: "growth: CPU per message with 1,000 streams, memory of an idle stream, many classes and keys",
        command: "cargo bench --features cli --bench growth",
    },
];

/// All goals that this bench can judge.
pub(crate) fn judge(results: &Results) -> Vec<Goal> {
    vec![
        handoff::round_trip_back_to_back(results),
        handoff::round_trip_spaced(results),
        handoff::tiny_jobs(results),
        handoff::cpu(results),
        handoff::probe(results),
        tail::near_the_ideal(results),
        tail::short_beside_long(results),
        tail::highest_mixed_load(results),
        tail::ahead_of_every_peer(results),
        handoff::spawning(results),
        sharing::no_stream_crowds_out_the_others(results),
    ]
}
