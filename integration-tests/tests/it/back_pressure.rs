//! A task with two inputs takes records in the order of their timestamps, however far one of them is ahead, and waits for none
//! that will not come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use millstream::prelude::*;
use millstream_integration_tests::kafka::{NewRecord, unique_name};

use crate::in_process::{DEADLINE, Scene, running};

const PARTITIONS: usize = 2;
const RECORDS: i64 = 20_000;

/// A join which gives for each order its time and the time of the price it found, and notes the orders of each key as it meets
/// them.
fn noting_join(
    scene: &Scene,
    prices: &str,
    seen: &Arc<Mutex<BTreeMap<String, Vec<i64>>>>,
) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let prices = builder.table::<String, i64>(prices);
    let orders = builder.stream::<String, i64>(scene.input.as_str());
    let seen = Arc::clone(seen);
    orders
        .left_join(&prices, |ordered_at, priced_at| (ordered_at, priced_at.copied().unwrap_or(-1)))
        .peek(move |key, (ordered_at, _)| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(key.clone()).or_default().push(*ordered_at);
        })
        .map_values(|_, (ordered_at, priced_at)| format!("{ordered_at} {priced_at}"))
        .to(scene.output.as_str());
    Ok(builder.build()?)
}

/// A price or an order of this time; both have it as their value. (The client takes a timestamp of 0 for "now".)
fn at(time: i64) -> NewRecord {
    NewRecord::new(format!("sku-{}", time % 8), time.to_be_bytes()).at(1_000 + time)
}

/// What the join must give for the order of each time, when prices come at even tens: the newest price of the key before it.
fn price_before(time: i64) -> i64 {
    (0..=time).rev().take(80).find(|price| price % 10 == 0 && price % 8 == time % 8).unwrap_or(-1)
}

#[test]
fn two_inputs_far_apart_are_joined_in_the_order_of_time() -> Result<()> {
    let scene = Scene::new("back-pressure", PARTITIONS)?;
    let prices = unique_name("prices");
    scene.kafka.create_topic(&prices, PARTITIONS, &[])?;
    // Prices of all times are there first; the client fetches them at once, orders come in blocks.
    scene.kafka.produce(&prices, (0..RECORDS).filter(|time| time % 10 == 0).map(at))?;
    scene.kafka.produce(&scene.input, (0..RECORDS).filter(|time| time % 10 != 0).map(at))?;
    let mut settings = scene.settings();
    settings.buffered_records_per_partition = 100;
    settings.input_buffer_max_bytes = 100_000;
    let seen = Arc::default();
    let app = running(scene.app(noting_join(&scene, &prices, &seen)?, settings))?;
    scene.await_committed(&[&scene.input, &prices])?;
    app.close()?;

    let mut joined = BTreeMap::new();
    for record in scene.kafka.read_all(&scene.output)? {
        let text = record.value_text().context("an output without a value")?;
        let (ordered_at, priced_at) = text.split_once(' ').context("not an output of the join")?;
        let before = joined.insert(ordered_at.parse::<i64>()?, priced_at.parse::<i64>()?);
        assert_eq!(before, None, "the order of time {ordered_at} was joined twice");
    }
    for time in (0..RECORDS).filter(|time| time % 10 != 0) {
        assert_eq!(joined.remove(&time), Some(price_before(time)), "the price found by the order of {time}");
    }
    assert!(joined.is_empty(), "orders that nobody made: {joined:?}");
    for (key, times) in &*seen.lock().unwrap_or_else(PoisonError::into_inner) {
        assert!(times.is_sorted(), "orders of {key} were not taken in the order of time");
    }
    Ok(())
}

#[test]
fn what_is_known_to_be_an_end_is_not_waited_for() -> Result<()> {
    // An end is told by an empty answer, and a broker gives that only after this long.
    const WAIT: Duration = Duration::from_secs(50);
    let scene = Scene::new("known-end", 1)?;
    let prices = unique_name("prices");
    scene.kafka.create_topic(&prices, 1, &[])?;
    scene.kafka.produce(&prices, [at(0)])?;
    scene.kafka.produce(&scene.input, [at(8)])?;
    let mut settings = scene.settings();
    settings.kafka_properties.insert("consumer.fetch.wait.max.ms".into(), WAIT.as_millis().to_string());
    let app = running(scene.app(noting_join(&scene, &prices, &Arc::default())?, settings))?;
    let outputs = millstream_integration_tests::wait::await_until(WAIT / 2, "the joined order", || {
        scene.kafka.read_all(&scene.output).ok().filter(|records| records.len() == 1)
    })?;
    assert_eq!(outputs[0].value_text().as_deref(), Some("8 0"));
    app.close()?;
    Ok(())
}

#[test]
fn an_empty_input_is_waited_for_as_long_as_the_settings_say() -> Result<()> {
    let scene = Scene::new("patient", 1)?;
    let prices = unique_name("prices");
    scene.kafka.create_topic(&prices, 1, &[])?;
    let mut settings = scene.settings();
    settings.max_task_idle = Some(DEADLINE);
    let app = running(scene.app(noting_join(&scene, &prices, &Arc::default())?, settings))?;
    scene.kafka.produce(&scene.input, [at(16)])?;
    // Time enough to join it with nothing, if nobody waited.
    std::thread::sleep(Duration::from_secs(2));
    scene.kafka.produce(&prices, [at(8), at(24)])?;
    let outputs = millstream_integration_tests::wait::await_until(DEADLINE, "the joined order", || {
        scene.kafka.read_all(&scene.output).ok().filter(|records| !records.is_empty())
    })?;
    assert_eq!(outputs[0].value_text().as_deref(), Some("16 8"));
    app.close()?;
    Ok(())
}

#[test]
fn the_end_of_a_transaction_is_no_record_to_wait_for() -> Result<()> {
    let scene = Scene::new("transactional", 1)?;
    let prices = unique_name("prices");
    scene.kafka.create_topic(&prices, 1, &[])?;
    // Both partitions end with a control record, behind which nothing comes.
    scene.kafka.produce_in_transaction(&prices, [at(0), at(8)])?;
    scene.kafka.produce_in_transaction(&scene.input, [at(16), at(24)])?;
    scene.kafka.produce_in_transaction(&prices, [at(32)])?;
    let mut settings = scene.settings();
    settings.max_task_idle = Some(Duration::ZERO);
    let app = running(scene.app(noting_join(&scene, &prices, &Arc::default())?, settings))?;
    let outputs = millstream_integration_tests::wait::await_until(DEADLINE, "the joined orders", || {
        scene.kafka.read_all(&scene.output).ok().filter(|records| records.len() == 2)
    })?;
    let texts: Vec<_> = outputs.iter().filter_map(|record| record.value_text()).collect();
    assert_eq!(texts, ["16 8", "24 8"]);

    // It goes on when more comes.
    scene.kafka.produce_in_transaction(&scene.input, [at(40)])?;
    let outputs = millstream_integration_tests::wait::await_until(DEADLINE, "the third order", || {
        scene.kafka.read_all(&scene.output).ok().filter(|records| records.len() == 3)
    })?;
    assert_eq!(outputs.last().and_then(|record| record.value_text()).as_deref(), Some("40 32"));
    app.close()?;
    Ok(())
}
