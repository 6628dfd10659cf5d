//! Tests of the database of a task.
