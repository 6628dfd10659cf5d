//! Foreign-key joins on the test driver. Where a test says so, what it expects was printed by Kafka Streams 4.3.1 for the same program and the
//! same records.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_processor::testing::TopologyTestDriver;
use millstream_processor::topology::TopicName;

use super::ForeignKeyJoinKind;
use crate::operators::test_support::{
    change_row, driver, driver_without_commits, pipe_all, pipe_at, table, text, written, written_at,
};
use crate::{KTable, StoreName, StoreOptions, StreamsBuilder, TimeWindows, Windowed, millis};

const JOINED: StoreName<String, String> = StoreName::new("joined");
const REGISTRATION: &str = "test-of-customers-subscription-registration-topic";
const RESPONSE: &str = "test-of-customers-subscription-response-topic";
const SUBSCRIPTIONS: &str = "test-of-customers-subscription-store-changelog";

/// A change of a table: topic, key, value and event time.
type Step = (&'static str, &'static str, Option<&'static str>, i64);

/// The customer of an order, `ann:5`; an order may have none, `:5`.
fn customer(order: &str) -> Option<String> {
    order.split(':').next().filter(|customer| !customer.is_empty()).map(str::to_string)
}

/// Both values with a slash between them; a dash is none.
fn join(
    kind: ForeignKeyJoinKind,
    orders: &KTable<String, String>,
    customers: &KTable<String, String>,
) -> KTable<String, String> {
    let on_customer = orders.on(|_, order| customer(order));
    match kind {
        ForeignKeyJoinKind::Inner => on_customer.join(customers, |order, name| format!("{order}/{name}")),
        ForeignKeyJoinKind::Left => on_customer
            .left_join(customers, |order, name| format!("{order}/{}", name.map_or("-", String::as_str))),
    }
    .named("of-customers")
}

/// Orders joined with their customers, written to `out`.
fn orders_of_customers(kind: ForeignKeyJoinKind) -> impl Fn(&StreamsBuilder) {
    move |builder| {
        join(kind, &table(builder, "orders"), &table(builder, "customers")).to_stream().to("out");
    }
}

fn change(driver: &TopologyTestDriver, (topic, key, value, time): Step) {
    change_row(driver, topic, key, value, time);
}

/// What was written to `out` since the last look, as `key=value@time`.
fn outputs(driver: &TopologyTestDriver) -> Vec<String> {
    let records = written_at::<String, Option<String>>(&driver.output_topic("out"));
    let value = |value: Option<String>| value.unwrap_or_else(|| text("null"));
    records.into_iter().map(|(key, row, time)| format!("{key}={}@{time}", value(row))).collect()
}

#[track_caller]
fn writes(driver: &TopologyTestDriver, steps: &[(Step, &[&str])]) {
    for (step, expected) in steps {
        change(driver, *step);
        assert_eq!(outputs(driver), *expected, "{step:?}");
    }
}

/// As Kafka Streams.
#[test]
fn an_inner_join_follows_rows_from_key_to_key() {
    let driver = driver(orders_of_customers(ForeignKeyJoinKind::Inner));
    writes(
        &driver,
        &[
            (("orders", "1", Some("ann:5"), 10), &[]),
            (("orders", "2", Some("bob:7"), 11), &[]),
            (("customers", "ann", Some("Ann"), 20), &["1=ann:5/Ann@20"]),
            (("orders", "1", Some("ann:6"), 5), &["1=ann:6/Ann@20"]),
            (("orders", "1", Some("bob:6"), 6), &["1=null@6"]),
            (("customers", "bob", Some("Bob"), 7), &["1=bob:6/Bob@7", "2=bob:7/Bob@7"]),
            (("orders", "1", Some("ann:6"), 30), &["1=ann:6/Ann@30"]),
            (("customers", "ann", Some("Ann A."), 8), &["1=ann:6/Ann A.@8"]),
            (("customers", "ann", None, 40), &["1=null@40"]),
            (("orders", "1", Some(":6"), 41), &["1=null@41"]),
            (("orders", "1", Some(":7"), 42), &[]),
            (("orders", "1", Some("bob:8"), 43), &["1=bob:8/Bob@43"]),
            (("orders", "1", Some(":8"), 44), &["1=null@44"]),
            (("orders", "1", Some("ann:9"), 45), &[]),
            (("orders", "1", None, 46), &["1=null@46"]),
            (("orders", "1", None, 47), &[]),
            (("orders", "2", None, 48), &["2=null@48"]),
            (("orders", "3", Some("eve:1"), 49), &[]),
            (("orders", "3", Some("dan:1"), 50), &["3=null@50"]),
            (("orders", "3", Some("dan:2"), 51), &[]),
            (("orders", "3", None, 52), &["3=null@52"]),
            (("customers", "ann", Some(""), 60), &[]),
            (("orders", "4", Some("ann:1"), 61), &["4=null@61"]),
        ],
    );
    assert_eq!(driver.dropped_records(), 3, "orders without a customer");
}

/// As Kafka Streams.
#[test]
fn a_left_join_has_a_row_for_each_row_whatever_it_refers_to() {
    let driver = driver(orders_of_customers(ForeignKeyJoinKind::Left));
    writes(
        &driver,
        &[
            (("orders", "1", Some("ann:5"), 10), &["1=ann:5/-@10"]),
            (("orders", "2", Some("bob:7"), 11), &["2=bob:7/-@11"]),
            (("customers", "ann", Some("Ann"), 20), &["1=ann:5/Ann@20"]),
            (("orders", "1", Some("ann:6"), 5), &["1=ann:6/Ann@20"]),
            (("orders", "1", Some("bob:6"), 6), &["1=bob:6/-@6"]),
            (("customers", "bob", Some("Bob"), 7), &["1=bob:6/Bob@7", "2=bob:7/Bob@7"]),
            (("orders", "1", Some("ann:6"), 30), &["1=ann:6/Ann@30"]),
            (("customers", "ann", Some("Ann A."), 8), &["1=ann:6/Ann A.@8"]),
            (("customers", "ann", None, 40), &["1=ann:6/-@40"]),
            (("orders", "1", Some(":6"), 41), &["1=:6/-@41"]),
            (("orders", "1", Some(":7"), 42), &["1=:7/-@42"]),
            (("orders", "1", Some("bob:8"), 43), &["1=bob:8/Bob@43"]),
            (("orders", "1", Some(":8"), 44), &["1=:8/-@44"]),
            (("orders", "1", Some("ann:9"), 45), &["1=ann:9/-@45"]),
            (("orders", "1", None, 46), &["1=null@46"]),
            (("orders", "1", None, 47), &[]),
            (("orders", "2", None, 48), &["2=null@48"]),
            (("orders", "3", Some("eve:1"), 49), &["3=eve:1/-@49"]),
            (("orders", "3", Some("dan:1"), 50), &["3=dan:1/-@50"]),
            (("orders", "3", Some("dan:2"), 51), &["3=dan:2/-@51"]),
            (("orders", "3", None, 52), &["3=null@52"]),
            (("customers", "ann", Some(""), 60), &[]),
            (("orders", "4", Some("ann:1"), 61), &["4=ann:1/-@61"]),
        ],
    );
    assert_eq!(driver.dropped_records(), 0);
}

/// As Kafka Streams.
#[test]
fn a_table_refers_to_itself() {
    let driver = driver(|builder| {
        let employees = table(builder, "employees");
        join(ForeignKeyJoinKind::Left, &employees, &employees).to_stream().to("out");
    });
    writes(
        &driver,
        &[
            (("employees", "ann", Some(":boss"), 1), &["ann=:boss/-@1"]),
            (("employees", "bob", Some("ann:dev"), 2), &["bob=ann:dev/:boss@2"]),
            (("employees", "ann", Some(":ceo"), 3), &["bob=ann:dev/:ceo@3", "ann=:ceo/-@3"]),
            (
                ("employees", "ann", Some("ann:self"), 4),
                &["bob=ann:dev/ann:self@4", "ann=ann:self/ann:self@4"],
            ),
            (("employees", "ann", None, 5), &["bob=ann:dev/-@5", "ann=null@5"]),
            (("employees", "bob", None, 6), &["bob=null@6"]),
        ],
    );
    assert_eq!(driver.dropped_records(), 1, "the answer of the deleted row to itself comes too late");
}

/// Records of a topic as bytes in hexadecimal, `key value @time`.
fn records(driver: &TopologyTestDriver, topic: &str) -> Vec<String> {
    let hex = |bytes: Option<Vec<u8>>| {
        bytes.map_or(text("null"), |bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    };
    let records = driver.output_topic::<Option<Vec<u8>>, Option<Vec<u8>>>(topic);
    let records = records.read_records_to_list().expect("bytes are bytes").into_iter();
    records
        .map(|record| format!("{} {} @{}", hex(record.key), hex(record.value), record.timestamp.as_millis()))
        .collect()
}

/// As Kafka Streams: an application that moves from it goes on with the topics and the state it has.
#[test]
fn the_bytes_between_the_tasks_are_those_of_kafka_streams() {
    let driver = driver(orders_of_customers(ForeignKeyJoinKind::Left));
    let sees = |step, registrations: &[&str], changelog: &[&str], responses: &[&str]| {
        change(&driver, step);
        assert_eq!(records(&driver, REGISTRATION), registrations, "{step:?}: registrations");
        assert_eq!(records(&driver, SUBSCRIPTIONS), changelog, "{step:?}: changelog");
        assert_eq!(records(&driver, RESPONSE), responses, "{step:?}: responses");
    };
    sees(("customers", "ann", Some("Ann"), 5), &[], &[], &[]);
    sees(
        ("orders", "1", Some("ann:5"), 10),
        &["616e6e 01025f2022c7c8b908c9c38e63112c1cf9743100000000 @10"],
        &["00000003616e6e31 01025f2022c7c8b908c9c38e63112c1cf9743100000000 @10"],
        &["31 005f2022c7c8b908c9c38e63112c1cf974416e6e @10"],
    );
    sees(
        ("orders", "1", Some(":6"), 41),
        &[
            "616e6e 0100fcbd058e45e05de724fda4f3cf580a093100000000 @41",
            "null 0102fcbd058e45e05de724fda4f3cf580a093100000000 @41",
        ],
        &["00000003616e6e31 null @41"],
        &["31 00fcbd058e45e05de724fda4f3cf580a09 @41"],
    );
    sees(("orders", "1", None, 46), &["null 81023100000000 @46"], &[], &["31 80 @46"]);
}

#[test]
fn an_answer_to_a_value_that_the_row_has_no_more_is_dropped() {
    let driver = driver(orders_of_customers(ForeignKeyJoinKind::Inner));
    change(&driver, ("customers", "ann", Some("Ann"), 1));
    change(&driver, ("orders", "1", Some("ann:5"), 2));
    assert_eq!(outputs(&driver), ["1=ann:5/Ann@2"]);
    let responses = driver.output_topic::<String, Vec<u8>>(RESPONSE);
    let answer = responses.read_key_value().expect("bytes are bytes").expect("the order was answered").1;
    change(&driver, ("orders", "1", Some("ann:6"), 3));
    assert_eq!(outputs(&driver), ["1=ann:6/Ann@3"]);

    let responses = driver.input_topic::<String, Vec<u8>>(RESPONSE);
    responses.pipe_input("1", answer.clone()).expect("the record is processed");
    assert_eq!((outputs(&driver), driver.dropped_records()), (vec![], 1));
    change(&driver, ("orders", "1", Some("ann:5"), 4));
    assert_eq!(outputs(&driver), ["1=ann:5/Ann@4"]);
    responses.pipe_input("1", answer).expect("the record is processed");
    assert_eq!((outputs(&driver).len(), driver.dropped_records()), (1, 1), "it is the row's value again");
}

#[test]
fn a_subscription_without_a_partition_is_answered_and_one_without_a_key_is_not() {
    let driver = driver(orders_of_customers(ForeignKeyJoinKind::Inner));
    change(&driver, ("customers", "ann", Some("Ann"), 1));
    let registrations = driver.input_topic::<Option<String>, Vec<u8>>(REGISTRATION);
    let only_if_available = b"\x80\x031".to_vec();
    registrations.pipe_input(text("ann"), only_if_available.clone()).expect("the record is processed");
    assert_eq!(records(&driver, RESPONSE), ["31 80416e6e @1"]);
    assert_eq!(records(&driver, SUBSCRIPTIONS), ["00000003616e6e31 800331 @0"]);
    registrations.pipe_input(None, only_if_available).expect("the record is processed");
    assert_eq!((records(&driver, RESPONSE).len(), driver.dropped_records()), (0, 1));
}

#[test]
fn one_key_is_not_taken_for_another_that_begins_like_it() {
    let driver = driver(orders_of_customers(ForeignKeyJoinKind::Inner));
    pipe_all(
        &driver.input_topic::<String, String>("orders"),
        [("1", "ann:1"), ("2", "anna:2"), ("3", "an:3"), ("4", "ann:4")],
    );
    change(&driver, ("customers", "ann", Some("Ann"), 9));
    assert_eq!(outputs(&driver), ["1=ann:1/Ann@9", "4=ann:4/Ann@9"]);
}

#[test]
fn the_result_is_kept_in_a_store_where_it_is_given_one_or_needed() {
    let driver = driver(|builder| {
        let (orders, customers) = (table(builder, "orders"), table(builder, "customers"));
        join(ForeignKeyJoinKind::Inner, &orders, &customers).materialized(JOINED).to_stream().to("out");
        let notes = table(builder, "notes");
        let noted =
            orders.on(|_, order| customer(order)).join(&customers, |order, name| format!("{name}, {order}"));
        noted.join(&notes, |order, note| format!("{order}: {note}")).to_stream().to("noted");
    });
    change(&driver, ("orders", "1", Some("ann:5"), 1));
    change(&driver, ("customers", "ann", Some("Ann"), 2));
    change(&driver, ("notes", "1", Some("fragile"), 3));
    let row = driver.key_value_store(JOINED).expect("the join has a store").get(&text("1"));
    assert_eq!(row.expect("it can be read").map(|row| row.value), Some(text("ann:5/Ann")));
    let noted = driver.output_topic::<String, String>("noted");
    assert_eq!(written(&noted), [(text("1"), text("Ann, ann:5: fragile"))]);
}

#[test]
fn views_and_aggregates_are_joined_at_commit() {
    let driver = driver_without_commits(|builder| {
        let latest = builder.stream::<String, String>("orders").group_by_key().reduce((), |_, new| new);
        let orders = latest.filter(|_, order| !order.ends_with(":0"));
        let visits = builder.stream::<String, String>("visits").group_by(|_, customer| customer.clone());
        let visits = visits.count(()).map_values(|_, visits| visits * 10);
        orders
            .on(|_, order| customer(order))
            .left_join(&visits, |order, visits| format!("{order}/{}", visits.unwrap_or(&0)))
            .to_stream()
            .to("out");
    });
    let commit = || driver.commit().expect("the commit succeeds");
    pipe_all(
        &driver.input_topic::<String, String>("orders"),
        [("1", "ann:0"), ("1", "ann:2"), ("2", "ann:0")],
    );
    change(&driver, ("visits", "x", Some("ann"), 4));
    change(&driver, ("visits", "x", Some("ann"), 5));
    assert_eq!(outputs(&driver), [""; 0]);
    commit();
    let after_first = outputs(&driver).pop();
    assert_eq!(after_first, Some(text("1=ann:2/20@5")));
    change(&driver, ("orders", "1", Some("ann:0"), 6));
    commit();
    assert_eq!(outputs(&driver), ["1=null@6"]);
}

#[test]
fn the_topics_have_as_many_partitions_as_the_tables_they_lead_to() {
    let builder = StreamsBuilder::new();
    orders_of_customers(ForeignKeyJoinKind::Inner)(&builder);
    let topology = builder.build().expect("the program is right");
    let external = BTreeMap::from([(text("orders"), 3), (text("customers"), 5)]);
    let counts = topology.partition_counts(&external).expect("the counts may differ");
    let count = |topic: &str| counts[&TopicName::Internal(topic.to_string())];
    assert_eq!(count("of-customers-subscription-registration-topic"), 5);
    assert_eq!(count("of-customers-subscription-response-topic"), 3);
    assert_eq!(topology.subtopologies().len(), 2);
}

#[test]
fn tables_that_are_repartitioned_themselves_have_the_partitions_of_the_larger_topic() {
    let builder = StreamsBuilder::new();
    let keyed =
        |topic| builder.stream::<String, String>(topic).select_key(|_, value| value.clone()).to_table();
    join(ForeignKeyJoinKind::Inner, &keyed("orders"), &keyed("customers"));
    let topology = builder.build().expect("the program is right");
    for (orders, customers) in [(3, 5), (5, 3)] {
        let external = BTreeMap::from([(text("orders"), orders), (text("customers"), customers)]);
        let mut counts = topology.partition_counts(&external).expect("the counts follow from the sources");
        counts.retain(|topic, _| matches!(topic, TopicName::Internal(_)));
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [5; 4]);
    }
}

#[test]
#[should_panic(expected = "only tables of one StreamsBuilder can be joined")]
fn a_table_of_another_builder_is_refused() {
    let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
    join(ForeignKeyJoinKind::Inner, &table(&one, "orders"), &table(&other, "customers"));
}

#[test]
fn older_versions_of_versioned_tables_neither_subscribe_nor_answer() {
    const ORDERS: StoreName<String, String> = StoreName::new("orders");
    const CUSTOMERS: StoreName<String, String> = StoreName::new("customers");
    const HUNDRED: Duration = Duration::from_millis(100);
    let driver = driver(|builder| {
        let orders = table(builder, "orders").materialized(ORDERS.versioned(HUNDRED));
        let customers = table(builder, "customers").materialized(CUSTOMERS.versioned(HUNDRED));
        join(ForeignKeyJoinKind::Inner, &orders, &customers).to_stream().to("out");
    });
    writes(
        &driver,
        &[
            (("customers", "ann", Some("Ann"), 200), &[]),
            (("orders", "1", Some("ann:5"), 210), &["1=ann:5/Ann@210"]),
            (("orders", "1", Some("bob:4"), 190), &[]),
            (("customers", "ann", Some("Anna"), 150), &[]),
            (("customers", "ann", Some("Ann A."), 220), &["1=ann:5/Ann A.@220"]),
        ],
    );
    assert_eq!(driver.dropped_records(), 2);
}

#[test]
fn an_answer_the_joiner_fails_on_leaves_the_row_as_it_was() {
    let driver = driver(|builder| {
        let (orders, customers) = (table(builder, "orders"), table(builder, "customers"));
        let known = |order: &String, name: Option<&String>| match name {
            Some(name) if name == "?" => Err("the customer is unknown"),
            name => Ok(format!("{order}/{}", name.map_or("-", String::as_str))),
        };
        let inner = orders.on(|_, order| customer(order));
        let inner = inner.try_join(&customers, move |order, name| known(order, Some(name)));
        inner.to_stream().to("inner");
        orders.on(|_, order| customer(order)).try_left_join(&customers, known).to_stream().to("out");
    });
    writes(
        &driver,
        &[
            (("orders", "1", Some("ann:5"), 100), &["1=ann:5/-@100"]),
            (("customers", "ann", Some("Ann"), 110), &["1=ann:5/Ann@110"]),
            (("customers", "ann", Some("?"), 120), &[]),
            (("customers", "ann", Some("Anna"), 130), &["1=ann:5/Anna@130"]),
        ],
    );
    assert_eq!(driver.skipped_records(), 2, "an answer of each join");
    let inner = written::<String, String>(&driver.output_topic("inner"));
    assert_eq!(inner, [(text("1"), text("ann:5/Ann")), (text("1"), text("ann:5/Anna"))]);
}

#[test]
fn the_keys_of_windowed_tables_are_written_as_those_of_their_windows() {
    let driver = driver(|builder| {
        let windows = TimeWindows::of_size_and_grace(millis(10), millis(90));
        let grouped = |topic: &str| builder.stream::<String, String>(topic).group_by_key();
        let orders = grouped("orders").windowed_by(windows).reduce((), |_, newest| newest);
        let visits = grouped("visits").windowed_by(windows).count(());
        let visited =
            |order: &Windowed<String>, customer: &String| Windowed::new(customer.clone(), order.window);
        let joined =
            orders.on(visited).left_join(&visits, |customer, visits| format!("{customer}/{visits:?}"));
        let joined = joined.named("of-customers").to_stream();
        joined.map(|windowed, row| (windowed.to_string(), row)).to("out");
    });
    let (orders, visits) =
        (driver.input_topic::<String, String>("orders"), driver.input_topic::<String, String>("visits"));
    pipe_at(&visits, "ann", "/", 11);
    pipe_at(&orders, "1", "ann", 12);
    pipe_at(&orders, "2", "ann", 25);
    pipe_at(&visits, "ann", "/", 19);
    let expected = ["[1@10/20]=ann/Some(1)@12", "[2@20/30]=ann/None@25", "[1@10/20]=ann/Some(2)@19"];
    assert_eq!(outputs(&driver), expected);

    // Key and start; sessions would have an end, too.
    let key = |key: &[u8], start: i64| [key, &start.to_be_bytes()[..]].concat();
    let registered = driver.output_topic::<Vec<u8>, Option<Vec<u8>>>(REGISTRATION);
    let registered = registered.read_key_values_to_list().expect("bytes are bytes");
    assert_eq!(
        registered.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        [key(b"ann", 10), key(b"ann", 20)]
    );
    let subscription = registered[0].1.as_deref().expect("it has a value");
    assert!(subscription.windows(9).any(|part| part == key(b"1", 10)), "{subscription:?}");
    let answers = driver.output_topic::<Vec<u8>, Option<Vec<u8>>>(RESPONSE);
    let answers = answers.read_key_values_to_list().expect("bytes are bytes").into_iter();
    assert_eq!(
        answers.map(|(key, _)| key).collect::<Vec<_>>(),
        [key(b"1", 10), key(b"2", 20), key(b"1", 10)]
    );
}
