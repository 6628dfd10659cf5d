//! The tasks of a topology for the drivers: one for each sub-topology and one for all global tables, in the calling thread, stores in
//! memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_state_stores::{ApplicationSerdes, RecordPart, SerdePlace, SerdeRef, StateMemory, TaskId};

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::task::{InputMessage, RecordSender, Task, TaskPlan, TaskSite, TaskState};
use crate::topology::{PartitionCount, Topology, unusable};

/// Tasks that run, and who reads what.
pub(super) struct DriverTasks<M> {
    pub(super) all: Vec<Task<M>>,
    /// The task that reads a topic, by the topic's name in Kafka.
    readers: BTreeMap<String, usize>,
    /// Where the task that keeps the global tables stands among the tasks.
    global: Option<usize>,
    serdes: ApplicationSerdes,
}

impl<M: InputMessage> DriverTasks<M> {
    /// Builds the tasks. Topics that are read have one partition; `partition_count` tells partitioners of those that are written.
    ///
    /// # Errors
    /// `Invalid` if the topology is.
    pub(super) fn build(
        topology: Topology,
        application_id: &str,
        settings: &Settings,
        partition_count: &PartitionCount,
    ) -> Result<Self> {
        topology.validate()?;
        let application_id: Arc<str> = application_id.into();
        let topology = Arc::new(topology.with_serdes_in_place(&application_id)?);
        let memory = StateMemory::new(settings.state_memory);
        let mut tasks = Vec::new();
        let mut readers = BTreeMap::new();
        let plans = TaskPlan::all(&topology, &application_id, settings, partition_count);
        // First, because the others read what it keeps.
        let global = TaskPlan::of_global_tables(&plans, |_| 1);
        let others = plans.iter().filter(|plan| !plan.subtopology.is_global);
        for plan in global.iter().chain(others) {
            for topic in &plan.subtopology.source_topics {
                readers.insert(topic.in_application(&application_id), tasks.len());
            }
            let id = TaskId { subtopology: plan.subtopology.id, partition: 0 };
            let stores = plan.wake(plan.open_stores(id, None, &memory)?, None);
            let mut task: Task<M> = plan.build(TaskSite { id, stores, owns: &|_| true })?;
            task.become_state(TaskState::Restoring)?;
            task.become_state(TaskState::Running)?;
            if plan.global_topics.is_some() {
                for store in &plan.subtopology.stores {
                    task.stores()
                        .reader(store)
                        .into_iter()
                        .for_each(|rows| plan.globals.complete(store, rows));
                }
            }
            tasks.push(task);
        }
        Ok(DriverTasks { all: tasks, readers, global: global.map(|_| 0), serdes: topology.serdes.clone() })
    }

    /// A serde as it is for who writes a topic that the tasks read.
    pub(super) fn to_write<T>(
        &self,
        topic: &str,
        part: RecordPart,
        serde: &SerdeRef<T>,
    ) -> Result<SerdeRef<T>> {
        let settled = SerdePlace::new(topic, part, &self.serdes).bind(serde);
        settled.map_err(|error| unusable(error, "topic", topic))
    }

    /// A serde as it is for who reads a topic that the tasks write.
    pub(super) fn to_read<T>(
        &self,
        topic: &str,
        part: RecordPart,
        serde: &SerdeRef<T>,
    ) -> Result<SerdeRef<T>> {
        let settled = SerdePlace::new(topic, part, &self.serdes).only_read().bind(serde);
        settled.map_err(|error| unusable(error, "topic", topic))
    }

    /// Lets the other tasks see the global tables as they are now: they need no commit.
    pub(super) fn publish_global_tables(&mut self, sends_nothing: &dyn RecordSender) -> Result<()> {
        match self.global.map(|global| &mut self.all[global]) {
            Some(task) if task.needs_commit() => {
                task.prepare_commit()?;
                task.committed(sends_nothing)
            }
            _ => Ok(()),
        }
    }

    /// Whether any task reads the topic.
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.readers.contains_key(topic)
    }

    /// Where the task that reads the topic stands among the tasks.
    ///
    /// # Errors
    /// `Invalid` if none reads it.
    pub(super) fn reader(&self, topic: &str) -> Result<usize> {
        self.readers.get(topic).copied().ok_or_else(|| {
            let known: Vec<&str> = self.readers.keys().map(String::as_str).collect();
            Error::invalid(format!("the topology does not read topic {topic}; it reads {}", known.join(", ")))
        })
    }
}
