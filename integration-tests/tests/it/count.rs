//! A count through a repartition topic, from the input to outputs, store, changelog and repartition topic.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use millstream_integration_tests::interop::java_partitions;
use millstream_integration_tests::kafka::ReadRecord;

use crate::in_process::{COUNTS, Scene, await_rows, counts_of, newest_counts, recount, running};

const PARTITIONS: u32 = 4;

/// Orders whose values, the skus, are counted.
fn orders(count: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("order-{number}"), format!("sku-{}", number * number % 37))).collect()
}

#[test]
fn every_topic_and_the_store_tell_the_same_counts() -> Result<()> {
    let scene = Scene::new("count", PARTITIONS as usize)?;
    let mut settings = scene.settings();
    settings.num_stream_threads = 2;
    let app = running(scene.app(scene.count_by_value()?, settings))?;
    let written = orders(3_000);
    scene.write(written.iter().cloned())?;
    let repartition = scene.internal("by-value-repartition");
    await_all(&scene, &repartition, 3_000)?;
    // In time: what is committed is deleted there after a while.
    let repartitioned = scene.kafka.read_all(&repartition)?;

    let recounted = recount(written.into_iter().map(|(_, sku)| sku));
    await_rows(&recounted, || counts_of(&app))?;
    let counts = app.store(COUNTS)?;
    for (sku, count) in &recounted {
        assert_eq!(counts.get(sku)?, Some(*count), "{sku}");
    }
    assert_eq!(counts.get(&"never-ordered".to_owned())?, None);
    assert_eq!(app.store_view(COUNTS.name())?.coverage()?, (PARTITIONS as usize, PARTITIONS as i32));
    let tasks: Vec<usize> = app.threads().iter().map(|thread| thread.tasks.len()).collect();
    assert_eq!(tasks, [4, 4], "both threads have their share of eight tasks");

    let output = scene.kafka.read_all(&scene.output)?;
    assert_eq!(newest_counts(&output)?, recounted, "the last output of each key");
    counts_never_go_back(&output)?;
    assert_eq!(scene.counts_in_changelog()?, recounted, "the changelog");
    app.close()?;

    assert_eq!(recount(repartitioned.iter().filter_map(ReadRecord::key_text)), recounted);
    lies_where_java_would_put_it(&repartitioned)?;
    lies_where_java_would_put_it(&output)?;
    lies_where_java_would_put_it(&scene.kafka.read_all(&scene.internal("counts-changelog"))?)
}

/// Waits until all of the input went through the repartition topic and is committed there.
fn await_all(scene: &Scene, repartition: &str, records: i64) -> Result<()> {
    scene.await_committed(&[&scene.input])?;
    scene.await_committed(&[repartition])?;
    let ends = scene.kafka.end_offsets(repartition)?;
    assert_eq!(ends.values().sum::<i64>(), records, "one record for each order");
    Ok(())
}

fn counts_never_go_back(output: &[ReadRecord]) -> Result<()> {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for record in output {
        let (sku, count) = newest_counts(std::slice::from_ref(record))?.pop_first().context("a tombstone")?;
        let before = last.insert(sku.clone(), count);
        assert!(before.is_none_or(|before| before < count), "{sku}: {before:?} before {count}");
    }
    Ok(())
}

fn lies_where_java_would_put_it(records: &[ReadRecord]) -> Result<()> {
    let mut found: BTreeMap<&[u8], i32> = BTreeMap::new();
    for record in records {
        let key = record.key.as_deref().context("a record without a key")?;
        assert_eq!(*found.entry(key).or_insert(record.partition), record.partition, "{record:?}");
    }
    let keys: Vec<&[u8]> = found.keys().copied().collect();
    assert_eq!(java_partitions(&keys, PARTITIONS)?, found.into_values().collect::<Vec<_>>());
    Ok(())
}
