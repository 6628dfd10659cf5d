//! Who is in a group, and what each member reads.

use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::KafkaError;

use super::described_group::{self, Description, text};

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupAssignment {
    /// All of them, in no particular order.
    pub members: Vec<MemberAssignment>,
    /// Whether it is decided who reads what. Until then the members are those of this moment, and what they read is not to be relied on.
    pub is_settled: bool,
}

/// A member of a group, and what the group gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAssignment {
    /// What its client calls itself.
    pub client_id: String,
    /// What the group calls it, until it joins again.
    pub member_id: String,
    /// The name it has given itself, if it is a static member (KIP-345).
    pub group_instance_id: Option<String>,
    /// Topics and partitions.
    pub partitions: Vec<(String, i32)>,
}

/// The group; none if nobody has heard of it, or nobody is in it: brokers say the one or the other of a group that does not exist.
///
/// # Errors
/// If nobody answers in time, or the request is refused.
pub(super) fn ask(
    client: &Client<DefaultClientContext>,
    group: &str,
    timeout: Duration,
) -> Result<Option<GroupAssignment>, KafkaError> {
    let found = described_group::ask(client, group, timeout, read)?;
    Ok(found.filter(|group| !group.members.is_empty()))
}

fn read(group: Description) -> GroupAssignment {
    use rdsys::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE;
    // SAFETY: the description is valid, and so is all it hands out; members are asked for by their numbers.
    unsafe {
        let state = rdsys::rd_kafka_ConsumerGroupDescription_state(group);
        let members = 0..rdsys::rd_kafka_ConsumerGroupDescription_member_count(group);
        let member = |index| member_of(rdsys::rd_kafka_ConsumerGroupDescription_member(group, index));
        GroupAssignment {
            members: members.map(member).collect(),
            is_settled: state == RD_KAFKA_CONSUMER_GROUP_STATE_STABLE,
        }
    }
}

/// # Safety
/// The description is one that an answer holds.
unsafe fn member_of(member: *const rdsys::rd_kafka_MemberDescription_t) -> MemberAssignment {
    // SAFETY: as the caller says; names end with a zero, and the list has as many elements as it says.
    unsafe {
        let client_id = text(rdsys::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default();
        let member_id = text(rdsys::rd_kafka_MemberDescription_consumer_id(member)).unwrap_or_default();
        let group_instance_id = text(rdsys::rd_kafka_MemberDescription_group_instance_id(member));
        let assignment = rdsys::rd_kafka_MemberDescription_assignment(member);
        let list = rdsys::rd_kafka_MemberAssignment_partitions(assignment);
        let count = if list.is_null() { 0 } else { usize::try_from((*list).cnt).unwrap_or(0) };
        let elements =
            if count == 0 { &[] } else { std::slice::from_raw_parts((*list).elems.cast_const(), count) };
        let partitions =
            elements.iter().filter_map(|element| Some((text(element.topic)?, element.partition)));
        MemberAssignment { client_id, member_id, group_instance_id, partitions: partitions.collect() }
    }
}
