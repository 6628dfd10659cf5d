//! Deterministic simulation: instances, threads and tasks on a Kafka, disks and a clock in memory, in an order and with faults that
//! follow from a seed.
//!
//! What runs is the code of the cluster: the lives of stream threads, step by step, with their tasks, commits, restores and checkpoints. Only
//! the clients, the clock and the disk are others. `docs/reliability.md` says what is simulated, and what is not.

mod clients;
mod clock;
mod cluster;
mod fate;
mod invariants;
mod machine;
pub(crate) mod mutation;
mod pending;
mod process;
mod processors;
mod program;
mod rule;
mod scenario;
mod shutdown;
mod tests;
mod world;
