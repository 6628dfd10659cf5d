//! Runtime.

pub mod kafka;
