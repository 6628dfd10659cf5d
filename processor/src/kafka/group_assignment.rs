//! Asks a cluster what each member of a group reads, under either protocol, which the Rust client has no call for.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::native_request;

/// A member of a group, and what the group gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAssignment {
    /// What its client calls itself.
    pub client_id: String,
    /// Topics and partitions.
    pub partitions: Vec<(String, i32)>,
}

/// The members of a group, whichever of the consumer protocols it runs; none while it is not settled who reads what, or if nobody has heard
/// of it.
///
/// # Errors
/// If nobody answers in time, or the request is refused.
pub(super) fn ask(
    client: &Client<DefaultClientContext>,
    group: &str,
    timeout: Duration,
) -> Result<Option<Vec<MemberAssignment>>, KafkaError> {
    let refused = || KafkaError::AdminOp(RDKafkaErrorCode::InvalidGroupId);
    let name = CString::new(group).map_err(|_zero_within| refused())?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let kind = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let answer = native_request::ask(client, kind, timeout, |request| {
        // SAFETY: all are valid during the call, which copies the name.
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
    // SAFETY: the event is of this kind; it owns everything it hands out, down to the names, and outlives it.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeConsumerGroups_result(answer.event());
        let groups = rdsys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(None);
        }
        let group = *groups;
        let error = rdsys::rd_kafka_ConsumerGroupDescription_error(group);
        if !error.is_null() {
            return match RDKafkaErrorCode::from(rdsys::rd_kafka_error_code(error)) {
                RDKafkaErrorCode::GroupIdNotFound => Ok(None),
                refused => Err(KafkaError::AdminOp(refused)),
            };
        }
        let state = rdsys::rd_kafka_ConsumerGroupDescription_state(group);
        if state != rdsys::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE {
            return Ok(None);
        }
        let members = 0..rdsys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |index| member_of(rdsys::rd_kafka_ConsumerGroupDescription_member(group, index));
        Ok(Some(members.map(member).collect()))
    }
}

/// # Safety
/// The description is one that an answer holds.
unsafe fn member_of(member: *const rdsys::rd_kafka_MemberDescription_t) -> MemberAssignment {
    // SAFETY: as the caller says; names end with a zero, and the list has as many elements as it says.
    unsafe {
        let text = |text: *const c_char| CStr::from_ptr(text).to_string_lossy().into_owned();
        let client_id = text(rdsys::rd_kafka_MemberDescription_client_id(member));
        let assignment = rdsys::rd_kafka_MemberDescription_assignment(member);
        let list = rdsys::rd_kafka_MemberAssignment_partitions(assignment);
        let count = if list.is_null() { 0 } else { usize::try_from((*list).cnt).unwrap_or(0) };
        let elements =
            if count == 0 { &[] } else { std::slice::from_raw_parts((*list).elems.cast_const(), count) };
        let partitions = elements.iter().map(|element| (text(element.topic), element.partition));
        MemberAssignment { client_id, partitions: partitions.collect() }
    }
}
