//! Exactly-once: whatever happens to processes and producers, readers of committed records see each result once, and the state is
//! that of the changelog and of a recount.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::runtime::{ThreadFailureResponse, ThreadSnapshot};
use millstream::{ClientState, ProcessingGuarantee};
use millstream_integration_tests::kafka::{ClusterClient, NewRecord, ReadRecord, RealKafka};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

use crate::in_process::{
    COUNTS, DEADLINE, Scene, await_rows, count_from, counts_of, newest_counts, recount, running,
};
use crate::recovery::{Worker, orders};

const EXACTLY_ONCE: &[(&str, &str)] = &[
    ("MILLSTREAM_PROCESSING_GUARANTEE", "exactly_once"),
    // Shorter than the default, so that a test need not wait for it.
    ("MILLSTREAM_TRANSACTION_TIMEOUT_MS", "4000"),
];

fn settings(scene: &Scene) -> Settings {
    let mut settings = scene.settings();
    settings.processing_guarantee = ProcessingGuarantee::ExactlyOnce;
    settings
}

/// Records over forty values, for a count by value.
fn sales(first: usize, count: usize) -> impl Iterator<Item = (String, String)> {
    (first..first + count).map(|number| (format!("order-{number}"), format!("sku-{}", number % 40)))
}

fn values_of(records: &[ReadRecord]) -> impl Iterator<Item = String> {
    records.iter().filter_map(ReadRecord::value_text)
}

/// A count without caching answers each record: 1, 2, 3 and so on for each key, in this order, if each is counted once.
pub(crate) fn check_each_result_once(scene: &Scene, expected: &BTreeMap<String, u64>) -> Result<()> {
    check_each_once(scene.kafka, &scene.output, &scene.internal("counts-changelog"), expected)
}

fn check_each_once(
    kafka: &ClusterClient,
    output: &str,
    changelog: &str,
    expected: &BTreeMap<String, u64>,
) -> Result<()> {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for record in kafka.read_all(output)? {
        let key = record.key_text().context("an output without a key")?;
        let count = count_from(record.value.as_deref().context("an output without a count")?)?;
        let before = last.insert(key.clone(), count).unwrap_or(0);
        ensure!(count == before + 1, "{key}: {count} came after {before}");
    }
    ensure!(last == *expected, "the outputs end with {last:?}, not with {expected:?}");
    let changelog = newest_counts(&kafka.read_all(changelog)?)?;
    ensure!(changelog == *expected, "the changelog ends with {changelog:?}, not with {expected:?}");
    Ok(())
}

/// Writes sales without a pause while `during` runs. Returns how often each value was written.
fn under_sales<T>(scene: &Scene, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<()> {
            let mut first = 0;
            while !enough.load(Ordering::Relaxed) {
                scene.write(sales(first, 300))?;
                first += 300;
                sleep(Duration::from_millis(50));
            }
            Ok(())
        });
        let outcome = during();
        enough.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        outcome
    })
}

#[test]
fn kills_lose_nothing_double_nothing_and_cost_only_the_tail() -> Result<()> {
    let scene = Scene::new("exactly-killed", 2)?;
    let state_dir = scene.state_dir.path();
    let start = || Worker::start_as(&scene, state_dir, 1, "value", EXACTLY_ONCE);
    let mut worker = start()?;
    under_sales(&scene, || {
        for after in [2_900, 310, 1_730, 90, 2_470] {
            worker.await_running()?;
            sleep(Duration::from_millis(after));
            worker.program.kill()?;
            worker = start()?;
        }
        worker.await_running()
    })?;
    let expected = recount(values_of(&scene.kafka.read_all(&scene.input)?));
    await_rows(&expected, || worker.counts())?;
    check_each_result_once(&scene, &expected)?;
    let restored = worker.restored();
    let from_the_start = restored.iter().filter(|restored| restored.from == 0 && restored.to > 0);
    assert_eq!(from_the_start.count(), 0, "the store was kept, only the tail is restored: {restored:?}");
    worker.stop()?;

    let mut again = start()?.running()?;
    // The mark that ended the last transaction is the only thing after the checkpoint.
    let restored: i64 = again.restored().iter().map(|restored| restored.records).sum();
    assert_eq!(restored, 0, "after a clean stop nothing is left to restore: {:?}", again.restored());
    assert_eq!(again.counts()?, expected);
    again.stop()
}

#[test]
fn a_process_that_slept_through_its_transaction_doubles_nothing() -> Result<()> {
    let scene = Scene::new("exactly-paused", 2)?;
    let mut worker = Worker::start_as(&scene, scene.state_dir.path(), 1, "value", EXACTLY_ONCE)?.running()?;
    under_sales(&scene, || {
        for _ in 0..2 {
            sleep(Duration::from_millis(1_500));
            worker.program.pause()?;
            // Beyond the transaction timeout, and beyond the session timeout of six seconds.
            sleep(Duration::from_secs(8));
            worker.program.resume()?;
        }
        Ok(())
    })?;
    let expected = recount(values_of(&scene.kafka.read_all(&scene.input)?));
    await_rows(&expected, || worker.counts())?;
    check_each_result_once(&scene, &expected)?;
    worker.stop()
}

#[test]
fn rebalances_under_load_double_nothing() -> Result<()> {
    let scene = Scene::new("exactly-shared", 4)?;
    let mut first = Worker::start_as(&scene, scene.state_dir.path(), 1, "value", EXACTLY_ONCE)?.running()?;
    let mut second = under_sales(&scene, || {
        for _ in 0..2 {
            // A state directory each, as on two machines.
            let other_machine = tempfile::tempdir()?;
            let mut passing =
                Worker::start_as(&scene, other_machine.path(), 2, "value", EXACTLY_ONCE)?.running()?;
            sleep(Duration::from_millis(1_300));
            passing.stop()?;
        }
        // Two in one state directory: each has a process id of its own.
        Worker::start_as(&scene, scene.state_dir.path(), 1, "value", EXACTLY_ONCE)?.running()
    })?;
    let expected = recount(values_of(&scene.kafka.read_all(&scene.input)?));
    await_rows(&expected, || {
        let mut counts = first.counts()?;
        counts.extend(second.counts()?);
        Ok(counts)
    })?;
    check_each_result_once(&scene, &expected)?;
    first.stop()?;
    second.stop()
}

#[test]
fn a_broker_away_for_longer_than_a_transaction_doubles_nothing() -> Result<()> {
    let outage = || after_an_outage(Duration::from_secs(5), "5000");
    await_an_outage(outage, "no transaction met the outage", |thread| {
        thread.transactions_aborted + thread.restarts > 0
    })
}

#[test]
fn an_aborted_transaction_is_processed_again_by_the_same_thread() -> Result<()> {
    // Records are given up long before the broker gives up their transaction.
    let outage = || after_an_outage(Duration::from_secs(60), "1500");
    await_an_outage(outage, "no transaction was aborted without a new beginning", |thread| {
        thread.transactions_aborted > 0 && thread.restarts == 0
    })
}

/// What an outage meets is chance: a transaction all of whose records are acknowledged survives it. So it has some tries.
fn await_an_outage(
    outage: impl Fn() -> Result<ThreadSnapshot>,
    or_else: &str,
    is_wanted: impl Fn(&ThreadSnapshot) -> bool,
) -> Result<()> {
    let mut last = None;
    for _try in 0..4 {
        let thread = outage()?;
        if is_wanted(&thread) {
            return Ok(());
        }
        last = Some(thread);
    }
    anyhow::bail!("{or_else}: {last:?}")
}

/// Kills the broker in the middle of a transaction, and starts it again six seconds later. Checks that each record is counted once, and
/// returns what the thread tells of it.
fn after_an_outage(transaction_timeout: Duration, message_timeout_millis: &str) -> Result<ThreadSnapshot> {
    let mut kafka = RealKafka::start()?;
    for topic in ["sales", "sold"] {
        kafka.create_topic(topic, 2, &[])?;
    }
    let state_dir = tempfile::tempdir()?;
    let mut settings = Settings::new(kafka.bootstrap_servers());
    settings.processing_guarantee = ProcessingGuarantee::ExactlyOnce;
    settings.transaction_timeout = transaction_timeout;
    settings.kafka_properties.insert("producer.message.timeout.ms".into(), message_timeout_millis.into());
    settings.commit_interval = Some(Duration::from_secs(1));
    // A consumer that is closed while the brokers are away cannot leave its group; its successor waits this long.
    settings.session_timeout = Duration::from_secs(6);
    settings.state_dir = state_dir.path().into();
    let builder = StreamsBuilder::new();
    let counts = builder.stream::<String, String>("sales").group_by_key().count(COUNTS.without_caching());
    counts.to_stream().to("sold");
    let app = running(Streams::builder("shop", builder.build()?).settings(settings))?;

    let client = ClusterClient::new(kafka.bootstrap_servers())?;
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // What the outage makes of a write is of no interest: the topic says what was written.
        scope.spawn(|| {
            for first in (0..).step_by(1_000).take_while(|_| !enough.load(Ordering::Relaxed)) {
                let records = orders(first, 1_000).map(|(key, value)| NewRecord::new(key, value));
                if let Err(error) = client.produce("sales", records) {
                    tracing::info!("cannot write: {error:#}");
                }
            }
        });
        sleep(Duration::from_millis(1_500));
        let mut outage = || -> Result<()> {
            kafka.kill()?;
            sleep(Duration::from_secs(6));
            kafka.start_again()
        };
        let outcome = outage();
        enough.store(true, Ordering::Relaxed);
        outcome
    })?;
    let expected = recount(client.read_all("sales")?.iter().filter_map(ReadRecord::key_text));
    await_rows(&expected, || counts_of(&app))?;
    check_each_once(&client, "sold", "shop-counts-changelog", &expected)?;
    let thread = ThreadSnapshot::clone(&app.threads()[0]);
    app.close()?;
    Ok(thread)
}

#[test]
fn a_fenced_producer_is_replaced() -> Result<()> {
    let scene = Scene::new("exactly-fenced", 2)?;
    let app = running(scene.app(uncached_count_by_value(&scene)?, settings(&scene)))?;
    scene.write(sales(0, 2_000))?;
    let process_file = scene.state_dir.path().join(&scene.application_id).join("process-0");
    let process_id = std::fs::read_to_string(process_file)?;
    let transactional_id = format!("{}-{}-1", scene.application_id, process_id.trim());
    let thief: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", scene.kafka.bootstrap_servers())
        .set("transactional.id", &transactional_id)
        .create()?;
    thief.init_transactions(DEADLINE)?;
    scene.write(sales(2_000, 2_000))?;

    let expected = recount(sales(0, 4_000).map(|(_, value)| value));
    await_rows(&expected, || counts_of(&app))?;
    check_each_result_once(&scene, &expected)?;
    assert!(app.threads()[0].restarts > 0, "the thread began anew: {:?}", app.threads()[0]);
    app.close()?;
    Ok(())
}

#[test]
fn a_failed_thread_is_replaced_and_nothing_is_doubled() -> Result<()> {
    let scene = Scene::new("exactly-replaced", 2)?;
    let builder = StreamsBuilder::new();
    let fails_once = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&fails_once);
    builder
        .stream::<String, String>(scene.input.as_str())
        .try_map_values(move |key, value| {
            let is_due = key == "order-777" && fails.swap(false, Ordering::Relaxed);
            if is_due { Err(std::io::Error::other("the first try fails")) } else { Ok(value) }
        })
        .select_key(|_, value| value.clone())
        .group_by_key()
        .named("by-value")
        .count(COUNTS.without_caching())
        .to_stream()
        .to(scene.output.as_str());
    let app = scene
        .app(builder.build()?, settings(&scene))
        .on_thread_failure(|_error| ThreadFailureResponse::ReplaceThread);
    let app = running(app)?;
    scene.write(sales(0, 2_000))?;
    let expected = recount(sales(0, 2_000).map(|(_, value)| value));
    await_rows(&expected, || counts_of(&app))?;
    check_each_result_once(&scene, &expected)?;
    assert_eq!(app.threads()[0].restarts, 1);
    app.close()?;
    Ok(())
}

#[test]
fn an_output_the_broker_refuses_ends_the_application_with_its_remedy() -> Result<()> {
    let scene = Scene::new("exactly-refused", 1)?;
    let refusing = format!("{}-refusing", scene.output);
    scene.kafka.create_topic(&refusing, 1, &[("max.message.bytes", "1000")])?;
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(scene.input.as_str()).to(refusing.as_str());
    let mut settings = settings(&scene);
    settings.handlers = Handlers::all(Reaction::Skip);
    let app = running(scene.app(builder.build()?, settings))?;
    let large = "x".repeat(5_000);
    scene.kafka.produce(&scene.input, [NewRecord::new("large", large)])?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().context("close() returned no error")?.to_string();
    for part in [&*refusing, "no handler can leave it out", "max.message.bytes"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(scene.kafka.committed_offsets(&scene.application_id)?.len(), 0, "nothing was committed");
    Ok(())
}

#[test]
fn filtered_records_are_committed_without_a_transaction_left_open() -> Result<()> {
    let scene = Scene::new("exactly-filtered", 1)?;
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(scene.input.as_str()).filter(|_, _| false).to(scene.output.as_str());
    let settings = Settings { transaction_timeout: Duration::from_secs(4), ..settings(&scene) };
    let app = running(scene.app(builder.build()?, settings))?;
    scene.write(orders(0, 100))?;
    scene.await_committed(&[&scene.input])?;
    // An idle thread commits nothing: beyond the transaction timeout, all is as it was.
    sleep(Duration::from_secs(1)); // a thread tells of itself four times a second
    let committed = app.threads()[0].transactions_committed;
    sleep(Duration::from_secs(5));
    let idle = &app.threads()[0];
    assert_eq!((idle.transactions_aborted, idle.restarts), (0, 0));
    assert!(
        idle.transactions_committed <= committed + 1,
        "{} transactions of an idle thread",
        idle.transactions_committed
    );
    scene.write(orders(100, 100))?;
    scene.await_committed(&[&scene.input])?;
    app.close()?;
    Ok(())
}

fn uncached_count_by_value(scene: &Scene) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(scene.input.as_str())
        .select_key(|_, value| value.clone())
        .group_by_key()
        .named("by-value")
        .count(COUNTS.without_caching())
        .to_stream()
        .to(scene.output.as_str());
    Ok(builder.build()?)
}
