//! How long a process takes from its start to its first output.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use millstream_integration_tests::kafka::GroupMember;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};

use super::{Row, Workload};
use crate::bench::Bench;
use crate::child::OneRun;
use crate::clock::clock;
use crate::input::{Input, Keys};
use crate::report::{Figure, Figures, Goal, Outcome};
use crate::settings::Column;
use crate::sides::{Side, end_of_stdin};
use crate::stats::median;
use crate::watch::Watch;

pub(super) struct Start;

impl Row for Start {
    fn name(&self) -> String {
        "start".to_owned()
    }

    fn title(&self) -> String {
        "from the start of the process to its first output, pass-through".to_owned()
    }

    fn is_in_quick_look(&self) -> bool {
        true
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let input = Input::stream(1000, Keys::Unique);
        let topic = bench.topic(input)?;
        let rounds = bench.rounds(usize::MAX, |_| {
            let one = |side: Side| Ok((side, run(bench, side, &topic, input.partitions)?));
            bench.sides(true).into_iter().map(one).collect::<Result<Vec<_>>>()
        })?;
        let figures = |side: Side| {
            let all = rounds.iter().flatten().filter(|(found, _)| *found == side);
            let start_ms = median(all.map(|(_, time)| time.as_secs_f64() * 1e3))?;
            Some(Figures { start_ms: Some(start_ms), ..Figures::default() })
        };
        let mut outcome = Outcome::new(self, Column::Matched, rounds.len());
        outcome.goals = vec![Goal::of(Figure::Start, 1.0 / 3.0), Goal::of(Figure::StartMs, 150.0)];
        outcome.ours = figures(Side::Ours).unwrap_or_default();
        outcome.peer = figures(Side::Peer);
        outcome.limit = figures(Side::Limit);
        let millis =
            |figures: Option<&Figures>| figures.and_then(|figures| figures.start_ms).unwrap_or_default();
        outcome.notes.push(format!(
            "ours {:.0} ms, Kafka Streams {:.0} ms, a bare consumer and producer that join a group {:.0} ms",
            millis(Some(&outcome.ours)),
            millis(outcome.peer.as_ref()),
            millis(outcome.limit.as_ref()),
        ));
        Ok(vec![outcome])
    }
}

fn run(bench: &Bench, side: Side, topic: &str, partitions: i32) -> Result<Duration> {
    const DEADLINE: Duration = Duration::from_secs(60);
    let scene = bench.scene(side, Workload::Start, topic, partitions)?;
    let watch = Watch::new(bench.bootstrap_servers(), &scene.run.id)?;
    watch.records(&scene.run.output, partitions)?;
    bench.cool_down();
    let clock = clock();
    let start = clock.monotonic();
    let child = scene.start(Column::Matched)?;
    let time = loop {
        let time = child.usage()?.at.saturating_sub(start);
        if watch.records(&scene.run.output, partitions)? > 0 {
            break time;
        }
        if time > DEADLINE {
            bail!("{} had no output after {DEADLINE:?}", side.name());
        }
        clock.sleep(Duration::from_millis(2));
    };
    scene.end(child, Column::Matched)?;
    Ok(time)
}

/// Joins a group and passes on one record: what nobody who joins a group can go below.
pub(super) fn limit(run: &OneRun) -> Result<()> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &run.bootstrap_servers)
        .set("group.id", &run.id)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false");
    let consumer = GroupMember::join(&config, &run.input)?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &run.bootstrap_servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "100")
        .create()?;
    let ended = end_of_stdin();
    // A poll also ends early, after a rebalance.
    let first = std::iter::repeat_with(|| consumer.poll(Duration::from_secs(1))).take(60).flatten().next();
    let first = first.context("no record came")??;
    let (key, value) = (first.key().unwrap_or_default(), first.payload().unwrap_or_default());
    producer.send(BaseRecord::to(&run.output).key(key).payload(value)).map_err(|(error, _)| error)?;
    producer.flush(Duration::from_secs(60))?;
    while !ended.load(std::sync::atomic::Ordering::Relaxed) {
        clock().sleep(Duration::from_millis(10));
    }
    Ok(())
}
