//! The one clock of this process: times of different places can be compared.

use std::sync::{Arc, OnceLock};

use millstream::clock::{Clock, SystemClock};

pub(crate) fn clock() -> &'static dyn Clock {
    static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
    &**CLOCK.get_or_init(SystemClock::shared)
}
