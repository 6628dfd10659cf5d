//! How soon a store is there again after `kill -9`: without a repair, from its last checkpoint.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use millstream_integration_tests::process::RunningProgram;
use millstream_state_stores::{
    BackgroundThread, HasSerde, KeyValueStore, KeyValueStoreBuilder, Offset, Position, StateDirectory,
    StateMemory, StoreError, StoreIndex, TaskId, TaskStores, TaskStoresOptions, Timestamp, ValueAndTimestamp,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Row;
use super::throughput::ROUNDS_WITHOUT_GOAL;
use crate::bench::Bench;
use crate::clock::clock;
use crate::report::{Figure, Figures, Goal, Outcome};
use crate::settings::Column;
use crate::stats::median;

const ROWS: u64 = 1 << 20;
/// With a value of a kilobyte that does not compress, the rows are a gibibyte.
const VALUE_BYTES: usize = 1 << 10;
const STATE_MEMORY: usize = 256 << 20;
const ROWS_BETWEEN_CHECKPOINTS: u64 = 20_000;

pub(super) struct Reopen;

impl Row for Reopen {
    fn name(&self) -> String {
        "reopen".to_owned()
    }

    fn title(&self) -> String {
        "opening a store of 1 GiB whose process was killed while it wrote".to_owned()
    }

    fn is_in_quick_look(&self) -> bool {
        false
    }

    fn measure(&self, bench: &mut Bench) -> Result<Vec<Outcome>> {
        let folder = tempfile::Builder::new().prefix("millstream-bench-").tempdir()?;
        let clock = clock();
        let rounds = bench.rounds(ROUNDS_WITHOUT_GOAL, |_| {
            bench.message("filling a store, killing its process".to_owned());
            kill_while_it_writes(folder.path())?;
            let start = clock.monotonic();
            let filling = Filling::open(folder.path())?;
            let time = clock.monotonic().saturating_sub(start);
            ensure!(filling.next >= ROWS, "only {} rows are left after the kill", filling.next);
            Ok(time.as_secs_f64() * 1e3)
        })?;
        let mut outcome = Outcome::new(self, Column::Matched, rounds.len());
        outcome.goals = vec![Goal::of(Figure::ReopenMs, 1000.0)];
        outcome.ours = Figures { reopen_ms: median(rounds.iter().copied()), ..Figures::default() };
        let slowest = rounds.iter().copied().fold(0.0, f64::max);
        outcome.notes.push(format!("at most {slowest:.0} ms"));
        Ok(vec![outcome])
    }
}

fn kill_while_it_writes(folder: &Path) -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(300);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("fill").arg(folder);
    let mut program = RunningProgram::start("the writer of a store", command)?;
    program.await_line(DEADLINE, "filled", |line| (line == "filled").then_some(()))?;
    // Into the middle of some checkpoint.
    clock().sleep(Duration::from_millis(rand::rng().random_range(200..1200)));
    program.kill()
}

/// Writes rows to a store until it is killed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Fill {
    folder: PathBuf,
}

impl Fill {
    pub(crate) fn run(&self) -> Result<()> {
        let mut filling = Filling::open(&self.folder)?;
        let mut is_filled = false;
        loop {
            filling.write(ROWS_BETWEEN_CHECKPOINTS)?;
            if !is_filled && filling.next >= ROWS {
                is_filled = true;
                println!("filled");
            }
        }
    }
}

/// A store, and how many rows its checkpoint has seen, which is what its offset says.
struct Filling {
    stores: TaskStores,
    rows: KeyValueStore<Vec<u8>, Vec<u8>>,
    next: u64,
    chance: StdRng,
}

impl Filling {
    fn open(folder: &Path) -> Result<Self> {
        let task = TaskId { subtopology: 0, partition: 0 };
        let builder = KeyValueStoreBuilder::new("rows", <Vec<u8>>::serde(), <Vec<u8>>::serde());
        let background = BackgroundThread::start("checkpoints", || Duration::ZERO)?;
        let options = TaskStoresOptions { background: Some(background), ..TaskStoresOptions::default() };
        let locked = StateDirectory::new(folder, "bench").lock_task(task)?;
        let memory = StateMemory::new(STATE_MEMORY);
        let stores = TaskStores::open(task, "bench", Some(locked), memory, options, &[Arc::new(builder)])?;
        let rows = stores.key_value("rows")?;
        let next = stores.stored_offset(StoreIndex::new(0)).map_or(0, Offset::get);
        Ok(Filling { stores, rows, next: u64::try_from(next)?, chance: StdRng::seed_from_u64(1) })
    }

    fn write(&mut self, count: u64) -> Result<()> {
        let at = Timestamp::from_millis(1);
        for row in self.next..self.next + count {
            let mut value = vec![0; VALUE_BYTES];
            self.chance.fill(&mut value[..]);
            let key = (row % ROWS).to_be_bytes().to_vec();
            self.rows.put(&key, Some(ValueAndTimestamp::new(value, at)))?;
        }
        self.next += count;
        self.stores.prepare_commit()?;
        self.stores.drain_changelog(|_| Ok::<_, StoreError>(()))?;
        self.stores.commit(Arc::new(Position::new()))?;
        self.stores.await_checkpoint()?;
        let offset = Offset::new(i64::try_from(self.next).context("more rows than offsets")?);
        Ok(self.stores.begin_checkpoint(&[(StoreIndex::new(0).into(), offset.into())])?)
    }
}
