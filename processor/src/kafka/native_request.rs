//! Requests to a cluster that the Rust client has no call for, made through the native client below it.

use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::RDKafkaErrorCode;

use super::client::millis;

/// What a request is made with. All of it is valid while the request is made, and copied where it is needed for longer.
pub(super) struct Request {
    pub(super) client: *mut rdsys::rd_kafka_t,
    pub(super) options: *mut rdsys::rd_kafka_AdminOptions_t,
    /// Where the answer goes.
    pub(super) queue: *mut rdsys::rd_kafka_queue_t,
}

/// How long librdkafka keeps a request that waits for a coordinator: the longest it allows. Once it has given one up, and the coordinator
/// comes back, it uses what it has freed and aborts the process (2.12). So it is we who stop waiting.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// An answer, and everything in it.
pub(super) struct Answer(*mut rdsys::rd_kafka_event_t);

impl Answer {
    /// The event. It owns what it hands out, and lives as long as this.
    pub(super) fn event(&self) -> *mut rdsys::rd_kafka_event_t {
        self.0
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: polled from a queue, and destroyed once.
        unsafe { rdsys::rd_kafka_event_destroy(self.0) }
    }
}

/// Has `make` make a request of this kind, and waits for the answer.
///
/// # Errors
/// If nobody answers in time, or the request is refused.
pub(super) fn ask(
    client: &Client<DefaultClientContext>,
    kind: rdsys::rd_kafka_admin_op_t,
    timeout: Duration,
    make: impl FnOnce(&Request),
) -> Result<Answer, KafkaError> {
    // SAFETY: the client is valid during the call; what is made here is destroyed once. An answer that comes after the queue is gone is
    // dropped by librdkafka.
    let event = unsafe {
        let client = client.native_ptr();
        let queue = rdsys::rd_kafka_queue_new(client);
        let options = rdsys::rd_kafka_AdminOptions_new(client, kind);
        rdsys::rd_kafka_AdminOptions_set_request_timeout(options, millis(KEPT_FOR), std::ptr::null_mut(), 0);
        make(&Request { client, options, queue });
        let event = rdsys::rd_kafka_queue_poll(queue, millis(timeout));
        rdsys::rd_kafka_AdminOptions_destroy(options);
        rdsys::rd_kafka_queue_destroy(queue);
        event
    };
    if event.is_null() {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    }
    let answer = Answer(event);
    // SAFETY: the event is valid.
    let code = unsafe { rdsys::rd_kafka_event_error(answer.event()) };
    if code.is_error() { Err(KafkaError::AdminOp(code.into())) } else { Ok(answer) }
}
