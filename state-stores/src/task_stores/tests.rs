//! Tests of the stores of a task.
