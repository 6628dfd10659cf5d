//! Aggregations: of grouped streams and tables, of several streams together, in windows.

use millstream::prelude::*;

use super::{by_value, same_as_kafka_streams, stream, table};

const COUNTS: StoreName<String, u64> = StoreName::new("counts");
const PER_SKU: StoreName<String, u64> = StoreName::new("per-sku");
const PER_CUSTOMER: StoreName<String, u64> = StoreName::new("per-customer");
const A: StoreName<String, u64> = StoreName::new("a");
const B: StoreName<String, String> = StoreName::new("b");
const C: StoreName<String, u64> = StoreName::new("c");
const ORDERS_STORE: StoreName<String, String> = StoreName::new("orders-store");
const LATEST: StoreName<String, String> = StoreName::new("latest");

#[test]
fn word_counts() {
    let words = |builder: &StreamsBuilder| {
        let lines = stream(builder, "lines");
        let words = lines.flat_map_values(|_, line| line.split(' ').map(str::to_string).collect::<Vec<_>>());
        words.group_by(|_, word| word.clone())
    };
    same_as_kafka_streams("word_count", |builder| {
        words(builder).count(COUNTS).to_stream().to("word-counts");
    });
    same_as_kafka_streams("word_count_unnamed", |builder| {
        words(builder).count(()).to_stream().to("word-counts");
    });
}

#[test]
fn filtered_counts() {
    same_as_kafka_streams("filter_count", |builder| {
        stream(builder, "orders").filter(|_, _| true).group_by_key().count(()).to_stream().to("counts");
    });
    same_as_kafka_streams("filter_count_named_store", |builder| {
        stream(builder, "orders").filter(|_, _| true).group_by_key().count(PER_SKU).to_stream().to("counts");
    });
    same_as_kafka_streams("count_options_unnamed", |builder| {
        stream(builder, "orders").group_by_key().count(().without_caching()).to_stream().to("counts");
    });
    same_as_kafka_streams("filter_count_all_named", |builder| {
        let orders = stream(builder, "orders").named("read-orders");
        let grouped = orders.filter(|_, _| true).named("keep-large").group_by_key().named("by-sku");
        grouped
            .count(PER_SKU)
            .named("count-orders")
            .to_stream()
            .named("changes")
            .to("counts")
            .named("publish");
    });
}

#[test]
fn groupings_repartition_where_keys_changed() {
    same_as_kafka_streams("select_key_group_count", |builder| {
        by_value(&stream(builder, "orders")).group_by_key().count(()).to_stream().to("counts");
    });
    same_as_kafka_streams("select_key_group_count_named_group", |builder| {
        let grouped = by_value(&stream(builder, "orders")).group_by_key().named("by-customer");
        grouped.count(PER_CUSTOMER).to_stream().to("counts");
    });
    same_as_kafka_streams("group_by_named_twice", |builder| {
        let grouped = stream(builder, "orders").group_by(|_, value| value.clone()).named("by-customer");
        grouped.count(A);
        grouped.reduce(B, |_, new| new);
    });
    same_as_kafka_streams("group_by_unnamed_twice", |builder| {
        let grouped = stream(builder, "orders").group_by(|_, value| value.clone());
        grouped.count(());
        grouped.reduce((), |_, new| new);
        grouped.aggregate((), String::new, |_, _, row| row);
    });
    same_as_kafka_streams("merge_repartition", |builder| {
        let orders = stream(builder, "orders");
        let returns = by_value(&stream(builder, "returns"));
        orders.merge(&returns).group_by_key().count(C);
    });
    same_as_kafka_streams("branch_of_changed_keys", |builder| {
        let split = by_value(&stream(builder, "orders")).split();
        split.branch(|_, _| true).group_by_key().count(());
    });
}

#[test]
fn grouped_tables() {
    let grouped =
        |builder: &StreamsBuilder| table(builder, "orders").group_by(|_, value| (value.clone(), value));
    same_as_kafka_streams("table_group_by_aggregate", |builder| {
        let totals = grouped(builder).aggregate((), || 0_i64, |_, _, sum| sum + 1, |_, _, sum| sum - 1);
        totals.to_stream().to("totals");
    });
    same_as_kafka_streams("table_group_by_named", |builder| {
        let orders = table(builder, "orders").materialized(ORDERS_STORE);
        let grouped = orders.group_by(|_, value| (value.clone(), value)).named("by-customer");
        grouped.count(PER_CUSTOMER).named("count-them").to_stream().to("totals");
    });
    same_as_kafka_streams("table_group_by_reduce_and_count", |builder| {
        let grouped = grouped(builder);
        grouped.reduce((), |sum, _| sum, |sum, _| sum);
        grouped.count(());
    });
    same_as_kafka_streams("table_group_by_named_twice", |builder| {
        let grouped = grouped(builder).named("by-customer");
        grouped.reduce((), |sum, _| sum, |sum, _| sum);
        grouped.count(());
    });
}

#[test]
fn cogrouped_streams() {
    let grouped = |builder: &StreamsBuilder, topic: &str| stream(builder, topic).group_by_key();
    let last = |_: &String, value: String, _row: String| value;
    same_as_kafka_streams("cogroup", |builder| {
        let (orders, returns) = (grouped(builder, "orders"), grouped(builder, "returns"));
        let latest = orders.cogroup(last).cogroup(&returns, last).aggregate(LATEST, String::new);
        latest.to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_unnamed", |builder| {
        let (orders, returns) = (grouped(builder, "orders"), grouped(builder, "returns"));
        orders.cogroup(last).cogroup(&returns, last).aggregate((), String::new).to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_named", |builder| {
        let (orders, returns) = (grouped(builder, "orders"), grouped(builder, "returns"));
        let latest = orders.cogroup(last).cogroup(&returns, last).aggregate(LATEST, String::new);
        latest.named("newest").to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_of_one", |builder| {
        let latest = grouped(builder, "orders").cogroup(last).aggregate(LATEST, String::new);
        latest.to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_repartition", |builder| {
        let orders = grouped(builder, "orders");
        let returns = by_value(&stream(builder, "returns")).group_by_key();
        let latest = orders.cogroup(last).cogroup(&returns, last).aggregate(LATEST, String::new);
        latest.to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_repartition_unnamed", |builder| {
        let orders = by_value(&stream(builder, "orders")).group_by_key();
        let returns = grouped(builder, "returns");
        orders.cogroup(last).cogroup(&returns, last).aggregate((), String::new).to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_two_repartitions", |builder| {
        let by_customer =
            |topic: &str, name: &str| stream(builder, topic).group_by(|_, value| value.clone()).named(name);
        let orders = by_customer("orders", "orders-by-customer");
        let returns = by_customer("returns", "returns-by-customer");
        let latest = orders.cogroup(last).cogroup(&returns, last).aggregate((), String::new);
        latest.group_by(|_, value| (value.clone(), value)).count(()).to_stream().to("out");
    });
}

#[test]
fn windowed_cogroups() {
    const SESSIONS: SessionStoreName<String, String> = SessionStoreName::new("latest");
    const WINDOWS: WindowStoreName<String, String> = WindowStoreName::new("latest");
    let last = |_: &String, value: String, _row: String| value;
    same_as_kafka_streams("cogroup_time_windows", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        let returns = stream(builder, "returns").group_by_key();
        let windows = TimeWindows::of_size_with_no_grace(minutes(1));
        let latest = orders.cogroup(last).cogroup(&returns, last).windowed_by(windows);
        latest.aggregate((), String::new).to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_sliding_windows", |builder| {
        let orders = by_value(&stream(builder, "orders")).group_by_key();
        let returns = stream(builder, "returns").group_by_key();
        let windows = SlidingWindows::of_time_difference_with_no_grace(minutes(1));
        let latest = orders.cogroup(last).cogroup(&returns, last).windowed_by(windows);
        latest.aggregate(WINDOWS, String::new).to_stream().to("out");
    });
    same_as_kafka_streams("cogroup_sessions", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        let returns = stream(builder, "returns").group_by_key();
        let windows = SessionWindows::of_inactivity_gap_with_no_grace(minutes(1));
        let latest = orders.cogroup(last).cogroup(&returns, last).windowed_by(windows);
        latest.aggregate(SESSIONS, String::new, |_, row, _| row).named("newest").to_stream().to("out");
    });
}

#[test]
fn windows() {
    const PER_MINUTE: WindowStoreName<String, u64> = WindowStoreName::new("per-minute");
    let minute = || TimeWindows::of_size_with_no_grace(minutes(1));
    same_as_kafka_streams("windowed_count", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        orders.windowed_by(minute()).count(()).to_stream().to("counts");
    });
    same_as_kafka_streams("windowed_count_named", |builder| {
        let orders = by_value(&stream(builder, "orders")).group_by_key();
        orders.windowed_by(minute()).count(PER_MINUTE).to_stream().to("counts");
    });
    same_as_kafka_streams("suppressed_windows", |builder| {
        let counts = stream(builder, "orders").group_by_key().windowed_by(minute()).count(PER_MINUTE);
        let results = Suppressed::until_window_closes(BufferConfig::unbounded());
        counts.suppress(results).to_stream().to("counts");
    });
    same_as_kafka_streams("windowed_count_options_unnamed", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        orders.windowed_by(minute()).count(().without_caching()).to_stream().to("counts");
    });
    same_as_kafka_streams("windowed_aggregations_of_one_group", |builder| {
        let orders = stream(builder, "orders").group_by(|_, value| value.clone());
        let windowed = orders.windowed_by(minute());
        windowed.count(());
        windowed.reduce((), |_, new| new);
        windowed.aggregate((), String::new, |_, _, row| row);
    });
    same_as_kafka_streams("sliding_aggregations", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        let windowed = orders.windowed_by(SlidingWindows::of_time_difference_with_no_grace(minutes(1)));
        windowed.count(()).named("count-them");
        windowed.reduce((), |_, new| new);
        windowed.aggregate((), String::new, |_, _, row| row);
    });
    same_as_kafka_streams("session_aggregations", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        let windowed = orders.windowed_by(SessionWindows::of_inactivity_gap_with_no_grace(minutes(1)));
        windowed.count(());
        windowed.reduce((), |_, new| new);
        windowed.aggregate((), String::new, |_, _, row| row, |_, row, _| row);
    });
    same_as_kafka_streams("windowed_final_counts", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        let counts = orders.windowed_by(minute()).emit_strategy(EmitStrategy::on_window_close()).count(());
        let counts = counts.to_stream().select_key(|windowed, _| windowed.key.clone());
        counts.group_by_key().count(()).to_stream().to("counts");
    });
    same_as_kafka_streams("views_of_windowed_tables", |builder| {
        let orders = stream(builder, "orders").group_by_key();
        let counts = orders.windowed_by(minute()).count(());
        let counts = counts.filter(|_, count| *count > 1).map_values(|_, count| count);
        counts.group_by(|windowed, count| (windowed.key.clone(), count)).count(PER_CUSTOMER);
    });
}
