//! Joins of streams with streams.

use millstream::prelude::*;

use super::{by_value, same_as_kafka_streams, stream, table};

const COUNTS: StoreName<String, u64> = StoreName::new("counts");

#[test]
fn stream_stream_joins() {
    let first = |order: &String, _payment: &String| order.clone();
    let left_or_none = |order: &String, _payment: Option<&String>| order.clone();
    let any =
        |order: Option<&String>, payment: Option<&String>| order.or(payment).cloned().unwrap_or_default();
    let orders = |builder: &StreamsBuilder| (stream(builder, "orders"), stream(builder, "payments"));
    same_as_kafka_streams("stream_stream_join", |builder| {
        let (orders, payments) = orders(builder);
        orders.within(minutes(5)).join(&payments, first).to("out");
    });
    same_as_kafka_streams("stream_stream_left_join", |builder| {
        let (orders, payments) = orders(builder);
        orders.within(minutes(5)).left_join(&payments, left_or_none).to("out");
    });
    same_as_kafka_streams("stream_stream_outer_join", |builder| {
        let (orders, payments) = orders(builder);
        orders.within(minutes(5)).outer_join(&payments, any).to("out");
    });
    same_as_kafka_streams("stream_stream_join_named", |builder| {
        let (orders, payments) = orders(builder);
        orders.within(minutes(5)).join(&payments, first).named("pay").to("out");
    });
    same_as_kafka_streams("stream_stream_left_join_named_store", |builder| {
        let (orders, payments) = orders(builder);
        orders.within(minutes(5)).stored("paid").left_join(&payments, left_or_none).to("out");
    });
    same_as_kafka_streams("stream_stream_outer_join_all_named", |builder| {
        let (orders, payments) = orders(builder);
        let joined = orders.within(minutes(5)).stored("paid").outer_join(&payments, any);
        joined.named("pay").to("out");
    });
    same_as_kafka_streams("stream_stream_join_of_joins", |builder| {
        let (orders, payments) = orders(builder);
        let deliveries = stream(builder, "deliveries");
        let paid = orders.within(minutes(5)).join(&payments, first);
        paid.within(hours(1)).left_join(&deliveries, left_or_none).group_by_key().count(COUNTS);
    });
}

#[test]
fn stream_stream_joins_of_changed_keys() {
    let first = |order: &String, _payment: &String| order.clone();
    let left_or_none = |order: &String, _payment: Option<&String>| order.clone();
    let any =
        |order: Option<&String>, payment: Option<&String>| order.or(payment).cloned().unwrap_or_default();
    let by_value = |builder: &StreamsBuilder, topic: &str| by_value(&stream(builder, topic));
    same_as_kafka_streams("stream_stream_join_repartition", |builder| {
        let (orders, payments) = (by_value(builder, "orders"), by_value(builder, "payments"));
        orders.within(minutes(5)).join(&payments, first).to("out");
    });
    same_as_kafka_streams("stream_stream_left_join_repartition_named", |builder| {
        let (orders, payments) = (by_value(builder, "orders"), by_value(builder, "payments"));
        orders.within(minutes(5)).left_join(&payments, left_or_none).named("pay").to("out");
    });
    same_as_kafka_streams("stream_stream_joins_share_repartition", |builder| {
        let (orders, payments) = (by_value(builder, "orders"), stream(builder, "payments"));
        let prices = table(builder, "prices");
        orders.within(minutes(5)).join(&payments, first).to("x");
        payments.within(minutes(5)).outer_join(&orders, any).to("y");
        orders.join(&prices, |order, _| order).to("z");
    });
    same_as_kafka_streams("stream_self_join_repartition", |builder| {
        let orders = by_value(builder, "orders");
        orders.within(minutes(5)).left_join(&orders, left_or_none).to("out");
    });
}

#[test]
fn a_stream_joined_with_itself() {
    same_as_kafka_streams("stream_self_join", |builder| {
        let orders = stream(builder, "orders");
        orders.within(minutes(5)).join(&orders, |order, _again| order.clone()).to("out");
    });
}
