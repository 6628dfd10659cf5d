//! Joins: of streams with tables and global tables, and of tables.

use millstream::prelude::*;

use super::{by_value, first, same_as_kafka_streams, stream, table};

const COUNTS: StoreName<String, u64> = StoreName::new("counts");
const C: StoreName<String, u64> = StoreName::new("c");
const STOCK: StoreName<String, i64> = StoreName::new("stock");
const PRODUCTS_STORE: StoreName<String, String> = StoreName::new("products-store");
const NAMES: StoreName<String, String> = StoreName::new("names");
const P: StoreName<String, String> = StoreName::new("p");
const PRICED_ORDERS: StoreName<String, String> = StoreName::new("priced-orders");
const ENRICHED: StoreName<String, String> = StoreName::new("enriched");
const VISITS_PER_CUSTOMER: StoreName<String, u64> = StoreName::new("visits-per-customer");

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
fn table_joins() {
    let orders_and_prices = |builder: &StreamsBuilder| (table(builder, "orders"), table(builder, "prices"));
    let inner = |order: &String, _: &String| order.clone();
    let left = |order: &String, _: Option<&String>| order.clone();
    let outer = |order: Option<&String>, _: Option<&String>| order.cloned().unwrap_or_default();
    same_as_kafka_streams("table_join", |builder| {
        let (orders, prices) = orders_and_prices(builder);
        orders.join(&prices, inner).to_stream().to("priced");
    });
    same_as_kafka_streams("table_left_join_named", |builder| {
        let (orders, prices) = orders_and_prices(builder);
        let priced = orders.left_join(&prices, left).named("price").materialized(PRICED_ORDERS);
        priced.to_stream().to("priced");
    });
    same_as_kafka_streams("table_outer_join_unnamed_store", |builder| {
        let (orders, prices) = orders_and_prices(builder);
        orders.outer_join(&prices, outer).materialized(()).to_stream().to("priced");
    });
    same_as_kafka_streams("table_join_of_joins", |builder| {
        let (orders, prices) = orders_and_prices(builder);
        let stock = table(builder, "stock");
        orders.join(&prices, inner).left_join(&stock, left).outer_join(&prices, outer).to_stream().to("out");
    });
    same_as_kafka_streams("table_self_join", |builder| {
        let orders = table(builder, "orders");
        orders.join(&orders, inner).to_stream().to("out");
    });
    same_as_kafka_streams("table_join_of_views", |builder| {
        let (orders, prices) = orders_and_prices(builder);
        let large = orders.filter(|_, _| true);
        let names = prices.map_values(|_, value| value).materialized(NAMES);
        let joined = large.join(&names, inner).filter(|_, _| true).map_values(|_, value| value);
        joined.to_stream().to("out");
    });
    same_as_kafka_streams("table_join_of_aggregates", |builder| {
        let counts = stream(builder, "orders").group_by(|_, value| value.clone()).count(());
        let latest = by_value(&stream(builder, "prices")).to_table();
        counts.outer_join(&latest, |_, price| price.cloned().unwrap_or_default()).to_stream().to("out");
    });
    same_as_kafka_streams("table_join_grouped", |builder| {
        let (orders, prices) = orders_and_prices(builder);
        orders.join(&prices, inner).group_by(|_, value| (value.clone(), value)).count(COUNTS);
    });
    same_as_kafka_streams("stream_joined_with_table_join", |builder| {
        let (products, prices) = (table(builder, "products"), table(builder, "prices"));
        let joined = products.left_join(&prices, left).map_values(|_, value| value);
        stream(builder, "orders").join(&joined, first).to("out");
    });
}

#[test]
fn foreign_key_joins() {
    let by_value = |_: &String, value: &String| value.clone();
    let inner = |order: &String, _: &String| order.clone();
    let left = |order: &String, _: Option<&String>| order.clone();
    same_as_kafka_streams("foreign_key_join", |builder| {
        let (orders, customers) = (table(builder, "orders"), table(builder, "customers"));
        orders.on(by_value).join(&customers, inner).to_stream().to("out");
    });
    same_as_kafka_streams("foreign_key_left_join_named", |builder| {
        let (orders, customers) = (table(builder, "orders"), table(builder, "customers"));
        let enriched = orders.on(by_value).left_join(&customers, left).named("with-customer");
        enriched.materialized(ENRICHED).to_stream().to("out");
    });
    same_as_kafka_streams("foreign_key_join_unnamed_store", |builder| {
        let (customers, orders) = (table(builder, "customers"), table(builder, "orders"));
        orders.on(by_value).join(&customers, inner).materialized(()).to_stream().to("out");
    });
    same_as_kafka_streams("foreign_key_self_join", |builder| {
        let employees = table(builder, "employees");
        employees.on(by_value).left_join(&employees, left).to_stream().to("out");
    });
    same_as_kafka_streams("foreign_key_join_of_joins", |builder| {
        let (orders, customers) = (table(builder, "orders"), table(builder, "customers"));
        let regions = table(builder, "regions");
        let of_customers = orders.on(by_value).join(&customers, inner);
        let of_regions = of_customers.on(by_value).left_join(&regions, left);
        let joined = of_regions.join(&orders, inner);
        joined.group_by(|_, value| (value.clone(), value)).count(COUNTS);
    });
    same_as_kafka_streams("foreign_key_join_of_views", |builder| {
        let orders = table(builder, "orders").filter(|_, _| true);
        let customers = table(builder, "customers").map_values(|_, value| value);
        orders.on(by_value).join(&customers, inner).filter(|_, _| true).to_stream().to("out");
    });
    same_as_kafka_streams("foreign_key_join_of_aggregates", |builder| {
        let orders = stream(builder, "orders").group_by_key().reduce((), |_, new| new);
        let visits = stream(builder, "visits").group_by(|_, value| value.clone());
        let visits = visits.count(VISITS_PER_CUSTOMER);
        orders.on(by_value).left_join(&visits, |order, _| order.clone()).to_stream().to("out");
    });
}

#[test]
fn joins_with_versioned_tables() {
    let versioned = |builder: &StreamsBuilder| table(builder, "products").materialized(P.versioned(hours(1)));
    same_as_kafka_streams("versioned_table_join", |builder| {
        let products = versioned(builder);
        stream(builder, "orders").join(&products, first).to("enriched");
    });
    same_as_kafka_streams("versioned_table_join_with_grace", |builder| {
        let products = versioned(builder);
        stream(builder, "orders").join(products.with_grace(minutes(1)), first).to("enriched");
    });
    same_as_kafka_streams("versioned_table_join_with_grace_named", |builder| {
        let products = versioned(builder);
        let joined = stream(builder, "orders").left_join(products.with_grace(minutes(1)), |order, _| order);
        joined.named("enrich").to("enriched");
    });
}
