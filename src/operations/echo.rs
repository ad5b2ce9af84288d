//! `echo`: the payload back, after as much work, as stubborn or as faulty, as the client asks for. What load
//! generators, benches and tests of the server use.
//!
//! Work is CPU time of the thread, so that a busy machine makes the answer later, not the work less. It is burned in
//! slices of [`SLICE`] with a checkpoint before each. One slice begins where the last one ended, or readings of the clock
//! between them, half a microsecond each on some machines, would be a tenth of the work on top. What a checkpoint lets
//! other messages do is not counted as this one's work: the clock is read anew after it then.

use std::{hint, time::Duration};

use bytes::Bytes;

use super::{Operation, ParameterInfo, Parameters, Settings, Workshop, magnitude};
use crate::{
    grpc::performance::{FailureKind, HandlerError, JobScope},
    platform::cpu_clock::thread_cpu_time,
};

/// The operation `echo`.
pub(super) struct Echo;

/// CPU time between two checkpoints: half of the 10 µs that clients are promised, since a reading of the clock takes
/// a fraction of 1 µs, and more on some virtual machines.
const SLICE: Duration = Duration::from_micros(5);

/// The longest that a client may keep a worker busy.
const MAX_BUSY: Duration = Duration::from_secs(60);

struct Plan {
    busy: Duration,
    stubborn: bool,
    panic: bool,
}

fn plan(parameters: &Parameters<'_>, settings: &Settings) -> Result<Plan, HandlerError> {
    let plan = Plan {
        busy: parameters.duration("busy", MAX_BUSY)?,
        stubborn: parameters.flag("stubborn")?,
        panic: parameters.flag("panic")?,
    };
    if plan.panic && !settings.allow_fault_injection {
        return Err(HandlerError::new(
            FailureKind::FailedPrecondition,
            "parameter `panic` is \"true\"; that takes a server that was started with --allow-fault-injection",
        ));
    }
    Ok(plan)
}

/// Keeps the CPU busy until the thread has had so much of its time; returns how much it was.
fn burn_until(end: Duration) -> Duration {
    loop {
        let now = thread_cpu_time();
        if now >= end {
            return now;
        }
        hint::spin_loop();
    }
}

/// Keeps the CPU busy for so much of its time, with checkpoints.
fn burn(busy: Duration, scope: &mut JobScope<'_>) -> Result<(), HandlerError> {
    let (mut left, mut since) = (busy, thread_cpu_time());
    while !left.is_zero() {
        let lent = scope.lent();
        scope.checkpoint()?;
        if scope.lent() != lent {
            since = thread_cpu_time();
        }
        let now = burn_until(since + SLICE.min(left));
        left = left.saturating_sub(now - since);
        since = now;
    }
    Ok(())
}

impl Operation for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn description(&self) -> &'static str {
        "The payload back, after as much work as asked for; never from the cache."
    }

    fn parameters(&self) -> &'static [ParameterInfo] {
        &[
            ParameterInfo {
                name: "busy",
                description: "CPU time to burn before the answer, as \"5ms\"; at most 60s",
                default: "0s",
            },
            ParameterInfo {
                name: "panic",
                description: "true: panic in place of an answer, on a server with --allow-fault-injection",
                default: "false",
            },
            ParameterInfo {
                name: "stubborn",
                description: "true: burn without checkpoints, blind to cancellation",
                default: "false",
            },
        ]
    }

    fn cacheable(&self) -> bool {
        false
    }

    fn check(&self, _: &Bytes, parameters: &Parameters<'_>, settings: &Settings) -> Result<(), HandlerError> {
        plan(parameters, settings).map(drop)
    }

    fn run(
        &self,
        payload: Bytes,
        parameters: &Parameters<'_>,
        workshop: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError> {
        let plan = plan(parameters, workshop.settings())?;
        if plan.stubborn {
            burn_until(thread_cpu_time() + plan.busy);
        } else {
            burn(plan.busy, scope)?;
        }
        assert!(!plan.panic, "echo was asked to panic");
        Ok(payload)
    }

    /// Where it has nothing to do. A panic is reported on stderr, which may block.
    fn may_run_in_place(&self, _: &Bytes, parameters: &Parameters<'_>) -> bool {
        let idle = parameters.duration("busy", MAX_BUSY).is_ok_and(|busy| busy.is_zero());
        idle && parameters.flag("panic").is_ok_and(|panic| !panic)
    }

    /// The magnitude of the payload, and of the work in microseconds.
    fn refinement(&self, payload: &Bytes, parameters: &Parameters<'_>) -> u32 {
        let busy = parameters.duration("busy", MAX_BUSY).unwrap_or_default();
        let microseconds = u64::try_from(busy.as_micros()).expect("at most 60 s");
        magnitude(payload.len() as u64) | magnitude(microseconds) << 8
    }
}

#[cfg(test)]
mod tests {
    use std::{panic, sync::mpsc, thread, time::Instant};

    use super::*;
    use crate::{
        grpc::performance::{Interruption, JobContext, worker_pool::JobState},
        operations::testing::{Bench, parameters},
    };

    #[test]
    fn the_payload_comes_back_without_a_copy() {
        let payload = Bytes::from_static(b"millstream");
        let answer = Bench::new().run(&Echo, payload.clone(), &[]).unwrap();
        assert_eq!(answer.as_ptr(), payload.as_ptr());
        assert_eq!(answer, payload);
    }

    #[test]
    fn busy_burns_that_much_cpu_time_of_the_thread() {
        for stubborn in ["false", "true"] {
            let burn = || {
                let start = thread_cpu_time();
                Bench::new().run(&Echo, "", &[("busy", "20ms"), ("stubborn", stubborn)]).unwrap();
                thread_cpu_time() - start
            };
            let burned = [(); 3].map(|()| burn());
            assert!(burned.iter().all(|&burned| burned >= Duration::from_millis(20)), "{burned:?}");
            // What a hypervisor takes may count as the thread's own, but hardly each time.
            assert!(burned.iter().any(|&burned| burned < Duration::from_millis(200)), "{burned:?}");
        }
    }

    #[test]
    fn checkpoints_are_part_of_the_work_and_not_on_top_of_it() {
        let burned = || {
            let start = thread_cpu_time();
            Bench::new().run(&Echo, "", &[("busy", "20ms")]).unwrap();
            thread_cpu_time() - start
        };
        // Interrupts are charged to the thread, but not each time.
        let least = (0..10).map(|_| burned()).min().unwrap();
        assert!(least < Duration::from_micros(20_600), "{least:?}");
    }

    /// Runs echo on a thread of its own, cancels it once it runs, and gives its outcome and the CPU time that it took.
    fn cancelled(given: &'static [(&'static str, &'static str)]) -> (Result<Bytes, HandlerError>, Duration) {
        let state = JobState::queued();
        let (started, is_started) = mpsc::channel();
        thread::scope(|threads| {
            let worker = threads.spawn(|| {
                state.begin().unwrap();
                started.send(()).unwrap();
                let start = thread_cpu_time();
                let outcome =
                    Bench::new().run_in(JobContext::new(&state, None), &Echo, Bytes::from("x"), given);
                (outcome, thread_cpu_time() - start)
            });
            is_started.recv().unwrap();
            state.withdraw(Interruption::Cancelled).unwrap();
            worker.join().unwrap()
        })
    }

    #[test]
    fn a_cancelled_echo_stops_at_its_next_checkpoint() {
        let start = Instant::now();
        let (outcome, burned) = cancelled(&[("busy", "60s")]);
        assert_eq!(outcome.unwrap_err().kind(), FailureKind::Cancelled);
        assert!(burned < Duration::from_secs(20), "{burned:?} of the 60 s asked for");
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_stubborn_echo_burns_on() {
        let (outcome, burned) = cancelled(&[("busy", "50ms"), ("stubborn", "true")]);
        assert_eq!(outcome.unwrap(), "x");
        assert!(burned >= Duration::from_millis(50), "{burned:?}");
    }

    #[test]
    fn a_panic_takes_a_server_that_allows_it() {
        let refused = Bench::new();
        let error = refused.check(&Echo, "", &[("panic", "true")]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::FailedPrecondition);
        assert!(error.message().contains("--allow-fault-injection"), "{error}");
        let error = Bench::new().run(&Echo, "", &[("panic", "true")]).unwrap_err();
        assert_eq!(error.kind(), FailureKind::FailedPrecondition);

        let mut allowed = Bench::with(Settings { allow_fault_injection: true, ..Settings::default() });
        allowed.check(&Echo, "", &[("panic", "true")]).unwrap();
        let outcome =
            panic::catch_unwind(panic::AssertUnwindSafe(|| allowed.run(&Echo, "", &[("panic", "true")])));
        assert_eq!(*outcome.unwrap_err().downcast_ref::<&str>().unwrap(), "echo was asked to panic");
    }

    #[test]
    fn wrong_values_are_refused_with_the_range() {
        for (name, value, right) in [
            ("busy", "61s", "of at most 60s"),
            ("busy", "5", "a duration with its unit"),
            ("busy", "-1s", "a duration with its unit"),
            ("stubborn", "yes", "one of false, true"),
            ("panic", "TRUE", "one of false, true"),
        ] {
            let error = Bench::new().check(&Echo, "", &[(name, value)]).unwrap_err();
            assert_eq!(error.kind(), FailureKind::InvalidArgument);
            assert!(error.message().starts_with(&format!("parameter `{name}` is {value:?}")), "{error}");
            assert!(error.message().contains(right), "{error}");
        }
    }

    #[test]
    fn payload_and_work_are_told_apart_by_their_magnitudes() {
        let refinement = |payload: &'static str, busy| {
            let given = parameters(&[("busy", busy)]);
            Echo.refinement(
                &Bytes::from_static(payload.as_bytes()),
                &Parameters::new(Echo.parameters(), &given),
            )
        };
        assert_eq!(refinement("", "0s"), 0);
        assert_eq!(refinement("1234", "0s"), 3);
        assert_eq!(refinement("1234", "5ms"), 3 | 13 << 8);
        assert_ne!(refinement("1234", "5ms"), refinement("1234", "50ms"));
        assert_eq!(refinement("1234", "nonsense"), 3);
    }
}
