//! The harness itself: a broker starts, keeps what is written, comes back after `kill -9`, and never outlives the test.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use millstream_integration_tests::interop::{
    JavaCountApp, RunningJavaApp, TableChange, java_deserialize_changes, java_partitions,
    java_serialize_changes, java_topology,
};
use millstream_integration_tests::kafka::{NewRecord, RealKafka, unique_name};
use millstream_integration_tests::process::{RunningProgram, workspace_binary};
use millstream_integration_tests::wait::await_until;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn records_come_back_as_they_were_written() -> Result<()> {
    let kafka = RealKafka::shared()?;
    let topic = unique_name("round-trip");
    kafka.create_topic(&topic, 3, &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "5000")])?;
    let written = [
        NewRecord::new("apples", "4").at(1_700_000_000_123).in_partition(2),
        NewRecord::tombstone("pears").at(5).in_partition(0),
        NewRecord::new("", [0, 255])
            .at(6)
            .in_partition(2)
            .with_header("trace", "a")
            .with_header("trace", "b"),
    ];
    kafka.produce(&topic, written.clone())?;

    let read = kafka.read_all(&topic)?;

    let positions: Vec<_> = read.iter().map(|record| (record.partition, record.offset)).collect();
    assert_eq!(positions, [(0, 0), (2, 0), (2, 1)]);
    let in_order_of_partitions = [&written[1], &written[0], &written[2]];
    for (read, written) in read.iter().zip(in_order_of_partitions) {
        assert_eq!(
            (&read.key, &read.value, read.timestamp, &read.headers),
            (&written.key, &written.value, written.timestamp, &written.headers)
        );
    }
    assert_eq!(kafka.topic_partitions(&topic)?, 3);
    assert_eq!(kafka.end_offsets(&topic)?, BTreeMap::from([(0, 1), (1, 0), (2, 2)]));
    let config = kafka.topic_config(&topic)?;
    assert_eq!(config["cleanup.policy"], "compact");
    assert_eq!(config["min.compaction.lag.ms"], "5000");
    assert!(kafka.topics()?.contains(&topic));

    kafka.delete_topics(&[&topic])?;
    await_until(DEADLINE, "the topic to go", || kafka.topic_partitions(&topic).is_err().then_some(()))
}

#[test]
fn a_topic_nobody_created_is_an_error_and_stays_one() -> Result<()> {
    let kafka = RealKafka::shared()?;
    let topic = unique_name("never-created");
    let error = kafka.read_all(&topic).err().context("read a topic that does not exist")?;
    assert!(format!("{error:#}").contains(&topic), "{error:#}");
    assert!(!kafka.topics()?.contains(&topic));
    let twice = unique_name("created-twice");
    kafka.create_topic(&twice, 1, &[])?;
    assert!(kafka.create_topic(&twice, 1, &[]).is_err(), "a topic was created twice");
    Ok(())
}

#[test]
fn a_killed_broker_comes_back_with_its_records_and_address() -> Result<()> {
    let mut kafka = RealKafka::start()?;
    let address = kafka.bootstrap_servers().to_owned();
    kafka.create_topic("orders", 1, &[])?;
    kafka.produce("orders", [NewRecord::new("1", "before the kill")])?;

    kafka.kill()?;
    assert!(TcpStream::connect(&address).is_err(), "the broker survived its kill");
    kafka.start_again()?;
    kafka.produce("orders", [NewRecord::new("2", "after the kill")])?;
    kafka.stop()?;
    kafka.start_again()?;

    let values: Vec<_> = kafka.read_all("orders")?.iter().filter_map(|record| record.value_text()).collect();
    assert_eq!(values, ["before the kill", "after the kill"]);
    Ok(())
}

#[test]
fn a_broker_dies_with_the_process_that_started_it() -> Result<()> {
    let (mut holder, address, folder) = start_holder_of_a_broker()?;
    assert!(TcpStream::connect(&address).is_ok(), "no broker at {address}");
    holder.kill()?;
    await_until(DEADLINE, "the broker to die with its killed parent", || {
        TcpStream::connect(&address).is_err().then_some(())
    })?;
    match folder {
        None => Ok(()),
        Some(folder) => {
            await_until(DEADLINE, "the broker's folder to go", || (!folder.exists()).then_some(()))
        }
    }
}

#[test]
fn a_dropped_broker_is_gone() -> Result<()> {
    let (mut holder, address, folder) = start_holder_of_a_broker()?;
    holder.close_stdin();
    assert!(holder.wait(DEADLINE)?.success());
    assert!(TcpStream::connect(&address).is_err(), "the broker outlived its handle");
    assert!(folder.is_none_or(|folder| !folder.exists()), "the broker's folder outlived its handle");
    Ok(())
}

/// A process that runs a broker of its own, where that listens, and where it keeps its data.
fn start_holder_of_a_broker() -> Result<(RunningProgram, String, Option<PathBuf>)> {
    let mut holder = RunningProgram::start("real-kafka", Command::new(env!("CARGO_BIN_EXE_real-kafka")))?;
    let facts = holder
        .await_line(DEADLINE, "its facts", |line| serde_json::from_str::<serde_json::Value>(line).ok())?;
    let address = facts["bootstrap_servers"].as_str().context("no bootstrap servers")?.to_owned();
    Ok((holder, address, facts["folder"].as_str().map(PathBuf::from)))
}

#[test]
fn javas_partitioner_answers_for_every_key() -> Result<()> {
    let keys: [&[u8]; 6] = [b"", b"a", b"21", b"apples", "äpfel".as_bytes(), &[0, 255, 128]];
    let partitions = java_partitions(&keys, 1000)?;
    let expected = keys.map(|key| i32::try_from((murmur2(key) & 0x7fff_ffff) % 1000).unwrap_or(-1));
    assert_eq!(partitions, expected);
    Ok(())
}

/// Kafka's murmur2 again, from its description, as a second witness.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[test]
fn kafka_streams_describes_its_topologies() -> Result<()> {
    let text = java_topology("filter-count")?;
    assert!(
        text.starts_with("Topologies:\n   Sub-topology: 0\n    Source: KSTREAM-SOURCE-0000000000"),
        "{text}"
    );
    let error =
        java_topology("no-such-topology").err().context("described a topology that does not exist")?;
    assert!(format!("{error:#}").contains("no such topology: no-such-topology"), "{error:#}");
    Ok(())
}

#[test]
fn kafka_streams_reads_back_the_changes_it_wrote() -> Result<()> {
    let change = |old: Option<&str>, new: Option<&str>| TableChange {
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
        latest: true,
    };
    let changes = [change(None, Some("new")), change(Some("old"), None), change(Some("old"), Some("new"))];
    let bytes = java_serialize_changes(&changes)?;
    // Both: the length of the new value as a zig-zag varint, the values, and the flag at the end.
    assert_eq!(bytes, [b"new\x01".as_slice(), b"old\x00", b"\x06newold\x02"]);
    assert_eq!(java_deserialize_changes(&bytes)?, changes);
    Ok(())
}

#[test]
fn a_kafka_streams_application_restores_and_repartitions() -> Result<()> {
    let kafka = RealKafka::shared()?;
    for (app, repartition) in
        [(JavaCountApp::ByKey, None), (JavaCountApp::ByValue, Some("by-value-repartition"))]
    {
        let (id, input, output) = (unique_name("counts"), unique_name("in"), unique_name("out"));
        kafka.create_topic(&input, 2, &[])?;
        kafka.create_topic(&output, 2, &[])?;
        kafka.produce(&input, ["apples", "pears", "apples"].map(|name| NewRecord::new(name, name)))?;

        let mut first = RunningJavaApp::start(app, &id, kafka.bootstrap_servers(), &input, &output)?;
        first.await_running()?;
        await_until(DEADLINE, "three counts", || {
            kafka.read_all(&output).ok().filter(|read| read.len() == 3)
        })?;
        assert_eq!(first.count_of("apples")?, Some(2));
        first.close()?;

        // In an empty state directory: what it knows comes from the changelog.
        let mut second = RunningJavaApp::start(app, &id, kafka.bootstrap_servers(), &input, &output)?;
        second.await_running()?;
        assert_eq!(second.count_of("apples")?, Some(2));
        assert_eq!(second.count_of("plums")?, None);
        second.close()?;

        assert_eq!(kafka.read_all(&format!("{id}-counts-changelog"))?.len(), 3);
        if let Some(name) = repartition {
            assert_eq!(kafka.read_all(&format!("{id}-{name}"))?.len(), 3);
        }
        let committed = kafka.committed_offsets(&id)?;
        let of_input = committed.iter().filter(|((topic, _), _)| *topic == input).map(|(_, offset)| offset);
        assert_eq!(of_input.sum::<i64>(), 3, "{committed:?}");
    }
    Ok(())
}

#[test]
fn a_program_of_the_workspace_is_built_and_run() -> Result<()> {
    let mut program = RunningProgram::start("real-kafka", workspace_binary("real-kafka")?)?;
    program.kill()?;
    let missing = workspace_binary("no-such-program").err().context("built a program that does not exist")?;
    assert!(format!("{missing:#}").contains("no-such-program"), "{missing:#}");
    Ok(())
}

#[test]
fn a_program_is_heard_and_waited_for() -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo ready >&2; read -r line; echo \"got $line\"; read -r line; exit 3"]);
    let mut program = RunningProgram::start("a shell", shell)?;
    program.send_line("apples")?;
    program.await_line(DEADLINE, "its answer", |line| (line == "got apples").then_some(()))?;
    let silent =
        program.await_line(Duration::from_millis(100), "another answer", |line| Some(line.to_owned()));
    let error = silent.err().context("a silent program answered")?;
    assert!(format!("{error:#}").contains("another answer"), "{error:#}");
    assert!(program.wait(Duration::ZERO).is_err(), "a waiting program has ended");
    program.close_stdin();
    assert_eq!(program.wait(DEADLINE)?.code(), Some(3));
    assert_eq!(program.lines(), ["got apples"]);
    assert_eq!(program.error_lines(), ["ready"]);
    assert!(program.interrupt().is_err(), "an ended program was interrupted");
    Ok(())
}
