//! A run from start to end: the application is started, fed, watched, compared with a recount, and closed.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream::clock::{Clock, SystemClock};
use millstream::kafka::{TopicReader, TopicWriter};
use millstream::topology::dead_letter_topic;
use millstream::{ClientState, Error, Result, Streams};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::arguments::Arguments;
use super::cluster::Cluster;
use super::display::Display;
use super::format::Facts;
use super::recount::{Difference, Recount};
use super::shop::Shop;
use super::topics::Topics;
use super::topology::{Views, topology};
use super::watch::{Restores, Watch};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stores say what a recount of so many events says.
    Agrees {
        /// Input events counted.
        events: u64,
        /// Keys that other instances hold, which were not compared.
        elsewhere: usize,
    },
    /// They do not.
    Differs {
        /// Input events counted.
        events: u64,
        /// What is not as it must be.
        differences: Vec<Difference>,
    },
    /// It was asked to end.
    Stopped,
}

impl Outcome {
    /// 1 if the view differs, else 0.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Outcome::Agrees { .. } | Outcome::Stopped => ExitCode::SUCCESS,
            Outcome::Differs { .. } => ExitCode::from(1),
        }
    }

    /// The result in words, the keys that differ among them.
    pub fn lines(&self) -> Vec<String> {
        /// Of each kind.
        const MOST_NAMED: usize = 20;
        match self {
            Outcome::Agrees { events, elsewhere: 0 } => {
                vec![format!("view agrees with a recount of {events} events")]
            }
            Outcome::Agrees { events, elsewhere } => vec![
                format!("view agrees with a recount of {events} events"),
                format!("{elsewhere} keys live in other instances and were not compared"),
            ],
            Outcome::Stopped => vec!["stopped".into()],
            Outcome::Differs { events, differences } => {
                let mut by_subject: BTreeMap<&str, Vec<&Difference>> = BTreeMap::new();
                for difference in differences {
                    by_subject.entry(difference.subject).or_default().push(difference);
                }
                let count = differences.len();
                let mut lines =
                    vec![format!("view differs from a recount of {events} events in {count} places:")];
                for (subject, differences) in by_subject {
                    lines.extend(
                        differences.iter().take(MOST_NAMED).map(|difference| format!("  {difference}")),
                    );
                    if let Some(more @ 1..) = differences.len().checked_sub(MOST_NAMED) {
                        lines.push(format!("  and {subject} of {more} other keys"));
                    }
                }
                lines.push(
                    "After a crash, events of the last commit interval may be counted and answered twice: docs/guide/guarantees.md".into(),
                );
                lines
            }
        }
    }
}

/// Runs the example as the arguments say, and prints how it ended.
///
/// # Errors
/// `Invalid` if arguments, topics or state do not fit; `Retry` if the cluster is away; whatever ended the application.
pub fn run(arguments: &Arguments) -> Result<Outcome> {
    if !arguments.generate && arguments.events.is_some_and(|events| events > 0) {
        return Err(Error::invalid(
            "--events writes events, which --generate false forbids: leave one of them out",
        ));
    }
    let signals = Signals::listen()?;
    let clock = SystemClock::shared();
    let prefix = &arguments.topic_prefix;
    let topics = Topics::with_prefix(prefix).with_answers(prefix, &arguments.answers);
    let facts = Facts::new(arguments, &topics)?;
    let run_name = format!("{:x}", clock.wall_clock().as_millis() / 1000);
    let cluster = Cluster::prepare(arguments, &topics, &run_name)?;
    let restores = Restores::default();
    let program = facts.settle(topology(&topics, Views { demand: arguments.demand })?);
    let app = Streams::builder(&arguments.application_id, program)
        .settings(cluster.settings.clone())
        .admin(Arc::clone(&cluster.admin))
        .on_restore(restores.listener())
        .start()?;
    let session = Session {
        arguments,
        topics,
        facts: &facts,
        clock,
        cluster: &cluster,
        asked_to_end: Arc::clone(&signals.asked_to_end),
        app: &app,
    };
    let ended = session.drive(Watch::new(&app, restores)?);
    signals.let_the_next_one_kill();
    // What ended the application explains best why the session ended.
    app.close()?;
    let (outcome, poison) = ended?;
    for line in outcome.lines() {
        println!("{line}");
    }
    if poison > 0 {
        println!("{poison} poison records in {}", dead_letter_topic(&arguments.application_id));
    }
    Ok(outcome)
}

/// SIGINT and SIGTERM.
struct Signals {
    asked_to_end: Arc<AtomicBool>,
    next_one_kills: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> Result<Self> {
        let (asked_to_end, next_one_kills) = (Arc::default(), Arc::default());
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(
                signal,
                128 + signal,
                Arc::clone(&next_one_kills),
            )
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&asked_to_end)))
            .map_err(|error| Error::fatal("cannot listen for signals").with_source(error))?;
        }
        Ok(Signals { asked_to_end, next_one_kills })
    }

    /// For those who do not want to wait for the clean end that has begun.
    fn let_the_next_one_kill(&self) {
        self.next_one_kills.store(true, Ordering::Relaxed);
    }
}

struct Session<'a> {
    arguments: &'a Arguments,
    topics: Topics,
    facts: &'a Facts,
    clock: Arc<dyn Clock>,
    cluster: &'a Cluster,
    asked_to_end: Arc<AtomicBool>,
    app: &'a Streams,
}

impl Session<'_> {
    /// Runs to the end. Returns it with the number of poison records.
    fn drive(&self, watch: Watch<'_>) -> Result<(Outcome, u64)> {
        let mut display = Display::new(self.arguments.quiet);
        if let Some(address) = self.app.http_address() {
            display.note(&format!(
                "http://{address}/stores  http://{address}/topology  http://{address}/health/ready  http://{address}/metrics"
            ));
        }
        let mut screen =
            Screen { display, watch, clock: Arc::clone(&self.clock), start: self.clock.monotonic() };
        let needs_topics = self.arguments.generate || self.arguments.events.is_some();
        if !needs_topics {
            while !self.is_over() {
                self.clock.sleep(Duration::from_millis(50));
                screen.refresh("processing", 0);
            }
            return Ok((Outcome::Stopped, screen.watch.poison()));
        }
        let mut traffic = self.open_traffic()?;
        while !self.is_over() && !traffic.reader.is_at_end() {
            traffic.read(self.facts, Duration::from_millis(50))?;
            screen.refresh("reading history", 0);
        }
        let started = self.clock.monotonic();
        while !self.is_over() && self.arguments.generate && !traffic.is_complete(self.arguments.events) {
            let due = self.due(self.clock.monotonic() - started, traffic.written);
            let wrote = traffic.write(self, due)?;
            let wait = if wrote == 0 { Duration::from_millis(10) } else { Duration::ZERO };
            traffic.read(self.facts, wait)?;
            screen.refresh("writing events", traffic.written);
        }
        traffic.writer.flush()?;
        match self.arguments.events {
            Some(_) if !self.is_over() => self.settle(&mut traffic, &mut screen),
            _ => Ok((Outcome::Stopped, screen.watch.poison())),
        }
    }

    fn is_over(&self) -> bool {
        let has_ended = matches!(self.app.state(), ClientState::Error | ClientState::NotRunning);
        has_ended || self.asked_to_end.load(Ordering::Relaxed)
    }

    fn open_traffic(&self) -> Result<Traffic> {
        let settings = &self.cluster.settings;
        let id = &self.arguments.application_id;
        let dead_letters = dead_letter_topic(id);
        let mut names = self.topics.all().to_vec();
        names.push(&dead_letters);
        Ok(Traffic {
            reader: TopicReader::from_beginning(settings, &format!("{id}-recount"), &names)?,
            writer: TopicWriter::new(settings, &format!("{id}-shop"))?,
            shop: Shop::new(self.arguments.seed, &self.cluster.order_prefix),
            // An endless run would grow with it.
            recount: self.arguments.events.map(|_| Recount::default()),
            written: 0,
            poison_written: 0,
        })
    }

    /// How many events may be written now.
    fn due(&self, elapsed: Duration, written: u64) -> u64 {
        const MOST_AT_ONCE: u64 = 500;
        let left = self.arguments.events.map_or(u64::MAX, |events| events.saturating_sub(written));
        let by_rate = match self.arguments.rate {
            0 => u64::MAX,
            rate => {
                let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                millis.saturating_mul(rate).div_ceil(1000).saturating_sub(written)
            }
        };
        left.min(by_rate).min(MOST_AT_ONCE)
    }

    /// Waits until the view agrees, or until nothing moves any more.
    fn settle(&self, traffic: &mut Traffic, screen: &mut Screen<'_>) -> Result<(Outcome, u64)> {
        // What a member that died held is processed after the session timeout only.
        let patience = self.cluster.settings.session_timeout + Duration::from_secs(5);
        let (mut last_progress, mut last_change) = ((0, 0), self.clock.monotonic());
        while !self.is_over() {
            traffic.reader.look_up_ends()?;
            while !traffic.reader.is_at_end() && !self.is_over() {
                traffic.read(self.facts, Duration::from_millis(20))?;
                screen.refresh("comparing", traffic.written);
            }
            traffic.read(self.facts, Duration::from_millis(100))?;
            screen.refresh("comparing", traffic.written);
            let Some(recount) = &traffic.recount else { break };
            let is_patient = {
                let progress = (screen.watch.processed(), recount.answers());
                let now = self.clock.monotonic();
                if progress != last_progress || self.app.state() != ClientState::Running {
                    (last_progress, last_change) = (progress, now);
                }
                now - last_change < patience
            };
            // While the group rebalances, a key that is not here may be nowhere.
            let is_settled = self.app.state() == ClientState::Running && screen.watch.lag() == 0;
            if is_patient && !is_settled {
                continue;
            }
            match screen.watch.view(recount) {
                Ok(view) => {
                    let (events, differences) = (recount.events(), recount.differences(&view));
                    if differences.is_empty() {
                        let elsewhere = view.elsewhere.len();
                        return Ok((Outcome::Agrees { events, elsewhere }, recount.unreadable()));
                    }
                    if !is_patient {
                        return Ok((Outcome::Differs { events, differences }, recount.unreadable()));
                    }
                }
                Err(error) if is_patient && error.may_pass() => {}
                Err(error) => return Err(Error::fatal("the stores cannot be compared").with_source(error)),
            }
        }
        Ok((Outcome::Stopped, screen.watch.poison()))
    }
}

/// What is drawn, and from what.
struct Screen<'a> {
    display: Display,
    watch: Watch<'a>,
    clock: Arc<dyn Clock>,
    start: Duration,
}

impl Screen<'_> {
    fn refresh(&mut self, phase: &'static str, written: u64) {
        let at = self.clock.monotonic() - self.start;
        if self.display.is_due(at) {
            self.display.show(&self.watch.frame(at, phase, written));
        }
    }
}

/// What goes into the topics and what comes back.
struct Traffic {
    reader: TopicReader,
    writer: TopicWriter,
    shop: Shop,
    recount: Option<Recount>,
    written: u64,
    poison_written: usize,
}

impl Traffic {
    fn is_complete(&self, events: Option<u64>) -> bool {
        events.is_some_and(|events| self.written >= events)
    }

    fn read(&mut self, facts: &Facts, wait: Duration) -> Result<()> {
        let Traffic { reader, shop, recount, .. } = self;
        reader.read(wait, |record| {
            let fact = facts.read(record)?;
            shop.learn(&fact);
            if let Some(recount) = recount {
                recount.count(&fact);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Writes up to so many events. Returns how many there were.
    fn write(&mut self, session: &Session<'_>, most: u64) -> Result<u64> {
        let poison = session.arguments.poison;
        for done in 0..most {
            let Some(event) = self.shop.next_event() else { return Ok(done) };
            session.facts.write(&mut self.writer, &event)?;
            self.written += 1;
            if poison > 0 && self.written.is_multiple_of(poison) {
                self.write_poison(&session.topics)?;
            }
        }
        Ok(most)
    }

    fn write_poison(&mut self, topics: &Topics) -> Result<()> {
        const GARBAGE: [Option<&[u8]>; 3] =
            [Some(b"no JSON"), Some(br#"{"event":"placed","order_id":7}"#), None];
        let topic = [&topics.orders, &topics.stock_movements][self.poison_written % 2];
        let value = GARBAGE[self.poison_written % GARBAGE.len()];
        self.poison_written += 1;
        self.writer.write_bytes(topic, Some(b"poison"), value)
    }
}
