//! Every metric that is read off the application at scrape time. `docs/metrics.md` describes them at more length.

use std::sync::atomic::Ordering;

use millstream_state_stores::StoreStats;

use super::collector::{Family, Sample, Scrape, Series, counter, gauge};
use crate::api::FailureStage;
use crate::runtime::{
    ClientState, PartitionSnapshot, RestoreProgress, TaskSnapshot, ThreadSnapshot, ThreadState,
};
use crate::task::TaskState;

const STATE: &[&str] = &["state"];
const THREAD: &[&str] = &["thread"];
const TASK: &[&str] = &["task"];
const TASK_STAGE: &[&str] = &["task", "stage"];
const TASK_STATE: &[&str] = &["task", "state"];
const TASK_STORE: &[&str] = &["task", "store"];
const PARTITION: &[&str] = &["topic", "partition"];
const STORE_KIND: &[&str] = &["store", "kind"];

/// In the order of `docs/metrics.md`.
pub(super) const FAMILIES: &[Family] = &[
    gauge("millstream_client_state", STATE, "1 for the state the application is in.", client_state),
    gauge("millstream_threads", STATE, "Stream threads in this state.", threads),
    counter(
        "millstream_thread_records_consumed_total",
        THREAD,
        "Records received from Kafka.",
        |scrape, series| of_threads(scrape, series, |thread| thread.records_consumed),
    ),
    counter(
        "millstream_thread_bytes_consumed_total",
        THREAD,
        "Bytes of the keys and values received from Kafka.",
        |scrape, series| of_threads(scrape, series, |thread| thread.bytes_consumed),
    ),
    counter(
        "millstream_thread_records_produced_total",
        THREAD,
        "Records handed to the producer, changelog entries included.",
        |scrape, series| of_threads(scrape, series, |thread| thread.records_produced),
    ),
    counter(
        "millstream_thread_bytes_produced_total",
        THREAD,
        "Bytes of the keys and values handed to the producer.",
        |scrape, series| of_threads(scrape, series, |thread| thread.bytes_produced),
    ),
    counter(
        "millstream_thread_poll_total",
        THREAD,
        "Times the thread asked Kafka for a batch of records.",
        |scrape, series| of_threads(scrape, series, |thread| thread.polls),
    ),
    counter(
        "millstream_thread_poll_seconds_total",
        THREAD,
        "Time spent asking for records and waiting for them.",
        |scrape, series| of_threads(scrape, series, |thread| thread.poll_time),
    ),
    counter(
        "millstream_thread_process_seconds_total",
        THREAD,
        "Time spent in the operators.",
        |scrape, series| of_threads(scrape, series, |thread| thread.process_time),
    ),
    counter("millstream_thread_commits_total", THREAD, "Commits that succeeded.", |scrape, series| {
        of_threads(scrape, series, |thread| thread.commits)
    }),
    counter("millstream_thread_commit_seconds_total", THREAD, "Time spent committing.", |scrape, series| {
        of_threads(scrape, series, |thread| thread.commit_time.total)
    }),
    gauge(
        "millstream_thread_commit_latency_max_seconds",
        THREAD,
        "Duration of the longest commit.",
        |scrape, series| of_threads(scrape, series, |thread| thread.commit_time.longest),
    ),
    counter(
        "millstream_thread_commit_stores_seconds_total",
        THREAD,
        "Time of commits spent in operators and stores.",
        |scrape, series| of_threads(scrape, series, |thread| thread.commit_time_in_stores.total),
    ),
    gauge(
        "millstream_thread_commit_stores_latency_max_seconds",
        THREAD,
        "The longest time of a commit in operators and stores.",
        |scrape, series| of_threads(scrape, series, |thread| thread.commit_time_in_stores.longest),
    ),
    counter(
        "millstream_thread_commit_kafka_seconds_total",
        THREAD,
        "Time of commits spent for Kafka.",
        |scrape, series| of_threads(scrape, series, |thread| thread.commit_time_for_kafka.total),
    ),
    gauge(
        "millstream_thread_commit_kafka_latency_max_seconds",
        THREAD,
        "The longest time of a commit spent for Kafka.",
        |scrape, series| of_threads(scrape, series, |thread| thread.commit_time_for_kafka.longest),
    ),
    gauge(
        "millstream_thread_commit_last_seconds",
        THREAD,
        "Duration of the newest commit.",
        |scrape, series| of_threads(scrape, series, |thread| thread.last_commit_time),
    ),
    counter(
        "millstream_thread_transactions_committed_total",
        THREAD,
        "Transactions committed.",
        |scrape, series| of_threads(scrape, series, |thread| thread.transactions_committed),
    ),
    counter(
        "millstream_thread_transactions_aborted_total",
        THREAD,
        "Transactions aborted, whose records were processed again.",
        |scrape, series| of_threads(scrape, series, |thread| thread.transactions_aborted),
    ),
    counter(
        "millstream_thread_transaction_seconds_total",
        THREAD,
        "Time spent committing transactions, once everything in them was acknowledged.",
        |scrape, series| of_threads(scrape, series, |thread| thread.transaction_time),
    ),
    counter(
        "millstream_thread_rebalances_total",
        THREAD,
        "Assignments and revocations carried out.",
        |scrape, series| of_threads(scrape, series, |thread| thread.rebalances),
    ),
    counter(
        "millstream_thread_failures_total",
        THREAD,
        "Commits that failed and were tried again.",
        |scrape, series| of_threads(scrape, series, |thread| thread.failures),
    ),
    counter(
        "millstream_thread_restarts_total",
        THREAD,
        "Times the thread began anew: fenced, unsure of a transaction, or replaced after a failure.",
        |scrape, series| of_threads(scrape, series, |thread| thread.restarts),
    ),
    counter(
        "millstream_task_records_processed_total",
        TASK,
        "Records that went through the task's operators.",
        |scrape, series| of_tasks(scrape, series, |task| task.processed),
    ),
    counter(
        "millstream_task_punctuations_total",
        TASK,
        "Calls of what the task's processors scheduled.",
        |scrape, series| of_tasks(scrape, series, |task| task.punctuations),
    ),
    counter(
        "millstream_task_records_dropped_total",
        TASK,
        "Records left out by the rules of an operator or for a negative timestamp.",
        |scrape, series| of_tasks(scrape, series, |task| task.dropped),
    ),
    counter(
        "millstream_task_records_skipped_total",
        TASK_STAGE,
        "Records that failed and were skipped by a handler.",
        |scrape, series| by_stage(scrape, series, |task| task.skipped),
    ),
    counter(
        "millstream_task_dead_letters_total",
        TASK_STAGE,
        "Records that failed and were sent to the dead-letter topic.",
        |scrape, series| by_stage(scrape, series, |task| task.dead_letters),
    ),
    gauge("millstream_task_state", TASK_STATE, "1 for the state the task is in.", task_states),
    counter(
        "millstream_task_restore_records_total",
        TASK_STORE,
        "Changelog records read back into the store.",
        |scrape, series| of_restores(scrape, series, |restore| restore.records),
    ),
    counter(
        "millstream_task_restore_records_left_out_total",
        TASK_STORE,
        "Records of the store's topic that make no row, because a handler passes over them.",
        |scrape, series| of_restores(scrape, series, |restore| restore.left_out),
    ),
    gauge(
        "millstream_task_restore_remaining_records",
        TASK_STORE,
        "Changelog offsets still to be read before the store is complete.",
        |scrape, series| of_restores(scrape, series, RestoreProgress::remaining),
    ),
    gauge("millstream_standby_tasks", &[], "Standby tasks of this instance.", |scrape, series| {
        series.add(&[], scrape.updater.standbys.len());
    }),
    counter(
        "millstream_standby_records_total",
        TASK_STORE,
        "Changelog records applied to the copy of a store.",
        |scrape, series| of_standbys(scrape, series, |standby| standby.records),
    ),
    gauge(
        "millstream_standby_lag_records",
        TASK_STORE,
        "Changelog offsets that the copy of a store is behind.",
        |scrape, series| of_standbys(scrape, series, RestoreProgress::remaining),
    ),
    counter(
        "millstream_standby_promotions_total",
        &[],
        "Standby tasks that became active.",
        |scrape, series| series.add(&[], scrape.updater.promotions),
    ),
    counter(
        "millstream_task_checkpoints_total",
        TASK,
        "Times committed state and its changelog offsets were written to RocksDB.",
        |scrape, series| of_tasks(scrape, series, |task| task.checkpoints.written),
    ),
    counter(
        "millstream_task_checkpoint_seconds_total",
        TASK,
        "Time the background thread spent writing checkpoints.",
        |scrape, series| of_tasks(scrape, series, |task| task.checkpoints.time),
    ),
    gauge(
        "millstream_task_checkpoint_in_flight",
        TASK,
        "1 while a checkpoint waits to be written or is being written, else 0.",
        |scrape, series| of_tasks(scrape, series, |task| task.checkpoints.is_in_flight),
    ),
    gauge(
        "millstream_task_stream_time_seconds",
        TASK,
        "Largest record timestamp seen, in seconds since 1970.",
        |scrape, series| of_tasks(scrape, series, |task| task.stream_time),
    ),
    gauge(
        "millstream_partition_lag_records",
        PARTITION,
        "Records between what was processed and the end of the partition.",
        |scrape, series| of_partitions(scrape, series, |partition| partition.lag),
    ),
    gauge(
        "millstream_partition_buffered_records",
        PARTITION,
        "Records received and waiting for their turn.",
        |scrape, series| of_partitions(scrape, series, |partition| partition.buffered),
    ),
    counter(
        "millstream_store_cache_hits_total",
        TASK_STORE,
        "Reads and updates by operators that the write-back cache answered.",
        |scrape, series| of_stores(scrape, series, |store| store.cache_hits),
    ),
    counter(
        "millstream_store_cache_misses_total",
        TASK_STORE,
        "Reads and updates by operators that had to look further.",
        |scrape, series| of_stores(scrape, series, |store| store.cache_misses),
    ),
    gauge(
        "millstream_store_cached_entries",
        TASK_STORE,
        "Entries in the write-back cache.",
        |scrape, series| of_stores(scrape, series, |store| store.cached_entries),
    ),
    gauge(
        "millstream_store_cached_bytes",
        TASK_STORE,
        "Estimated memory of the entries in the write-back cache.",
        |scrape, series| of_stores(scrape, series, |store| store.cached_bytes),
    ),
    gauge(
        "millstream_store_uncheckpointed_entries",
        TASK_STORE,
        "Committed entries that RocksDB does not hold yet.",
        |scrape, series| of_stores(scrape, series, |store| store.overlay_entries),
    ),
    gauge(
        "millstream_rocksdb_memtable_bytes",
        TASK,
        "Memory of the task's RocksDB memtables.",
        |scrape, series| {
            of_tasks(scrape, series, |task| task.engine.map(|sizes| sizes.memtable_bytes));
        },
    ),
    gauge(
        "millstream_rocksdb_sst_bytes",
        TASK,
        "Disk taken by the task's RocksDB files.",
        |scrape, series| {
            of_tasks(scrape, series, |task| task.engine.map(|sizes| sizes.sst_bytes));
        },
    ),
    gauge(
        "millstream_rocksdb_estimated_keys",
        TASK,
        "RocksDB's estimate of the keys it holds, over all stores of the task.",
        |scrape, series| {
            of_tasks(scrape, series, |task| task.engine.map(|sizes| sizes.estimated_keys));
        },
    ),
    gauge(
        "millstream_state_memory_used_bytes",
        &[],
        "Memory of all rows and of the block cache of this application.",
        |scrape, series| series.add(&[], scrape.shared.memory.used()),
    ),
    gauge("millstream_state_memory_budget_bytes", &[], "The setting state_memory.", |scrape, series| {
        series.add(&[], scrape.shared.settings.state_memory)
    }),
    gauge(
        "millstream_state_dir_bytes",
        &[],
        "Disk taken by the state of this application on this machine.",
        |scrape, series| series.add(&[], scrape.shared.state_bytes.load(Ordering::Relaxed)),
    ),
    counter("millstream_queries_total", STORE_KIND, "Interactive queries.", |scrape, series| {
        for (store, kind, count) in scrape.shared.stores.query_counts() {
            series.add(&[&store, &kind.name()], count);
        }
    }),
];

fn client_state(scrape: &Scrape<'_>, series: &mut Series) {
    let current = scrape.shared.state();
    for state in ClientState::ALL {
        series.add(&[&state.name()], state == current);
    }
}

/// From the threads' last words rather than their snapshots: a thread that failed reports no more.
fn threads(scrape: &Scrape<'_>, series: &mut Series) {
    let states = scrape.shared.threads.states();
    for state in ThreadState::ALL {
        let count = states.iter().filter(|thread| **thread == state).count();
        series.add(&[&state.name()], count);
    }
}

fn task_states(scrape: &Scrape<'_>, series: &mut Series) {
    for (id, task) in &scrape.tasks {
        for state in TaskState::ALL {
            series.add(&[id, &state.name()], state == task.state);
        }
    }
}

fn of_threads<V: Sample>(scrape: &Scrape<'_>, series: &mut Series, value: impl Fn(&ThreadSnapshot) -> V) {
    for thread in scrape.threads {
        series.add(&[&thread.name], value(thread));
    }
}

fn of_tasks<V: Sample>(scrape: &Scrape<'_>, series: &mut Series, value: impl Fn(&TaskSnapshot) -> V) {
    for (id, task) in &scrape.tasks {
        series.add(&[id], value(task));
    }
}

fn by_stage(scrape: &Scrape<'_>, series: &mut Series, values: impl Fn(&TaskSnapshot) -> [u64; 3]) {
    for (id, task) in &scrape.tasks {
        for stage in FailureStage::ALL {
            series.add(&[id, &stage.name()], values(task)[stage as usize]);
        }
    }
}

fn of_restores<V: Sample>(scrape: &Scrape<'_>, series: &mut Series, value: impl Fn(&RestoreProgress) -> V) {
    for (id, task) in &scrape.tasks {
        for restore in &task.restores {
            series.add(&[id, &restore.store], value(restore));
        }
    }
}

fn of_standbys<V: Sample>(scrape: &Scrape<'_>, series: &mut Series, value: impl Fn(&RestoreProgress) -> V) {
    for store in scrape.updater.standbys.values().flatten() {
        series.add(&[&store.task, &store.store], value(store));
    }
}

fn of_partitions<V: Sample>(
    scrape: &Scrape<'_>,
    series: &mut Series,
    value: impl Fn(&PartitionSnapshot) -> V,
) {
    for partition in scrape.tasks.values().flat_map(|task| &task.partitions) {
        series.add(&[&partition.topic, &partition.partition], value(partition));
    }
}

fn of_stores<V: Sample>(scrape: &Scrape<'_>, series: &mut Series, value: impl Fn(&StoreStats) -> V) {
    for (id, task) in &scrape.tasks {
        for store in &task.stores {
            series.add(&[id, &store.store], value(store));
        }
    }
}
