//! Programs of which less is written than was declared. `optimized.txt` has what Kafka Streams prints with `topology.optimization=all`.

use millstream::prelude::*;

use super::{by_value, first, same, stream, table};
use crate::golden::GoldenTexts;

const OPTIMIZED: GoldenTexts = GoldenTexts(include_str!("optimized.txt"));

const A: StoreName<String, u64> = StoreName::new("a");
const C: StoreName<String, u64> = StoreName::new("c");
const D: StoreName<String, u64> = StoreName::new("d");
const B: StoreName<String, String> = StoreName::new("b");
const P: StoreName<String, String> = StoreName::new("p");
const R: StoreName<String, String> = StoreName::new("r");
const LATEST: StoreName<String, String> = StoreName::new("latest");

#[track_caller]
fn same_as_kafka_streams(program: &str, declare: impl Fn(&StreamsBuilder)) {
    same(
        OPTIMIZED.of(program),
        &StreamsBuilder::new().optimized(TopologyOptimization::ALL),
        program,
        declare,
    );
}

#[test]
fn every_golden_text_is_compared() {
    OPTIMIZED.are_all_compared(&[include_str!("optimized.rs")]);
}

/// Orders by what is in them.
fn orders(builder: &StreamsBuilder) -> KStream<String, String> {
    by_value(&stream(builder, "orders"))
}

fn newest(_: String, newer: String) -> String {
    newer
}

#[test]
fn topics_of_one_change_of_keys_are_merged() {
    same_as_kafka_streams("count_and_join", |builder| {
        let orders = orders(builder);
        let products = table(builder, "products");
        orders.group_by_key().count(C);
        orders.join(&products, first).to("out");
    });
    same_as_kafka_streams("one_topic_moves_too", |builder| {
        orders(builder).filter(|_, _| true).group_by_key().count(()).to_stream().to("out");
    });
    same_as_kafka_streams("given_names", |builder| {
        let orders = orders(builder);
        let products = table(builder, "products");
        orders.group_by_key().named("by-sku").count(C);
        orders.filter(|_, _| true).named("some").join(&products, first).named("enrich").to("out");
    });
    same_as_kafka_streams("a_group_used_twice", |builder| {
        let by_sku = stream(builder, "orders").group_by(|_, value| value.clone()).named("by-sku");
        by_sku.count(A);
        by_sku.reduce(B, newest);
    });
    same_as_kafka_streams("an_unnamed_group_used_twice", |builder| {
        let by_sku = stream(builder, "orders").group_by(|_, value| value.clone());
        by_sku.count(());
        by_sku.reduce((), newest);
        by_sku.aggregate((), String::new, |_, _, row| row);
    });
    same_as_kafka_streams("to_table_and_count", |builder| {
        let orders = orders(builder);
        orders.to_table().materialized(LATEST);
        orders.group_by_key().count(C);
    });
    same_as_kafka_streams("left_join_of_null_keys", |builder| {
        let orders = orders(builder);
        let products = table(builder, "products");
        orders.left_join(&products, |order, _| order).to("out");
        orders.group_by_key().count(C);
    });
    same_as_kafka_streams("stream_joins_of_one_change", |builder| {
        let (orders, payments) = (orders(builder), stream(builder, "payments"));
        let first = |order: &String, _: &String| order.clone();
        orders.within(minutes(5)).join(&payments, first).to("a");
        orders.filter(|_, _| true).within(minutes(5)).join(&payments, first).named("pay").to("b");
    });
}

#[test]
fn what_is_on_the_way_goes_below_the_topic_or_keeps_it_where_it_is() {
    same_as_kafka_streams("values_change_on_the_way", |builder| {
        let orders = orders(builder);
        orders.map_values(|_, value| value).group_by_key().count(C);
        orders.peek(|_, _| {}).group_by_key().reduce(R, newest);
    });
    same_as_kafka_streams("others_read_on_the_way", |builder| {
        let orders = orders(builder).filter(|_, _| true);
        orders.to("out");
        orders.group_by_key().count(C);
    });
    same_as_kafka_streams("asked_for_repartition", |builder| {
        let orders = orders(builder);
        orders.repartition("spread").to("out");
        orders.group_by_key().count(C);
    });
    same_as_kafka_streams("cogrouped", |builder| {
        let orders = orders(builder);
        let returns = stream(builder, "returns").group_by_key();
        let last = |_: &String, value: String, _: String| value;
        orders.group_by_key().cogroup(last).cogroup(&returns, last).aggregate(LATEST, String::new);
        orders.group_by_key().count(C);
    });
    same_as_kafka_streams("two_changes_of_keys", |builder| {
        let orders = orders(builder);
        let counts = orders.group_by_key().count(C).to_stream();
        counts.select_key(|sku, _| sku.clone()).group_by_key().count(D);
        orders.group_by_key().reduce(R, newest);
    });
}

#[test]
fn streams_that_are_merged_have_the_topic_behind_the_merge() {
    same_as_kafka_streams("merged_streams", |builder| {
        let merged = stream(builder, "orders").merge(&by_value(&stream(builder, "returns")));
        merged.group_by_key().count(C);
        merged.filter(|_, _| true).group_by_key().reduce(R, newest);
    });
    same_as_kafka_streams("merged_streams_of_changed_keys", |builder| {
        let merged = orders(builder).merge(&by_value(&stream(builder, "returns")));
        merged.group_by_key().count(C);
        merged.group_by_key().reduce(R, newest);
    });
}

#[test]
fn tables_have_the_names_they_would_have_anyway() {
    same_as_kafka_streams("tables", |builder| {
        let products = table(builder, "products").materialized(P);
        let prices = table(builder, "prices");
        products.join(&prices, |product, _| product.clone()).to_stream().to("out");
    });
    same_as_kafka_streams("table_groups", |builder| {
        let by_customer = table(builder, "orders").group_by(|_, value| (value.clone(), value));
        by_customer.reduce((), |row, _| row, |row, _| row);
        by_customer.count(());
    });
}

#[test]
fn a_stream_that_is_joined_with_itself_has_one_store() {
    let first = |one: &String, _: &String| one.clone();
    same_as_kafka_streams("self_join", |builder| {
        let orders = stream(builder, "orders");
        orders.within(minutes(5)).join(&orders, first).to("out");
    });
    same_as_kafka_streams("self_join_all_named", |builder| {
        let orders = stream(builder, "orders");
        orders.within(minutes(5)).stored("pairs").join(&orders, first).named("pair").to("out");
    });
    same_as_kafka_streams("self_join_of_two_sources", |builder| {
        let (orders, same) = (stream(builder, "orders"), stream(builder, "orders"));
        orders.within(minutes(5)).join(&same, first).to("out");
    });
    same_as_kafka_streams("self_join_of_changed_keys", |builder| {
        let orders = orders(builder);
        orders.within(minutes(5)).join(&orders, first).to("out");
        orders.group_by_key().count(C);
    });
    same_as_kafka_streams("self_join_of_changed_keys_named", |builder| {
        let orders = orders(builder);
        orders.within(minutes(5)).join(&orders, first).named("pair").to("out");
    });
    same_as_kafka_streams("self_join_twice", |builder| {
        let orders = stream(builder, "orders");
        let pairs = orders.within(minutes(5)).join(&orders, first);
        pairs.within(minutes(5)).join(&orders, first).to("out");
    });
    same_as_kafka_streams("no_self_join_of_a_filtered_stream", |builder| {
        let orders = stream(builder, "orders");
        orders.within(minutes(5)).join(&orders.filter(|_, _| true), first).to("out");
    });
}
