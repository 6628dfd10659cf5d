//! The cluster with one application on it: made, repaired after each fault, caught up and ended.

use std::time::Duration;

use anyhow::Result;
use millstream::Topology;

use super::check::{Findings, ViolationKind};
use super::disk::Disk;
use super::power::PowerSupply;
use super::programs::topic_of;
use super::worker::{Application, Worker};
use crate::kafka::KafkaCluster;
use crate::wait::await_until;

/// How long an application may stand still after a fault is over. Much longer than any session or request lasts.
const DEADLINE_OF_PROGRESS: Duration = Duration::from_secs(120);
const DEADLINE_OF_AN_END: Duration = Duration::from_secs(120);
/// Enough that every instance has some, and every node leads some.
const PARTITIONS: usize = 3;

/// An application with its instances, and what they run on.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a mut KafkaCluster,
    pub(super) disk: &'a Disk,
    power: &'a PowerSupply,
    pub(super) application: Application,
    pub(super) topology: Topology,
    /// Those that are to run whenever no fault keeps them from it.
    pub(super) workers: Vec<Worker>,
    /// Those that came and went.
    pub(super) guests: Vec<Worker>,
    pub(super) findings: Findings,
}

impl<'a> Stage<'a> {
    /// Creates the topics and starts the instances.
    pub(super) fn set(
        cluster: &'a mut KafkaCluster,
        (disk, power): (&'a Disk, &'a PowerSupply),
        application: Application,
        instances: usize,
    ) -> Result<Self> {
        for given in application.program.topics() {
            // The broker's clock says when an output was written; inputs keep the time they were made up.
            let by_broker = [("message.timestamp.type", "LogAppendTime")];
            let settings = if given.passed_on.is_some() { &by_broker[..] } else { &[] };
            cluster.client().create_topic(&topic_of(&application.id, given.name), PARTITIONS, settings)?;
        }
        let topology = application.program.topology(&application.id)?;
        let (workers, guests, findings) = (Vec::new(), Vec::new(), Findings::default());
        let mut stage = Stage { cluster, disk, power, application, topology, workers, guests, findings };
        for number in 0..instances {
            let worker = stage.new_worker(&format!("{}-instance-{number}", stage.application.id))?;
            stage.workers.push(worker);
        }
        stage.repair()?;
        Ok(stage)
    }

    pub(super) fn new_worker(&self, name: &str) -> Result<Worker> {
        let logs = self.application.logs.as_deref();
        Ok(Worker::new(name, self.disk.path(), self.power.of(name)?, logs))
    }

    pub(super) fn worker(&mut self, target: usize) -> &mut Worker {
        let count = self.workers.len();
        &mut self.workers[target % count]
    }

    pub(super) fn start(&mut self, target: usize) -> Result<()> {
        let application = self.application.clone();
        self.worker(target).start(&application)
    }

    /// Starts what does not run; what ended although nothing was done to it is a finding.
    pub(super) fn repair(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            if let Some(last_words) = worker.unexpected_end()? {
                self.findings
                    .add(ViolationKind::GaveUp, format!("an instance ended by itself: {last_words}"));
            }
            if worker.is_running()? {
                worker.expect_no_end();
            } else {
                worker.start(&self.application)?;
            }
        }
        Ok(())
    }

    /// Waits until something more is committed than at the time of the call; false if nothing was for too long.
    pub(super) fn await_progress(&mut self) -> Result<bool> {
        let (mut before, mut last_answer) = (None, String::new());
        let progress = await_until(DEADLINE_OF_PROGRESS, "a commit", || {
            let committed = self.cluster.client().committed_offsets(&self.application.id);
            last_answer = format!("{committed:?}");
            let now: i64 = committed.ok()?.values().sum();
            (now > *before.get_or_insert(now)).then_some(())
        });
        let is_stuck = progress.is_err();
        if is_stuck {
            let last_words = self.last_words();
            let what = format!(
                "nothing committed for {DEADLINE_OF_PROGRESS:?}, at last: {last_answer}\n{last_words}"
            );
            self.findings.add(ViolationKind::GaveUp, what);
        }
        Ok(!is_stuck)
    }

    /// Waits until all input, and all that the application sent to itself, is committed; false if that takes too long.
    pub(super) fn await_caught_up(&mut self) -> Result<bool> {
        let sources: Vec<String> = self
            .topology
            .source_topics()
            .iter()
            .map(|topic| topic.in_application(&self.application.id))
            .collect();
        let client = self.cluster.client();
        let mut unread: Vec<usize> = Vec::new();
        let caught_up = await_until(DEADLINE_OF_PROGRESS, "all input to be committed", || {
            let committed = client.committed_offsets(&self.application.id).ok()?;
            // In the order of the data: what comes first fills what comes after it.
            unread =
                sources.iter().map(|topic| client.unread(topic, &committed)).collect::<Result<_>>().ok()?;
            let is_all_read = unread.iter().all(|unread| *unread == 0);
            // The transaction of a killed instance hides what others wrote after it.
            let is_hidden = |topic: &String| client.has_open_transaction(topic).unwrap_or(true);
            (is_all_read && !self.own_topics().iter().any(is_hidden)).then_some(())
        });
        if caught_up.is_err() {
            let last_words = self.last_words();
            let what = format!(
                "not caught up after {DEADLINE_OF_PROGRESS:?}: {unread:?} records of {sources:?} are left\n{}",
                last_words
            );
            self.findings.add(ViolationKind::GaveUp, what);
        }
        Ok(caught_up.is_ok())
    }

    /// Ends all instances cleanly.
    pub(super) fn close(&mut self) {
        for worker in self.workers.iter_mut().chain(&mut self.guests) {
            if let Err(error) = worker.stop(DEADLINE_OF_AN_END) {
                self.findings.add(ViolationKind::GaveUp, format!("no clean end: {error:#}"));
                if let Err(error) = worker.kill() {
                    tracing::warn!("cannot end an instance: {error:#}");
                }
            }
            if worker.has_rebuilt() {
                let what = format!("an instance dropped its state: {}", worker.state_dir().display());
                self.findings.add(ViolationKind::Diverged, what);
            }
            for setback in worker.setbacks() {
                let what = format!("state was lost in {}: {setback}", worker.state_dir().display());
                self.findings.add(ViolationKind::Diverged, what);
            }
        }
    }

    fn last_words(&self) -> String {
        let of_workers: Vec<String> = self.workers.iter().map(Worker::last_words).collect();
        of_workers.join("\n")
    }

    /// The topics whose names begin with the application's id; none if the cluster does not answer.
    fn own_topics(&self) -> Vec<String> {
        let prefix = topic_of(&self.application.id, "");
        let topics = self.cluster.client().topics().unwrap_or_default();
        topics.into_iter().filter(|topic| topic.starts_with(&prefix)).collect()
    }

    /// Deletes the application's topics. That it fails is no finding: the cluster ends with the suite.
    pub(super) fn clean(&mut self) {
        let topics = self.own_topics();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        if let Err(error) = self.cluster.client().delete_topics(&topics) {
            tracing::warn!("topics of the suite are left: {error:#}");
        }
    }
}
