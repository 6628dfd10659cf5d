//! What a thread holds of the group: from facts to decisions, without a client.
//!
//! ```text
//!                 assigned, complete                 revoked
//!   (not ours) ----------------------> owned --------------------> suspended
//!       ^                              |   ^                         |   |
//!       |            lost              |   |  back in the next       |   |
//!       +------------------------------+   |  generation             |   |
//!       |                                  +-------------------------+   |
//!       +----------------------------------------------------------------+
//!                          not back with the next decision
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_state_stores::TaskId;

use super::TopicPartition;
use super::inputs::Inputs;
use crate::error::{Error, Result};

/// Of a task: the topics of which it reads a partition, in order.
type Topics = Vec<Arc<str>>;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// What the group gave to this thread, also of tasks that are not complete.
    partitions: BTreeSet<TopicPartition>,
    owned: BTreeMap<TaskId, Topics>,
    /// With the generation in which the thread had them.
    suspended: BTreeMap<TaskId, (Topics, i32)>,
}

/// What an assignment says about tasks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    /// What is open of these is of no more use: somebody else has them now, or had them in between.
    pub(crate) gone: BTreeSet<TaskId>,
    /// This thread's from now on, with the topics of which they read a partition. Those that were suspended, and are not gone, go on
    /// where they stopped.
    pub(crate) tasks: BTreeMap<TaskId, Topics>,
}

impl Owned {
    /// The partitions to begin to read.
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.tasks.iter().flat_map(partitions_of).collect()
    }
}

impl Holdings {
    /// The thread was given all that it has in a generation.
    ///
    /// # Errors
    /// `Fatal` for topics that the topology does not read, or if what the thread had was not revoked before.
    pub(super) fn assigned_all(
        &mut self,
        inputs: &Inputs,
        partitions: Vec<TopicPartition>,
        generation: i32,
    ) -> Result<Owned> {
        if !self.owned.is_empty() {
            return Err(Error::fatal(
                "the group assigned partitions before it revoked those of the last generation",
            ));
        }
        self.partitions = partitions.into_iter().collect();
        let mut tasks = self.by_task(inputs)?;
        tasks.retain(|task, topics| inputs.may_begin(*task, topics));
        Ok(self.own(tasks, generation))
    }

    /// The thread was given more. Tasks that are not complete wait for the rest.
    ///
    /// # Errors
    /// `Fatal` for topics that the topology does not read.
    pub(super) fn assigned_more(
        &mut self,
        inputs: &Inputs,
        partitions: Vec<TopicPartition>,
        generation: i32,
    ) -> Result<Owned> {
        self.partitions.extend(partitions);
        let mut tasks = self.by_task(inputs)?;
        tasks.retain(|task, topics| !self.owned.contains_key(task) && inputs.is_complete(*task, topics));
        Ok(self.own(tasks, generation))
    }

    /// Whether the group gave partitions of tasks that wait for the rest.
    pub(super) fn is_waiting(&self) -> bool {
        self.owned.values().map(Vec::len).sum::<usize>() < self.partitions.len()
    }

    fn by_task(&self, inputs: &Inputs) -> Result<BTreeMap<TaskId, Topics>> {
        let mut by_task: BTreeMap<TaskId, Topics> = BTreeMap::new();
        for partition in &self.partitions {
            by_task.entry(inputs.task_of(partition)?).or_default().push(Arc::clone(&partition.0));
        }
        Ok(by_task)
    }

    fn own(&mut self, tasks: BTreeMap<TaskId, Topics>, generation: i32) -> Owned {
        // Between two generations that follow each other nobody else can have had a task.
        let is_resumed = |task: &TaskId, had: &Topics, last: i32| {
            tasks.get(task) == Some(had) && last.checked_add(1) == Some(generation)
        };
        let before = std::mem::take(&mut self.suspended).into_iter();
        let gone = before.filter(|(task, (had, last))| !is_resumed(task, had, *last)).map(|(task, _)| task);
        let gone = gone.collect();
        self.owned.extend(tasks.iter().map(|(task, topics)| (*task, topics.clone())));
        Owned { gone, tasks }
    }

    /// The thread has to give up these partitions; returns the tasks that stop with them, and all partitions of theirs.
    ///
    /// # Errors
    /// `Fatal` for topics that the topology does not read.
    pub(super) fn revoked(
        &mut self,
        inputs: &Inputs,
        partitions: &[TopicPartition],
        generation: i32,
    ) -> Result<(BTreeSet<TaskId>, Vec<TopicPartition>)> {
        let stopped = self.take(inputs, partitions)?;
        let at_hand = stopped.iter().flat_map(partitions_of).collect();
        let tasks = stopped.keys().copied().collect();
        self.suspended.extend(stopped.into_iter().map(|(task, topics)| (task, (topics, generation))));
        Ok((tasks, at_hand))
    }

    /// The thread does not have these partitions any more; returns the tasks that are lost with them, and all partitions of theirs that it
    /// still reads. What was suspended does not come back either.
    ///
    /// # Errors
    /// `Fatal` for topics that the topology does not read.
    pub(super) fn lost(
        &mut self,
        inputs: &Inputs,
        partitions: &[TopicPartition],
    ) -> Result<(BTreeSet<TaskId>, Vec<TopicPartition>)> {
        let stopped = self.take(inputs, partitions)?;
        let at_hand = stopped.iter().flat_map(partitions_of).collect();
        let suspended = std::mem::take(&mut self.suspended);
        Ok((stopped.into_keys().chain(suspended.into_keys()).collect(), at_hand))
    }

    /// Takes the owned tasks that read any of these partitions.
    fn take(&mut self, inputs: &Inputs, partitions: &[TopicPartition]) -> Result<BTreeMap<TaskId, Topics>> {
        let mut stopped = BTreeMap::new();
        for partition in partitions {
            self.partitions.remove(partition);
            stopped.extend(self.owned.remove_entry(&inputs.task_of(partition)?));
        }
        Ok(stopped)
    }
}

fn partitions_of<'a>((task, topics): (&'a TaskId, &'a Topics)) -> impl Iterator<Item = TopicPartition> + 'a {
    topics.iter().map(|topic| (Arc::clone(topic), task.partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `orders` and `stock` make the tasks 0_0 to 0_3 together, `by-sku` alone 1_0 and 1_1.
    fn inputs() -> Inputs {
        Inputs::new([("orders".into(), 0, 4), ("stock".into(), 0, 4), ("by-sku".into(), 1, 2)])
    }

    fn partitions(written: &str) -> Vec<TopicPartition> {
        let partition = |text: &str| {
            let (topic, number) = text.split_once('/').expect("topic/partition");
            (topic.into(), number.parse().expect("a number"))
        };
        written.split_whitespace().map(partition).collect()
    }

    fn tasks(ids: impl IntoIterator<Item = TaskId>) -> String {
        ids.into_iter().map(|task| task.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// What is gone, and what is the thread's from now on.
    fn told(owned: Owned) -> [String; 2] {
        [tasks(owned.gone), tasks(owned.tasks.into_keys())]
    }

    #[test]
    fn of_a_new_generation_what_stays_is_resumed_and_the_rest_changes_hands() -> Result<()> {
        let all = "orders/0 stock/0 orders/1 stock/1";
        // Assigned after `all` was revoked in generation 7: gone, ours.
        let cases = [
            (8, all, ["", "0_0 0_1"]),
            (8, "orders/1 stock/1 orders/2 stock/2", ["0_0", "0_1 0_2"]),
            (8, "", ["0_0 0_1", ""]),
            // It had another owner in generation 8.
            (9, all, ["0_0 0_1", "0_0 0_1"]),
            // A generation of another member id, as after a loss.
            (1, all, ["0_0 0_1", "0_0 0_1"]),
            // With other partitions it is another task.
            (8, "orders/0 orders/1 stock/1", ["0_0", "0_0 0_1"]),
        ];
        for (generation, assigned, expected) in cases {
            let mut holdings = Holdings::default();
            let first = holdings.assigned_all(&inputs(), partitions(all), 7)?;
            assert_eq!(told(first), ["", "0_0 0_1"]);
            let (suspended, unread) = holdings.revoked(&inputs(), &partitions(all), 7)?;
            assert_eq!((tasks(suspended), unread.len()), ("0_0 0_1".to_string(), 4));
            let owned = holdings.assigned_all(&inputs(), partitions(assigned), generation)?;
            assert_eq!(told(owned), expected, "{assigned} in generation {generation}");
        }
        Ok(())
    }

    #[test]
    fn a_task_whose_partitions_come_one_by_one_waits_until_it_is_complete() -> Result<()> {
        let mut holdings = Holdings::default();
        let inputs = inputs();
        let mut more = |assigned| {
            let owned = holdings.assigned_more(&inputs, partitions(assigned), 3)?;
            let read = owned.partitions().len();
            Ok::<_, Error>((told(owned), read))
        };
        let new = |tasks: &str| ["".to_string(), tasks.to_string()];
        assert_eq!(more("orders/0 by-sku/0")?, (new("1_0"), 1));
        assert_eq!(more("")?, (new(""), 0));
        assert_eq!(more("stock/1")?, (new(""), 0));
        assert_eq!(more("stock/0 orders/1")?, (new("0_0 0_1"), 4));
        Ok(())
    }

    #[test]
    fn a_task_waits_for_topics_that_others_do_not_read_yet() -> Result<()> {
        let (mut holdings, inputs) = (Holdings::default(), inputs().of_patterns());
        // Another member does not know `stock`, and was given `orders/1` with its task.
        let owned = holdings.assigned_all(&inputs, partitions("orders/0 stock/0 stock/1"), 3)?;
        assert_eq!((owned.partitions().len(), holdings.is_waiting()), (2, true));
        assert_eq!(told(owned), ["", "0_0"]);
        let (suspended, _) = holdings.revoked(&inputs, &partitions("orders/0 stock/0 stock/1"), 3)?;
        assert_eq!(tasks(suspended), "0_0");
        let owned = holdings.assigned_all(&inputs, partitions("orders/0 stock/0 orders/1 stock/1"), 4)?;
        assert_eq!((told(owned), holdings.is_waiting()), (["".to_string(), "0_0 0_1".to_string()], false));
        Ok(())
    }

    #[test]
    fn where_topics_are_not_lined_up_partitions_of_one_number_may_be_anywhere() -> Result<()> {
        let uneven = Inputs::new([("orders".into(), 0, 4), ("stock".into(), 0, 2)]).of_patterns();
        let owned = Holdings::default().assigned_all(&uneven, partitions("stock/0 orders/3"), 3)?;
        assert_eq!(told(owned), ["", "0_0 0_3"]);
        Ok(())
    }

    #[test]
    fn a_task_stops_with_any_of_its_partitions_and_the_others_do_not() -> Result<()> {
        let mut holdings = Holdings::default();
        let inputs = inputs();
        holdings.assigned_more(&inputs, partitions("orders/0 stock/0 orders/1 stock/1 orders/2"), 3)?;
        let (suspended, unread) = holdings.revoked(&inputs, &partitions("stock/0 orders/2"), 3)?;
        assert_eq!((tasks(suspended), unread), ("0_0".to_string(), partitions("orders/0 stock/0")));
        // The other half was never revoked; with it the task is complete again, and new, as it had another owner.
        let owned = holdings.assigned_more(&inputs, Vec::new(), 3)?;
        assert_eq!(told(owned), ["0_0", ""]);
        let owned = holdings.assigned_more(&inputs, partitions("stock/0"), 5)?;
        assert_eq!(told(owned), ["", "0_0"]);
        Ok(())
    }

    #[test]
    fn what_is_lost_takes_what_is_suspended_with_it() -> Result<()> {
        let mut holdings = Holdings::default();
        let inputs = inputs();
        holdings.assigned_more(&inputs, partitions("by-sku/0 by-sku/1"), 3)?;
        holdings.revoked(&inputs, &partitions("by-sku/0"), 3)?;
        let (lost, unread) = holdings.lost(&inputs, &partitions("by-sku/1"))?;
        assert_eq!((tasks(lost), unread), ("1_0 1_1".to_string(), partitions("by-sku/1")));
        let owned = holdings.assigned_more(&inputs, partitions("by-sku/0"), 4)?;
        assert_eq!(told(owned), ["", "1_0"]);
        Ok(())
    }

    #[test]
    fn nothing_is_assigned_twice_without_a_revocation() -> Result<()> {
        let mut holdings = Holdings::default();
        holdings.assigned_all(&inputs(), partitions("by-sku/0"), 3)?;
        assert!(holdings.assigned_all(&inputs(), partitions("by-sku/0"), 4).is_err());
        Ok(())
    }
}
