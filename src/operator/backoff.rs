//! How long to wait before an object that failed is tried again.

use std::time::Duration;

/// The ceiling after the first failure.
const BASE: Duration = Duration::from_secs(5);

/// The ceiling after many failures.
const CAP: Duration = Duration::from_mins(15);

/// Never sooner, or bad luck with the dice would be a busy loop.
pub(crate) const FLOOR: Duration = Duration::from_millis(200);

/// The longest wait after this many failures in a row: doubled each time, up to a quarter of an hour.
pub fn ceiling(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    BASE.saturating_mul(1 << doublings).min(CAP)
}

/// The wait after this many failures in a row. `chance` is between 0 and 1, drawn anew each time, and spreads the
/// waits over everything under the ceiling, so that many objects that failed at once do not come back at once.
pub fn delay(failures: u32, chance: f64) -> Duration {
    ceiling(failures).mul_f64(chance.clamp(0.0, 1.0)).max(FLOOR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_a_quarter_of_an_hour() {
        for (failures, seconds) in
            [(0, 5), (1, 5), (2, 10), (3, 20), (7, 320), (8, 640), (9, 900), (10, 900), (u32::MAX, 900)]
        {
            assert_eq!(ceiling(failures), Duration::from_secs(seconds), "{failures}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_between_floor_and_ceiling(failures: u32, chance in 0.0..1.0) {
            let delay = delay(failures, chance);
            prop_assert!(delay >= FLOOR && delay <= ceiling(failures));
        }

        #[test]
        fn more_failures_never_wait_less(failures in 0_u32..40, chance in 0.0..1.0) {
            prop_assert!(delay(failures, chance) <= delay(failures + 1, chance));
        }
    }
}
