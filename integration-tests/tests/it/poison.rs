//! Records that cannot be decoded, processed or produced: the application goes on or stops as its handlers say, nothing is
//! lost unsaid, and what is left out leaves no trace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::{ClientState, ErrorKind, Streams};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord};
use millstream_integration_tests::wait::await_until;

use crate::in_process::{COUNTS, DEADLINE, Scene, await_rows, counts_of, recount, running};

const SUMS: StoreName<String, i64> = StoreName::new("sums");

/// Sums up what a key's records hold. Eight bytes are a number, anything else does not decode.
fn sums(scene: &Scene) -> Result<Topology> {
    let builder = StreamsBuilder::new();
    let moved = builder.stream::<String, i64>(scene.input.as_str());
    moved.group_by_key().reduce(SUMS, |sum, moved| sum + moved).to_stream().to(scene.output.as_str());
    Ok(builder.build()?)
}

fn number(key: &str, number: i64) -> NewRecord {
    NewRecord::new(key, number.to_be_bytes()).at(1_000)
}

fn poison(key: &str) -> NewRecord {
    NewRecord::new(key, [1, 2, 3]).at(2_000).with_header("trace", "abc")
}

fn sums_of(app: &Streams) -> Result<BTreeMap<String, i64>> {
    Ok(app.store(SUMS)?.all()?.collect::<Result<_, _>>()?)
}

/// Starts `topology` with one answer to all failures.
fn with_handler(scene: &Scene, topology: Topology, reaction: Reaction) -> Result<Streams> {
    let mut settings = scene.settings();
    settings.handlers = Handlers::all(reaction);
    running(scene.app(topology, settings))
}

fn dead_letters(scene: &Scene) -> Result<Vec<ReadRecord>> {
    scene.kafka.read_all(&scene.internal("dead-letters"))
}

fn headers(record: &ReadRecord) -> BTreeMap<&str, String> {
    let text =
        |value: &Option<Vec<u8>>| String::from_utf8_lossy(value.as_deref().unwrap_or(b"")).into_owned();
    record.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
}

/// Records left out by a handler, over all tasks, at the stages decode, process and produce.
fn left_out(app: &Streams, of: impl Fn(&millstream::runtime::TaskSnapshot) -> [u64; 3]) -> [u64; 3] {
    let threads = app.threads();
    let tasks = threads.iter().flat_map(|thread| &thread.tasks);
    tasks.map(of).fold([0; 3], |sum, more| std::array::from_fn(|stage| sum[stage] + more[stage]))
}

#[test]
fn a_record_that_does_not_decode_goes_to_the_dead_letters() -> Result<()> {
    let scene = Scene::new("dead-letter", 1)?;
    let app = with_handler(&scene, sums(&scene)?, Reaction::DeadLetter)?;
    scene.kafka.produce(&scene.input, [number("apples", 3), poison("apples"), number("apples", 4)])?;
    scene.await_committed(&[&scene.input])?;

    await_rows(&BTreeMap::from([("apples".to_owned(), 7)]), || sums_of(&app))?;
    let letters = dead_letters(&scene)?;
    let [letter] = letters.as_slice() else { panic!("one dead letter, not {letters:?}") };
    assert_eq!(
        (letter.key.as_deref(), letter.value.as_deref()),
        (Some(&b"apples"[..]), Some(&[1, 2, 3][..]))
    );
    assert_eq!(letter.timestamp, Some(2_000));
    let headers = headers(letter);
    for (name, value) in [
        ("trace", "abc"),
        ("__streams.errors.topic", &*scene.input),
        ("__streams.errors.partition", "0"),
        ("__streams.errors.offset", "1"),
        ("__streams.errors.stage", "decode"),
        ("__streams.errors.task", "0_0"),
        ("__streams.errors.exception", "SerdeError::WrongLength"),
    ] {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name} in {headers:?}");
    }
    assert!(headers["__streams.errors.message"].contains('3'), "three bytes are no number: {headers:?}");
    let failed_at: i64 = headers["__streams.errors.time"].parse()?;
    assert!(failed_at > 1_700_000_000_000, "of the clock, not of the record: {failed_at}");
    await_until(DEADLINE, "the dead letter to be counted", || {
        (left_out(&app, |task| task.dead_letters) == [1, 0, 0]).then_some(())
    })?;
    app.close()?;
    Ok(())
}

#[test]
fn a_record_that_does_not_decode_is_skipped_and_counted() -> Result<()> {
    let scene = Scene::new("skipped", 1)?;
    let app = with_handler(&scene, sums(&scene)?, Reaction::Skip)?;
    scene.kafka.produce(&scene.input, [poison("pears"), number("apples", 3), poison("apples")])?;
    scene.await_committed(&[&scene.input])?;
    await_rows(&BTreeMap::from([("apples".to_owned(), 3)]), || sums_of(&app))?;
    await_until(DEADLINE, "the skipped records to be counted", || {
        (left_out(&app, |task| task.skipped) == [2, 0, 0]).then_some(())
    })?;
    assert!(!scene.kafka.topics()?.contains(&scene.internal("dead-letters")), "nothing goes there");
    app.close()?;
    Ok(())
}

#[test]
fn a_record_that_does_not_decode_stops_the_application_and_stays() -> Result<()> {
    let scene = Scene::new("failed", 1)?;
    let app = with_handler(&scene, sums(&scene)?, Reaction::Fail)?;
    scene.kafka.produce(&scene.input, [number("apples", 3), poison("apples"), number("apples", 4)])?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().context("close() hides the error")?;
    assert_eq!(error.kind(), ErrorKind::Record);
    let at = error.location().context("the error names no record")?;
    assert_eq!((&*at.topic, at.partition, at.offset.get()), (&*scene.input, 0, 1));
    assert!(error.to_string().contains(&format!("{}-0@1", scene.input)), "{error}");

    // The record was not lost: the next start meets it again, and may now leave it out.
    let app = with_handler(&scene, sums(&scene)?, Reaction::Skip)?;
    scene.await_committed(&[&scene.input])?;
    await_rows(&BTreeMap::from([("apples".to_owned(), 7)]), || sums_of(&app))?;
    app.close()?;
    Ok(())
}

#[test]
fn a_record_that_fails_below_a_store_leaves_no_trace_in_it() -> Result<()> {
    let scene = Scene::new("no-trace", 1)?;
    let builder = StreamsBuilder::new();
    let moved = builder.stream::<String, i64>(scene.input.as_str());
    let sums = moved.group_by_key().reduce(SUMS.without_caching(), |sum, moved| sum + moved).to_stream();
    let checked = sums.try_map_values(|sku, sum| match sum {
        Some(sum) if sum < 0 => Err(format!("{sku} would fall to {sum}")),
        sum => Ok(sum),
    });
    checked.to(scene.output.as_str());
    let app = with_handler(&scene, builder.build()?, Reaction::DeadLetter)?;
    let moves = [("apples", 3), ("apples", -5), ("pears", -1), ("apples", -2)];
    scene.kafka.produce(&scene.input, moves.map(|(sku, moved)| number(sku, moved)))?;
    scene.await_committed(&[&scene.input])?;

    await_rows(&BTreeMap::from([("apples".to_owned(), 1)]), || sums_of(&app))?;
    let value = |record: &ReadRecord| {
        let bytes: Option<[u8; 8]> = record.value.as_deref().and_then(|value| value.try_into().ok());
        bytes.map(i64::from_be_bytes)
    };
    let values = |topic: &str| {
        Ok::<_, anyhow::Error>(scene.kafka.read_all(topic)?.iter().map(value).collect::<Vec<_>>())
    };
    assert_eq!(values(&scene.output)?, [Some(3), Some(1)]);
    let changelog = scene.kafka.read_all(&scene.internal("sums-changelog"))?;
    let last: BTreeMap<_, _> = changelog.iter().map(|record| (record.key_text(), value(record))).collect();
    let apples = (Some("apples".to_owned()), Some(1));
    assert_eq!(last.get(&apples.0), Some(&apples.1));
    assert!(changelog.iter().all(|record| value(record).is_none_or(|sum| sum >= 0)), "{changelog:?}");

    let letters = dead_letters(&scene)?;
    let offsets: Vec<String> =
        letters.iter().map(|letter| headers(letter)["__streams.errors.offset"].clone()).collect();
    assert_eq!(offsets, ["1", "2"]);
    assert_eq!(headers(&letters[0])["__streams.errors.stage"], "process");
    assert!(headers(&letters[0])["__streams.errors.message"].contains("apples would fall to -2"));
    app.close()?;
    Ok(())
}

/// The broker takes 2000 bytes at once for a topic, and refuses a whole batch for one large record. Its neighbours are not to blame.
#[test]
fn an_output_that_the_broker_refuses_goes_to_the_handler() -> Result<()> {
    let scene = Scene::new("refused", 1)?;
    let narrow = scene.internal("narrow");
    scene.kafka.create_topic(&narrow, 1, &[("max.message.bytes", "2000")])?;
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, String>(scene.input.as_str());
    orders.group_by_key().count(COUNTS);
    orders.to(narrow.as_str());
    let app = with_handler(&scene, builder.build()?, Reaction::DeadLetter)?;
    let large = "x".repeat(5_000);
    let together = [("a", "1"), ("b", &*large), ("c", "2"), ("d", "3")];
    scene.kafka.produce(&scene.input, together.map(|(key, value)| NewRecord::new(key, value)))?;
    scene.await_committed(&[&scene.input])?;

    let (letters, written) = (dead_letters(&scene)?, scene.kafka.read_all(&narrow)?);
    // Those that were refused together with the large one may come after the others.
    let keys: BTreeSet<String> = written.iter().filter_map(ReadRecord::key_text).collect();
    let [letter] = letters.as_slice() else {
        panic!("one dead letter, not {letters:?}; {keys:?} were written: {:?}", app.threads())
    };
    assert_eq!((letter.key_text().as_deref(), letter.value_text().as_deref()), (Some("b"), Some(&*large)));
    let headers = headers(letter);
    assert_eq!(headers["__streams.errors.stage"], "produce");
    assert_eq!(headers["__streams.errors.output.topic"], narrow);
    assert_eq!(headers["__streams.errors.output.partition"], "0");
    assert_eq!((keys, written.len()), (["a", "c", "d"].map(str::to_owned).into(), 3));
    let processed = recount(["a", "b", "c", "d"].map(str::to_owned));
    await_rows(&processed, || counts_of(&app))?;
    app.close()?;
    Ok(())
}

/// A record that the client itself refuses, because no broker would take it.
#[test]
fn an_output_too_large_for_the_client_is_left_out_or_stops_the_application() -> Result<()> {
    let scene = Scene::new("too-large", 1)?;
    let topology = || {
        let builder = StreamsBuilder::new();
        let orders = builder.stream::<String, String>(scene.input.as_str());
        orders
            .map_values(|_, order| if order == "bomb" { "x".repeat(2_000_000) } else { order })
            .to(scene.output.as_str());
        builder.build()
    };
    let app = with_handler(&scene, topology()?, Reaction::Fail)?;
    scene.kafka.produce(&scene.input, ["1", "bomb", "2"].map(|order| NewRecord::new("a", order)))?;
    app.await_state(ClientState::Error, DEADLINE)?;
    let error = app.close().err().context("close() hides the error")?;
    assert_eq!(error.kind(), ErrorKind::Record);
    assert!(error.to_string().contains(&scene.output), "{error}");

    let mut settings = scene.settings();
    settings.handlers.produce = Arc::new(Reaction::Skip);
    let app = running(scene.app(topology()?, settings))?;
    scene.await_committed(&[&scene.input])?;
    let written = scene.kafka.read_all(&scene.output)?;
    let mut values: Vec<String> = written.iter().filter_map(ReadRecord::value_text).collect();
    values.dedup();
    assert_eq!(values.last().map(String::as_str), Some("2"));
    assert!(values.iter().all(|value| value.len() == 1), "the large one is in the topic");
    app.close()?;
    Ok(())
}
