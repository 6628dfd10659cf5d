//! The workloads with bare librdkafka: batches from an own queue, a hash table, `produceva`. What no framework on this client can beat.

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use anyhow::{Result, ensure};
use millstream::clock::SystemClock;
use millstream::partition_for_key;
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rustc_hash::FxHashMap;

use crate::measure::{cpu_time, measured};
use crate::{Measured, OneRun, PARTITIONS, Workload};

pub(crate) fn run(run: &OneRun) -> Result<Measured> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &run.bootstrap_servers)
        .set("group.id", &run.id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "100000")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &run.bootstrap_servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "500000")
        .create()?;
    let queue = assign_to_queue(&consumer, &run.input)?;
    let output = topic_handle(&producer, &run.output)?;
    // The changelog of the count: another record per update, here to the same topic's twin.
    let changelog = topic_handle(&producer, &format!("{}-changelog", run.id))?;
    if run.workload == Workload::Count {
        millstream_integration_tests::kafka::ClusterClient::new(&run.bootstrap_servers)?.create_topic(
            &format!("{}-changelog", run.id),
            PARTITIONS as usize,
            &[],
        )?;
    }

    let clock = SystemClock::shared();
    let mut counts: FxHashMap<Vec<u8>, u64> = FxHashMap::default();
    let mut batch = vec![ptr::null_mut(); 1000];
    let (mut done, mut first) = (0, None);
    while done < run.records {
        // SAFETY: the queue is valid and the buffer has room for 1000 pointers.
        let count = unsafe {
            let count = rdsys::rd_kafka_consume_batch_queue(queue, 0, batch.as_mut_ptr(), batch.len());
            if count > 0 {
                count
            } else {
                rdsys::rd_kafka_consume_batch_queue(queue, 100, batch.as_mut_ptr(), 1)
            }
        };
        let count = usize::try_from(count)?;
        if count > 0 && first.is_none() {
            first = Some(clock.monotonic());
        }
        for message in &batch[..count] {
            // SAFETY: the call filled the first `count` slots; each message is read and destroyed once.
            unsafe {
                let fields = **message;
                let key = std::slice::from_raw_parts(fields.key.cast::<u8>(), fields.key_len);
                let value = std::slice::from_raw_parts(fields.payload.cast::<u8>(), fields.len);
                let timestamp = rdsys::rd_kafka_message_timestamp(*message, ptr::null_mut());
                let partition = partition_for_key(key, PARTITIONS);
                match run.workload {
                    Workload::Pass => produce(&producer, output, partition, key, value, timestamp),
                    Workload::Count => {
                        let counted = match counts.get_mut(key) {
                            Some(counted) => counted,
                            None => counts.entry(key.to_vec()).or_default(),
                        };
                        *counted += 1;
                        let value = counted.to_be_bytes();
                        produce(&producer, changelog, partition, key, &value, timestamp);
                        produce(&producer, output, partition, key, &value, timestamp);
                    }
                }
                rdsys::rd_kafka_message_destroy(*message);
            }
        }
        done += count as u64;
        producer.poll(Duration::ZERO);
    }
    let elapsed = clock.monotonic().saturating_sub(first.unwrap_or_default());
    producer.flush(Duration::from_secs(60))?;
    // SAFETY: each was created once and is destroyed once, before its client.
    unsafe {
        rdsys::rd_kafka_topic_destroy(output);
        rdsys::rd_kafka_topic_destroy(changelog);
        rdsys::rd_kafka_queue_destroy(queue);
    }
    measured(run.records, elapsed, cpu_time()?)
}

fn assign_to_queue(consumer: &BaseConsumer, topic: &str) -> Result<*mut rdsys::rd_kafka_queue_t> {
    let client = consumer.client().native_ptr();
    let name = CString::new(topic)?;
    let mut list = TopicPartitionList::new();
    // SAFETY: the client is valid; the partition queues are released right after they are forwarded.
    let queue = unsafe { rdsys::rd_kafka_queue_new(client) };
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        unsafe {
            let from = rdsys::rd_kafka_queue_get_partition(client, name.as_ptr(), partition);
            rdsys::rd_kafka_queue_forward(from, queue);
            rdsys::rd_kafka_queue_destroy(from);
        }
    }
    consumer.assign(&list)?;
    Ok(queue)
}

fn topic_handle(producer: &BaseProducer, topic: &str) -> Result<*mut rdsys::rd_kafka_topic_t> {
    let name = CString::new(topic)?;
    // SAFETY: the client is valid and a null configuration means the defaults.
    let handle =
        unsafe { rdsys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
    ensure!(!handle.is_null(), "cannot write to topic {topic}");
    Ok(handle)
}

/// # Safety
/// `topic` must be a handle of this producer.
unsafe fn produce(
    producer: &BaseProducer,
    topic: *mut rdsys::rd_kafka_topic_t,
    partition: i32,
    key: &[u8],
    value: &[u8],
    timestamp: i64,
) {
    use rdsys::rd_kafka_vtype_t as Kind;
    type Value = rdsys::rd_kafka_vu_s__bindgen_ty_1;
    let memory = |bytes: &[u8]| Value {
        mem: rdsys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
            ptr: bytes.as_ptr().cast_mut().cast(),
            size: bytes.len(),
        },
    };
    let argument = |vtype, u| rdsys::rd_kafka_vu_s { vtype, u };
    let arguments = [
        argument(Kind::RD_KAFKA_VTYPE_RKT, Value { rkt: topic }),
        argument(Kind::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }),
        argument(Kind::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: rdsys::RD_KAFKA_MSG_F_COPY }),
        argument(Kind::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: timestamp }),
        argument(Kind::RD_KAFKA_VTYPE_KEY, memory(key)),
        argument(Kind::RD_KAFKA_VTYPE_VALUE, memory(value)),
    ];
    loop {
        // SAFETY: the arguments are valid for the call, which copies key and value.
        let error = unsafe {
            rdsys::rd_kafka_produceva(producer.client().native_ptr(), arguments.as_ptr(), arguments.len())
        };
        if error.is_null() {
            return;
        }
        // SAFETY: the error is valid and destroyed once.
        unsafe { rdsys::rd_kafka_error_destroy(error) };
        producer.poll(Duration::from_millis(1));
    }
}
