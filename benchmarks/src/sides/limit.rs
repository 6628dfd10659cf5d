//! Bare librdkafka: batches from an own queue, `produceva` into it, commits once a second, or transactions as long as the run's interval of
//! commits. What no framework on this client can beat.

use std::ffi::CString;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream::partition_for_key;
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::child::OneRun;
use crate::clock::clock;

/// One consumer and one producer of one process.
pub(crate) struct Limit<'run> {
    run: &'run OneRun,
    // Declared, and so dropped, before the clients they belong to.
    topics: Vec<Topic>,
    queue: Queue,
    producer: BaseProducer,
    consumer: BaseConsumer,
    /// How long a transaction is, if there are any.
    transactions: Option<Duration>,
}

/// A consumed record, borrowed from the client's memory.
pub(crate) struct Message<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) timestamp: i64,
    /// Whether it came from the first of the inputs.
    pub(crate) is_of_first: bool,
}

struct Queue(*mut rdsys::rd_kafka_queue_t);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { rdsys::rd_kafka_queue_destroy(self.0) }
    }
}

struct Topic(*mut rdsys::rd_kafka_topic_t);

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        unsafe { rdsys::rd_kafka_topic_destroy(self.0) }
    }
}

impl<'run> Limit<'run> {
    /// Reads `inputs` from their beginning and writes to `outputs`.
    pub(crate) fn new(run: &'run OneRun, inputs: &[&str], outputs: &[&str]) -> Result<Self> {
        let transactions = transactions(run)?;
        let commits = if transactions.is_some() { "false" } else { "true" };
        let consumer: BaseConsumer = config(run, "consumer.")?
            .set("group.id", &run.id)
            .set("enable.auto.commit", commits)
            .set("auto.commit.interval.ms", "1000")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "16384")
            .create()?;
        let mut config = config(run, "producer.")?;
        if transactions.is_some() {
            config.set("transactional.id", &run.id);
        }
        let producer: BaseProducer = config
            .set("enable.idempotence", "true")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "500000")
            .set("queue.buffering.max.kbytes", "16384")
            .create()?;
        if transactions.is_some() {
            producer.init_transactions(PATIENCE)?;
            producer.begin_transaction()?;
        }
        let queue = assign_to_queue(&consumer, inputs, run.partitions)?;
        let topics = outputs.iter().map(|topic| topic_handle(&producer, topic)).collect::<Result<_>>()?;
        Ok(Limit { run, topics, queue, producer, consumer, transactions })
    }

    /// Hands every record to `process`, together with this, until stdin ends.
    pub(crate) fn run(self, mut process: impl FnMut(&Self, &Message<'_>)) -> Result<()> {
        let ended = super::end_of_stdin();
        let first = CString::new(self.run.input.as_str())?;
        let mut batch = vec![ptr::null_mut(); 1000];
        let mut committed_at = clock().monotonic();
        while !ended.load(Ordering::Relaxed) {
            let count = self.fetch(&mut batch)?;
            for message in &batch[..count] {
                // SAFETY: the call filled these slots; each message is read, and destroyed once.
                unsafe {
                    let fields = **message;
                    if fields.err == rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                        let name = std::ffi::CStr::from_ptr(rdsys::rd_kafka_topic_name(fields.rkt));
                        process(
                            &self,
                            &Message {
                                key: std::slice::from_raw_parts(fields.key.cast::<u8>(), fields.key_len),
                                value: std::slice::from_raw_parts(fields.payload.cast::<u8>(), fields.len),
                                timestamp: rdsys::rd_kafka_message_timestamp(*message, ptr::null_mut()),
                                is_of_first: name == first.as_c_str(),
                            },
                        );
                    }
                    rdsys::rd_kafka_message_destroy(*message);
                }
            }
            self.producer.poll(Duration::ZERO);
            if self.transactions.is_some_and(|length| clock().monotonic() - committed_at >= length) {
                self.commit()?;
                self.producer.begin_transaction()?;
                committed_at = clock().monotonic();
            }
        }
        if self.transactions.is_some() { self.commit() } else { Ok(self.producer.flush(PATIENCE)?) }
    }

    /// Commits what was produced together with the offsets of what was consumed.
    fn commit(&self) -> Result<()> {
        self.producer.flush(PATIENCE)?;
        let group = self.consumer.group_metadata().context("the consumer has no group")?;
        self.producer.send_offsets_to_transaction(&self.consumer.position()?, &group, PATIENCE)?;
        Ok(self.producer.commit_transaction(PATIENCE)?)
    }

    /// Sends a record to the output with this number, by the hash of its key.
    pub(crate) fn produce(&self, output: usize, key: &[u8], value: &[u8], timestamp: i64) {
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
            argument(Kind::RD_KAFKA_VTYPE_RKT, Value { rkt: self.topics[output].0 }),
            argument(
                Kind::RD_KAFKA_VTYPE_PARTITION,
                Value { i32_: partition_for_key(key, self.run.partitions) },
            ),
            argument(Kind::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: rdsys::RD_KAFKA_MSG_F_COPY }),
            argument(Kind::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: timestamp }),
            argument(Kind::RD_KAFKA_VTYPE_KEY, memory(key)),
            argument(Kind::RD_KAFKA_VTYPE_VALUE, memory(value)),
        ];
        let client = self.producer.client().native_ptr();
        loop {
            // SAFETY: the arguments are valid for the call, which copies key and value.
            let error = unsafe { rdsys::rd_kafka_produceva(client, arguments.as_ptr(), arguments.len()) };
            if error.is_null() {
                return;
            }
            // SAFETY: the error is valid and destroyed once.
            unsafe { rdsys::rd_kafka_error_destroy(error) };
            self.producer.poll(Duration::ZERO);
            clock().sleep(Duration::from_millis(1));
        }
    }

    fn fetch(&self, batch: &mut [*mut rdsys::rd_kafka_message_t]) -> Result<usize> {
        // SAFETY: the queue is valid and the buffer has room for as many pointers as are asked for.
        let count = unsafe {
            match rdsys::rd_kafka_consume_batch_queue(self.queue.0, 0, batch.as_mut_ptr(), batch.len()) {
                0 => rdsys::rd_kafka_consume_batch_queue(self.queue.0, 100, batch.as_mut_ptr(), 1),
                count => count,
            }
        };
        Ok(usize::try_from(count)?)
    }
}

/// How long a broker may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The interval of commits of a run under exactly-once.
fn transactions(run: &OneRun) -> Result<Option<Duration>> {
    let of = |name: &str| {
        run.properties.iter().find_map(|property| property.strip_prefix(name)?.strip_prefix('='))
    };
    let interval = of("processing.guarantee").and_then(|_| of("commit.interval.ms"));
    interval.map(|millis| Ok(Duration::from_millis(millis.parse()?))).transpose()
}

/// The properties of the run that are for this client, as millstream would pass them on.
fn config(run: &OneRun, prefix: &str) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &run.bootstrap_servers);
    for property in &run.properties {
        let (name, value) = property.split_once('=').context("--property takes name=value")?;
        if let Some(name) = name.strip_prefix(prefix) {
            config.set(name, value);
        }
    }
    Ok(config)
}

fn assign_to_queue(consumer: &BaseConsumer, topics: &[&str], partitions: i32) -> Result<Queue> {
    let client = consumer.client().native_ptr();
    let mut list = TopicPartitionList::new();
    // SAFETY: the client is valid; the partition queues are released right after they are forwarded.
    let queue = Queue(unsafe { rdsys::rd_kafka_queue_new(client) });
    for topic in topics {
        let name = CString::new(*topic)?;
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
            unsafe {
                let from = rdsys::rd_kafka_queue_get_partition(client, name.as_ptr(), partition);
                rdsys::rd_kafka_queue_forward(from, queue.0);
                rdsys::rd_kafka_queue_destroy(from);
            }
        }
    }
    consumer.assign(&list)?;
    Ok(queue)
}

fn topic_handle(producer: &BaseProducer, topic: &str) -> Result<Topic> {
    let name = CString::new(topic)?;
    // SAFETY: the client is valid and a null configuration means the defaults.
    let handle =
        unsafe { rdsys::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
    ensure!(!handle.is_null(), "cannot write to topic {topic}");
    Ok(Topic(handle))
}
