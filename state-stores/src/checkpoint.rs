//! A checkpoint on its way into the engines: frozen rows of all stores of a task, and the changelog positions they reflect.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, TryRecvError, channel};
use std::time::Duration;

use crate::background::BackgroundThread;
use crate::engine::Engine;
use crate::error::StoreError;
use crate::overlay::Overlay;
use crate::reader::StoreReader;
use crate::types::{LogPartition, LogPosition, StoreIndex};

/// The checkpoints of one task since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckpointStats {
    /// How many were written.
    pub written: u64,
    /// How long that took, from the first byte to the end of the flush; zero without a background thread, which brings
    /// the clock.
    pub time: Duration,
    /// Whether one is being written.
    pub is_in_flight: bool,
}

/// How far a checkpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointStep {
    /// Its rows are frozen, and none of them is written.
    Frozen,
    /// They are on the disk, the changelog offsets they reflect are not.
    RowsWritten,
    /// Both are on the disk.
    OffsetsWritten,
}

/// Told about each step of a checkpoint, on the thread that makes it. By default nobody is.
#[derive(Clone, Default)]
pub struct CheckpointListener(Option<Arc<dyn Fn(CheckpointStep) + Send + Sync>>);

impl CheckpointListener {
    /// One that calls `listener`, which must return soon: the checkpoint waits.
    pub fn new(listener: impl Fn(CheckpointStep) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    fn tell(&self, step: CheckpointStep) {
        if let Some(listener) = &self.0 {
            listener(step);
        }
    }
}

impl std::fmt::Debug for CheckpointListener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("CheckpointListener").field(&self.0.is_some()).finish()
    }
}

/// The rows of one task that became part of a checkpoint. It owns all it needs: the task may go on, or end.
pub(crate) struct Checkpoint {
    /// In the order in which they are written.
    pub(crate) engines: Vec<Arc<dyn Engine>>,
    pub(crate) stores: Vec<FrozenStore>,
    pub(crate) listener: CheckpointListener,
}

pub(crate) struct FrozenStore {
    /// Which of the engines has its rows.
    pub(crate) engine: usize,
    /// Its own, then that of its companion.
    pub(crate) tables: Vec<FrozenTable>,
    /// The positions in its log that the rows reflect, as far as they are known.
    pub(crate) positions: Vec<(LogPartition, LogPosition)>,
}

pub(crate) struct FrozenTable {
    pub(crate) table: StoreIndex,
    pub(crate) rows: Overlay,
    pub(crate) reader: Arc<StoreReader>,
}

/// A checkpoint that was handed over, and where its outcome arrives.
pub(crate) struct CheckpointInFlight {
    outcome: Receiver<Outcome>,
}

type Outcome = Result<Duration, StoreError>;

/// The checkpoint was dropped unwritten, because the thread that should have written it has ended.
pub(crate) struct Abandoned;

impl Checkpoint {
    /// Has the checkpoint written: by the background thread, or here and now if there is none.
    pub(crate) fn begin(self, background: Option<&BackgroundThread>) -> CheckpointInFlight {
        let (sender, outcome) = channel();
        // Nobody listens any more if the task was dropped meanwhile; what was written is right all the same.
        let report = move |written: Outcome| drop(sender.send(written));
        match background {
            Some(background) => {
                let clock = background.clock();
                background.run(move || {
                    let start = clock();
                    let written = self.write();
                    report(written.map(|()| clock().saturating_sub(start)));
                });
            }
            None => report(self.write().map(|()| Duration::ZERO)),
        }
        CheckpointInFlight { outcome }
    }

    /// Writes rows and offsets to the disk. Everything this holds on to, the directory's lock included, is let go of at the
    /// end.
    fn write(self) -> Result<(), StoreError> {
        self.listener.tell(CheckpointStep::Frozen);
        let mut engines = self.engines.iter().enumerate();
        let written = engines.try_for_each(|(number, engine)| self.write_to(number, &**engine));
        for table in self.stores.iter().flat_map(|store| &store.tables) {
            match written {
                Ok(()) => table.reader.forget_frozen(),
                Err(_) => table.reader.thaw(),
            }
        }
        written
    }

    fn write_to(&self, number: usize, engine: &dyn Engine) -> Result<(), StoreError> {
        let stores = || self.stores.iter().filter(|frozen| frozen.engine == number);
        stores().try_for_each(|frozen| {
            let rows = frozen.tables.iter().map(|frozen| (frozen.table, &frozen.rows));
            engine.write(&rows.collect::<Vec<_>>())
        })?;
        self.listener.tell(CheckpointStep::RowsWritten);
        let positions = stores().flat_map(|frozen| frozen.positions.iter().copied());
        engine.set_positions(&positions.collect::<Vec<_>>())?;
        self.listener.tell(CheckpointStep::OffsetsWritten);
        Ok(())
    }
}

impl CheckpointInFlight {
    /// How it ended, if it has.
    pub(crate) fn poll(&self) -> Option<Result<Outcome, Abandoned>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(Ok(outcome)),
            Err(TryRecvError::Disconnected) => Some(Err(Abandoned)),
            Err(TryRecvError::Empty) => None,
        }
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&self) -> Result<Outcome, Abandoned> {
        self.outcome.recv().map_err(|RecvError| Abandoned)
    }
}
