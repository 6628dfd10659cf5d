//! The cluster of tests that ask nothing of one.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::kafka::{ClusterAdmin, NewTopic};

/// A cluster without topics. Nobody asks for any.
pub(crate) struct NoCluster;

impl ClusterAdmin for NoCluster {
    fn partition_counts(&self, _topics: &[String]) -> Result<BTreeMap<String, i32>> {
        Ok(BTreeMap::new())
    }

    fn create_topic(&self, _topic: &NewTopic) -> Result<()> {
        Ok(())
    }
}
