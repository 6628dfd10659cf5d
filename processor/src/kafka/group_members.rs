//! Asks who is in a group, under either protocol, which the Rust client has no call for.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::types::RDKafkaErrorCode;

use super::native_request::{self, Answer};
use crate::reset::GroupMember;

/// A group as its coordinator describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupDescription {
    /// Host and port of the broker that is its coordinator, if it has one.
    pub(super) coordinator: Option<(String, u16)>,
    pub(super) members: Vec<GroupMember>,
}

/// The group; without members if nobody has heard of it.
///
/// # Errors
/// If nobody answers in time, or the request is refused.
pub(super) fn ask(
    client: &Client<DefaultClientContext>,
    group: &str,
    timeout: Duration,
) -> Result<GroupDescription, KafkaError> {
    // Kafka knows no such names.
    let Ok(name) = CString::new(group) else { return Ok(GroupDescription::default()) };
    let answer = describe(client, &name, timeout)?;
    let mut count = 0;
    // SAFETY: the event is of this kind; it owns what it hands out, and outlives it.
    let group = unsafe {
        let result = rdsys::rd_kafka_event_DescribeConsumerGroups_result(answer.event());
        let first = rdsys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(GroupDescription::default());
        }
        *first
    };
    // SAFETY: as above; an error that is not null is valid.
    let code = unsafe {
        let error = rdsys::rd_kafka_ConsumerGroupDescription_error(group);
        if error.is_null() {
            rdsys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        } else {
            rdsys::rd_kafka_error_code(error)
        }
    };
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::GroupIdNotFound => Ok(GroupDescription::default()),
        refused if code.is_error() => Err(KafkaError::AdminOp(refused)),
        _ => Ok(read(group)),
    }
}

fn describe(
    client: &Client<DefaultClientContext>,
    group: &CString,
    timeout: Duration,
) -> Result<Answer, KafkaError> {
    let mut names = [group.as_ptr()];
    let kind = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    native_request::ask(client, kind, timeout, |request| {
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
    })
}

fn read(group: *const rdsys::rd_kafka_ConsumerGroupDescription_t) -> GroupDescription {
    use rdsys::rd_kafka_consumer_group_type_t::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER;
    // SAFETY: the group points into an answer that the caller holds, and so does all it hands out. Members are asked for by their
    // numbers; a coordinator that is not null is valid.
    unsafe {
        let is_classic =
            rdsys::rd_kafka_ConsumerGroupDescription_type(group) != RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER;
        let node = rdsys::rd_kafka_ConsumerGroupDescription_coordinator(group);
        let coordinator = (!node.is_null())
            .then(|| (text(rdsys::rd_kafka_Node_host(node)), rdsys::rd_kafka_Node_port(node)))
            .and_then(|(host, port)| Some((host?, port)));
        let member = |number| {
            let member = rdsys::rd_kafka_ConsumerGroupDescription_member(group, number);
            GroupMember {
                client_id: text(rdsys::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default(),
                host: text(rdsys::rd_kafka_MemberDescription_host(member)).unwrap_or_default(),
                member_id: text(rdsys::rd_kafka_MemberDescription_consumer_id(member)).unwrap_or_default(),
                group_instance_id: text(rdsys::rd_kafka_MemberDescription_group_instance_id(member)),
                can_be_removed: is_classic,
            }
        };
        let count = rdsys::rd_kafka_ConsumerGroupDescription_member_count(group);
        GroupDescription { coordinator, members: (0..count).map(member).collect() }
    }
}

/// A text of the answer; `None` if it has none.
///
/// # Safety
/// The pointer is null or leads to a text that ends with a zero.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}
