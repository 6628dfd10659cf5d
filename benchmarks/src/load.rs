//! A steady load on an input topic, and whether its records were counted as they must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use millstream::partition_for_key;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustc_hash::FxHashMap;

use crate::clock::clock;
use crate::input;

/// Records at a fixed rate, whatever becomes of them, until it is stopped or dropped.
pub(crate) struct Load {
    end: EndWhenDropped,
    thread: JoinHandle<Result<Sent>>,
}

/// Where a load goes.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) bootstrap_servers: String,
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    /// Keys `0..keys`, each equally often, eight bytes, big-endian.
    pub(crate) keys: u64,
    pub(crate) value_bytes: usize,
}

/// How often each key was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) by_key: Vec<u64>,
}

struct EndWhenDropped(Arc<AtomicBool>);

impl Drop for EndWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    pub(crate) fn start(target: Target, per_second: u64) -> Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &target.bootstrap_servers)
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "500000")
            .create()?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = EndWhenDropped(Arc::clone(&ended));
        let thread = std::thread::spawn(move || send(&producer, &target, per_second, &ended));
        Ok(Load { end, thread })
    }

    /// Returns when all that was sent is acknowledged.
    pub(crate) fn stop(self) -> Result<Sent> {
        let Load { end, thread } = self;
        drop(end);
        thread.join().map_err(|_| anyhow!("the thread of the load panicked"))?
    }
}

fn send(producer: &BaseProducer, target: &Target, per_second: u64, ended: &AtomicBool) -> Result<Sent> {
    const TICK: Duration = Duration::from_millis(1);
    let clock = clock();
    let mut random = StdRng::seed_from_u64(11);
    let value = vec![b'x'; target.value_bytes];
    let mut sent = Sent { by_key: vec![0; usize::try_from(target.keys)?] };
    let (start, mut due, mut records) = (clock.monotonic(), Duration::ZERO, 0);
    while !ended.load(Ordering::Relaxed) {
        due += TICK;
        clock.sleep((start + due).saturating_sub(clock.monotonic()));
        while records < u64::try_from(due.as_millis())? * per_second / 1000 {
            let key = random.random_range(0..target.keys);
            let bytes = key.to_be_bytes();
            let record = BaseRecord::to(&target.topic)
                .partition(partition_for_key(&bytes, target.partitions))
                .key(&bytes)
                .payload(&value);
            input::send(producer, record)?;
            sent.by_key[usize::try_from(key)?] += 1;
            records += 1;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(sent)
}

impl Sent {
    pub(crate) fn records(&self) -> u64 {
        self.by_key.iter().sum()
    }

    /// How often records were counted again, given the newest count of each key. Every key was counted once before the load.
    ///
    /// # Errors
    /// If a record was not counted.
    pub(crate) fn counted_again(&self, newest: &FxHashMap<u64, u64>) -> Result<u64> {
        let mut again = 0;
        for (key, sent) in (0..).zip(&self.by_key).filter(|(_, sent)| **sent > 0) {
            let (wanted, counted) = (1 + sent, newest.get(&key).copied().unwrap_or(0));
            ensure!(counted >= wanted, "key {key} came {wanted} times and was counted {counted} times");
            again += counted - wanted;
        }
        Ok(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_must_be_counted_and_may_be_counted_again() -> Result<()> {
        let sent = Sent { by_key: vec![2, 0, 1] };
        assert_eq!(sent.records(), 3);
        let again = |newest: &[(u64, u64)]| sent.counted_again(&newest.iter().copied().collect());
        assert_eq!(again(&[(0, 3), (2, 2)])?, 0);
        assert_eq!(again(&[(0, 5), (2, 3)])?, 3, "key 0 twice, key 2 once");
        assert_eq!(again(&[(0, 3), (1, 9), (2, 2)])?, 0, "key 1 was not sent");
        let lost = again(&[(0, 2), (2, 3)]).expect_err("one of key 0 is missing").to_string();
        assert!(lost.contains("key 0") && lost.contains("3 times"), "{lost}");
        assert!(again(&[(0, 3)]).is_err(), "key 2 is missing");
        Ok(())
    }
}
