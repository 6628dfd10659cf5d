//! The fault suite: programs run under load on a cluster of Apache Kafka while processes are killed at chosen moments, brokers
//! stop, networks break, disks fill and clocks jump; afterwards everything they wrote is compared with a recount of their input.
//!
//! ```text
//! seed ──> schedule ──> run ──┬── load      writes input without a pause
//!                             ├── stage     cluster, workers, disk: made, repaired, caught up
//!                             ├── inject    carries out a fault on the stage
//!                             └── check     judges what is in Kafka and on the disk: pure, but for state directories
//! ```
//! Which fault comes when is a function of the seed alone; what it meets is up to the machine. `docs/reliability.md` says what is promised.

mod check;
mod control;
mod disk;
mod inject;
mod judge;
mod load;
mod power;
mod programs;
mod restores;
mod run;
mod schedule;
mod stage;
mod worker;

pub use self::check::{Findings, Violation, ViolationKind};
pub use self::control::Order;
pub use self::programs::Program;
pub use self::restores::RestoreBeginning;
pub use self::run::{Batch, Options, Outcome, Progress, run};
pub use self::schedule::{Fault, FaultKind, schedule};

/// What a program is judged by, and runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Guarantee {
    /// Nothing is lost. What was not committed when something failed may be there twice.
    AtLeastOnce,
    /// Nothing is lost and nothing is there twice.
    ExactlyOnce,
}

impl Guarantee {
    /// Its name in `MILLSTREAM_PROCESSING_GUARANTEE`.
    fn setting(self) -> &'static str {
        match self {
            Guarantee::AtLeastOnce => "at_least_once",
            Guarantee::ExactlyOnce => "exactly_once",
        }
    }
}
