//! Whether the machine was as fast during a pair as before it: a fixed piece of work, timed between runs.

use std::hint::black_box;
use std::time::Duration;

use crate::clock::clock;

/// More than this between two looks, and what ran in between says nothing.
const TOLERANCE: f64 = 0.10;

/// How long a fixed spin and a walk through memory take.
pub(crate) fn look() -> Duration {
    const SPINS: u64 = 20_000_000;
    const WORDS: usize = 4 << 20;
    let clock = clock();
    let mut memory = vec![1_u64; WORDS];
    // The fastest of three: an interruption is not what is asked for.
    let one = || {
        let start = clock.monotonic();
        let mut state = 1_u64;
        for _ in 0..SPINS {
            state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        let mut place = 0;
        for _ in 0..WORDS / 16 {
            place = (place + 4097) % WORDS;
            memory[place] = memory[place].wrapping_add(state);
        }
        black_box(&memory);
        clock.monotonic().saturating_sub(start)
    };
    std::iter::repeat_with(one).take(3).min().unwrap_or_default()
}

/// Whether the machine is about as fast as it was.
pub(crate) fn is_steady(before: Duration, after: Duration) -> bool {
    let (before, after) = (before.as_secs_f64(), after.as_secs_f64());
    (after / before - 1.0).abs() <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_tolerated() {
        let millis = Duration::from_millis;
        assert!(is_steady(millis(100), millis(109)));
        assert!(!is_steady(millis(100), millis(112)));
        assert!(!is_steady(millis(100), millis(88)));
    }
}
