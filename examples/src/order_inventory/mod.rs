//! The main example: orders and stock movements flow in; stock on hand, order availability and order status come out.
//!
//! [`topology`] is the program itself. The rest is what surrounds it in a demonstration: a made-up shop that writes its input
//! ([`shop`]), a recount that checks its output ([`recount`]), and what is on the screen ([`display`]).

pub mod arguments;
pub mod cluster;
pub mod display;
pub mod events;
pub mod format;
pub mod recount;
pub mod run;
pub mod shop;
pub mod topics;
pub mod topology;
pub mod watch;
