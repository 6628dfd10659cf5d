//! Streams of all topics whose names match: also of those that are created while the application runs.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use millstream::config::GroupProtocol;
use millstream::prelude::*;
use millstream::topology::TopicPattern;
use millstream::{ClientState, ProcessingGuarantee, Streams};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord};
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

use crate::exactly_once::check_each_result_once;
use crate::in_process::{COUNTS, DEADLINE, Scene, counts_of, recount, running};

const PARTITIONS: usize = 4;
const KEYS: usize = 40;

/// Counts the records of each key, in all topics whose names begin with that of the scene's input.
fn count_by_key(scene: &Scene) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>(TopicPattern::new(&format!("{}(-[a-z]+)?", scene.input))?);
    let counts = orders.group_by_key().count(COUNTS.without_caching());
    counts.to_stream().to(scene.output.as_str());
    Ok(builder.build()?)
}

fn settings(scene: &Scene, state_dir: &TempDir, metadata_max_age: Duration) -> Settings {
    let state_dir = state_dir.path().into();
    let processing_guarantee = ProcessingGuarantee::ExactlyOnce;
    Settings { state_dir, metadata_max_age, processing_guarantee, ..scene.settings() }
}

/// Each key once.
fn orders(topic: &str) -> impl Iterator<Item = NewRecord> {
    (0..KEYS).map(move |key| NewRecord::new(format!("sku-{key}"), topic.to_owned()))
}

fn await_counts(apps: &[&Streams], expected: &BTreeMap<String, u64>) -> Result<()> {
    let mut counted = BTreeMap::new();
    let equal = await_until(DEADLINE, "every record to be counted", || {
        counted = apps.iter().filter_map(|app| counts_of(app).ok()).flatten().collect();
        (counted == *expected).then_some(())
    });
    equal.with_context(|| format!("{counted:?}, not {expected:?}"))
}

/// Two instances look for topics at different times, so that one knows of the new topic before the other.
fn a_topic_that_comes_later(protocol: GroupProtocol) -> Result<()> {
    let scene = Scene::new("patterns", PARTITIONS)?;
    scene.kafka.produce(&scene.input, orders("first"))?;
    let directories = [tempfile::tempdir()?, tempfile::tempdir()?];
    let app = |number: usize, metadata_max_age| {
        let settings = settings(&scene, &directories[number], metadata_max_age);
        running(scene.app(count_by_key(&scene)?, Settings { group_protocol: protocol, ..settings }))
    };
    let (early, late) = (app(0, Duration::from_secs(1))?, app(1, Duration::from_secs(4))?);
    let recount = |topics: &[&str]| -> Result<BTreeMap<String, u64>> {
        let mut keys = Vec::new();
        for topic in topics {
            keys.extend(scene.kafka.read_all(topic)?.iter().filter_map(ReadRecord::key_text));
        }
        Ok(recount(keys))
    };
    await_counts(&[&early, &late], &recount(&[&scene.input])?)?;

    let added = format!("{}-later", scene.input);
    scene.kafka.create_topic(&added, PARTITIONS, &[])?;
    for topic in [&added, &scene.input, &added] {
        scene.kafka.produce(topic, orders("more"))?;
    }
    let expected = recount(&[&scene.input, &added])?;
    await_counts(&[&early, &late], &expected)?;
    for app in [&early, &late] {
        app.await_state(ClientState::Running, DEADLINE)?;
    }
    check_each_result_once(&scene, &expected)?;
    early.close()?;
    late.close()?;
    Ok(())
}

#[test]
fn a_topic_that_is_created_later_is_counted_with_the_others() -> Result<()> {
    a_topic_that_comes_later(GroupProtocol::Classic)
}

#[test]
fn a_topic_that_is_created_later_is_counted_with_the_others_under_the_consumer_protocol() -> Result<()> {
    a_topic_that_comes_later(GroupProtocol::Consumer)
}

/// It leaves the group for good: a static member that comes back would be given what it had.
#[test]
fn a_static_member_reads_a_topic_that_is_created_later() -> Result<()> {
    let scene = Scene::new("patterns", PARTITIONS)?;
    scene.kafka.produce(&scene.input, orders("first"))?;
    let settings = settings(&scene, &scene.state_dir, Duration::from_secs(1));
    let settings = Settings { group_instance_id: Some("shop-0".to_owned()), ..settings };
    let app = running(scene.app(count_by_key(&scene)?, settings))?;
    let added = format!("{}-later", scene.input);
    scene.kafka.create_topic(&added, PARTITIONS, &[])?;
    scene.kafka.produce(&added, orders("more"))?;
    await_counts(&[&app], &(0..KEYS).map(|key| (format!("sku-{key}"), 2)).collect())?;
    app.close()?;
    Ok(())
}

#[test]
fn a_topic_that_is_deleted_does_not_stop_the_others() -> Result<()> {
    let scene = Scene::new("patterns", PARTITIONS)?;
    let goes = format!("{}-goes", scene.input);
    scene.kafka.create_topic(&goes, PARTITIONS, &[])?;
    for topic in [&scene.input, &goes] {
        scene.kafka.produce(topic, orders("first"))?;
    }
    let app = running(
        scene.app(count_by_key(&scene)?, settings(&scene, &scene.state_dir, Duration::from_secs(1))),
    )?;
    let counts = |times| (0..KEYS).map(|key| (format!("sku-{key}"), times)).collect();
    await_counts(&[&app], &counts(2))?;
    scene.kafka.delete_topics(&[&goes])?;
    scene.kafka.produce(&scene.input, orders("second"))?;
    await_counts(&[&app], &counts(3))?;
    std::thread::sleep(Duration::from_secs(15));
    scene.kafka.produce(&scene.input, orders("third"))?;
    await_counts(&[&app], &counts(4))?;
    app.close()?;
    Ok(())
}

#[test]
fn an_application_without_a_matching_topic_does_not_start() -> Result<()> {
    let scene = Scene::new("patterns", PARTITIONS)?;
    let builder = StreamsBuilder::new();
    builder
        .stream::<String, String>(TopicPattern::new("no-topic-is-called-so-[0-9]+")?)
        .to(scene.output.as_str());
    let error = scene.app(builder.build()?, scene.settings()).start().err().context("it started")?;
    let expected =
        "no topic matches pattern no-topic-is-called-so-[0-9]+ of source KSTREAM-SOURCE-0000000000";
    assert!(error.to_string().contains(expected), "{error}");
    Ok(())
}

#[test]
fn a_topic_that_cannot_be_counted_with_the_others_ends_the_application() -> Result<()> {
    let scene = Scene::new("patterns", PARTITIONS)?;
    scene.kafka.produce(&scene.input, orders("first"))?;
    let settings = settings(&scene, &scene.state_dir, Duration::from_millis(500));
    let app = running(scene.app(count_by_key(&scene)?, settings))?;
    scene.kafka.create_topic(&format!("{}-larger", scene.input), PARTITIONS + 1, &[])?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().context("it closed well")?.to_string();
    let larger = format!("{}-larger has {}", scene.input, PARTITIONS + 1);
    assert!(
        error.contains("reads topics of different partition counts") && error.contains(&larger),
        "{error}"
    );
    Ok(())
}
