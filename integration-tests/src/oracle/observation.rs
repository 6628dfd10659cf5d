//! What came of a case: outputs, changelogs, stores, the topology's text. Both frameworks say it in the same form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All that can be seen of a case from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Observation {
    /// The program was not taken.
    Refused {
        /// Why.
        refused: String,
    },
    /// It ran, to the end or until a step failed.
    Ran(Outcome),
}

/// Where a case stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Counted from 0.
    pub step: usize,
    /// In the words of the framework.
    pub error: String,
}

/// What is there at the end; of a case that failed, what was written before the step that did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The topology's text.
    pub describe: String,
    /// The step that failed, or the commit after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failure>,
    /// The records of each topic, repartition and changelog topics included, in the order in which they were written.
    pub topics: BTreeMap<String, Vec<Written>>,
    /// The rows of each store, in its order.
    pub stores: BTreeMap<String, Vec<Row>>,
    /// Records that operators dropped by their semantics.
    pub dropped: u64,
}

/// A record in a topic, bytes in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the parts of a record")]
pub struct Written {
    /// The step in which it was written, counted from 0. None where it may be another one.
    pub step: Option<usize>,
    pub key: Option<String>,
    pub value: Option<String>,
    pub at: Option<i64>,
    pub headers: Vec<(String, Option<String>)>,
}

/// A row of a store, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the parts of a row")]
pub struct Row {
    pub key: String,
    pub value: String,
    pub at: Option<i64>,
}

impl Outcome {
    /// The number of the step that failed.
    pub(super) fn failed_step(&self) -> Option<usize> {
        self.failed.as_ref().map(|failed| failed.step)
    }
}

impl Observation {
    /// The topology's text, if there is a topology.
    pub fn describe(&self) -> Option<&str> {
        match self {
            Observation::Refused { .. } => None,
            Observation::Ran(outcome) => Some(&outcome.describe),
        }
    }
}
