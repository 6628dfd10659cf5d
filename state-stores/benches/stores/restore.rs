//! How fast a changelog goes back into a store on disk, from the fetched bytes to the end of the flush.

use std::time::Duration;

use criterion::measurement::{Measurement, WallTime};
use criterion::{Criterion, Throughput};
use millstream_state_stores::{Offset, RestoreRow, Timestamp};

use super::{KEYS, open_dormant, scattered_keys, store};

const ROWS: usize = 1_000_000;
/// Rows in a fetched batch.
const BATCH: usize = 1_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("restore of 1 M rows");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, key_count) in [("100 k keys", KEYS), ("unique keys", ROWS)] {
        let keys = scattered_keys(key_count);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| restore(&keys)).sum());
        });
    }
    group.finish();
}

fn restore(keys: &[String]) -> Duration {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut stores = open_dormant(root.path(), true, 256 << 20);
    let start = WallTime.start();
    for first in (0..ROWS).step_by(BATCH) {
        let values: Vec<[u8; 8]> =
            (first..first + BATCH).map(|number| (number as i64).to_be_bytes()).collect();
        let rows = values.iter().enumerate().map(|(place, value)| RestoreRow {
            key: keys[(first + place) % keys.len()].as_bytes(),
            value: Some(value),
            timestamp: Timestamp::from_millis(1),
        });
        let next = Offset::new((first + BATCH) as i64);
        stores.restore(store(), rows, next).expect("the disk has room");
    }
    stores.flush(store()).expect("the disk has room");
    WallTime.end(start)
}
