//! Random sequences that a seed and a purpose determine, on every machine and in every release.

use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

/// What a random sequence is for: each purpose has a sequence of its own, so that, say, another mix of messages does
/// not move the arrivals.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Arrivals,
    #[cfg(feature = "cli")]
    Dealing,
    #[cfg(feature = "cli")]
    Payload,
    Service,
}

impl Purpose {
    /// A fixed number, whatever features are on.
    fn number(self) -> u64 {
        match self {
            Self::Arrivals => 0,
            #[cfg(feature = "cli")]
            Self::Dealing => 1,
            #[cfg(feature = "cli")]
            Self::Payload => 2,
            Self::Service => 3,
        }
    }
}

/// The random sequence for one purpose of the run with this seed.
pub(crate) fn rng(seed: u64, purpose: Purpose) -> Xoshiro256PlusPlus {
    // The golden ratio in 64 bits: an odd step that keeps the seeds of near-by runs apart.
    Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_add(purpose.number().wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// An exponentially distributed number with mean 1, by inversion.
pub(super) fn exponential(rng: &mut impl Rng) -> f64 {
    // The uniform number is below 1, so the logarithm is finite.
    -(-rng.random::<f64>()).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_sequences_of_their_own() {
        let first = |purpose| rng(1, purpose).random::<u64>();
        assert_ne!(first(Purpose::Arrivals), first(Purpose::Service));
        #[cfg(feature = "cli")]
        assert_ne!(first(Purpose::Dealing), first(Purpose::Payload));
    }

    #[test]
    fn exponential_numbers_have_the_mean_and_the_tail_of_their_law() {
        let mut rng = rng(1, Purpose::Service);
        let numbers: Vec<f64> = (0..1_000_000).map(|_| exponential(&mut rng)).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        assert!((mean - 1.0).abs() < 0.005, "mean {mean}");
        let beyond = numbers.iter().filter(|&&number| number > 3.0).count() as f64 / numbers.len() as f64;
        assert!((beyond / (-3.0_f64).exp() - 1.0).abs() < 0.03, "{beyond} beyond 3");
    }
}
