//! Tables made of streams, and of the rows of other tables.

use millstream::prelude::*;

use super::processors::Silent;
use super::{by_value, first, same_as_kafka_streams, stream, table};

const LATEST: StoreName<String, String> = StoreName::new("latest");
const DEAR: StoreName<String, String> = StoreName::new("dear");
const NAMES: StoreName<String, String> = StoreName::new("names");
const P: StoreName<String, String> = StoreName::new("p");
const PER_PRODUCT: StoreName<String, u64> = StoreName::new("per-product");

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
    same_as_kafka_streams("table_views_unnamed_stores", |builder| {
        let products = table(builder, "products").filter(|_, _| true).materialized(().without_caching());
        let products = products.map_values(|_, value| value).materialized(().without_caching());
        let products = products.transform_values((), |_| Ok(Silent)).materialized(().without_caching());
        stream(builder, "orders").join(&products, first).to("out");
    });
    same_as_kafka_streams("table_named", |builder| {
        table(builder, "products").named("read-products").materialized(P).to_stream().to("out");
    });
}

#[test]
fn tables_that_are_held_back() {
    let a_minute = || Suppressed::until_time_limit(minutes(1), BufferConfig::unbounded());
    same_as_kafka_streams("suppressed_table", |builder| {
        let early = Suppressed::until_time_limit(minutes(1), BufferConfig::max_records(10));
        table(builder, "products").suppress(early).filter(|_, _| true).to_stream().to("out");
    });
    same_as_kafka_streams("suppressed_table_named", |builder| {
        let held = table(builder, "products").filter(|_, _| true).suppress(a_minute()).named("held");
        held.map_values(|_, value| value).to_stream().to("out");
    });
    same_as_kafka_streams("suppressed_then_joined_and_grouped", |builder| {
        let products = table(builder, "products").suppress(a_minute());
        stream(builder, "orders").join(&products, first).to("enriched");
        products.group_by(|_, value| (value.clone(), value)).count(PER_PRODUCT);
    });
}
