//! What the stream thread spends on a commit of 100 k changed rows, step by step, and on the checkpoint after it.

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, WallTime};
use millstream_state_stores::{Offset, Position, TaskStores};

use super::{KEYS, count_up, open, scattered_keys, send_changelog, store};

/// As many commits as there are in a checkpoint interval by default.
const COMMITS_PER_CHECKPOINT: u64 = 5;

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Prepare,
    Publish,
    Checkpoint,
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit of 100 k rows");
    group.sample_size(10);
    let keys = scattered_keys(KEYS);
    for (name, timed) in
        [("prepare", Step::Prepare), ("publish", Step::Publish), ("checkpoint", Step::Checkpoint)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let root = tempfile::tempdir().expect("a temporary directory");
                let (mut stores, counts) = open(root.path(), true, 256 << 20);
                let mut total = Duration::ZERO;
                let mut measure = |step: Step, stores: &mut TaskStores, work: &dyn Fn(&mut TaskStores)| {
                    let start = WallTime.start();
                    work(stores);
                    if step == timed {
                        total += WallTime.end(start);
                    }
                };
                for round in 0..rounds {
                    let is_last = (round + 1) % COMMITS_PER_CHECKPOINT == 0;
                    // A checkpoint is timed in every round, so that each round counts.
                    let checkpoints = timed == Step::Checkpoint || is_last;
                    keys.iter().for_each(|key| count_up(&counts, key));
                    measure(Step::Prepare, &mut stores, &|stores| {
                        stores.prepare_commit().expect("counts can be encoded");
                    });
                    send_changelog(&mut stores);
                    measure(Step::Publish, &mut stores, &|stores| {
                        stores.commit(Arc::new(Position::new())).expect("prepared and sent");
                    });
                    if checkpoints {
                        // The task looks at the one before: its writing is not the task's time.
                        stores.await_checkpoint().expect("the disk has room");
                        measure(Step::Checkpoint, &mut stores, &begin_checkpoint);
                    }
                }
                total
            });
        });
    }
    group.finish();
}

fn begin_checkpoint(stores: &mut TaskStores) {
    stores.begin_checkpoint(&[(store().into(), Offset::new(1).into())]).expect("everything is committed");
}
