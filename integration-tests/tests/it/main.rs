//! The end-to-end tests, one binary with a module per subject, so that they share one broker and link once.
#![expect(clippy::disallowed_methods, reason = "the tests measure and wait in real time")]

mod avro_of_java;
mod back_pressure;
mod command_line;
mod count;
mod dead_letters;
mod elastic;
mod exactly_once;
mod faults;
mod foreign_key_join;
mod global_table;
mod harness_works;
mod idle;
mod in_process;
mod internal_topics;
mod interop;
mod kafka_streams_table;
mod many_tasks;
mod oracle;
mod order_inventory;
mod patterns;
mod poison;
mod prometheus;
mod punctuation;
mod queries;
mod recovery;
mod reset;
mod schema_registry;
mod shutdown_application;
mod standby;
mod state_directories;
mod structure;
mod table_from_topic;
mod time_driven;
mod two_instances;
mod windows;
