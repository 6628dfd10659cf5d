//! Programs that cannot run are refused when they are built, with what to do about it.

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
