//! A run: batches of faults, each with an application of its own, until all have come.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::check::{Findings, Rules, ViolationKind};
use super::disk::Disk;
use super::inject::inject;
use super::judge::judge;
use super::load::Load;
use super::power::PowerSupply;
use super::schedule::{Fault, FaultKind, schedule};
use super::stage::Stage;
use super::worker::Application;
use super::{Guarantee, Program};
use crate::kafka::{KafkaCluster, unique_name};

/// Faults that an application goes through before it is judged: enough that each falls into a state which earlier ones left,
/// few enough that a failure is soon replayed.
const BATCH: usize = 10;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many faults.
    pub faults: usize,
    /// Batch `n` runs with this seed plus `n`.
    pub seed: u64,
    /// What the application promises.
    pub guarantee: Guarantee,
    /// What it is held to; another than it promises, to see the suite find something.
    pub judged_by: Guarantee,
    /// Which faults.
    pub kinds: Vec<FaultKind>,
    /// Which programs; a batch takes one by its seed.
    pub programs: Vec<Program>,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Instances of the application.
    pub instances: usize,
    /// Records of input a second.
    pub rate: u32,
    /// A folder that keeps what the instances said.
    pub logs: Option<PathBuf>,
}

/// What happens in a run, as it happens.
#[derive(Debug)]
pub enum Progress<'a> {
    /// An application begins.
    Batch {
        /// Its seed.
        seed: u64,
        /// Its program.
        program: Program,
    },
    /// A fault begins.
    Fault(&'a Fault),
    /// An application was judged.
    Judged(&'a Batch),
}

/// One application's way through its faults.
#[derive(Debug)]
pub struct Batch {
    /// Its seed, which with the number of its faults replays it.
    pub seed: u64,
    /// Its program.
    pub program: Program,
    /// The faults it went through; fewer than planned if one was too many.
    pub faults: Vec<Fault>,
    /// Records of input.
    pub records: u64,
    /// What was looked at in the end; nothing if it did not get there.
    judged_by: Option<Rules>,
    /// What was wrong.
    pub findings: Findings,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// In their order.
    pub batches: Vec<Batch>,
}

impl Outcome {
    /// How many faults there were.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.batches.iter().map(|batch| batch.faults.len()).sum()
    }

    /// How many faults of each kind there were.
    #[must_use]
    pub fn by_kind(&self) -> BTreeMap<FaultKind, usize> {
        let mut by_kind = BTreeMap::new();
        for fault in self.batches.iter().flat_map(|batch| &batch.faults) {
            *by_kind.entry(fault.kind).or_insert(0) += 1;
        }
        by_kind
    }

    /// How often a promise was broken in this way.
    #[must_use]
    pub fn count(&self, kind: ViolationKind) -> usize {
        self.batches.iter().map(|batch| batch.findings.count(kind)).sum()
    }

    /// The run in a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let of = |kind| self.count(kind);
        let (lost, duplicated) = (of(ViolationKind::Lost), of(ViolationKind::Duplicated));
        let (diverged, gave_up) = (of(ViolationKind::Diverged), of(ViolationKind::GaveUp));
        let ends = if gave_up == 0 { String::new() } else { format!(", {gave_up} gave up") };
        format!("{} faults, {lost} lost, {duplicated} duplicated, {diverged} diverged{ends}", self.faults())
    }

    /// How many applications were looked at in the end, and in how many of them also for what comes twice, and for state that diverges.
    #[must_use]
    pub fn judged(&self) -> (usize, usize) {
        let rules = || self.batches.iter().filter_map(|batch| batch.judged_by);
        (rules().count(), rules().filter(Rules::hold_to_all).count())
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.batches.iter().all(|batch| batch.findings.violations.is_empty())
    }
}

impl Options {
    /// The faults of the batch with this seed. At-least-once, what comes twice can only be told apart from a promise broken while no instance
    /// writes beside its successor. So half of the applications, by a coin that the seed tosses, go only through faults that leave one writer.
    fn kinds_of(&self, seed: u64) -> Vec<FaultKind> {
        let leaves_one = |kind: &FaultKind| !kind.may_leave_two_writers();
        let gentle: Vec<FaultKind> = self.kinds.iter().copied().filter(leaves_one).collect();
        let is_for_one =
            self.guarantee == Guarantee::AtLeastOnce && StdRng::seed_from_u64(!seed).random_bool(0.5);
        if is_for_one && !gentle.is_empty() { gentle } else { self.kinds.clone() }
    }

    /// A batch in a line; where something was wrong, with what it was, and with the command that goes through it again.
    #[must_use]
    pub fn report(&self, batch: &Batch) -> String {
        const MOST_NAMED: usize = 20;
        let Batch { seed, program, records, judged_by, findings, .. } = batch;
        let violations = &findings.violations;
        let count = violations.len();
        let of_what = match judged_by {
            Some(rules) if rules.hold_to_all() => "",
            Some(_) => " (two may have written: only what is lost was looked for)",
            None => " (not judged)",
        };
        let mut report = format!("seed {seed}, {program:?}: {records} records, {count} violations{of_what}");
        for violation in violations.iter().take(MOST_NAMED) {
            report.push_str(&format!("\n    {violation}"));
        }
        if let Some(more @ 1..) = count.checked_sub(MOST_NAMED) {
            report.push_str(&format!("\n    and {more} more"));
        }
        if count > 0 {
            report.push_str(&format!("\n    replay with: {}", self.replay(batch)));
        }
        report
    }

    /// The command that goes through a batch again.
    fn replay(&self, batch: &Batch) -> String {
        fn name(value: &impl ValueEnum) -> String {
            value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        }
        let kinds: Vec<String> = self.kinds.iter().map(name).collect();
        format!(
            "make faults ARGS=\"--seed {} --faults {} --guarantee {} --judged-by {} --program {} --only {} --nodes {} \
             --instances {} --rate {}\"",
            batch.seed,
            batch.faults.len(),
            name(&self.guarantee),
            name(&self.judged_by),
            name(&batch.program),
            kinds.join(","),
            self.nodes,
            self.instances,
            self.rate
        )
    }
}

/// Runs until all faults have come.
///
/// # Errors
/// If the suite itself cannot go on: there is no Kafka, or a broker does not come back. That an application fails is no error, but
/// in the outcome.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Progress<'_>)) -> Result<Outcome> {
    let mut cluster = KafkaCluster::start(options.nodes)?;
    let (disk, power) = (Disk::new()?, PowerSupply::new()?);
    let mut batches: Vec<Batch> = Vec::new();
    while let left @ 1.. = options.faults.saturating_sub(batches.len() * BATCH) {
        let seed = options.seed.wrapping_add(batches.len() as u64);
        let faults = schedule(seed, left.min(BATCH), &options.kinds_of(seed));
        let program = usize::try_from(seed % options.programs.len() as u64)?;
        let program = *options.programs.get(program).context("name at least one program")?;
        tell(&Progress::Batch { seed, program });
        let batch = run_batch(options, seed, program, faults, &mut cluster, (&disk, &power), tell);
        let batch = batch.with_context(|| format!("in the batch with the seed {seed}"))?;
        tell(&Progress::Judged(&batch));
        batches.push(batch);
    }
    Ok(Outcome { batches })
}

fn run_batch(
    options: &Options,
    seed: u64,
    program: Program,
    faults: Vec<Fault>,
    cluster: &mut KafkaCluster,
    (disk, power): (&Disk, &PowerSupply),
    tell: &mut dyn FnMut(&Progress<'_>),
) -> Result<Batch> {
    let application = Application {
        program,
        id: unique_name(&format!("faults-{seed}")),
        guarantee: options.guarantee,
        bootstrap_servers: cluster.proxied_servers(),
        logs: options.logs.clone(),
        has_one_writer: !options.kinds_of(seed).iter().any(|kind| kind.may_leave_two_writers()),
    };
    let id = application.id.clone();
    let mut stage = Stage::set(cluster, (disk, power), application, options.instances)?;
    let load = Load::start(program, &id, seed, options.rate, stage.cluster.client())?;
    let mut goes_on = stage.await_progress()?;
    let mut done = Vec::new();
    for fault in faults {
        if !goes_on {
            break;
        }
        thread::sleep(fault.after);
        stage.repair()?;
        tell(&Progress::Fault(&fault));
        inject(&fault, &mut stage).with_context(|| format!("cannot carry out: {fault}"))?;
        stage.repair()?;
        done.push(fault);
        goes_on = stage.await_progress()?;
    }
    let records = load.stop()?;
    let mut judged_by = None;
    if goes_on && stage.await_caught_up()? {
        stage.repair()?;
        stage.close();
        let has_one_writer = !done.iter().any(|fault| fault.kind.may_leave_two_writers());
        let rules = Rules { guarantee: options.judged_by, has_one_writer };
        stage.findings.extend(judge(&stage, rules)?);
        judged_by = Some(rules);
    }
    stage.clean();
    Ok(Batch { seed, program, faults: done, records, judged_by, findings: stage.findings })
}
