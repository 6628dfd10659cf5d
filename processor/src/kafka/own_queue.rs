//! The queue a consumer takes what was fetched from, and the bell that ends a wait for it: records ring it, and so does whatever else the
//! client has to say. That comes through another queue, and a wait at one of two would hear nothing of the other.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::bindings as rdsys;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

use super::message::KafkaMessage;
use crate::error::{Error, Result};

/// Messages taken from the client at once.
const BATCH: usize = 1000;

/// See the module's description. To be dropped before its client.
pub(super) struct OwnQueue {
    native: *mut rdsys::rd_kafka_queue_t,
    /// Through which the client says all but records: what the group decided, errors, lines of its log.
    of_client: NonNull<rdsys::rd_kafka_queue_t>,
    /// The client has a pointer to it until the queue is dropped.
    bell: Arc<Bell>,
    buffer: Box<[MaybeUninit<*mut rdsys::rd_kafka_message_t>; BATCH]>,
}

impl OwnQueue {
    /// A queue of this client, which nothing comes to yet.
    ///
    /// # Errors
    /// If the client has no group id, and so no queue of a consumer.
    pub(super) fn of<C: ConsumerContext>(client: &mut BaseConsumer<C>) -> Result<Self> {
        // SAFETY: the client is valid. It outlives what it hands out.
        let of_client = unsafe { rdsys::rd_kafka_queue_get_consumer(client.client().native_ptr()) };
        let of_client = NonNull::new(of_client).ok_or_else(|| Error::fatal("a consumer needs a group id"))?;
        let bell = Arc::new(Bell::default());
        let of_others = Arc::clone(&bell);
        client.set_nonempty_callback(move || of_others.ring());
        // SAFETY: the client is valid, and outlives the queue. The bell outlives the callback, which is taken back before.
        let native = unsafe {
            let native = rdsys::rd_kafka_queue_new(client.client().native_ptr());
            let bell = Arc::as_ptr(&bell).cast_mut().cast();
            rdsys::rd_kafka_queue_cb_event_enable(native, Some(ring), bell);
            native
        };
        let buffer = Box::new([const { MaybeUninit::uninit() }; BATCH]);
        Ok(OwnQueue { native, of_client, bell, buffer })
    }

    pub(super) fn native(&self) -> *mut rdsys::rd_kafka_queue_t {
        self.native
    }

    /// Takes what is there, a batch at most, and puts it behind what is in `taken`. Returns how many there were.
    pub(super) fn take_into(&mut self, taken: &mut Vec<KafkaMessage>) -> Result<usize> {
        // SAFETY: the queue is valid and the buffer has room for a batch of pointers.
        let count = unsafe {
            rdsys::rd_kafka_consume_batch_queue(self.native, 0, self.buffer.as_mut_ptr().cast(), BATCH)
        };
        let count =
            usize::try_from(count).map_err(|_| Error::fatal("the consumer's queue cannot be read"))?;
        // SAFETY: the call filled the first `count` slots, and each is taken once.
        let messages = self.buffer[..count]
            .iter()
            .filter_map(|slot| unsafe { KafkaMessage::from_raw(slot.assume_init()) });
        taken.extend(messages);
        Ok(count)
    }

    /// Whether the client has said something that was not polled for. While it has, nothing that it adds rings the bell.
    pub(super) fn client_has_more_to_say(&self) -> bool {
        // SAFETY: the queue is valid.
        unsafe { rdsys::rd_kafka_queue_length(self.of_client.as_ptr()) > 0 }
    }

    /// Waits until records have come, or the client has said something, since the last wait ended; at most for so long. It may be what
    /// was taken already.
    pub(super) fn wait(&self, longest: Duration) {
        self.bell.wait(longest);
    }
}

impl Drop for OwnQueue {
    fn drop(&mut self) {
        // SAFETY: both are valid, and destroyed once. The callback runs under the lock that is taken to remove it.
        unsafe {
            rdsys::rd_kafka_queue_cb_event_enable(self.native, None, std::ptr::null_mut());
            rdsys::rd_kafka_queue_destroy(self.native);
            rdsys::rd_kafka_queue_destroy(self.of_client.as_ptr());
        }
    }
}

unsafe extern "C" fn ring(_client: *mut rdsys::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: it is the bell of a queue that has not been dropped.
    unsafe { (*bell.cast::<Bell>()).ring() }
}

/// Stays rung until a wait has ended by it, so that nothing is missed between a look and the wait after it.
#[derive(Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rings: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.is_rung.lock() = true;
        self.rings.notify_one();
    }

    fn wait(&self, longest: Duration) {
        let mut is_rung = self.is_rung.lock();
        if !*is_rung {
            self.rings.wait_for(&mut is_rung, longest);
        }
        *is_rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_ring_ends_the_wait_that_is_on_or_the_next_one() {
        let (bell, clock) = (Arc::new(Bell::default()), SystemClock::shared());
        let takes = |longest| {
            let start = clock.monotonic();
            bell.wait(longest);
            clock.monotonic() - start
        };
        bell.ring();
        bell.ring();
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
        assert!(takes(long) < long / 2, "it was rung before");
        assert!(takes(short) >= short / 2, "both rings were for one wait");
        std::thread::scope(|scope| {
            scope.spawn(|| bell.ring());
            assert!(takes(long) < long / 2, "it is rung meanwhile");
        });
    }
}
