//! How long a record takes from being due at the producer to being seen behind the topology, at fractions of what Kafka Streams
//! can take while producer and reader share the machine with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use millstream_integration_tests::kafka::unique_name;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::{Row, Workload};
use crate::bench::Bench;
use crate::clock::clock;
use crate::input::{self, Input, Keys};
use crate::report::{Figure, Figures, Goal, Outcome};
use crate::settings::Column;
use crate::sides::Side;
use crate::stats::median;

/// Records whose time is not taken: the JVM warms up, in the first round from its start.
const FIRST_WARM_UP: Duration = Duration::from_secs(15);
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(6);
const UNDER_WAY: Duration = Duration::from_millis(500);
/// Without Kafka Streams there is nothing to take a fraction of.
const RATE_WITHOUT_PEER: f64 = 100_000.0;
/// More than Kafka Streams can take: what comes out then is its maximum.
const TOO_MUCH: f64 = 300_000.0;

struct Latency {
    percent: u32,
    rounds: usize,
    goals: &'static [Goal],
}

const HALF: &[Goal] =
    &[Goal::of(Figure::P99, 1.0 / 3.0), Goal::of(Figure::P999, 0.25), Goal::of(Figure::P50AboveLimitMs, 0.5)];

pub(super) fn rows() -> Vec<Box<dyn Row>> {
    vec![
        Box::new(Latency { percent: 25, rounds: 1, goals: &[] }),
        Box::new(Latency { percent: 50, rounds: 5, goals: HALF }),
        Box::new(Latency { percent: 75, rounds: 1, goals: &[] }),
    ]
}

/// Percentiles of one run, in milliseconds.
#[derive(Clone, Copy)]
struct Times {
    p50: f64,
    p99: f64,
    p999: f64,
    rss_mb: f64,
    received_per_s: f64,
}

impl Row for Latency {
    fn name(&self) -> String {
        format!("latency-{}", self.percent)
    }

    fn title(&self) -> String {
        format!("latency at {} % of what Kafka Streams passes on, open loop", self.percent)
    }

    fn is_in_quick_look(&self) -> bool {
        self.percent == 50
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let most = match bench.peer_maximum() {
            Some(most) => most,
            None if !bench.has_peer() => RATE_WITHOUT_PEER,
            None => {
                let most = run(bench, Side::Peer, TOO_MUCH, FIRST_WARM_UP)?.received_per_s;
                bench.remember_peer_maximum(most);
                most
            }
        };
        let rate = most * f64::from(self.percent) / 100.0;
        let rounds = self.rounds.min(bench.pairs());
        let mut all: Vec<(Side, Times)> = Vec::new();
        for round in 0..rounds {
            for side in bench.sides(true) {
                let is_cold = side == Side::Peer && round == 0;
                all.push((side, run(bench, side, rate, if is_cold { FIRST_WARM_UP } else { WARM_UP })?));
            }
        }
        let figures = |side: Side| {
            let of = |value: fn(&Times) -> f64| {
                median(all.iter().filter(|(found, _)| *found == side).map(|(_, times)| value(times)))
            };
            Some(Figures {
                p50_ms: Some(of(|times| times.p50)?),
                p99_ms: of(|times| times.p99),
                p999_ms: of(|times| times.p999),
                rss_mb: of(|times| times.rss_mb),
                ..Figures::default()
            })
        };
        let mut outcome = Outcome::new(self, Column::ShortLinger, rounds);
        outcome.goals = self.goals.to_vec();
        outcome.ours = figures(Side::Ours).unwrap_or_default();
        outcome.peer = figures(Side::Peer);
        outcome.limit = figures(Side::Limit);
        let times = |name: &str, figures: &Option<Figures>| {
            figures.as_ref().map(|figures| {
                let [p50, p99, p999] =
                    [figures.p50_ms, figures.p99_ms, figures.p999_ms].map(Option::unwrap_or_default);
                format!("{name} {p50:.2} / {p99:.2} / {p999:.2}")
            })
        };
        let ours = Some(outcome.ours.clone());
        let sides =
            [times("ours", &ours), times("Kafka Streams", &outcome.peer), times("limit", &outcome.limit)];
        let sides: Vec<String> = sides.into_iter().flatten().collect();
        outcome.notes.push(format!(
            "{:.0} k records/s; p50 / p99 / p99.9 in ms: {}",
            rate / 1e3,
            sides.join(", ")
        ));
        Ok(vec![outcome])
    }
}

fn run(bench: &Bench, side: Side, rate: f64, warm_up: Duration) -> Result<Times> {
    let partitions = Input::stream(0, Keys::Unique).partitions;
    let topic = unique_name("bench-latency");
    bench.kafka().create_topic(&topic, usize::try_from(partitions)?, &[])?;
    let scene = bench.scene(side, Workload::Pass, &topic, partitions)?;
    let child = scene.start(Column::ShortLinger)?;
    let (warm_up, measured) = (bench.scaled(warm_up), bench.scaled(MEASURED));

    let (is_warm, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (servers, output) = (bench.bootstrap_servers(), scene.run.output.as_str());
    let (times, received) = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(servers, output, partitions, &is_warm, &ended));
        let sent = send_until_seen(servers, &topic, partitions, output)
            .and_then(|()| send(servers, &topic, rate, warm_up, measured, &is_warm));
        // What is under way may still arrive.
        clock().sleep(UNDER_WAY);
        ended.store(true, Ordering::Relaxed);
        let received = receiver.join().map_err(|_| anyhow!("the receiving thread panicked"))?;
        sent.and(received)
    })?;
    let rss_mb = child.peak_resident_megabytes()?;
    scene.end(child, Column::ShortLinger)?;
    bench.kafka().delete_topics(&[&topic])?;
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a record fit")]
    let millis = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    #[allow(clippy::cast_precision_loss, reason = "a count of records fits")]
    let received_per_s = received as f64 / (measured + UNDER_WAY).as_secs_f64();
    Ok(Times { p50: millis(0.5), p99: millis(0.99), p999: millis(0.999), rss_mb, received_per_s })
}

fn producer(bootstrap_servers: &str) -> Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap_servers).set("linger.ms", "1");
    Ok(config.set("queue.buffering.max.messages", "1000000").create()?)
}

/// Records that nobody times, until one comes out: the group has met.
fn send_until_seen(bootstrap_servers: &str, topic: &str, partitions: i32, output: &str) -> Result<()> {
    let producer = producer(bootstrap_servers)?;
    let watch = crate::watch::Watch::new(bootstrap_servers, topic)?;
    while watch.records(output, partitions)? == 0 {
        input::send(&producer, BaseRecord::to(topic).key(&[0; 8]).payload(&value(NOT_TIMED)))?;
        producer.flush(Duration::from_secs(10))?;
        clock().sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Marks a record whose time is not taken.
const NOT_TIMED: u64 = 0;

/// A value of 100 bytes that begins with the time it was due, in microseconds.
fn value(due: u64) -> Vec<u8> {
    let mut value = vec![b'x'; 100];
    value[..8].copy_from_slice(&due.to_be_bytes());
    value
}

/// Sends at a fixed rate, whatever becomes of the records. Who is late says so: the time is that at which it was due.
fn send(
    bootstrap_servers: &str,
    topic: &str,
    rate: f64,
    warm_up: Duration,
    measured: Duration,
    is_warm: &AtomicBool,
) -> Result<()> {
    const TICK: Duration = Duration::from_millis(1);
    let producer = producer(bootstrap_servers)?;
    let clock = clock();
    let start = clock.monotonic();
    let (mut due, mut sent) = (Duration::ZERO, 0_u64);
    while due < warm_up + measured {
        due += TICK;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of records fits")]
        let target = (rate * due.as_secs_f64()) as u64;
        let is_timed = due > warm_up;
        is_warm.store(is_timed, Ordering::Relaxed);
        let time = if is_timed { u64::try_from((start + due).as_micros())? } else { NOT_TIMED };
        clock.sleep((start + due).saturating_sub(clock.monotonic()));
        let value = value(time);
        while sent < target {
            input::send(&producer, BaseRecord::to(topic).key(&sent.to_be_bytes()).payload(&value))?;
            sent += 1;
        }
        producer.poll(Duration::ZERO);
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

/// Reads the output until told to end. Takes the time of each record that wants it, in microseconds, and counts the records
/// that come once it is warm.
fn receive(
    bootstrap_servers: &str,
    topic: &str,
    partitions: i32,
    is_warm: &AtomicBool,
    ended: &AtomicBool,
) -> Result<(Histogram<u64>, u64)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap_servers)
        .set("group.id", topic)
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "1")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let clock = clock();
    let mut times = Histogram::<u64>::new(3)?;
    let mut received = 0;
    while !ended.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(10)) else { continue };
        let message = message?;
        received += u64::from(is_warm.load(Ordering::Relaxed));
        let due = message.payload().and_then(|value| value.get(..8)).context("a value without its time")?;
        let due = u64::from_be_bytes(due.try_into()?);
        if due != NOT_TIMED {
            times.record(u64::try_from(clock.monotonic().as_micros())?.saturating_sub(due))?;
        }
    }
    Ok((times, received))
}
