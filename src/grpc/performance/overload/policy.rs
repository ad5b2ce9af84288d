//! All rules together, with the settings that they run under and what they have seen.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crossbeam::utils::CachePadded;

use super::{
    OverloadLevel, Shares,
    levels::Levels,
    nanoseconds,
    prospect::Prospect,
    queue_control::{QueueControl, target},
    refusals::RefusedShare,
};
use crate::grpc::performance::config::{
    self, DeadlineAdmission, MakeRoom, OptimizationConfig, WhenFull, WhenFullFor,
};

/// Looks at the level in one `queue_interval`, at which the load may change.
const LOOKS: u32 = 4;

/// The rank of the least urgent priority.
const LOWEST: usize = 2;

/// What is known of a message that wants to be queued.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer {
    /// The rank of its priority: 0 is the most urgent.
    pub(crate) rank: usize,
    /// How long it would wait for a worker, by the forecast.
    pub(crate) wait: Duration,
    /// How long its class is expected to run.
    pub(crate) service: Duration,
    /// What is left until its deadline, if it has one.
    pub(crate) budget: Option<Duration>,
    /// The mean service time over all messages.
    pub(crate) mean_service: Duration,
}

/// Why a message is not to be queued, or worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
    /// It would be too late.
    Late,
    /// It has no deadline, and waits for too long.
    TooLong,
    /// Only what is more urgent is accepted.
    NotUrgent,
}

/// A verdict that may be for the books only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) objection: Objection,
    /// Whether it is acted on; else it is counted.
    pub(crate) enforced: bool,
}

/// How things stand, as figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Condition {
    pub(crate) level: OverloadLevel,
    pub(crate) load: f64,
    pub(crate) target: Duration,
}

/// The rules, for one set of lanes.
#[derive(Debug)]
pub(crate) struct Policy {
    settings: Settings,
    controls: [CachePadded<QueueControl>; 3],
    levels: Levels,
    refusals: RefusedShare,
    next_look: AtomicU64,
    look_interval: u64,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    sheds: [bool; 3],
    makes_room: [bool; 3],
    deadline_admission: DeadlineAdmission,
    wait_share: f64,
    fair_wait_share: f64,
    queue_control: config::QueueControl,
    target_services: f64,
    target_min: Duration,
    target_max: Duration,
}

impl Policy {
    pub(crate) fn new(config: &OptimizationConfig) -> Self {
        let sheds = |of_priority| match of_priority {
            WhenFullFor::AsUsual => config.when_full == WhenFull::Shed,
            WhenFullFor::Wait => false,
            WhenFullFor::Shed => true,
        };
        let lowest_that_makes_room = match config.make_room {
            MakeRoom::Off => 0,
            MakeRoom::High => 1,
            MakeRoom::Normal => 2,
            MakeRoom::All => 3,
        };
        let settings = Settings {
            sheds: [config.when_full_high, WhenFullFor::AsUsual, config.when_full_low].map(sheds),
            makes_room: [0, 1, 2].map(|rank| rank < lowest_that_makes_room),
            deadline_admission: config.deadline_admission,
            wait_share: config.deadline_wait_share,
            fair_wait_share: config.fair_wait_share,
            queue_control: config.queue_control,
            target_services: config.queue_target_services,
            target_min: config.queue_target_min,
            target_max: config.queue_target_max,
        };
        let thresholds = [config.overload_warning, config.overload_critical, config.overload_emergency];
        Self {
            settings,
            controls: [(); 3].map(|()| CachePadded::new(QueueControl::new(config.queue_interval))),
            levels: Levels::new(thresholds, config.queue_interval),
            refusals: RefusedShare::default(),
            next_look: AtomicU64::new(0),
            look_interval: nanoseconds(config.queue_interval / LOOKS),
        }
    }

    /// Whether a message of this rank is refused when there is no room; else it waits.
    pub(crate) fn sheds(&self, rank: usize) -> bool {
        self.settings.sheds[rank]
    }

    /// Whether a message of this rank may take the place of a worse one, before it is shed.
    pub(crate) fn may_displace(&self, rank: usize) -> bool {
        self.settings.sheds[rank] && self.settings.makes_room[rank]
    }

    /// Whether any message may.
    pub(crate) fn anyone_may_displace(&self) -> bool {
        (0..=LOWEST).any(|rank| self.may_displace(rank))
    }

    /// Whether a message has to be asked about at all before it is queued.
    pub(crate) fn judges(&self, rank: usize, has_deadline: bool) -> bool {
        match has_deadline {
            true => self.settings.deadline_admission != DeadlineAdmission::Off || self.settings.sheds[rank],
            false => self.settings.sheds[rank],
        }
    }

    /// What speaks against queueing a message. `shares` is asked only when it matters.
    pub(crate) fn object(&self, newcomer: &Newcomer, shares: impl FnOnce() -> Shares) -> Option<Verdict> {
        let settings = &self.settings;
        let sheds = settings.sheds[newcomer.rank];
        if sheds && newcomer.rank == LOWEST && self.levels.get() == OverloadLevel::Emergency {
            return Some(Verdict { objection: Objection::NotUrgent, enforced: true });
        }
        match newcomer.budget {
            Some(_) if settings.deadline_admission == DeadlineAdmission::Off => None,
            Some(budget) => {
                let prospect = Prospect { wait: newcomer.wait, service: newcomer.service, budget };
                let narrow = settings.wait_share * settings.fair_wait_share;
                let late =
                    prospect.is_late(settings.wait_share) || prospect.is_late(narrow) && shares().is_over();
                let enforced = settings.deadline_admission == DeadlineAdmission::Enforce;
                late.then_some(Verdict { objection: Objection::Late, enforced })
            }
            None => {
                // Refusing by the predicted wait would keep the queue so short that the controller lets go of it, again
                // and again. So all are queued, but for those that crowd others out.
                let target = self.target(newcomer.mean_service);
                let crowds = settings.fair_wait_share < 1.0
                    && self.controls[newcomer.rank]
                        .is_too_long(newcomer.wait.div_f64(settings.fair_wait_share), target)
                    && shares().is_over();
                let enforced = settings.queue_control == config::QueueControl::Enforce;
                let looks = sheds && settings.queue_control != config::QueueControl::Off;
                (looks && crowds).then_some(Verdict { objection: Objection::TooLong, enforced })
            }
        }
    }

    /// The turn of a message has come after a wait. The objection is for one without a deadline; the others have their
    /// timers.
    pub(crate) fn dequeued(
        &self,
        rank: usize,
        now: Duration,
        wait: Duration,
        mean_service: Duration,
    ) -> Option<Verdict> {
        let too_long = self.controls[rank].dequeued(now, wait, self.target(mean_service));
        let counted = self.settings.queue_control != config::QueueControl::Off;
        let enforced =
            self.settings.queue_control == config::QueueControl::Enforce && self.settings.sheds[rank];
        (too_long && counted).then_some(Verdict { objection: Objection::TooLong, enforced })
    }

    /// The wait that is all right.
    pub(crate) fn target(&self, mean_service: Duration) -> Duration {
        let Settings { target_services, target_min, target_max, .. } = self.settings;
        target(mean_service, target_services, target_min, target_max)
    }

    /// Looks how things stand, and moves the level. `waiting` is the predicted wait of a rank that has messages queued,
    /// which counts where nobody's turn has come for a while: all workers may be stuck.
    pub(crate) fn look(
        &self,
        now: Duration,
        mean_service: Duration,
        waiting: impl Fn(usize) -> Duration,
    ) -> (OverloadLevel, Condition) {
        let target = self.target(mean_service);
        let wait = |rank: usize| self.controls[rank].standing_wait(now).unwrap_or_else(|| waiting(rank));
        let worst = (0..=LOWEST).map(wait).max().unwrap_or_default();
        let load = QueueControl::load(worst, target);
        let (before, level) = self.levels.observe(load, now);
        (before, Condition { level, load, target })
    }

    /// Whether it is time to [`look`](Self::look); true for one caller.
    pub(crate) fn is_look_due(&self, now: Duration) -> bool {
        let (now, due) = (nanoseconds(now), self.next_look.load(Relaxed));
        now >= due && self.next_look.compare_exchange(due, now + self.look_interval, Relaxed, Relaxed).is_ok()
    }

    /// The level at the last look.
    pub(crate) fn level(&self) -> OverloadLevel {
        self.levels.get()
    }

    /// A message was accepted, or refused for load.
    pub(crate) fn decided(&self, refused: bool) {
        self.refusals.decided(refused);
    }

    /// A message that was accepted has been refused for load after all: for want of room, after its wait, or to make room.
    pub(crate) fn revoked(&self) {
        self.refusals.revoked();
    }

    /// Whether more of what comes is refused than accepted.
    pub(crate) fn mostly_refuses(&self) -> bool {
        self.refusals.get() > 0.5
    }

    /// When one that is refused is to come again; the drain of what waits, and more while many are
    /// refused.
    pub(crate) fn retry_after(&self, drain: Duration, chance: f64) -> Duration {
        self.refusals.retry_after(drain, chance)
    }
}

impl OverloadLevel {
    /// How many messages travel together at most, of those that may at other times.
    pub(crate) fn batch_size(self, usual: usize) -> usize {
        // Company joins ahead of others: where all wait, each is to wait as long as was predicted.
        if self == Self::Normal { usual } else { 1 }
    }

    /// Whether there is CPU time for what nobody waits for, and for saving bytes.
    pub(crate) fn has_time_to_spare(self) -> bool {
        self < Self::Critical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn policy(turn: impl FnOnce(&mut OptimizationConfig)) -> Policy {
        let mut config = OptimizationConfig { when_full: WhenFull::Shed, ..OptimizationConfig::default() };
        turn(&mut config);
        Policy::new(&config)
    }

    fn newcomer(wait: u32, budget: Option<u32>) -> Newcomer {
        let budget = budget.map(|budget| budget * MS);
        Newcomer { rank: 1, wait: wait * MS, service: MS, budget, mean_service: MS }
    }

    fn alone() -> Shares {
        Shares { queued: 10, peers: 1, of_peer: 10, streams_of_peer: 1, of_stream: 10 }
    }

    fn crowding() -> Shares {
        Shares { queued: 10, peers: 1, of_peer: 10, streams_of_peer: 2, of_stream: 10 }
    }

    #[test]
    fn a_dry_run_objects_and_does_not_act() {
        for (admission, expected) in [
            (DeadlineAdmission::Enforce, Some(true)),
            (DeadlineAdmission::DryRun, Some(false)),
            (DeadlineAdmission::Off, None),
        ] {
            let policy = policy(|config| config.deadline_admission = admission);
            let verdict = policy.object(&newcomer(40, Some(50)), alone);
            assert_eq!(verdict.map(|verdict| verdict.enforced), expected, "{admission:?}");
        }
    }

    #[test]
    fn who_crowds_others_out_has_half_of_the_wait() {
        let policy = policy(|_| ());
        // 40% of 50 ms are 20.
        assert!(policy.object(&newcomer(15, Some(50)), alone).is_none());
        assert!(policy.object(&newcomer(15, Some(50)), crowding).is_some());
        assert!(policy.object(&newcomer(9, Some(50)), crowding).is_none());
    }

    #[test]
    fn what_has_no_deadline_is_judged_when_its_turn_comes() {
        let policy = policy(|_| ());
        (1..250).for_each(|at| {
            policy.dequeued(1, at * MS, 30 * MS, MS);
        });
        assert!(policy.dequeued(1, 250 * MS, 11 * MS, MS).is_some_and(|verdict| verdict.enforced));
        assert!(policy.dequeued(1, 251 * MS, 9 * MS, MS).is_none());
        assert!(policy.dequeued(0, 251 * MS, 30 * MS, MS).is_none(), "each priority has a queue of its own");
        assert!(policy.object(&newcomer(100, None), alone).is_none());
        assert!(policy.object(&newcomer(6, None), crowding).is_some());
    }

    #[test]
    fn where_nobodys_turn_comes_the_predicted_wait_is_the_load() {
        let policy = policy(|_| ());
        let (_, condition) = policy.look(MS, MS, |_| Duration::ZERO);
        assert_eq!((condition.level, condition.target), (OverloadLevel::Normal, 5 * MS));
        let (_, condition) = policy.look(2 * MS, MS, |rank| if rank == 2 { 25 * MS } else { MS });
        assert_eq!((condition.level, condition.load), (OverloadLevel::Emergency, 2.5));
        let low = Newcomer { rank: 2, ..newcomer(1, Some(1000)) };
        assert_eq!(policy.object(&low, alone).unwrap().objection, Objection::NotUrgent);
        assert_eq!(policy.object(&newcomer(1, Some(1000)), alone), None);
    }

    #[test]
    fn a_look_is_due_for_one_caller_in_a_while() {
        let policy = policy(|_| ());
        assert!(policy.is_look_due(MS) && !policy.is_look_due(2 * MS));
        assert!(policy.is_look_due(26 * MS) && !policy.is_look_due(27 * MS));
    }

    #[test]
    fn where_all_wait_messages_travel_one_by_one_and_then_nothing_is_done_ahead() {
        assert_eq!(OverloadLevel::ALL.map(|level| level.batch_size(10)), [10, 1, 1, 1]);
        assert_eq!(OverloadLevel::ALL.map(|level| level.batch_size(1)), [1; 4]);
        assert_eq!(OverloadLevel::ALL.map(OverloadLevel::has_time_to_spare), [true, true, false, false]);
    }
}
