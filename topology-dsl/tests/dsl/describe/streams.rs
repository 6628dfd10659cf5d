//! Streams: sources, steps, branches, merges and repartition topics.

use millstream::prelude::*;

use super::{by_value, first, same_as_kafka_streams, stream, table};

const C: StoreName<String, u64> = StoreName::new("c");

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
