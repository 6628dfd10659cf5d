//! Kafka Streams as the oracle: the same programs, as data, with the same records, through Kafka Streams' `TopologyTestDriver` and through
//! millstream's; what comes out must be the same, record by record and byte by byte.
//!
//! ```text
//! cases/*.json ─┐         ┌── ours           the case through millstream's DSL
//!               ├─> case ─┤                                                    ├─> compare ─> report
//! seed ─> generate        └── kafka_streams  the case through Kafka Streams
//!                              └── shrink: while the two differ, what can be left out of a case is
//! ```
//! A new operator is an arm in `ours/program.rs` and one in `integration-tests/oracle/Programs.java`; [`generate`] then uses it once it is in
//! its list.

mod case;
mod compare;
mod exceptions;
mod functions;
mod generate;
mod kafka_streams;
mod observation;
mod ours;
mod report;
mod run;
mod shrink;
mod written;

pub use self::case::{Case, Input, JoinWindows, Op, Statement, Step, Store, WindowKind, Windows};
pub use self::compare::{Difference, differences};
pub use self::exceptions::{Exception, exceptions};
pub use self::generate::random_case;
pub use self::kafka_streams::KafkaStreams;
pub use self::observation::{Failure, Observation, Outcome, Row, Written};
pub use self::ours::observe;
pub use self::report::report;
pub use self::run::{Tally, compare, run, smallest};
pub use self::shrink::shrink;
pub use self::written::{cases_in, written_cases};
