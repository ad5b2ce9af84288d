//! Whether the generator kept its promise. Percentiles of a run whose generator fell behind say more about the
//! generator than about the server, so they are not to be trusted.

use std::fmt;

use serde::{Serialize, Serializer};

/// The share of the sends that may be late.
const LATE_SHARE: f64 = 0.01;
/// The share of its cores from which on a process counts as full: what is left goes to the system and to waiting.
const CPU_FULL: f64 = 0.9;

/// Why the figures of a run are not valid.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Invalidity {
    /// No message fell into the measured part.
    NothingSent,
    /// More than 1% of the sends were more than 1 ms late through the generator's own fault.
    Late {
        /// Late sends.
        late: u64,
        /// All sends.
        sent: u64,
    },
    /// The generator's process had no CPU time to spare.
    CpuFull {
        /// The share of its cores that it used, from 0 to 1.
        share: f64,
    },
}

/// What the verdict rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    pub(super) sent: u64,
    pub(super) late: u64,
    /// `None` where it says nothing, or is not known.
    pub(super) cpu_share: Option<f64>,
}

impl Evidence {
    /// All that is wrong; nothing when the run is valid.
    pub(super) fn judge(&self) -> Vec<Invalidity> {
        let nothing_sent = (self.sent == 0).then_some(Invalidity::NothingSent);
        let too_late = self.late as f64 > LATE_SHARE * self.sent as f64;
        let late = too_late.then_some(Invalidity::Late { late: self.late, sent: self.sent });
        let full =
            self.cpu_share.filter(|&share| share > CPU_FULL).map(|share| Invalidity::CpuFull { share });
        [nothing_sent, late, full].into_iter().flatten().collect()
    }
}

impl fmt::Display for Invalidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingSent => {
                write!(f, "no message was due in the measured time; offer more, or for longer")
            }
            Self::Late { late, sent } => write!(
                f,
                "the generator was more than 1 ms late with {late} of {sent} sends ({:.2}%; at most 1% may be); \
                 offer less, or give it a machine of its own",
                100.0 * *late as f64 / *sent as f64
            ),
            Self::CpuFull { share } => write!(
                f,
                "the generator used {:.0}% of its CPU time (at most 90% may be); \
                 offer less, or give it more cores",
                100.0 * share
            ),
        }
    }
}

impl Serialize for Invalidity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Evidence = Evidence { sent: 1_000, late: 10, cpu_share: Some(0.9) };

    #[test]
    fn a_hundredth_late_and_nine_tenths_busy_is_still_valid() {
        assert_eq!(FINE.judge(), []);
    }

    #[test]
    fn one_more_late_send_is_one_too_many() {
        assert_eq!(Evidence { late: 11, ..FINE }.judge(), [Invalidity::Late { late: 11, sent: 1_000 }]);
    }

    #[test]
    fn a_full_cpu_is_invalid_unless_it_says_nothing() {
        assert_eq!(Evidence { cpu_share: Some(0.91), ..FINE }.judge(), [Invalidity::CpuFull { share: 0.91 }]);
        assert_eq!(Evidence { cpu_share: None, ..FINE }.judge(), []);
    }

    #[test]
    fn a_run_that_sent_nothing_measured_nothing() {
        assert_eq!(Evidence { sent: 0, late: 0, ..FINE }.judge(), [Invalidity::NothingSent]);
    }

    #[test]
    fn all_reasons_are_given() {
        assert_eq!(Evidence { sent: 10, late: 5, cpu_share: Some(1.0) }.judge().len(), 2);
    }
}
