//! A point read of a committed row, as a query does it: from what is not checkpointed yet, and from RocksDB.

use criterion::{Criterion, Throughput};
use millstream_state_stores::Offset;

use super::{KEYS, commit, count_up, open, scattered_keys, store};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("point read");
    group.throughput(Throughput::Elements(1));
    let keys = scattered_keys(KEYS);
    let root = tempfile::tempdir().expect("a temporary directory");
    let (mut stores, counts) = open(root.path(), true, 256 << 20);
    let reader = stores.reader("counts").expect("just declared");
    // Commits of all sizes, so that what waits for a checkpoint has several parts.
    for size in [KEYS, 1_000, 30_000, 100, 10, KEYS / 2, 1] {
        keys[..size].iter().for_each(|key| count_up(&counts, key));
        commit(&mut stores);
    }
    let mut read = |name: &str| {
        group.bench_function(name, |bencher| {
            let mut next = keys.iter().cycle();
            bencher.iter(|| {
                let key = next.next().map(String::as_bytes).unwrap_or_default();
                reader.get(key).expect("the task is open").expect("every key is there")
            });
        });
    };
    read("overlay");
    stores.checkpoint(&[(store().into(), Offset::new(1).into())]).expect("the disk has room");
    read("engine");
    group.finish();
}
