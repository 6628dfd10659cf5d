//! Tests of the DSL as a user meets it: its names, its messages, and the program of the design.

mod borrowed;
mod describe;
mod golden;
mod heartbeats;
mod messages;
mod optimized;
mod order_availability;
mod windows;
mod wrong_programs;
