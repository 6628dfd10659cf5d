//! Asks a cluster for the description of a group, under either protocol, which the Rust client has no call for.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::native_request;

/// A group as its coordinator describes it; valid as long as the answer it came with.
pub(super) type Description = *const rdsys::rd_kafka_ConsumerGroupDescription_t;

/// What `read` makes of the description of a group, whichever of the consumer protocols it runs; none if nobody has heard of it. The
/// description and all it hands out are valid while `read` runs.
///
/// # Errors
/// If nobody answers in time, or the request is refused.
pub(super) fn ask<T>(
    client: &Client<DefaultClientContext>,
    group: &str,
    timeout: Duration,
    read: impl FnOnce(Description) -> T,
) -> Result<Option<T>, KafkaError> {
    // Kafka knows no such names.
    let Ok(name) = CString::new(group) else { return Ok(None) };
    let mut names = [name.as_ptr()];
    let kind = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let answer = native_request::ask(client, kind, timeout, |request| {
        // SAFETY: the names are valid during the call, which copies them.
        unsafe {
            rdsys::rd_kafka_DescribeConsumerGroups(
                request.client,
                names.as_mut_ptr(),
                names.len(),
                request.options,
                request.queue,
            );
        }
    })?;
    let mut count = 0;
    // SAFETY: the event is of this kind; it owns what it hands out, and outlives it. An error that is not null is valid.
    let (group, refused) = unsafe {
        let result = rdsys::rd_kafka_event_DescribeConsumerGroups_result(answer.event());
        let groups = rdsys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(None);
        }
        let error = rdsys::rd_kafka_ConsumerGroupDescription_error(*groups);
        let refused = (!error.is_null()).then(|| RDKafkaErrorCode::from(rdsys::rd_kafka_error_code(error)));
        (*groups, refused)
    };
    match refused {
        None => Ok(Some(read(group))),
        Some(RDKafkaErrorCode::GroupIdNotFound) => Ok(None),
        Some(refused) => Err(KafkaError::AdminOp(refused)),
    }
}

/// A text of the answer; `None` if it has none.
///
/// # Safety
/// The pointer is null or leads to a text that ends with a zero.
pub(super) unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}
