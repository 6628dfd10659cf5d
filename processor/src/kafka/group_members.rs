//! Who is in a group, and who coordinates it.

use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::KafkaError;

use super::described_group::{self, Description, text};
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
    Ok(described_group::ask(client, group, timeout, read)?.unwrap_or_default())
}

fn read(group: Description) -> GroupDescription {
    use rdsys::rd_kafka_consumer_group_type_t::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER;
    // SAFETY: the description is valid, and so is all it hands out. Members are asked for by their
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
