//! What processors see of their lives: beginnings, punctuations, failures in them, ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_state_stores::{
    HasSerde, KeyValueStore, KeyValueStoreBuilder, StoreName, Timestamp, ValueAndTimestamp,
};

use crate::api::{Failure, Processor, ProcessorContext, Punctuation, PunctuationType, Record, Schedule};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::handlers::{FailureReport, Handlers, Reaction};
use crate::testing::{TopologyTestDriver, TopologyTestDriverBuilder};
use crate::topology::{Consumed, Topology};

const LAST: StoreName<String, i64> = StoreName::new("last");

const SECOND: Duration = Duration::from_secs(1);

type Context<'a> = ProcessorContext<'a, String, i64>;

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().expect("nobody panics with it").push(text.into());
    }

    fn read(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
    }
}

/// Keeps the newest order, schedules what it is told to, and forwards the newest order at each punctuation. It fails at one whose newest order
/// is negative, after it has changed everything it can.
struct Subject {
    diary: Diary,
    last: KeyValueStore<String, i64>,
    kinds: Vec<PunctuationType>,
    schedules: Vec<Schedule>,
}

impl Processor for Subject {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn init(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        let (time, wall_clock) = (context.task().stream_time(), context.task().wall_clock());
        self.diary.note(format!("init at {time:?}, {wall_clock}"));
        for kind in &self.kinds {
            self.schedules.push(context.schedule(SECOND, *kind)?);
        }
        Ok(())
    }

    fn process(&mut self, order: Record<String, i64>, context: &mut Context<'_>) -> Result<(), Failure> {
        self.diary.note(format!(
            "process {} at {:?}",
            order.value,
            context.task().location().map(ToString::to_string)
        ));
        if order.key == "commit" {
            context.task().request_commit();
        }
        if order.key == "cancel" {
            self.schedules.drain(..).for_each(|schedule| context.cancel(schedule));
        }
        Ok(self.last.put(&"last".into(), Some(ValueAndTimestamp::new(order.value, order.timestamp)))?)
    }

    fn punctuate(&mut self, punctuation: Punctuation, context: &mut Context<'_>) -> Result<(), Failure> {
        assert!(context.task().location().is_none(), "there is no record");
        assert!(self.schedules.contains(&punctuation.schedule));
        self.diary.note(format!("{:?} {}", punctuation.schedule.kind(), punctuation.time));
        let last = self.last.get(&"last".into())?.map_or(0, |row| row.value);
        self.last.put(&"last".into(), Some(ValueAndTimestamp::new(1_000, punctuation.time)))?;
        context.forward(Record::new("last".into(), last, punctuation.time))?;
        if last < 0 { Err(std::io::Error::other("a negative order").into()) } else { Ok(()) }
    }

    fn close(&mut self) {
        self.diary.note("close");
    }
}

fn topology(diary: &Diary, kinds: &[PunctuationType]) -> Result<Topology> {
    let (diary, kinds) = (diary.clone(), kinds.to_vec());
    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_state_store(Arc::new(KeyValueStoreBuilder::new(
        LAST.name(),
        String::serde(),
        i64::serde(),
    )))?;
    topology.add_processor("subject", &["orders"], &[LAST.name()], move |wiring| {
        diary.note(format!("made for {} of {}", wiring.task_id(), wiring.application_id()));
        let last = wiring.store(LAST)?;
        Ok(Subject { diary: diary.clone(), last, kinds: kinds.clone(), schedules: Vec::new() })
    })?;
    topology.add_sink("newest", &["subject"], "newest", String::serde(), i64::serde())?;
    Ok(topology)
}

fn builder(
    diary: &Diary,
    kinds: &[PunctuationType],
    reaction: Reaction,
) -> Result<TopologyTestDriverBuilder> {
    let mut settings = Settings::new("none");
    settings.handlers = Handlers::all(reaction);
    let start = Timestamp::from_millis(500);
    Ok(TopologyTestDriver::builder(topology(diary, kinds)?).settings(settings).starting_at(start))
}

/// A task that has begun, and whose processor has scheduled these; with what happens in it.
fn begun(kinds: &[PunctuationType], reaction: Reaction) -> Result<(TopologyTestDriver, Diary)> {
    let diary = Diary::default();
    Ok((builder(&diary, kinds, reaction)?.build()?, diary))
}

fn pipe(driver: &TopologyTestDriver, value: i64, at: i64) -> Result<()> {
    driver.input_topic::<String, i64>("orders").pipe_input_at("apples", value, Timestamp::from_millis(at))
}

fn newest(driver: &TopologyTestDriver) -> Result<Vec<(i64, i64)>> {
    let records = driver.output_topic::<String, i64>("newest").read_records_to_list()?;
    Ok(records.into_iter().map(|record| (record.value, record.timestamp.as_millis())).collect())
}

#[test]
fn a_life_is_init_then_records_and_punctuations_then_close() -> Result<()> {
    let (driver, diary) = begun(&[PunctuationType::StreamTime], Reaction::Fail)?;
    assert_eq!(diary.read(), ["made for 0_0 of test", "init at None, 500"]);
    for (value, at) in [(1, 100), (2, 900), (3, 5_300), (4, 4_000), (5, 6_000)] {
        pipe(&driver, value, at)?;
    }
    let seen = [
        "process 1 at Some(\"orders-0@0\")",
        "StreamTime 100",
        "process 2 at Some(\"orders-0@1\")",
        "process 3 at Some(\"orders-0@2\")",
        "StreamTime 5300",
        "process 4 at Some(\"orders-0@3\")",
        "process 5 at Some(\"orders-0@4\")",
        "StreamTime 6000",
    ];
    assert_eq!(diary.read(), seen);
    assert_eq!(newest(&driver)?, [(1, 100), (3, 5_300), (5, 6_000)]);
    drop(driver);
    assert_eq!(diary.read(), ["close"]);
    Ok(())
}

#[test]
fn a_stalled_wall_clock_is_one_call() -> Result<()> {
    let (driver, diary) = begun(&[PunctuationType::WallClockTime], Reaction::Fail)?;
    diary.read();
    for millis in [999, 1, 10_250, 749, 1] {
        driver.advance_wall_clock_time(Duration::from_millis(millis))?;
    }
    assert_eq!(diary.read(), ["WallClockTime 1500", "WallClockTime 11750", "WallClockTime 12500"]);
    Ok(())
}

#[test]
fn what_was_cancelled_is_not_called() -> Result<()> {
    let kinds = [PunctuationType::StreamTime, PunctuationType::WallClockTime];
    let (driver, diary) = begun(&kinds, Reaction::Fail)?;
    driver.input_topic::<String, i64>("orders").pipe_input("cancel", 1)?;
    driver.advance_wall_clock_time(10 * SECOND)?;
    assert_eq!(diary.read().len(), 3, "made, begun, and one order");
    Ok(())
}

#[test]
fn a_punctuation_that_fails_is_taken_back_and_the_schedule_goes_on() -> Result<()> {
    let (driver, _) = begun(&[PunctuationType::WallClockTime], Reaction::Skip)?;
    pipe(&driver, -7, 0)?;
    driver.advance_wall_clock_time(SECOND)?;
    assert_eq!((newest(&driver)?, driver.skipped_records()), (vec![], 1));
    let last = driver.key_value_store(LAST)?.get(&"last".into())?;
    assert_eq!(last.map(|row| row.value), Some(-7), "as before the call");
    pipe(&driver, 7, 0)?;
    driver.advance_wall_clock_time(SECOND)?;
    assert_eq!(newest(&driver)?, [(7, 2_500)]);
    Ok(())
}

#[test]
fn a_punctuation_that_fails_may_end_the_thread_or_leave_a_dead_letter() -> Result<()> {
    let (driver, _) = begun(&[PunctuationType::WallClockTime], Reaction::Fail)?;
    pipe(&driver, -7, 0)?;
    let error = driver.advance_wall_clock_time(SECOND).expect_err("its handler fails");
    assert_eq!((error.kind(), error.node(), error.location()), (ErrorKind::Record, Some("subject"), None));
    let text = error.to_string();
    assert!(
        text.contains("a punctuation failed (stage process)") && text.contains("a negative order"),
        "{text}"
    );

    let (driver, _) = begun(&[PunctuationType::WallClockTime], Reaction::DeadLetter)?;
    pipe(&driver, -7, 0)?;
    driver.advance_wall_clock_time(SECOND)?;
    let letters = driver.output_topic::<Option<String>, Option<i64>>("test-dead-letters");
    let letter = letters.read_record()?.expect("the error is kept");
    assert_eq!((letter.key, letter.value), (None, None));
    let node = letter.headers.last("__streams.errors.node").flatten();
    assert_eq!(node.map(|node| &node[..]), Some(&b"subject"[..]));
    assert!(letter.headers.last("__streams.errors.topic").is_none());
    Ok(())
}

#[test]
fn the_handler_is_told_that_there_is_no_record() -> Result<()> {
    let diary = Diary::default();
    let mut settings = Settings::new("none");
    let told = diary.clone();
    settings.handlers = Handlers::all(move |failure: &FailureReport<'_>| {
        told.note(format!("{:?} {:?} {:?}", failure.stage, failure.location, failure.value));
        Reaction::Skip
    });
    let topology = topology(&diary, &[PunctuationType::StreamTime])?;
    let driver = TopologyTestDriver::builder(topology).settings(settings).build()?;
    pipe(&driver, -7, 0)?;
    assert_eq!(diary.read().last().map(String::as_str), Some("Process None None"));
    Ok(())
}

#[test]
fn a_processor_may_ask_for_a_commit() -> Result<()> {
    let diary = Diary::default();
    let driver = builder(&diary, &[], Reaction::Fail)?.commit_by_hand().build()?;
    let changelog = || driver.output_topic::<String, i64>("test-last-changelog").len();
    pipe(&driver, 1, 0)?;
    assert_eq!(changelog(), 0, "nothing was committed yet");
    driver.input_topic::<String, i64>("orders").pipe_input("commit", 2)?;
    assert_eq!(changelog(), 1);
    pipe(&driver, 3, 0)?;
    assert_eq!(changelog(), 1, "it asked once");
    Ok(())
}

/// Forwards a record before there is any, and fails if it is told to.
struct Eager {
    fails: bool,
}

impl Processor for Eager {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn init(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        context.forward(Record::new("begun".into(), 0, Timestamp::from_millis(7)))?;
        if self.fails { Err(std::io::Error::other("no luck").into()) } else { Ok(()) }
    }

    fn process(&mut self, _order: Record<String, i64>, _context: &mut Context<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

fn eager(fails: bool) -> Result<TopologyTestDriver> {
    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_processor("eager", &["orders"], &[], move |_| Ok(Eager { fails }))?;
    topology.add_sink("newest", &["eager"], "newest", String::serde(), i64::serde())?;
    TopologyTestDriver::new(topology)
}

#[test]
fn what_init_forwards_is_written_and_what_it_fails_with_ends_the_thread() -> Result<()> {
    assert_eq!(newest(&eager(false)?)?, [(0, 7)]);
    let error = eager(true).err().expect("it cannot begin");
    assert_eq!((error.kind(), error.node()), (ErrorKind::Fatal, Some("eager")));
    assert!(error.to_string().contains("could not begin [task 0_0] [node eager]: no luck"), "{error}");
    Ok(())
}

#[test]
fn the_keeper_of_a_global_store_schedules_nothing() -> Result<()> {
    let diary = Diary::default();
    let mut topology = Topology::new();
    topology.add_source("archive", ["archive"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    let last = KeyValueStoreBuilder::new(LAST.name(), String::serde(), i64::serde());
    topology.add_global_store(Arc::new(last.with_logging(false)))?;
    topology.add_processor("keeper", &["orders"], &[LAST.name()], move |wiring| {
        let (diary, kinds) = (diary.clone(), vec![PunctuationType::StreamTime]);
        Ok(Subject { diary, last: wiring.store(LAST)?, kinds, schedules: Vec::new() })
    })?;
    let refused: Error = TopologyTestDriver::new(topology).err().expect("it cannot schedule");
    assert!(refused.to_string().contains("must follow from its topic alone"), "{refused}");
    Ok(())
}
