//! Kafka Streams and millstream work on each other's topics: changelogs, repartition topics, table changes, partitions, names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use millstream::prelude::*;
use millstream::{Change, ChangeSerde, Serde, partition_for_key};
use millstream_integration_tests::interop::{
    JavaCountApp, RunningJavaApp, TableChange, java_deserialize_changes, java_partitions,
    java_serialize_changes, java_topology,
};
use millstream_integration_tests::kafka::NewRecord;

use crate::in_process::{COUNTS, Scene, await_rows, counts_of, newest_counts, recount};

fn words(count: usize) -> Vec<(String, String)> {
    (0..count).map(|number| (format!("key-{}", number % 11), format!("word-{}", number % 7))).collect()
}

fn start_java(scene: &Scene, app: JavaCountApp) -> Result<RunningJavaApp> {
    let servers = scene.kafka.bootstrap_servers();
    let mut java = RunningJavaApp::start(app, &scene.application_id, servers, &scene.input, &scene.output)?;
    java.await_running()?;
    Ok(java)
}

fn java_counts(
    java: &mut RunningJavaApp,
    keys: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, u64>> {
    keys.map(|key| {
        let count = java.count_of(&key)?.with_context(|| format!("Kafka Streams has no count of {key}"))?;
        Ok((key, u64::try_from(count)?))
    })
    .collect()
}

#[test]
fn kafka_streams_goes_on_where_we_stopped() -> Result<()> {
    let scene = Scene::counted("ours-then-java", 3, words(100))?;
    let before = scene.kafka.read_all(&scene.output)?;

    let mut java = start_java(&scene, JavaCountApp::ByKey)?;
    let expected = recount(words(100).into_iter().map(|(key, _)| key));
    assert_eq!(java_counts(&mut java, expected.keys().cloned())?, expected, "restored from our changelog");
    assert_eq!(scene.kafka.read_all(&scene.output)?, before, "it began at the offsets we committed");

    scene.write(words(100))?;
    scene.await_committed(&[&scene.input])?;
    let doubled: BTreeMap<String, u64> = expected.into_iter().map(|(key, count)| (key, 2 * count)).collect();
    assert_eq!(newest_counts(&scene.kafka.read_all(&scene.output)?)?, doubled);
    java.close()
}

#[test]
fn we_go_on_where_kafka_streams_stopped() -> Result<()> {
    let scene = Scene::new("java-then-ours", 3)?;
    scene.write(words(100))?;
    let java = start_java(&scene, JavaCountApp::ByKey)?;
    scene.await_committed(&[&scene.input])?;
    java.close()?;
    let before = scene.kafka.read_all(&scene.output)?;

    let app = scene.run(scene.count_by_key()?)?;
    let expected = recount(words(100).into_iter().map(|(key, _)| key));
    assert_eq!(counts_of(&app)?, expected, "restored from its changelog");
    assert_eq!(scene.kafka.read_all(&scene.output)?, before, "we began at the offsets it committed");

    scene.write(words(100))?;
    scene.await_committed(&[&scene.input])?;
    let doubled: BTreeMap<String, u64> = expected.into_iter().map(|(key, count)| (key, 2 * count)).collect();
    await_rows(&doubled, || counts_of(&app))?;
    app.close()?;
    Ok(())
}

/// The two ends of a repartition topic need not be of one kind: records written by the first sub-topology of one framework
/// are counted by the second of the other. They are copied, because the first has committed the topic as its own.
#[test]
fn kafka_streams_counts_our_repartition_topic() -> Result<()> {
    let scene = Scene::new("ours-repartitioned", 3)?;
    let repartition = scene.internal("by-value-repartition");
    let written = words(100);
    scene.write(written.clone())?;
    let app = scene.run(scene.count_by_value()?)?;
    scene.await_committed(&[&scene.input])?;
    assert_eq!(scene.kafka.end_offsets(&repartition)?.values().sum::<i64>(), 100);

    let theirs = Scene::new("ours-repartitioned-read", 3)?;
    // In time: what is committed is deleted there after a while.
    copy_topic(&scene, &repartition, &theirs, &theirs.internal("by-value-repartition"))?;
    app.close()?;
    let mut java = start_java(&theirs, JavaCountApp::ByValue)?;
    theirs.await_committed(&[&theirs.internal("by-value-repartition")])?;
    let expected = recount(written.into_iter().map(|(_, word)| word));
    assert_eq!(java_counts(&mut java, expected.keys().cloned())?, expected);
    java.close()
}

#[test]
fn we_count_the_repartition_topic_of_kafka_streams() -> Result<()> {
    let scene = Scene::new("java-repartitioned", 3)?;
    scene.write(words(100))?;
    let java = start_java(&scene, JavaCountApp::ByValue)?;
    scene.await_committed(&[&scene.input])?;
    java.close()?;

    let ours = Scene::new("java-repartitioned-read", 3)?;
    let copied_to = ours.internal("by-value-repartition");
    copy_topic(&scene, &scene.internal("by-value-repartition"), &ours, &copied_to)?;
    let app = ours.run(ours.count_by_value()?)?;
    ours.await_committed(&[&copied_to])?;
    await_rows(&recount(words(100).into_iter().map(|(_, word)| word)), || counts_of(&app))?;
    app.close()?;
    Ok(())
}

/// Copies records byte for byte, partition for partition.
fn copy_topic(from: &Scene, topic: &str, to: &Scene, new_topic: &str) -> Result<()> {
    let records = from.kafka.read_all(topic)?.into_iter().map(|record| NewRecord {
        key: record.key,
        value: record.value,
        partition: Some(record.partition),
        timestamp: record.timestamp,
        headers: record.headers,
    });
    to.kafka.create_topic(new_topic, from.kafka.topic_partitions(topic)?, &[])?;
    to.kafka.produce(new_topic, records)
}

#[test]
fn a_key_goes_to_the_partition_that_java_chooses() -> Result<()> {
    let texts = (0..3_000).map(|number| format!("sku-{number}").into_bytes());
    let numbers = (0..3_000_i64).map(|number| (number * 7_919 - 5_000_000).to_be_bytes().to_vec());
    let short = (0..=255_u8).flat_map(|byte| [vec![byte], vec![byte, 255], vec![byte, 0, 128]]);
    let keys: Vec<Vec<u8>> = texts.chain(numbers).chain(short).chain([Vec::new()]).collect();
    for partitions in [1, 3, 12, 1_000] {
        let ours: Vec<i32> = keys.iter().map(|key| partition_for_key(key, partitions)).collect();
        assert_eq!(java_partitions(&keys, partitions.try_into()?)?, ours, "{partitions} partitions");
    }
    Ok(())
}

#[test]
fn table_changes_have_the_bytes_of_kafka_streams() -> Result<()> {
    let long = "a warehouse with a long name ".repeat(300);
    let sides = [None, Some(""), Some("new"), Some("äpfel"), Some(&*long)];
    let pairs = sides.iter().flat_map(|old| sides.iter().map(move |new| (*old, *new)));
    let changes: Vec<TableChange> = pairs
        .filter(|pair| *pair != (None, None))
        .map(|(old, new)| TableChange {
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            latest: true,
        })
        .collect();
    let serde = ChangeSerde::new(String::serde());
    let as_ours = |change: &TableChange| Change { old: change.old.clone(), new: change.new.clone() };
    let encode = |change: &TableChange| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        serde.encode(&as_ours(change), &mut bytes)?;
        Ok(bytes)
    };
    let ours = changes.iter().map(encode).collect::<Result<Vec<_>>>()?;
    assert_eq!(java_serialize_changes(&changes)?, ours);
    assert_eq!(java_deserialize_changes(&ours)?, changes, "Kafka Streams reads what we write");
    for (change, bytes) in changes.iter().zip(java_serialize_changes(&changes)?) {
        assert_eq!(serde.decode(&bytes)?, as_ours(change), "we read what Kafka Streams writes");
    }
    Ok(())
}

/// Declares what the program of the same name in `Topologies.java` declares.
type Program = fn(&StreamsBuilder);

#[test]
fn topologies_are_described_in_the_words_of_kafka_streams() -> Result<()> {
    const BY_WAREHOUSE: StoreName<String, i64> = StoreName::new("skus-by-warehouse");
    const BY_ID: StoreName<String, String> = StoreName::new("orders-by-id");
    let programs: [(&str, Program); 7] = [
        ("wordcount", |builder| {
            let words = builder
                .stream::<String, String>("lines")
                .flat_map_values(|_, line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            words.group_by(|_, word| word.clone()).count(COUNTS).to_stream().to("word-counts");
        }),
        ("filter-count", |builder| {
            let orders = builder.stream::<String, String>("orders");
            orders
                .filter(|_, order| !order.is_empty())
                .group_by_key()
                .count(())
                .to_stream()
                .to("order-counts");
        }),
        ("stream-table-join", |builder| {
            let stock = builder.table::<String, String>("stock");
            let by_sku = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone());
            by_sku.left_join(&stock, |sku, on_hand| format!("{sku}={on_hand:?}")).to("availability");
        }),
        ("select-key-count", |builder| {
            let by_sku = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone());
            by_sku.group_by_key().named("by-sku").count(COUNTS).to_stream().to("orders-by-sku");
        }),
        ("table-aggregate", |builder| {
            let skus = builder.table::<String, String>("warehouse-of-sku");
            let by_warehouse = skus.group_by(|sku, warehouse| (warehouse, sku.clone()));
            let count = by_warehouse.aggregate(BY_WAREHOUSE, || 0, |_, _, n| n + 1, |_, _, n| n - 1);
            count.to_stream().to("skus-by-warehouse");
        }),
        ("branch-merge", |builder| {
            let split = builder.stream::<String, String>("orders").split().named("size-");
            let large = split.branch(|_, order| order.len() > 10).named("large");
            let small = split.default_branch().named("small");
            large.map_values(|_, order| order + "!").merge(&small).to("all-orders");
        }),
        ("to-table", |builder| {
            let orders = builder.stream::<String, String>("orders");
            let table = orders.map_values(|_, order| order.trim().to_owned()).to_table().materialized(BY_ID);
            table.filter(|_, order| !order.is_empty()).to_stream().to("open-orders");
        }),
    ];
    for (name, declare) in programs {
        let builder = StreamsBuilder::new();
        declare(&builder);
        assert_eq!(builder.build()?.describe().trim_end(), java_topology(name)?.trim_end(), "{name}");
    }
    Ok(())
}
