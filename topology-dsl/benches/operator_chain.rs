//! What a record costs in the engine, without Kafka and RocksDB: `make bench-operators`.

use std::cell::RefCell;
use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use millstream::StreamWithin;
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
    join_streams(&mut criterion, "stream-stream join", |orders, payments| {
        orders.join(payments, |order, payment| order + payment).to("output");
    })?;
    join_streams(&mut criterion, "stream-stream left join", |orders, payments| {
        orders.left_join(payments, |order, payment| order + payment.unwrap_or(&0)).to("output");
    })?;
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

/// Nine of ten orders find their payments.
fn join_streams(
    criterion: &mut Criterion,
    name: &str,
    declare: impl FnOnce(StreamWithin<String, i64>, &KStream<String, i64>),
) -> Result<()> {
    let builder = StreamsBuilder::new();
    // Records of one key are a second apart. All orders come before all payments.
    let windows = JoinWindows::of_time_difference_and_grace(millis(400), seconds(11));
    let orders = builder.stream::<String, i64>("input").within(windows);
    declare(orders, &builder.stream("payments"));
    let bench = RefCell::new(TopologyBench::new(builder.build()?)?);
    let (mut group, mut passed) = (criterion.benchmark_group("operators"), 0);
    group.throughput(Throughput::Elements((RECORDS + RECORDS * 9 / 10) as u64));
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        let prepare = || {
            let times = passed..passed + RECORDS;
            passed += RECORDS;
            let of = |topic: &str, is_there: fn(&i64) -> bool| {
                let records = times.clone().filter(is_there).map(|n| (sku(n), n, Timestamp::from_millis(n)));
                bench.borrow().prepare(topic, records).expect("the records can be written")
            };
            [of("input", |_| true), of("payments", |n| n % 10 != 0)]
        };
        let join = |records: [PreparedRecords; 2]| {
            let mut bench = bench.borrow_mut();
            for records in &records {
                bench.process(records).expect("the records can be processed");
            }
            bench.commit().expect("the stores can be committed");
            black_box(bench.delivered())
        };
        bencher.iter_batched(prepare, join, BatchSize::PerIteration);
    });
    group.finish();
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
