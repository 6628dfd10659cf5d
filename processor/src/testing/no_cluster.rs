//! The cluster of tests that ask nothing of one.

use std::collections::BTreeMap;

use millstream_state_stores::TopicId;

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

    fn topic_config(&self, _topic: &str) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

    fn topic_ids(&self, _topics: &[String]) -> Result<BTreeMap<String, TopicId>> {
        Ok(BTreeMap::new())
    }

    fn delete_records(&self, _before: &[(String, i32, i64)]) -> Result<()> {
        Ok(())
    }
}
