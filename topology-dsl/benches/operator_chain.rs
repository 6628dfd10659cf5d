//! What a record costs in the engine, without Kafka and RocksDB: `make bench-operators`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use millstream::prelude::*;
use millstream::testing::{PreparedRecords, TopologyBench};

const COUNTS: StoreName<String, u64> = StoreName::new("counts");
/// Records processed between two commits.
const RECORDS: i64 = 10_000;
const KEYS: i64 = 1_000;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    pass(&mut criterion)?;
    measure(&mut criterion, "filter and map_values", |input| {
        input.filter(|_, value| value % 2 == 0).map_values(|_, value| value + 1).to("output");
    })?;
    measure(&mut criterion, "count, every update emitted", |input| {
        input.group_by_key().count(COUNTS.without_caching()).to_stream().to("output");
    })?;
    measure(&mut criterion, "count, emitted at commit", |input| {
        input.group_by_key().count(COUNTS).to_stream().to("output");
    })?;
    join(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Records of 100 bytes go from one topic to another.
fn pass(criterion: &mut Criterion) -> Result<()> {
    let builder = StreamsBuilder::new();
    builder.stream::<Vec<u8>, Vec<u8>>("input").to("output");
    let bench = TopologyBench::new(builder.build()?)?;
    let records = (0..RECORDS).map(|n| (sku(n).into_bytes(), vec![7; 100], Timestamp::from_millis(n)));
    let records = bench.prepare::<Vec<u8>, Vec<u8>>("input", records)?;
    run(criterion, "pass", bench, &records);
    Ok(())
}

/// Each record finds a row of a table.
fn join(criterion: &mut Criterion) -> Result<()> {
    let builder = StreamsBuilder::new();
    let prices = builder.table::<String, i64>("prices");
    builder.stream::<String, i64>("input").join(&prices, |quantity, price| quantity * price).to("output");
    let mut bench = TopologyBench::new(builder.build()?)?;
    let prices = bench.prepare("prices", (0..KEYS).map(|n| (sku(n), n, Timestamp::from_millis(0))))?;
    bench.process(&prices)?;
    let records = orders(&bench)?;
    run(criterion, "stream-table join", bench, &records);
    Ok(())
}

/// A program over text keys and numbers.
fn measure(criterion: &mut Criterion, name: &str, declare: impl FnOnce(KStream<String, i64>)) -> Result<()> {
    let builder = StreamsBuilder::new();
    declare(builder.stream("input"));
    let bench = TopologyBench::new(builder.build()?)?;
    let records = orders(&bench)?;
    run(criterion, name, bench, &records);
    Ok(())
}

fn run(criterion: &mut Criterion, name: &str, mut bench: TopologyBench, records: &PreparedRecords) {
    let mut group = criterion.benchmark_group("operators");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter(|| {
            bench.process(records).expect("the records can be processed");
            bench.commit().expect("the stores can be committed");
            black_box(bench.delivered())
        });
    });
    group.finish();
}

fn orders(bench: &TopologyBench) -> Result<PreparedRecords> {
    bench.prepare("input", (0..RECORDS).map(|n| (sku(n), n, Timestamp::from_millis(n))))
}

fn sku(n: i64) -> String {
    format!("sku-{:06}", n % KEYS)
}
