//! The end-to-end tests, one binary with a module per subject, so that they share one broker and link once.

mod back_pressure;
mod count;
mod harness_works;
mod in_process;
mod interop;
mod poison;
mod prometheus;
mod recovery;
mod structure;
mod two_instances;
