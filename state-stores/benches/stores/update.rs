//! An update of a row: one that the table has, and one that only RocksDB has.

use criterion::{Criterion, Throughput};
use millstream_state_stores::Offset;

use super::{KEYS, commit, count_up, open, scattered_keys, send_changelog, store};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update");
    group.throughput(Throughput::Elements(1));
    let keys = scattered_keys(KEYS);
    for (name, is_cached) in [("hit, emission cached", true), ("hit, every update logged", false)] {
        group.bench_function(name, |bencher| {
            let root = tempfile::tempdir().expect("a temporary directory");
            let (mut stores, counts) = open(root.path(), is_cached, 256 << 20);
            let mut next = keys.iter().cycle();
            let mut until_drained = 1_000;
            bencher.iter(|| {
                if let Some(key) = next.next() {
                    count_up(&counts, key);
                }
                until_drained -= 1;
                if until_drained == 0 {
                    until_drained = 1_000;
                    send_changelog(&mut stores);
                }
            });
        });
    }
    group.bench_function("miss", |bencher| {
        let root = tempfile::tempdir().expect("a temporary directory");
        // A table for a few hundred rows.
        let (mut stores, counts) = open(root.path(), true, 64 << 10);
        for key in &keys {
            count_up(&counts, key);
        }
        commit(&mut stores);
        stores.checkpoint(&[(store().into(), Offset::new(1).into())]).expect("the disk has room");
        let mut next = keys.iter().cycle();
        let mut until_commit = 1_000;
        bencher.iter(|| {
            if let Some(key) = next.next() {
                count_up(&counts, key);
            }
            until_commit -= 1;
            if until_commit == 0 {
                until_commit = 1_000;
                stores.rollback();
            }
        });
    });
    group.finish();
}
