//! Programs that cannot run are refused when they are built, with what to do about it.

use millstream::api::{Failure, Processor, ProcessorContext, Record};
use millstream::prelude::*;

/// What `build` says about a program that is wrong.
#[track_caller]
fn refusal(declare: impl FnOnce(&StreamsBuilder)) -> String {
    let builder = StreamsBuilder::new();
    declare(&builder);
    builder.build().expect_err("the program is wrong").to_string()
}

#[track_caller]
fn says(refusal: &str, expected: &str) {
    assert!(refusal.contains(expected), "`{expected}` is not in: {refusal}");
}

#[test]
fn a_program_without_a_source() {
    says(&refusal(|_| {}), "add one with `stream` or `table`");
    let only_global = refusal(|builder| drop(builder.global_table::<String, i64>("prices", ())));
    says(&only_global, "no source that makes tasks");
}

#[test]
fn a_topic_read_as_stream_and_as_global_table() {
    let refusal = refusal(|builder| {
        builder.stream::<String, i64>("prices").to("a");
        builder.global_table::<String, i64>("prices", ());
    });
    says(&refusal, "topic prices is read by source KSTREAM-SOURCE-0000000000 already");
}

#[test]
fn a_topic_read_with_two_types() {
    let refusal = refusal(|builder| {
        builder.stream::<String, i64>("orders").to("a");
        builder.stream::<String, String>("orders").to("b");
    });
    says(&refusal, "topic orders is read as (alloc::string::String, i64) and as");
    says(&refusal, "read it once and convert with `map`");
}

#[test]
fn streams_whose_topics_overlap() {
    let refusal = refusal(|builder| {
        builder.stream::<String, i64>(["orders", "returns"]).to("a");
        builder.stream::<String, i64>("orders").to("b");
    });
    says(&refusal, "topic orders is read by two streams");
    says(&refusal, "read each topic by itself and `merge`");
}

#[test]
fn a_topic_read_as_stream_and_as_table() {
    let refusal = refusal(|builder| {
        builder.stream::<String, i64>("orders").to("a");
        builder.table::<String, i64>("orders").to_stream().to("b");
    });
    says(&refusal, "topic orders is read by source KSTREAM-SOURCE-0000000000 already");
}

#[test]
fn a_table_of_two_topics() {
    let refusal = refusal(|builder| {
        builder.table::<String, i64>(["stock", "more-stock"]).to_stream().to("a");
    });
    says(&refusal, "a table reads one topic");
}

#[test]
fn two_stores_of_one_name() {
    const COUNTS: StoreName<String, u64> = StoreName::new("counts");
    let refusal = refusal(|builder| {
        let orders = builder.stream::<String, i64>("orders").group_by_key();
        orders.count(COUNTS);
        orders.count(COUNTS);
    });
    says(&refusal, "there are two stores named counts");
}

#[test]
fn two_nodes_of_one_name() {
    let refusal = refusal(|builder| {
        let orders = builder.stream::<String, i64>("orders");
        orders.filter(|_, _| true).named("keep").filter(|_, _| true).named("keep");
    });
    says(&refusal, "there are two nodes named keep");
}

#[test]
fn a_name_kafka_would_refuse() {
    let refusal = refusal(|builder| {
        builder.stream::<String, i64>("orders").filter(|_, _| true).named("keep large ones");
    });
    says(&refusal, "\"keep large ones\" has characters other than");
}

#[test]
fn two_groupings_that_share_a_repartition_topic_by_accident() {
    let refusal = refusal(|builder| {
        let orders = builder.stream::<String, String>("orders");
        orders.select_key(|_, customer| customer.clone()).group_by_key().named("by-customer").count(());
        orders.select_key(|_, customer| customer.clone()).group_by_key().named("by-customer").count(());
    });
    says(&refusal, "there are two repartition topics named by-customer-repartition");
}

/// Hands orders on.
struct PassOn;

impl Processor for PassOn {
    type KeyIn = String;
    type ValueIn = i64;
    type KeyOut = String;
    type ValueOut = i64;

    fn process(
        &mut self,
        order: Record<String, i64>,
        context: &mut ProcessorContext<'_, String, i64>,
    ) -> Result<(), Failure> {
        context.forward(order)
    }
}

#[test]
fn a_processor_with_a_store_that_nobody_has_added() {
    let refusal = refusal(|builder| {
        builder.stream::<String, i64>("orders").process("stokc", |_| Ok(PassOn)).named("check");
    });
    says(
        &refusal,
        "processor check names store stokc, which the topology does not have: add the store first",
    );
}

#[test]
fn a_store_that_no_processor_is_connected_with() {
    const STOCK: StoreName<String, i64> = StoreName::new("stock");
    let refusal = refusal(|builder| {
        builder.add_store(STOCK);
        builder.stream::<String, i64>("orders").process((), |_| Ok(PassOn));
    });
    says(&refusal, "store stock is connected to no processor: connect it or leave it out");
}

#[test]
fn a_store_without_a_name() {
    let refusal = refusal(|builder| {
        builder.add_store(Materialized::<String, i64>::from(()));
        builder.stream::<String, i64>("orders").process((), |_| Ok(PassOn));
    });
    says(&refusal, "a store is added without a name: add it by its `StoreName`");
}

#[test]
fn a_store_that_is_added_and_kept_by_a_table() {
    const STOCK: StoreName<String, i64> = StoreName::new("stock");
    let refusal = refusal(|builder| {
        builder.add_store(STOCK);
        builder.table::<String, i64>("stock").materialized(STOCK);
    });
    says(&refusal, "there are two stores named stock");
}

#[test]
fn two_groupings_without_names_that_are_aggregated_together() {
    let refusal = refusal(|builder| {
        let orders = builder.stream::<String, String>("orders").group_by(|_, customer| customer.clone());
        let returns = builder.stream::<String, String>("returns").group_by(|_, customer| customer.clone());
        orders.cogroup(|_, _, n: i64| n + 1).cogroup(&returns, |_, _, n| n - 1).aggregate((), || 0);
    });
    says(&refusal, "there are two repartition topics named COGROUPKSTREAM-AGGREGATE-STATE-STORE-");
    says(&refusal, "give one grouping or join another name");
}

#[test]
fn streams_that_are_repartitioned_to_different_counts_and_joined() {
    let refusal = refusal(|builder| {
        let orders = builder.stream::<String, i64>("orders");
        let payments = builder.stream::<String, i64>("payments");
        let orders = orders.repartition(Repartitioned::named("orders-by-customer").with_partitions(3));
        let payments = payments.repartition(Repartitioned::named("payments-by-customer").with_partitions(4));
        orders.within(minutes(5)).join(&payments, |order, paid| order - paid);
    });
    says(&refusal, "topics that are joined need equal partition counts");
    says(&refusal, "orders-by-customer-repartition has 3 (source orders-by-customer-repartition-source)");
    says(&refusal, "repartition one of them to the count of the other");
}

/// Counts whose store and repartition topic have generated names, beside a table whose store has a name.
fn half_named() -> Topology {
    const PRICES: StoreName<String, i64> = StoreName::new("prices");
    let builder = StreamsBuilder::new();
    builder.table::<String, i64>("prices").materialized(PRICES);
    builder.stream::<String, String>("orders").group_by(|_, sku| sku.clone()).count(());
    builder.build().expect("a generated name is no mistake")
}

#[test]
fn what_keeps_data_under_a_generated_name_is_listed_with_its_nodes() {
    let generated: Vec<String> = half_named().generated_names().iter().map(ToString::to_string).collect();
    assert_eq!(
        generated,
        [
            "store KSTREAM-AGGREGATE-STATE-STORE-0000000004 of KSTREAM-AGGREGATE-0000000005",
            "repartition topic KSTREAM-AGGREGATE-STATE-STORE-0000000004-repartition of KSTREAM-AGGREGATE-0000000005",
        ]
    );
}

#[test]
fn generated_names_are_refused_where_given_ones_are_demanded() {
    let mut settings = Settings::new("localhost:1");
    settings.ensure_explicit_internal_resource_naming = true;
    let started = Streams::builder("shop", half_named()).settings(settings).start();
    let refusal = started.err().expect("there are generated names").to_string();
    says(&refusal, "store KSTREAM-AGGREGATE-STATE-STORE-0000000004 of KSTREAM-AGGREGATE-0000000005");
    says(&refusal, "name stores with a `StoreName`, repartition topics with `named(..)`");
}
