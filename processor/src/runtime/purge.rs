//! Deletes the records of repartition topics once every effect of theirs is committed: nobody reads them again.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::{debug, warn};

use super::shared::Shared;
use super::snapshot::ThreadSnapshot;
use super::state::ClientState;
use crate::error::{Error, Result};
use crate::topology::internal_topic;

/// As Kafka Streams' `repartition.purge.interval.ms`.
const INTERVAL: Duration = Duration::from_secs(30);

type Purged = BTreeMap<(Arc<str>, i32), i64>;

/// Starts the thread that purges, if the application has repartition topics. It ends with the application, which does not wait for
/// an answer from the brokers.
pub(super) fn start(shared: &Arc<Shared>) -> Result<()> {
    let topics: Vec<String> = shared
        .topology
        .repartition_topics()
        .iter()
        .map(|topic| internal_topic(&shared.application_id, &topic.name))
        .collect();
    if topics.is_empty() {
        return Ok(());
    }
    let application = Arc::downgrade(shared);
    std::thread::Builder::new()
        .name(format!("{}-purge", shared.application_id))
        .spawn(move || run(&application, &topics))
        .map_err(|error| {
            Error::fatal("cannot start the thread that purges repartition topics").with_source(error)
        })?;
    Ok(())
}

fn run(application: &Weak<Shared>, topics: &[String]) {
    let mut purged = Purged::new();
    while let Some(shared) = application.upgrade()
        && shared.await_state(INTERVAL, ClientState::is_ending).is_none()
    {
        let snapshots = shared.threads.snapshots();
        let before = purgeable(&snapshots, topics, &purged);
        if before.is_empty() {
            continue;
        }
        let admin = Arc::clone(&shared.admin);
        drop(shared);
        match admin.delete_records(&before) {
            Ok(()) => {
                debug!(?before, "purged repartition topics");
                purged.extend(
                    before.into_iter().map(|(topic, partition, offset)| ((topic.into(), partition), offset)),
                );
            }
            // Nothing is lost: the records only take room until the next try.
            Err(error) => warn!(%error, "repartition topics were not purged; trying again in {INTERVAL:?}"),
        }
    }
}

/// Where records can be deleted: topic, partition, and the committed offset before which they are not needed.
fn purgeable(
    snapshots: &[Arc<ThreadSnapshot>],
    topics: &[String],
    purged: &Purged,
) -> Vec<(String, i32, i64)> {
    let partitions = snapshots.iter().flat_map(|thread| &thread.tasks).flat_map(|task| &task.partitions);
    partitions
        .filter(|partition| topics.iter().any(|topic| **topic == *partition.topic))
        .filter_map(|partition| {
            let committed = partition.committed_to?.get();
            let before = purged.get(&(Arc::clone(&partition.topic), partition.partition)).copied();
            let is_new = before.is_none_or(|before| before < committed);
            is_new.then(|| (partition.topic.to_string(), partition.partition, committed))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{Offset, TaskId};

    use super::super::snapshot::{PartitionSnapshot, TaskSnapshot};
    use super::*;
    use crate::task::TaskState;

    fn thread_with(partitions: &[(&str, i32, Option<i64>)]) -> Arc<ThreadSnapshot> {
        let partitions = partitions.iter().map(|(topic, partition, committed)| PartitionSnapshot {
            topic: (*topic).into(),
            partition: *partition,
            processed_to: None,
            committed_to: committed.map(Offset::new),
            lag: None,
            buffered: 0,
        });
        let mut thread = ThreadSnapshot::before_start("shop-StreamThread-1".into());
        thread.tasks.push(TaskSnapshot {
            partitions: partitions.collect(),
            ..TaskSnapshot::created(TaskId { subtopology: 0, partition: 0 }, TaskState::Running)
        });
        Arc::new(thread)
    }

    #[test]
    fn only_committed_records_of_repartition_topics_are_deleted_and_only_once() {
        let topics = ["shop-by-sku-repartition".to_string()];
        let thread = thread_with(&[
            ("orders", 0, Some(9)),
            ("shop-by-sku-repartition", 0, Some(7)),
            ("shop-by-sku-repartition", 1, None),
        ]);
        let first = purgeable(std::slice::from_ref(&thread), &topics, &Purged::new());
        assert_eq!(first, [("shop-by-sku-repartition".to_string(), 0, 7)]);
        let purged = Purged::from([(("shop-by-sku-repartition".into(), 0), 7)]);
        assert!(purgeable(&[thread], &topics, &purged).is_empty());
    }
}
