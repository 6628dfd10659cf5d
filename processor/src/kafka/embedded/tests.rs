//! What the documentation of [`EmbeddedKafka`] says of librdkafka's mock cluster, so that a new librdkafka which
//! behaves otherwise is noticed.
#![expect(clippy::disallowed_methods, reason = "tests poll with a deadline on the machine's clock")]

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::{EmbeddedKafka, EmbeddedKafkaError};
use crate::kafka::closing::Closing;

const DEADLINE: Duration = Duration::from_secs(20);

/// Without a group's rebalances: the rdkafka crate asks for a group all the same.
const FAST: [(&str, &str); 4] = [
    ("group.id", "inspection"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "earliest"),
    ("fetch.wait.max.ms", "10"),
];

fn client<T: FromClientConfig>(kafka: &EmbeddedKafka, settings: &[(&str, &str)]) -> T {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap_servers());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().expect("the settings of a test are valid")
}

fn start_with_topic(topic: &str, partitions: usize) -> EmbeddedKafka {
    let kafka = EmbeddedKafka::start(1).expect("loopback ports are free");
    kafka.create_topic(topic, partitions).expect("the topic is new");
    kafka
}

fn send(producer: &BaseProducer, record: BaseRecord<'_, str, [u8]>) {
    producer.send(record).unwrap_or_else(|(error, _)| panic!("not queued: {error}"));
}

fn flush(producer: &BaseProducer) {
    let started = Instant::now();
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
        assert!(started.elapsed() < DEADLINE, "records were not acknowledged");
    }
}

fn assign(consumer: &BaseConsumer, topic: &str, offset: Offset) {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, offset).expect("the offset is valid");
    consumer.assign(&assignment).expect("the assignment is valid");
}

fn next(consumer: &BaseConsumer) -> OwnedMessage {
    let started = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(20)) {
            Some(message) => return message.expect("the record can be read").detach(),
            None => assert!(started.elapsed() < DEADLINE, "no record came"),
        }
    }
}

fn watermarks(consumer: &BaseConsumer, topic: &str) -> (i64, i64) {
    consumer.fetch_watermarks(topic, 0, DEADLINE).expect("the partition has watermarks")
}

#[test]
fn it_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<EmbeddedKafka>();
}

#[test]
fn records_keep_key_value_timestamp_and_headers() {
    let kafka = start_with_topic("orders", 1);
    let producer: BaseProducer = client(&kafka, &[("enable.idempotence", "true")]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("a") })
        .insert(Header { key: "trace", value: None::<&str> });
    send(
        &producer,
        BaseRecord::to("orders").key("1").payload(b"apples".as_slice()).timestamp(1234).headers(headers),
    );
    send(&producer, BaseRecord::to("orders").key("1"));
    flush(&producer);

    let consumer: BaseConsumer = client(&kafka, &FAST);
    assign(&consumer, "orders", Offset::Beginning);
    let (order, tombstone) = (next(&consumer), next(&consumer));

    assert_eq!((order.offset(), order.key(), order.payload()), (0, Some(&b"1"[..]), Some(&b"apples"[..])));
    assert_eq!(order.timestamp(), rdkafka::Timestamp::CreateTime(1234));
    let headers: Vec<_> = order.headers().into_iter().flat_map(|headers| headers.iter()).collect();
    assert_eq!(
        headers,
        [Header { key: "trace", value: Some(&b"a"[..]) }, Header { key: "trace", value: None }]
    );
    assert_eq!((tombstone.offset(), tombstone.payload()), (1, None));
    assert_eq!(watermarks(&consumer, "orders"), (0, 2));
}

#[test]
fn topics_are_created_once_or_by_a_producer() {
    let kafka = start_with_topic("orders", 3);
    let twice = kafka.create_topic("orders", 3).expect_err("a topic was created twice");
    assert!(matches!(twice, EmbeddedKafkaError::TopicExists { .. }), "{twice:?}");
    let empty = kafka.create_topic("stock", 0).expect_err("a topic was created without partitions");
    assert!(matches!(empty, EmbeddedKafkaError::CannotCreate { .. }), "{empty:?}");

    let consumer: BaseConsumer = client(&kafka, &FAST);
    let unknown =
        consumer.fetch_metadata(Some("asked-by-a-consumer"), DEADLINE).expect("the cluster answers");
    assert!(unknown.topics()[0].error().is_some());
    let producer: BaseProducer = client(&kafka, &[]);
    send(&producer, BaseRecord::to("named-by-a-producer").key("1"));
    flush(&producer);

    let topics: Vec<_> = kafka.topics().expect("the cluster answers").into_iter().collect();
    assert_eq!(topics, [("named-by-a-producer".to_owned(), 4), ("orders".to_owned(), 3)]);
}

#[test]
fn without_a_broker_it_does_not_start() {
    let error = EmbeddedKafka::start(0).expect_err("a cluster without brokers started");
    assert!(matches!(error, EmbeddedKafkaError::CannotStart { brokers: 0, .. }), "{error:?}");
}

#[test]
fn it_stops_when_it_is_dropped() {
    let kafka = EmbeddedKafka::start(3).expect("loopback ports are free");
    let servers: Vec<String> = kafka.bootstrap_servers().split(',').map(str::to_owned).collect();
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|server| TcpStream::connect(server).is_ok()));
    drop(kafka);
    assert!(servers.iter().all(|server| TcpStream::connect(server).is_err()));
}

#[test]
fn a_partition_keeps_five_mebibytes() {
    const RECORDS: i64 = 8_000;
    let kafka = start_with_topic("changelog", 1);
    let producer: BaseProducer = client(&kafka, &[("batch.num.messages", "100")]);
    let value = [7; 1024];
    for _ in 0..RECORDS {
        send(&producer, BaseRecord::to("changelog").key("k").payload(&value[..]));
    }
    flush(&producer);
    let consumer: BaseConsumer = client(&kafka, &FAST);
    let (start, end) = watermarks(&consumer, "changelog");
    assert_eq!(end, RECORDS);
    let kept = end - start;
    assert!((4_800..5_300).contains(&kept), "kept {kept} records of a kibibyte");
}

#[test]
fn an_empty_fetch_takes_its_whole_wait() {
    let kafka = start_with_topic("orders", 1);
    let wait = Duration::from_millis(700);
    let mut settings = FAST;
    settings[3] = ("fetch.wait.max.ms", "700");
    let consumer: BaseConsumer = client(&kafka, &settings);
    assign(&consumer, "orders", Offset::Beginning);
    // A second fetch starts when the first, which found nothing, has answered: then there is one in the broker's hands.
    assert!(consumer.poll(wait + Duration::from_millis(50)).is_none());
    let producer: BaseProducer = client(&kafka, &[("linger.ms", "0")]);
    let sent = Instant::now();
    send(&producer, BaseRecord::to("orders").key("1"));
    flush(&producer);
    next(&consumer);
    assert!(sent.elapsed() > wait / 2, "the fetch was cut short after {:?}", sent.elapsed());
}

#[test]
fn a_group_lines_up_its_topics_and_resumes_from_its_commits() {
    // Who comes too late for the first rebalance of a classic group waits for the session timeout.
    let protocols: [&[_]; 2] = [
        &[("group.protocol", "consumer"), ("group.remote.assignor", "range")],
        &[
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "6000"),
        ],
    ];
    for protocol in protocols {
        let kafka = start_with_topic("orders", 4);
        kafka.create_topic("stock", 4).expect("the topic is new");
        let member = || {
            let common = [("group.id", "shop"), ("enable.auto.commit", "false"), ("fetch.wait.max.ms", "10")];
            // A bare consumer may wait for ever, closed while the group waits for its answer.
            let consumer: Closing<BaseConsumer> =
                Closing::new(client(&kafka, &[&common[..], protocol].concat()));
            consumer.subscribe(&["orders", "stock"]).expect("the topics exist");
            consumer
        };
        let members = [member(), member()];
        let assigned = await_assignments(&members);
        for partitions in &assigned {
            let of = |topic: &str| -> BTreeSet<i32> {
                partitions.iter().filter(|(name, _)| name == topic).map(|(_, partition)| *partition).collect()
            };
            assert_eq!(of("orders").len(), 2, "{assigned:?}");
            assert_eq!(of("orders"), of("stock"), "{assigned:?}");
        }
        let (topic, partition) = assigned[0].first().expect("the member has partitions").clone();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, partition, Offset::Offset(7)).expect("the offset is valid");
        // Until the group has told everybody of itself, it refuses.
        let started = Instant::now();
        while let Err(refused) = members[0].commit(&offsets, CommitMode::Sync) {
            assert!(started.elapsed() < DEADLINE, "a member may commit: {refused}");
            await_assignments(&members);
        }

        let observer: BaseConsumer = client(&kafka, &[("group.id", "shop")]);
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic, partition);
        let committed = observer.committed_offsets(asked, DEADLINE).expect("the group is known");
        assert_eq!(committed.elements()[0].offset(), Offset::Offset(7), "{protocol:?}");
    }
}

/// The partitions of each of two members, once both have the half of eight. On a busy machine they may miss several rebalances.
fn await_assignments(members: &[Closing<BaseConsumer>; 2]) -> [BTreeSet<(String, i32)>; 2] {
    const SETTLED: Duration = Duration::from_secs(90);
    let started = Instant::now();
    loop {
        let assigned = members.each_ref().map(|member| {
            let polled = member.poll(Duration::from_millis(20));
            assert!(!matches!(polled, Some(Ok(_))), "the topics are empty");
            let assignment = member.assignment().expect("a member has an assignment");
            assignment.elements().iter().map(|held| (held.topic().to_owned(), held.partition())).collect()
        });
        if assigned.iter().all(|partitions: &BTreeSet<_>| partitions.len() == 4) {
            return assigned;
        }
        assert!(started.elapsed() < SETTLED, "the group did not settle: {assigned:?}");
    }
}

#[test]
fn aborted_records_stay_visible() {
    let kafka = start_with_topic("orders", 1);
    let producer: BaseProducer = client(&kafka, &[("transactional.id", "shop-0")]);
    producer.init_transactions(DEADLINE).expect("transactions are accepted");
    producer.begin_transaction().expect("a transaction begins");
    send(&producer, BaseRecord::to("orders").key("1"));
    flush(&producer);
    producer.abort_transaction(DEADLINE).expect("a transaction aborts");

    let consumer: BaseConsumer =
        client(&kafka, &[&FAST[..], &[("isolation.level", "read_committed")]].concat());
    assign(&consumer, "orders", Offset::Beginning);
    assert_eq!(next(&consumer).offset(), 0);
    assert_eq!(watermarks(&consumer, "orders"), (0, 1));
}

#[test]
fn offsets_are_not_found_by_timestamp() {
    let kafka = start_with_topic("orders", 1);
    let producer: BaseProducer = client(&kafka, &[]);
    send(&producer, BaseRecord::to("orders").key("1").timestamp(1000));
    flush(&producer);
    let consumer: BaseConsumer = client(&kafka, &FAST);
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset("orders", 0, Offset::Offset(0)).expect("the offset is valid");
    let found = consumer.offsets_for_times(asked, DEADLINE).expect("the cluster answers");
    assert_eq!(found.elements()[0].offset(), Offset::End);
}

#[test]
fn creating_topics_by_the_admin_api_times_out() {
    let kafka = start_with_topic("orders", 1);
    let admin: AdminClient<DefaultClientContext> = client(&kafka, &[]);
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(1)));
    let topic = NewTopic::new("stock", 1, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
    let error = runtime.block_on(admin.create_topics([&topic], &options)).expect_err("a topic was created");
    assert_eq!(error, KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
}
