//! Results that wait for time to pass: what was killed meanwhile makes no difference to them. Each program's results are those of a recount.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use millstream_integration_tests::kafka::{NewRecord, RealKafka, unique_name};
use millstream_integration_tests::process::RunningProgram;
use millstream_integration_tests::wait::await_until;
use tempfile::TempDir;

use crate::in_process::DEADLINE;

const EXACTLY_ONCE: &[(&str, &str)] = &[
    ("MILLSTREAM_PROCESSING_GUARANTEE", "exactly_once"),
    ("MILLSTREAM_TRANSACTION_TIMEOUT_MS", "4000"),
    ("MILLSTREAM_COMMIT_INTERVAL_MS", "100"),
];
const AT_LEAST_ONCE: &[(&str, &str)] = &[("MILLSTREAM_COMMIT_INTERVAL_MS", "300")];

/// Milliseconds from one record to the next.
const STEP: i64 = 20;

/// The number of the record that closes what the others left open.
const LAST: i64 = 100_000;

const INPUTS: [&str; 7] = ["prices", "left", "right", "clicks", "orders", "visits", "beats"];

/// A record of an input topic: key, value and event time.
type Written = (String, String, i64);

/// What each program wrote, in order.
type Results = BTreeMap<String, Vec<String>>;

/// The applications and topics of one test.
struct Scene {
    kafka: &'static RealKafka,
    application_id: String,
    inputs: String,
    output: String,
    state_dir: TempDir,
    environment: &'static [(&'static str, &'static str)],
    /// Event times as of today: a broker deletes old entries of a windowed changelog by their timestamps.
    first_time: i64,
    written: BTreeMap<&'static str, Vec<Written>>,
}

impl Scene {
    fn new(subject: &str, environment: &'static [(&'static str, &'static str)]) -> Result<Self> {
        let kafka = RealKafka::shared()?;
        let (inputs, output) = (unique_name("in"), unique_name("out"));
        for input in INPUTS {
            kafka.create_topic(&format!("{inputs}-{input}"), 1, &[])?;
        }
        kafka.create_topic(&output, 1, &[])?;
        Ok(Scene {
            kafka,
            application_id: unique_name(subject),
            inputs,
            output,
            state_dir: tempfile::Builder::new().prefix("millstream-of-a-test-").tempdir()?,
            environment,
            first_time: now()? / 1_000 * 1_000 - 3_600_000,
            written: BTreeMap::new(),
        })
    }

    fn start(&self) -> Result<RunningProgram> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_time-worker"));
        command.args([self.kafka.bootstrap_servers(), &self.application_id, &self.inputs, &self.output]);
        command.arg(self.state_dir.path()).envs(self.environment.iter().copied());
        RunningProgram::start("time-worker", command)
    }

    /// Writes the records of these numbers to all inputs, prices first.
    fn write(&mut self, numbers: impl Iterator<Item = i64> + Clone) -> Result<()> {
        for input in INPUTS {
            let now = now()?;
            let records = numbers.clone().filter_map(|number| record(input, self.first_time, number, now));
            let records: Vec<Written> = records.collect();
            let new = records.iter().map(|(key, value, time)| NewRecord::new(&**key, &**value).at(*time));
            self.kafka.produce(&format!("{}-{input}", self.inputs), new)?;
            self.written.entry(input).or_default().extend(records);
        }
        Ok(())
    }

    fn results(&self) -> Result<Results> {
        let mut results = Results::new();
        for record in self.kafka.read_all(&self.output)? {
            let name = record.key_text().context("a result without a name")?;
            results.entry(name).or_default().push(record.value_text().context("a result without a text")?);
        }
        Ok(results)
    }

    /// What the programs must come to.
    fn recounted(&self) -> Result<Results> {
        let written = |input: &str| self.written[input].as_slice();
        Ok([
            ("joined", joined(written("left"), written("right"))),
            ("suppressed", windows(written("clicks"), 500)),
            ("priced", priced(written("orders"), written("prices"))),
            ("counted", counted(written("visits"))),
            ("closed", self.closed_by_log()?),
        ]
        .map(|(name, results)| (name.to_owned(), results))
        .into())
    }

    /// The counts in seconds that are closed by what lies in the topic with heartbeats, which the application has written there.
    ///
    /// # Errors
    /// If the last heartbeat does not close everything.
    fn closed_by_log(&self) -> Result<Vec<String>> {
        let log = self.kafka.read_all(&format!("{}-beats", self.inputs))?.into_iter().map(|record| {
            let key = record.key_text().unwrap_or_default();
            Ok((key, String::new(), record.timestamp.context("a record without a time")?))
        });
        let log: Vec<Written> = log.collect::<Result<_>>()?;
        let newest = log.iter().map(|(_, _, time)| *time).max().unwrap_or_default();
        let is_open = |(key, _, time): &Written| !key.is_empty() && time / 1_000 * 1_000 + 1_000 > newest;
        ensure!(!log.iter().any(is_open), "a window is open at {newest}");
        Ok(windows(&log, 0))
    }
}

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// The record of this number in a topic, if there is one, written at `now`.
fn record(input: &str, first_time: i64, number: i64, now: i64) -> Option<Written> {
    let (is_last, time) = (number == LAST, first_time + STEP * number);
    let key = if is_last { "last".to_owned() } else { format!("sku-{}", number % 7) };
    let value = number.to_string();
    // Up to 200 ms late.
    let jittered = time - 2 * STEP * (number % 6);
    match input {
        "left" => (is_last || number % 5 < 2).then_some((key, value, time)),
        "right" => (is_last || number % 11 < 2).then_some((key, value, jittered)),
        "clicks" => Some((key, value, jittered)),
        "orders" => Some((key, value, time)),
        // Some are of a second ago.
        "prices" => (!is_last && number % 3 == 0).then(|| (key, value, time - 5 - 1_000 * (number / 3 % 2))),
        // A key that is away for two seconds is forgotten.
        "visits" => (is_last || number / 100 % 3 != number % 7 % 3).then_some((key, value, time)),
        // Heartbeats go by the clock.
        "beats" => (!is_last).then_some((key, value, now)),
        _ => None,
    }
}

/// All pairs within 200 ms, and those that found none.
fn joined(left: &[Written], right: &[Written]) -> Vec<String> {
    let near = |one: &Written, other: &Written| one.0 == other.0 && (one.2 - other.2).abs() <= 200;
    let mut results = Vec::new();
    for one in left {
        let found = right.iter().filter(|other| near(one, other)).map(|(_, value, _)| value.as_str());
        let found: Vec<&str> = found.collect();
        let others = if found.is_empty() { vec!["-"] } else { found };
        results.extend(others.iter().map(|other| format!("{} {}+{other}", one.0, one.1)));
    }
    let alone = right.iter().filter(|other| !left.iter().any(|one| near(one, other)));
    results.extend(alone.map(|(key, value, _)| format!("{key} -+{value}")));
    results
}

/// Counts in seconds that are closed, without what came too late; a record without a key only moves time.
fn windows(written: &[Written], grace: i64) -> Vec<String> {
    let (mut counts, mut stream_time) = (BTreeMap::<_, u64>::new(), i64::MIN);
    for (key, _, time) in written {
        stream_time = stream_time.max(*time);
        let start = time / 1_000 * 1_000;
        if !key.is_empty() && start + 1_000 > stream_time - grace {
            *counts.entry((key, start)).or_default() += 1;
        }
    }
    let closed = counts.into_iter().filter(|((_, start), _)| start + 1_000 + grace <= stream_time);
    closed.map(|((key, start), count)| format!("{key} {start} {count}")).collect()
}

/// Orders with the price that was valid at their time, but for the last one, which waits.
fn priced(orders: &[Written], prices: &[Written]) -> Vec<String> {
    let price = |sku: &str, time: i64| {
        let valid = prices.iter().filter(|(key, _, from)| key == sku && *from <= time);
        valid.max_by_key(|(_, _, from)| *from).map_or("-", |(_, price, _)| price.as_str())
    };
    let orders = orders.iter().filter(|(key, ..)| key != "last");
    orders.map(|(key, order, time)| format!("{key} {order} at {}", price(key, *time))).collect()
}

/// Each count, from one again where the last visit was a second ago.
fn counted(visits: &[Written]) -> Vec<String> {
    let mut rows = BTreeMap::<&str, (u64, i64)>::new();
    let mut results = Vec::new();
    for (key, _, time) in visits {
        let (count, last) = rows.get(key.as_str()).copied().unwrap_or((0, *time));
        let count = if last + 1_000 <= *time { 1 } else { count + 1 };
        rows.insert(key.as_str(), (count, *time));
        results.push(format!("{key} {count}"));
    }
    results
}

/// Kills the worker again and again while records come in. Returns what it wrote, once all that must come is there, and what that is.
fn killed_under_load(scene: &mut Scene) -> Result<(Results, Results)> {
    let mut worker = scene.start()?;
    worker.await_line(DEADLINE, "the state running", |line| (line == "state running").then_some(()))?;
    let mut numbers = (0..).step_by(30);
    let mut next_batch = move || numbers.next().map(|first| first..first + 30).unwrap_or_default();
    for pause in [900, 250, 1_400, 60] {
        for _batch in 0..10 {
            scene.write(next_batch())?;
            sleep(Duration::from_millis(pause / 10));
        }
        worker.kill()?;
        worker = scene.start()?;
    }
    scene.write(next_batch())?;
    scene.write([LAST].into_iter())?;
    let mut missing = BTreeMap::new();
    await_until(3 * DEADLINE, "everything to be emitted", || {
        let (expected, found) = (scene.recounted().ok()?, scene.results().ok()?);
        missing = missing_of(&expected, &found);
        missing.is_empty().then_some(())
    })
    .with_context(|| format!("missing: {missing:?}"))?;
    // What would come twice comes with the next commits.
    sleep(Duration::from_secs(1));
    Ok((scene.results()?, scene.recounted()?))
}

/// What has not come yet. At-least-once a count may be larger, so what comes before the last word is what must be there.
fn missing_of(expected: &Results, found: &Results) -> BTreeMap<String, Vec<String>> {
    let what = |name: &str, result: &String| match name {
        "joined" | "priced" => result.clone(),
        _ => result.rsplit_once(' ').map_or(String::new(), |(what, _count)| what.to_owned()),
    };
    let mut missing = BTreeMap::new();
    for (name, expected) in expected {
        let found = found.get(name).map_or(&[][..], Vec::as_slice);
        let is_there: BTreeSet<String> = found.iter().map(|result| what(name, result)).collect();
        let is_missing = |result: &&String| !is_there.contains(&what(name, result));
        let mut of_name: Vec<String> = expected.iter().filter(is_missing).cloned().collect();
        if name == "counted" {
            let keys = (0..7).map(|number| format!("sku-{number}"));
            of_name.extend(keys.filter(|key| !is_gone(found, key)).map(|key| format!("{key} gone")));
        }
        if !of_name.is_empty() {
            missing.insert(name.clone(), of_name);
        }
    }
    missing
}

/// Whether the last that was said of a key is that it is gone.
fn is_gone(results: &[String], key: &str) -> bool {
    let mut of_key = results.iter().rev().filter_map(|result| result.strip_prefix(key)?.strip_prefix(' '));
    of_key.next() == Some("gone")
}

fn sorted(mut results: Vec<String>) -> Vec<String> {
    results.sort_unstable();
    results
}

/// The results that begin with this key, in order, without those that say that it is gone.
fn counts_of<'a>(results: &'a [String], key: &'a str) -> Vec<&'a str> {
    let of_key = results.iter().filter_map(move |result| result.strip_prefix(key)?.strip_prefix(' '));
    of_key.filter(|count| *count != "gone").collect()
}

#[test]
fn exactly_once_what_waits_for_time_is_as_recounted_whatever_is_killed() -> Result<()> {
    let mut scene = Scene::new("time-driven-exactly-once", EXACTLY_ONCE)?;
    let (found, expected) = killed_under_load(&mut scene)?;
    for name in ["joined", "suppressed", "priced", "closed"] {
        let (found, expected) = (sorted(found[name].clone()), sorted(expected[name].clone()));
        ensure!(expected.len() > 14, "{name}: only {expected:?}");
        assert_eq!(found, expected, "{name}");
    }
    for key in (0..7).map(|number| format!("sku-{number}")) {
        let (found, expected) = (&found["counted"], &expected["counted"]);
        assert_eq!(counts_of(found, &key), counts_of(expected, &key), "{key}");
        ensure!(counts_of(expected, &key).iter().filter(|count| **count == "1").count() > 2, "{expected:?}");
        ensure!(is_gone(found, &key), "{key} is not gone");
    }
    Ok(())
}

#[test]
fn at_least_once_nothing_that_waits_for_time_is_lost_whatever_is_killed() -> Result<()> {
    let mut scene = Scene::new("time-driven-at-least-once", AT_LEAST_ONCE)?;
    let (found, expected) = killed_under_load(&mut scene)?;
    let missing = missing_of(&expected, &found);
    ensure!(missing.is_empty(), "missing: {missing:?}");
    for name in ["suppressed", "closed"] {
        // A count may be larger than it must be, if a record was counted twice.
        let counts = |results: &[String]| -> Result<BTreeMap<String, u64>> {
            let split = |result: &String| {
                let (window, count) = result.rsplit_once(' ').context("a result without a count")?;
                Ok((window.to_owned(), count.parse()?))
            };
            results.iter().map(split).collect()
        };
        let (found, expected) = (counts(&found[name])?, counts(&expected[name])?);
        for (window, count) in &expected {
            ensure!(found[window] >= *count, "{name}, {window}: {} of {count} records", found[window]);
        }
    }
    Ok(())
}
