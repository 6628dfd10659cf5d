//! Which partitions make a task: follows from the program and the topics, and is the same for every thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_state_stores::TaskId;

use super::TopicPartition;
use crate::error::{Error, Result};

/// The topics that an application reads.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    topics: BTreeMap<Arc<str>, Input>,
    /// Whether members may read other topics for a while, because a source reads those that match a pattern.
    may_differ: bool,
}

#[derive(Clone, Copy, Debug)]
struct Input {
    subtopology: u32,
    partitions: i32,
}

impl Inputs {
    /// From the names in Kafka, the sub-topologies that read them, and the partitions they have.
    pub(crate) fn new(topics: impl IntoIterator<Item = (Arc<str>, u32, i32)>) -> Self {
        let input = |(topic, subtopology, partitions)| (topic, Input { subtopology, partitions });
        Inputs { topics: topics.into_iter().map(input).collect(), may_differ: false }
    }

    /// Of topics that match patterns: members find new ones one after the other.
    pub(crate) fn of_patterns(self) -> Self {
        Inputs { may_differ: true, ..self }
    }

    pub(crate) fn topics(&self) -> Vec<&str> {
        self.topics.keys().map(|topic| &**topic).collect()
    }

    /// The task that reads a partition; none if the topology does not read the topic.
    pub(crate) fn task(&self, topic: &str, partition: i32) -> Option<TaskId> {
        self.topics.get(topic).map(|input| TaskId { subtopology: input.subtopology, partition })
    }

    /// # Errors
    /// `Fatal` if the topology does not read the topic.
    pub(super) fn task_of(&self, (topic, partition): &TopicPartition) -> Result<TaskId> {
        self.task(topic, *partition).ok_or_else(|| {
            Error::fatal(format!("the group assigned topic {topic}, which the topology does not read"))
        })
    }

    /// The topics of which a task reads a partition, in order.
    pub(super) fn topics_of(&self, task: TaskId) -> impl Iterator<Item = &Arc<str>> {
        let is_read =
            move |input: &Input| input.subtopology == task.subtopology && input.partitions > task.partition;
        self.topics.iter().filter(move |(_, input)| is_read(input)).map(|(topic, _)| topic)
    }

    /// How many tasks a sub-topology makes: one for each partition of the topic that has most.
    pub(super) fn task_count(&self, subtopology: u32) -> i32 {
        let of_subtopology = self.topics.values().filter(|input| input.subtopology == subtopology);
        of_subtopology.map(|input| input.partitions).max().unwrap_or(0)
    }

    /// Whether a task may begin with these topics if nothing more will come. Where members may read other topics, and those of a sub-topology
    /// have equally many partitions, which then come together, somebody else may run a task that lacks one.
    pub(super) fn may_begin(&self, task: TaskId, topics: &[Arc<str>]) -> bool {
        let count = self.task_count(task.subtopology);
        let lines_up = |input: &Input| input.subtopology != task.subtopology || input.partitions == count;
        !self.may_differ || self.is_complete(task, topics) || !self.topics.values().all(lines_up)
    }

    pub(super) fn is_complete(&self, task: TaskId, topics: &[Arc<str>]) -> bool {
        self.topics_of(task).all(|topic| topics.contains(topic))
    }

    /// Partitions of the same number go to the same member only where topics have equally many.
    ///
    /// # Errors
    /// `Invalid`, with the topics, if those of one sub-topology have not.
    pub(super) fn check_lined_up(&self) -> Result<()> {
        let mut by_subtopology: BTreeMap<u32, (&Arc<str>, i32)> = BTreeMap::new();
        for (topic, Input { subtopology, partitions }) in &self.topics {
            let (other, others) = *by_subtopology.entry(*subtopology).or_insert((topic, *partitions));
            if others != *partitions {
                return Err(Error::invalid(format!(
                    "topics {other} and {topic} are read together and have {others} and {partitions} partitions: the group protocol \
                     `consumer` gives such partitions to different members. Give them equally many, repartition one of them, or use the \
                     protocol `classic`"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(stock: i32) -> Inputs {
        Inputs::new([("orders".into(), 0, 2), ("stock".into(), 0, stock), ("by-sku".into(), 1, 4)])
    }

    #[test]
    fn a_task_reads_the_partition_of_its_number_where_there_is_one() -> Result<()> {
        let inputs = inputs(1);
        let task = TaskId { subtopology: 0, partition: 1 };
        assert_eq!(inputs.task_of(&("orders".into(), 1))?, task);
        assert_eq!(inputs.topics_of(task).map(|topic| &**topic).collect::<Vec<_>>(), ["orders"]);
        assert!(inputs.task_of(&("returns".into(), 0)).is_err(), "nobody reads it");
        assert_eq!([0, 1, 2].map(|subtopology| inputs.task_count(subtopology)), [2, 4, 0]);
        Ok(())
    }

    #[test]
    fn topics_that_are_read_together_must_have_equally_many_partitions() {
        assert!(inputs(2).check_lined_up().is_ok());
        let message = inputs(3).check_lined_up().expect_err("2 and 3").to_string();
        assert!(message.contains("orders") && message.contains("stock"), "{message}");
    }
}
