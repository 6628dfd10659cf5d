//! Which partitions of its topic a record goes to, where a sink is told how to choose.

use std::sync::Arc;

use crate::api::{Failure, FailureStage, OutputBuffer, Record, TopicIndex};
use crate::error::Result;

/// The partitions a record goes to (what Kafka Streams' `StreamPartitioner` answers). A number, or a vector of them, converts into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// The one that Kafka's default partitioner gives its key.
    ByKey,
    /// This one.
    One(i32),
    /// Each of these, once. If there is none, the record is dropped and counted.
    Each(Vec<i32>),
}

impl From<i32> for Partitions {
    fn from(partition: i32) -> Self {
        Partitions::One(partition)
    }
}

impl From<Vec<i32>> for Partitions {
    fn from(partitions: Vec<i32>) -> Self {
        Partitions::Each(partitions)
    }
}

/// Chooses the partitions of a record, given how many its topic has.
pub(crate) type StreamPartitioner<K, V> = Arc<dyn Fn(&Record<K, V>, i32) -> Partitions + Send + Sync>;

/// Says how many partitions a topic has.
pub(crate) type PartitionCount = Arc<dyn Fn(&str) -> Result<i32> + Send + Sync>;

/// A partitioner within one task, which asks once for each topic how many partitions there are.
pub(crate) struct TaskPartitioner<K, V> {
    choose: StreamPartitioner<K, V>,
    ask: PartitionCount,
    /// By topic, as far as they were asked for.
    counts: Vec<Option<i32>>,
}

impl<K, V> TaskPartitioner<K, V> {
    pub(crate) fn new(choose: StreamPartitioner<K, V>, ask: PartitionCount) -> Self {
        TaskPartitioner { choose, ask, counts: Vec::new() }
    }

    /// # Errors
    /// If the topic does not have these partitions, or cannot be asked about.
    pub(crate) fn partitions_of(
        &mut self,
        record: &Record<K, V>,
        topic: TopicIndex,
        outputs: &OutputBuffer,
    ) -> Result<Partitions, Failure> {
        let name = &outputs.topics()[topic.as_usize()];
        let count = self.count(topic, name)?;
        let mut partitions = (self.choose)(record, count);
        if let Partitions::Each(numbers) = &mut partitions {
            numbers.sort_unstable();
            numbers.dedup();
        }
        let chosen = match &partitions {
            Partitions::ByKey => &[],
            Partitions::One(number) => std::slice::from_ref(number),
            Partitions::Each(numbers) => numbers.as_slice(),
        };
        match chosen.iter().find(|number| !(0..count).contains(*number)) {
            None => Ok(partitions),
            Some(number) => Err(Failure::at_stage(
                FailureStage::Produce,
                format!("the partitioner chose partition {number} of topic {name}, which has {count}"),
            )),
        }
    }

    fn count(&mut self, topic: TopicIndex, name: &str) -> Result<i32, Failure> {
        let place = topic.as_usize();
        if let Some(Some(count)) = self.counts.get(place) {
            return Ok(*count);
        }
        let count = (self.ask)(name).map_err(Failure::of_task)?;
        self.counts.resize(self.counts.len().max(place + 1), None);
        self.counts[place] = Some(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use millstream_state_stores::{TaskId, Timestamp};

    use super::*;
    use crate::api::TaskContext;
    use crate::error::Error;

    type Chosen = Result<Partitions, Failure>;

    /// What becomes of a record whose value the partitioner of a topic with four partitions answers with.
    fn choose(chosen: Partitions) -> Chosen {
        let ask: PartitionCount = Arc::new(|_| Ok(4));
        let mut partitioner = TaskPartitioner::new(Arc::new(move |_, _| chosen.clone()), ask);
        let mut task = TaskContext::new(TaskId { subtopology: 0, partition: 0 }, false);
        let topic = task.outputs().topic("orders");
        partitioner.partitions_of(&order(), topic, task.outputs())
    }

    fn order() -> Record<String, i64> {
        Record::new("apples".into(), 3, Timestamp::from_millis(0))
    }

    #[test]
    fn several_partitions_get_a_record_once_each() -> Result<(), Failure> {
        assert_eq!(choose(Partitions::ByKey)?, Partitions::ByKey);
        assert_eq!(choose(2.into())?, Partitions::One(2));
        assert_eq!(choose(vec![3, 0, 3].into())?, Partitions::Each(vec![0, 3]));
        assert_eq!(choose(vec![].into())?, Partitions::Each(vec![]));
        Ok(())
    }

    #[test]
    fn a_partition_that_does_not_exist_is_refused() {
        for wrong in [Partitions::One(4), Partitions::One(-1), Partitions::Each(vec![0, 7])] {
            let failure = choose(wrong).expect_err("there are four").into_parts();
            assert_eq!(failure.stage, FailureStage::Produce);
            assert!(
                failure.source.to_string().contains("of topic orders, which has 4"),
                "{}",
                failure.source
            );
        }
    }

    #[test]
    fn each_topic_is_asked_about_once_and_no_record_is_to_blame_for_one_that_is_missing()
    -> Result<(), Failure> {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let ask: PartitionCount = Arc::new(move |topic| match topic {
            "away" => Err(Error::no_output_topic(topic)),
            _ => Ok(i32::try_from(count.fetch_add(1, Ordering::Relaxed)).unwrap_or(0) + 1),
        });
        let mut partitioner = TaskPartitioner::new(Arc::new(|_, count| (count - 1).into()), ask);
        let mut task = TaskContext::new(TaskId { subtopology: 0, partition: 0 }, false);
        let outputs = task.outputs();
        let [orders, away, returns] = ["orders", "away", "returns"].map(|topic| outputs.topic(topic));
        for (topic, partition) in [(returns, 0), (orders, 1), (returns, 0), (orders, 1)] {
            let chosen = partitioner.partitions_of(&order(), topic, outputs)?;
            assert_eq!(chosen, Partitions::One(partition));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let failure = partitioner.partitions_of(&order(), away, outputs).expect_err("it does not exist");
        assert!(failure.into_parts().source.is::<crate::api::TaskFailure>(), "no record is to blame");
        Ok(())
    }
}
