//! The topics an application makes for itself, and what it says at the start about topics that are not as they must be.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::runtime::AppBuilder;
use millstream::{ErrorKind, Streams};
use millstream_integration_tests::kafka::unique_name;

use crate::in_process::{COUNTS, Scene, running};

/// Names and values of Kafka's topic configuration.
type TopicSettings = &'static [(&'static str, &'static str)];

/// The error of an application that must not start, after the check that it says all of this.
fn refused(app: AppBuilder, kind: ErrorKind, says: &[&str]) -> Result<()> {
    let error = app.start().err().context("the application started")?;
    assert_eq!(error.kind(), kind, "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
    Ok(())
}

#[test]
fn they_are_made_as_their_purpose_needs_them() -> Result<()> {
    let scene = Scene::new("internal", 3)?;
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>(scene.input.as_str());
    let by_value = orders.group_by(|_, value| value.clone()).named("by-value");
    by_value.count(COUNTS.with_changelog_config("segment.ms", "600000"));
    orders.repartition(Repartitioned::named("spread").with_partitions(5)).to(scene.output.as_str());
    let mut settings = scene.settings();
    settings.handlers = Handlers::all(Reaction::DeadLetter);
    running(scene.app(builder.build()?, settings))?.close()?;

    const FOREVER: (&str, &str) = ("retention.ms", "-1");
    let expected: [(&str, usize, TopicSettings); 4] = [
        ("counts-changelog", 3, &[("cleanup.policy", "compact"), ("segment.ms", "600000")]),
        ("by-value-repartition", 3, &[("cleanup.policy", "delete"), FOREVER]),
        ("spread-repartition", 5, &[("cleanup.policy", "delete"), FOREVER]),
        ("dead-letters", 1, &[("cleanup.policy", "delete")]),
    ];
    for (name, partitions, settings) in expected {
        let topic = scene.internal(name);
        assert_eq!(scene.kafka.topic_partitions(&topic)?, partitions, "{name}");
        let config = scene.kafka.topic_config(&topic)?;
        assert_eq!(config["message.timestamp.type"], "CreateTime", "{name}");
        for (setting, value) in settings {
            assert_eq!(config[*setting], *value, "{setting} of {name}");
        }
    }
    let made = scene.kafka.topics()?;
    let made = made.iter().filter(|topic| topic.starts_with(&scene.application_id)).count();
    assert_eq!(made, expected.len(), "no topic besides");
    Ok(())
}

#[test]
fn a_wrong_partition_count_is_refused() -> Result<()> {
    let scene = Scene::new("wrong-count", 3)?;
    let changelog = scene.internal("counts-changelog");
    scene.kafka.create_topic(&changelog, 2, &[("cleanup.policy", "compact")])?;
    let says = [&*changelog, "has 2 partitions", "needs 3", "reset the application"];
    refused(scene.app(scene.count_by_key()?, scene.settings()), ErrorKind::Invalid, &says)
}

#[test]
fn a_cleanup_policy_that_loses_data_is_refused() -> Result<()> {
    let scene = Scene::new("wrong-policy", 2)?;
    let (changelog, repartition) =
        (scene.internal("counts-changelog"), scene.internal("by-value-repartition"));
    scene.kafka.create_topic(&changelog, 2, &[("cleanup.policy", "delete")])?;
    let says = [&*changelog, "cleanup.policy=delete", "needs compact", "kafka-configs --alter"];
    refused(scene.app(scene.count_by_key()?, scene.settings()), ErrorKind::Invalid, &says)?;

    scene.kafka.delete_topics(&[&changelog])?;
    scene.kafka.create_topic(&repartition, 2, &[("cleanup.policy", "compact")])?;
    let says = [&*repartition, "cleanup.policy=compact", "needs delete"];
    refused(scene.app(scene.count_by_value()?, scene.settings()), ErrorKind::Invalid, &says)
}

#[test]
fn a_source_topic_that_does_not_exist_is_named_and_not_made() -> Result<()> {
    let scene = Scene::new("no-source", 1)?;
    let missing = unique_name("never-made");
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>(missing.as_str()).group_by_key().count(COUNTS);
    let says = [&*missing, "does not exist", "create it"];
    refused(scene.app(builder.build()?, scene.settings()), ErrorKind::Invalid, &says)?;
    let topics = scene.kafka.topics()?;
    assert!(!topics.contains(&missing) && !topics.contains(&scene.internal("counts-changelog")));
    Ok(())
}

#[test]
fn a_join_of_topics_that_do_not_line_up_is_refused() -> Result<()> {
    let scene = Scene::new("no-copartition", 3)?;
    let prices = unique_name("prices");
    scene.kafka.create_topic(&prices, 2, &[])?;
    let builder = StreamsBuilder::new();
    let table = builder.table::<String, String>(prices.as_str());
    let orders = builder.stream::<String, String>(scene.input.as_str());
    orders.join(&table, |order, price| order + price).to(scene.output.as_str());
    let (ours, theirs) = (format!("{} has 3", scene.input), format!("{prices} has 2"));
    refused(
        scene.app(builder.build()?, scene.settings()),
        ErrorKind::Invalid,
        &[&ours, &theirs, "repartition"],
    )
}

#[test]
fn they_are_named_replicated_and_kept_as_the_settings_say() -> Result<()> {
    const PER_HOUR: WindowStoreName<String, u64> = WindowStoreName::new("per-hour");
    let scene = Scene::new("set", 1)?;
    let app = |replication_factor| -> Result<AppBuilder> {
        let builder = StreamsBuilder::new();
        let orders = builder.stream::<String, String>(scene.input.as_str()).group_by_key();
        orders.windowed_by(TimeWindows::of_size_with_no_grace(hours(1))).count(PER_HOUR);
        let mut settings = Settings::new("nowhere:9092");
        settings.bootstrap_servers = scene.kafka.bootstrap_servers().into();
        settings.state_dir = scene.state_dir.path().into();
        settings.replication_factor = Some(replication_factor);
        settings.window_changelog_additional_retention = hours(2);
        Ok(Streams::builder(scene.application_id.as_str(), builder.build()?).settings(settings))
    };
    // There is one broker.
    let changelog = format!("{}-per-hour-changelog", scene.application_id);
    refused(app(2)?, ErrorKind::Invalid, &[&changelog, "replication_factor"])?;
    running(app(1)?)?.close()?;
    assert_eq!(scene.kafka.topic_config(&changelog)?["retention.ms"], hours(3).as_millis().to_string());
    Ok(())
}

#[test]
fn a_cluster_that_does_not_answer_is_an_error_in_time() -> Result<()> {
    let builder = StreamsBuilder::new();
    builder.stream::<String, String>("orders").to("copies");
    let state_dir = tempfile::tempdir()?;
    // Port 1 is reserved and nobody listens there.
    let mut settings = Settings::new("127.0.0.1:1");
    settings.state_dir = state_dir.path().into();
    settings.request_timeout = Duration::from_secs(1);
    let asked = Instant::now();
    let app = Streams::builder("nowhere", builder.build()?).settings(settings);
    refused(app, ErrorKind::Retry, &["bootstrap_servers", "1s"])?;
    assert!(asked.elapsed() < Duration::from_secs(30), "it took {:?}", asked.elapsed());
    Ok(())
}
