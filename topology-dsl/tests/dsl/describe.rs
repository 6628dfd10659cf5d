//! The same program has the same names as in Kafka Streams: `describe()` compared with what Kafka Streams 4.3.1 prints.
//!
//! `describe/kafka-streams.txt` was printed by `describe/Describe.java`, whose programs have the names used here.

use millstream::prelude::*;

const KAFKA_STREAMS: &str = include_str!("describe/kafka-streams.txt");

const COUNTS: StoreName<String, u64> = StoreName::new("counts");
const PER_SKU: StoreName<String, u64> = StoreName::new("per-sku");
const PER_CUSTOMER: StoreName<String, u64> = StoreName::new("per-customer");
const A: StoreName<String, u64> = StoreName::new("a");
const B: StoreName<String, String> = StoreName::new("b");
const C: StoreName<String, u64> = StoreName::new("c");
const STOCK: StoreName<String, i64> = StoreName::new("stock");
const PRODUCTS_STORE: StoreName<String, String> = StoreName::new("products-store");
const ORDERS_STORE: StoreName<String, String> = StoreName::new("orders-store");
const LATEST: StoreName<String, String> = StoreName::new("latest");
const DEAR: StoreName<String, String> = StoreName::new("dear");
const NAMES: StoreName<String, String> = StoreName::new("names");
const P: StoreName<String, String> = StoreName::new("p");

/// What Kafka Streams prints for the program of this name.
fn expected(program: &str) -> &'static str {
    let start = format!("### {program}\n");
    let (_, rest) =
        KAFKA_STREAMS.split_once(&start).unwrap_or_else(|| panic!("no golden text for {program}"));
    rest.split_once("###END").expect("golden texts end").0.trim_end()
}

/// With the names of each arrow sorted: Kafka Streams puts several of them in an order that depends on their hash codes.
fn sorted_arrows(text: &str) -> String {
    let mut sorted = String::new();
    for line in text.trim_end().lines() {
        let arrow = ["      --> ", "      <-- "]
            .into_iter()
            .find(|arrow| line.starts_with(arrow))
            .unwrap_or_default();
        let mut names: Vec<&str> = line[arrow.len()..].split(", ").collect();
        if !arrow.is_empty() {
            names.sort_unstable();
        }
        sorted += &format!("{arrow}{}\n", names.join(", "));
    }
    sorted
}

#[track_caller]
fn same_as_kafka_streams(program: &str, declare: impl Fn(&StreamsBuilder)) {
    let builder = StreamsBuilder::new();
    declare(&builder);
    let topology = builder.build().unwrap_or_else(|error| panic!("{program}: {error}"));
    let (ours, theirs) = (sorted_arrows(&topology.describe()), sorted_arrows(expected(program)));
    assert_eq!(ours, theirs, "{program}");
    let again = builder.build().expect("building does not change the program");
    assert_eq!(again.describe(), topology.describe(), "{program} built twice");
}

fn stream(builder: &StreamsBuilder, topic: &str) -> KStream<String, String> {
    builder.stream(topic)
}

fn table(builder: &StreamsBuilder, topic: &str) -> KTable<String, String> {
    builder.table(topic)
}

/// `select_key` as the programs here use it.
fn by_value(stream: &KStream<String, String>) -> KStream<String, String> {
    stream.select_key(|_, value| value.clone())
}

fn first<T: ToString>(left: T, _right: &String) -> String {
    left.to_string()
}

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
fn stream_table_joins() {
    same_as_kafka_streams("stream_table_join", |builder| {
        let products = table(builder, "products");
        stream(builder, "orders").join(&products, first).to("enriched");
    });
    same_as_kafka_streams("stream_table_join_named_store", |builder| {
        let products = table(builder, "products").materialized(PRODUCTS_STORE);
        stream(builder, "orders").left_join(&products, |order, _| order).to("enriched");
    });
    same_as_kafka_streams("stream_table_join_repartition", |builder| {
        let products = table(builder, "products");
        by_value(&stream(builder, "orders")).join(&products, first).to("enriched");
    });
    same_as_kafka_streams("stream_table_left_join_repartition_named", |builder| {
        let products = table(builder, "products");
        let orders = by_value(&stream(builder, "orders"));
        orders.left_join(&products, |order, _| order).named("enrich").to("enriched");
    });
}

#[test]
fn global_tables() {
    let global = |builder: &StreamsBuilder, topic: &str| builder.global_table::<String, String>(topic, ());
    let by_value = |_: &String, value: &String| value.clone();
    same_as_kafka_streams("global_table_join", |builder| {
        let products = global(builder, "products");
        stream(builder, "orders").on(by_value).join(&products, first).to("enriched");
    });
    same_as_kafka_streams("global_table_left_join_named", |builder| {
        let orders = stream(builder, "orders");
        let products =
            builder.global_table::<String, String>("products", PRODUCTS_STORE).named("read-products");
        orders.on(by_value).left_join(&products, |order, _| order).named("enrich").to("enriched");
    });
    same_as_kafka_streams("global_table_after_changed_keys", |builder| {
        let products = global(builder, "products");
        let orders = stream(builder, "orders").select_key(|_, value| value.clone());
        let enriched = orders.on(by_value).join(&products, first);
        enriched.group_by_key().count(C).to_stream().to("counts");
    });
    same_as_kafka_streams("two_global_tables_between_subtopologies", |builder| {
        stream(builder, "a").to("b");
        let products = global(builder, "products");
        let prices = builder.global_table::<String, String>("prices", P);
        let joined = stream(builder, "c").on(by_value).join(&products, first);
        joined.on(by_value).left_join(&prices, |order, _| order).to("d");
    });
}

#[test]
fn joins_of_one_stream_share_its_repartition_topic_unless_named() {
    same_as_kafka_streams("two_joins_one_repartition", |builder| {
        let (products, prices) = (table(builder, "products"), table(builder, "prices"));
        let orders = by_value(&stream(builder, "orders"));
        orders.join(&products, first).to("x");
        orders.join(&prices, first).to("y");
    });
    same_as_kafka_streams("named_join_then_unnamed", |builder| {
        let (products, prices) = (table(builder, "products"), table(builder, "prices"));
        let orders = by_value(&stream(builder, "orders")).named("by-sku");
        orders.join(&prices, first).to("y");
        orders.join(&products, first).named("with-product").to("x");
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
fn branches_and_merges() {
    same_as_kafka_streams("branch_merge", |builder| {
        let split = stream(builder, "orders").split();
        let (large, small) = (split.branch(|_, _| true), split.branch(|_, _| true));
        let rest = split.default_branch();
        large.merge(&small).to("some");
        rest.to("rest");
    });
    same_as_kafka_streams("branch_named", |builder| {
        let split = stream(builder, "orders").split().named("size-");
        let large = split.branch(|_, _| true).named("large");
        let second = split.branch(|_, _| true);
        let other = split.default_branch().named("other");
        second.to("to-size-2");
        large.to("to-size-large");
        other.to("to-size-other");
    });
}

#[test]
fn streams_as_tables() {
    same_as_kafka_streams("to_table", |builder| {
        stream(builder, "orders").to_table().to_stream().to("out");
    });
    same_as_kafka_streams("to_table_repartition", |builder| {
        by_value(&stream(builder, "orders")).to_table().materialized(LATEST).to_stream().to("out");
    });
    same_as_kafka_streams("to_table_named", |builder| {
        let latest = by_value(&stream(builder, "orders")).to_table().named("make-table").materialized(LATEST);
        latest.to_stream().to("out");
    });
    same_as_kafka_streams("to_table_unnamed_repartition", |builder| {
        by_value(&stream(builder, "orders")).to_table().to_stream().to("out");
    });
}

#[test]
fn repartition_topics_by_hand() {
    same_as_kafka_streams("repartition", |builder| {
        stream(builder, "orders").repartition(()).group_by_key().count(()).to_stream().to("out");
    });
    same_as_kafka_streams("repartition_named", |builder| {
        stream(builder, "orders").repartition(Repartitioned::named("spread").with_partitions(6)).to("out");
    });
    same_as_kafka_streams("repartition_suffix_in_name", |builder| {
        stream(builder, "orders").repartition("spread-repartition").to("out");
    });
    same_as_kafka_streams("group_of_repartition", |builder| {
        let spread = by_value(&stream(builder, "orders")).repartition(());
        let products = table(builder, "products");
        spread.group_by_key().count(C);
        spread.join(&products, first).to("x");
    });
}

#[test]
fn views_of_tables() {
    same_as_kafka_streams("table_views", |builder| {
        let products = table(builder, "products").filter(|_, _| true);
        let products = products.map_values(|_, value| value).filter_not(|_, _| false);
        stream(builder, "orders").join(&products, first).to("out");
    });
    same_as_kafka_streams("table_views_materialized", |builder| {
        let dear = table(builder, "products").filter(|_, _| true).materialized(DEAR);
        let names = dear.map_values(|_, value| value).materialized(NAMES);
        stream(builder, "orders").join(&names, first).to("out");
    });
    same_as_kafka_streams("table_named", |builder| {
        table(builder, "products").named("read-products").materialized(P).to_stream().to("out");
    });
}

#[test]
fn sources_and_steps() {
    same_as_kafka_streams("same_topic_twice", |builder| {
        stream(builder, "orders").filter(|_, _| true).to("a");
        stream(builder, "orders").map_values(|_, value| value).to("b");
    });
    same_as_kafka_streams("every_step", |builder| {
        let orders = builder.stream::<String, String>(["orders", "returns"]);
        let mapped = orders.filter_not(|_, _| true).peek(|_, _| {}).map(|key, value| (key, value));
        mapped.flat_map(|key, value| [(key, value)]).for_each(|_, _| {});
    });
    same_as_kafka_streams("two_subtopologies_and_three", |builder| {
        for (from, to) in [("a", "b"), ("c", "d"), ("e", "f")] {
            stream(builder, from).to(to);
        }
    });
}

#[test]
fn state_meets_streams() {
    same_as_kafka_streams("aggregate_joined_with_stream", |builder| {
        let stock = stream(builder, "moves").group_by_key().aggregate(STOCK, || 0, |_, _, on_hand| on_hand);
        by_value(&stream(builder, "orders")).left_join(&stock, |order, _| order).to("availability");
    });
    same_as_kafka_streams("left_join_after_group", |builder| {
        let products = table(builder, "products");
        let orders = by_value(&stream(builder, "orders"));
        orders.group_by_key().count(C);
        orders.left_join(&products, |order, _| order).to("out");
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

#[test]
fn every_golden_text_is_compared() {
    let source = include_str!("describe.rs");
    for program in KAFKA_STREAMS.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(
            source.contains(&format!("same_as_kafka_streams(\"{program}\"")),
            "{program} is not compared"
        );
    }
}
