//! Builds a task from its sub-topology: nodes from the leaves up, then a queue for each input partition.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_state_stores::{
    BackgroundThread, CheckpointListener, DormantStores, LogPartition, PartitionId, StateDirectory,
    StateMemory, StoreBuilder, StoreError, StoreIndex, TaskId, TaskStores, TaskStoresOptions,
};

use super::failure::FailureLog;
use super::heartbeat::Heartbeats;
use super::nodes::Nodes;
use super::queue::PartitionQueue;
use super::state::TaskState;
use super::{Changelog, InputMessage, Recency, SourceLog, Task, TaskCounters};
use crate::api::{ErasedInput, GlobalTables, Header, TaskContext, Wiring};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::handlers::Handlers;
#[cfg(test)]
use crate::testing::simulation::mutation::{self, Mutation};
use crate::topology::{
    NodeKind, PartitionCount, RowsOfTopic, Site, SourceChangelog, Subtopology, TopicName, Topology,
    changelog_topic,
};

/// What all tasks of a sub-topology have in common.
#[derive(Clone)]
pub(crate) struct TaskPlan {
    pub(crate) application_id: Arc<str>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) subtopology: Subtopology,
    pub(crate) handlers: Handlers,
    pub(crate) dead_letter_topic: Arc<str>,
    pub(crate) max_idle: Option<Duration>,
    /// Whether a commit is one transaction.
    pub(crate) atomic_commits: bool,
    pub(crate) on_checkpoint: CheckpointListener,
    /// Asked by sinks that choose partitions.
    pub(crate) partition_count: PartitionCount,
    /// The global tables, which its tasks may read.
    pub(crate) globals: Arc<GlobalTables>,
    /// Set in the plan of the task that keeps the global tables: how many partitions their topics have, all of which it reads.
    pub(crate) global_topics: Option<BTreeMap<String, i32>>,
}

/// What a store is restored from.
#[derive(Clone)]
pub(crate) struct RestoredFrom {
    /// The topic in Kafka.
    pub(crate) topic: Arc<str>,
    /// Of a topic that is read besides, and has no rows but records: what makes rows of them.
    pub(crate) rows: Option<Arc<dyn RowsOfTopic>>,
}

/// Where one task runs: its id, its open stores, and which of its input topics it was given.
pub(crate) struct TaskSite<'a> {
    pub(crate) id: TaskId,
    pub(crate) stores: TaskStores,
    /// Whether the partition of this topic (its name in Kafka) belongs to this task.
    pub(crate) owns: &'a dyn Fn(&str) -> bool,
}

impl TaskPlan {
    /// The plans of an application, by sub-topology id.
    pub(crate) fn all(
        topology: &Arc<Topology>,
        application_id: &Arc<str>,
        settings: &Settings,
        partition_count: &PartitionCount,
    ) -> Vec<Self> {
        let dead_letters: Arc<str> = settings.dead_letter_topic_of(application_id).into();
        let globals = GlobalTables::of(topology);
        let plan = |subtopology| TaskPlan {
            application_id: Arc::clone(application_id),
            topology: Arc::clone(topology),
            subtopology,
            handlers: settings.handlers.clone(),
            dead_letter_topic: Arc::clone(&dead_letters),
            max_idle: settings.max_task_idle,
            atomic_commits: settings.is_exactly_once(),
            on_checkpoint: settings.on_step.for_checkpoints(),
            partition_count: Arc::clone(partition_count),
            globals: Arc::clone(&globals),
            global_topics: None,
        };
        topology.subtopologies().into_iter().map(plan).collect()
    }

    /// The same plan, of the same sub-topology of a topology that is bound to other topics.
    pub(crate) fn bound_to(&self, topology: &Arc<Topology>, subtopology: Subtopology) -> Self {
        TaskPlan { topology: Arc::clone(topology), subtopology, ..self.clone() }
    }

    /// The plan of the one task of an instance that keeps all of its global tables, if there are any: it reads all partitions of their
    /// topics, in no particular order, and sends nothing. `counts` says how many partitions a topic has.
    pub(crate) fn of_global_tables(plans: &[Self], counts: impl Fn(&TopicName) -> i32) -> Option<Self> {
        let mut parts = plans.iter().filter(|plan| plan.subtopology.is_global);
        let mut plan = parts.next()?.clone();
        for part in parts {
            plan.subtopology.nodes.extend(&part.subtopology.nodes);
            plan.subtopology.stores.extend(part.subtopology.stores.iter().cloned());
            plan.subtopology.source_topics.extend(part.subtopology.source_topics.iter().cloned());
        }
        let topics = plan.subtopology.source_topics.iter();
        let counted = topics.map(|topic| (topic.in_application(&plan.application_id), counts(topic)));
        plan.global_topics = Some(counted.collect());
        plan.handlers = plan.handlers.without_dead_letters();
        plan.max_idle = None;
        Some(plan)
    }

    /// The id of the task that keeps the global tables.
    pub(crate) fn global_task(&self) -> TaskId {
        TaskId { subtopology: self.subtopology.id, partition: 0 }
    }

    /// Opens the stores of a task: in its locked directory if any of them is persistent, or in memory if there is no directory.
    pub(crate) fn open_stores(
        &self,
        id: TaskId,
        directory: Option<&StateDirectory>,
        memory: &Arc<StateMemory>,
    ) -> Result<DormantStores, StoreError> {
        let builders: Vec<Arc<dyn StoreBuilder>> =
            self.subtopology.stores.iter().filter_map(|name| self.topology.store(name)).cloned().collect();
        let is_persistent = builders.iter().any(|store| store.is_persistent());
        let directory = match directory.filter(|_| is_persistent) {
            Some(directory) if self.global_topics.is_some() => Some(directory.lock_global()?),
            Some(directory) => Some(directory.lock_task(id)?),
            None => None,
        };
        DormantStores::open(id, &self.application_id, directory, Arc::clone(memory), &builders)
    }

    /// Makes stores that are complete those of a task.
    pub(crate) fn wake(
        &self,
        stores: DormantStores,
        background: Option<&Arc<BackgroundThread>>,
    ) -> TaskStores {
        stores.wake(TaskStoresOptions {
            undo: self.handlers.may_take_back(),
            atomic_commits: self.atomic_commits,
            background: background.cloned(),
            on_checkpoint: self.on_checkpoint.clone(),
        })
    }

    /// What the stores are restored from, by store; none of stores that are not.
    pub(crate) fn changelogs(&self) -> impl Iterator<Item = Option<RestoredFrom>> {
        self.subtopology.stores.iter().map(move |name| {
            if let Some(SourceChangelog { topic, rows }) = self.topology.source_changelogs.get(name) {
                let topic = topic.in_application(&self.application_id).into();
                return Some(RestoredFrom { topic, rows: Some(Arc::clone(rows)) });
            }
            let is_logged = self.topology.store(name).is_some_and(|store| store.is_logged());
            let topic = || changelog_topic(&self.application_id, name).into();
            is_logged.then(|| RestoredFrom { topic: topic(), rows: None })
        })
    }

    /// Builds a task in the state `Created`.
    ///
    /// # Errors
    /// `Invalid` if node types do not fit each other or a store is not as declared.
    pub(crate) fn build<M: InputMessage>(&self, site: TaskSite<'_>) -> Result<Task<M>> {
        let TaskSite { id, stores, owns } = site;
        let mut context = TaskContext::new(id, self.global_topics.is_some());
        let outputs = RefCell::new(context.outputs());
        let topic_index = |topic: &str| outputs.borrow_mut().topic(topic);
        let mut inputs: BTreeMap<usize, ErasedInput> = BTreeMap::new();
        let (mut nodes, shared) = (Nodes::default(), RefCell::default());
        let mut queues = Vec::new();
        let mut sources = Vec::new();
        for index in self.subtopology.nodes.iter().rev() {
            let node = &self.topology.nodes[*index];
            let children: Result<Vec<(&Arc<str>, &ErasedInput)>> = node
                .children
                .iter()
                .map(|child| {
                    let input = inputs.get(child).ok_or_else(|| {
                        Error::fatal(format!("node {} was built before its child", node.name))
                    })?;
                    Ok((&self.topology.nodes[*child].name, input))
                })
                .collect();
            let children = children?;
            let (factory, connected_stores): (_, &[String]) = match &node.kind {
                NodeKind::Source { topics, factory, .. } => {
                    for topic in topics {
                        let topic: Arc<str> = topic.in_application(&self.application_id).into();
                        for partition in self.partitions_of(&topic, id).filter(|_| owns(&topic)) {
                            let entry = factory.build(&node.name, &children)?;
                            // The task of the global tables sends nothing.
                            let heartbeats = factory.heartbeats().filter(|_| self.global_topics.is_none());
                            let heartbeats = heartbeats
                                .map(|every| Heartbeats::new(every, self.nodes_moved_by(*index, &nodes)));
                            queues.push(PartitionQueue::new(
                                Arc::clone(&topic),
                                partition,
                                entry,
                                heartbeats,
                            ));
                            let log = self.log_of(*index, &topic, partition);
                            sources.push(log.map(|log| SourceLog { log, recency: Recency::default() }));
                        }
                    }
                    continue;
                }
                NodeKind::Processor { stores, factory } => (factory, stores),
                NodeKind::Sink { factory, .. } => (factory, &[]),
            };
            let built = factory.build(
                &node.name,
                Site {
                    index: *index,
                    wiring: Wiring {
                        application_id: &self.application_id,
                        task: id,
                        node: &node.name,
                        children: &children,
                        connected_stores,
                        stores: &stores,
                        globals: &self.globals,
                        topic_index: &topic_index,
                        partition_count: &self.partition_count,
                        serdes: &self.topology.serdes,
                        shared: &shared,
                    },
                },
            )?;
            inputs.insert(*index, built.input);
            if let Some(lifecycle) = built.lifecycle {
                nodes.add(*index, lifecycle);
            }
        }
        queues.reverse();
        sources.reverse();
        let changelog = |(from, store): (Option<RestoredFrom>, &String)| {
            let RestoredFrom { topic, .. } = from.filter(|from| from.rows.is_none())?;
            let header = self.topology.store(store).and_then(|store| store.changelog_header());
            let headers = header.map(|(name, value)| Header {
                name: name.to_string(),
                value: Some(Bytes::from_static(value)),
            });
            let headers = headers.into_iter().collect();
            Some(Changelog { topic, headers, sending: None, reflected: None })
        };
        let changelogs = self.changelogs().zip(&self.subtopology.stores).map(changelog).collect();
        Ok(Task {
            id,
            state: TaskState::Created,
            queues,
            sources,
            nodes,
            context,
            sender_topics: Vec::new(),
            refused: Vec::new(),
            stores,
            changelogs,
            checkpointed_as_of: None,
            can_take_back: self.handlers.may_take_back(),
            handlers: self.handlers.clone(),
            dead_letter_topic: Arc::clone(&self.dead_letter_topic),
            max_idle: self.max_idle,
            waiting_since: None,
            counters: TaskCounters::default(),
            failure_log: FailureLog::default(),
            is_initialized: false,
            acted_by_itself: false,
            needs_commit: false,
            heartbeat_read_at: None,
            is_prepared: false,
        })
    }

    /// The nodes for which a heartbeat of a source moves time on: all below it, down to those that hold records back.
    fn nodes_moved_by(&self, source: usize, nodes: &Nodes) -> Vec<usize> {
        let mut moved = vec![source];
        let mut looked_at = 0;
        while let Some(node) = moved.get(looked_at).copied() {
            looked_at += 1;
            if !nodes.passes_stream_time(node) {
                continue;
            }
            for child in &self.topology.nodes[node].children {
                if !moved.contains(child) {
                    moved.push(*child);
                }
            }
        }
        moved
    }

    /// The partitions of a topic that a task reads.
    fn partitions_of(&self, topic: &str, id: TaskId) -> Range<i32> {
        match &self.global_topics {
            Some(counts) => 0..counts.get(topic).copied().unwrap_or(0),
            None => id.partition..id.partition + 1,
        }
    }

    /// The store that holds what this source has read of a partition so far, as a log of which the position is kept beside the store's rows.
    fn log_of(&self, source: usize, topic: &str, partition: i32) -> Option<LogPartition> {
        if self.global_topics.is_some() {
            let table = self.table_of_source(source)?;
            return Some(LogPartition::Source(table, PartitionId::new(partition)));
        }
        let is_copy = |from: Option<RestoredFrom>| {
            from.is_some_and(|from| from.rows.is_some() && *from.topic == *topic)
        };
        let place = self.changelogs().position(is_copy)?;
        Some(StoreIndex::new(place).into())
    }

    /// Of the plan of the global tables: each of them by its place among the stores, with the topic it is a copy of and the number of its
    /// partitions.
    pub(crate) fn global_sources(&self) -> Vec<(StoreIndex, Arc<str>, i32)> {
        let mut all = Vec::new();
        for index in &self.subtopology.nodes {
            let NodeKind::Source { topics, .. } = &self.topology.nodes[*index].kind else { continue };
            if let Some(table) = self.table_of_source(*index) {
                let topics = topics.iter().map(|topic| Arc::from(topic.in_application(&self.application_id)));
                all.extend(topics.map(|topic: Arc<str>| {
                    let partitions = self.partitions_of(&topic, self.global_task()).end;
                    (table, topic, partitions)
                }));
            }
        }
        all
    }

    /// The global table that is a copy of what this source reads, by its place among the stores.
    fn table_of_source(&self, source: usize) -> Option<StoreIndex> {
        self.global_topics.as_ref()?;
        let keeper = *self.topology.nodes[source].children.first()?;
        let NodeKind::Processor { stores, .. } = &self.topology.nodes[keeper].kind else { return None };
        let place = self.subtopology.stores.iter().position(|store| stores.contains(store))?;
        Some(StoreIndex::new(place))
    }

    /// The task as it was at its last commit: stores rolled back, nodes without memory, nothing queued in or out. Its input is to be
    /// read again from [`PartitionQueue::resume_at`].
    ///
    /// # Errors
    /// As [`TaskPlan::build`].
    pub(crate) fn rebuild<M: InputMessage>(&self, before: Task<M>) -> Result<Task<M>> {
        let counters = before.counters();
        let Task { id, state, queues, sources, nodes, mut stores, changelogs, failure_log, .. } = before;
        let checkpointed_as_of = before.checkpointed_as_of;
        drop(nodes);
        #[cfg(test)]
        let is_left_out = mutation::is_set_in_runtime(Mutation::StoresNotRolledBack);
        #[cfg(not(test))]
        let is_left_out = false;
        if !is_left_out {
            stores.rollback();
        }
        let owns = |topic: &str| queues.iter().any(|queue| **queue.topic() == *topic);
        let mut task = self.build(TaskSite { id, stores, owns: &owns })?;
        for (queue, before) in task.queues.iter_mut().zip(&queues) {
            queue.resume(before);
        }
        Ok(Task { state, counters, sources, changelogs, checkpointed_as_of, failure_log, ..task })
    }
}
