//! The end-to-end tests, one binary with a module per subject, so that they share one broker and link once.

mod harness_works;
mod prometheus;
