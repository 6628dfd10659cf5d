//! Asks a cluster for the ids of topics, which the Rust client has no call for.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use millstream_state_stores::TopicId;
use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::native_request::{self, Answer};

/// The ids of those of the topics that exist; `None` where the brokers give none.
///
/// # Errors
/// If nobody answers in time, or the request is refused, be it for one of the topics.
pub(super) fn ask(
    client: &Client<DefaultClientContext>,
    topics: &[String],
    timeout: Duration,
) -> Result<BTreeMap<String, Option<TopicId>>, KafkaError> {
    // Kafka knows no such names, so that there is nothing to ask about them.
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let answer = describe(client, &names, timeout)?;
    let mut count = 0;
    // SAFETY: the event is of this kind; it owns what it hands out, and outlives it.
    let descriptions = unsafe {
        let result = rdsys::rd_kafka_event_DescribeTopics_result(answer.event());
        let first = rdsys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if count == 0 { &[] } else { std::slice::from_raw_parts(first, count) }
    };
    let mut ids = BTreeMap::new();
    for description in descriptions {
        // SAFETY: as above; names end with a zero; no error is a null pointer, of which the code is none.
        let (name, id, code) = unsafe {
            let name = CStr::from_ptr(rdsys::rd_kafka_TopicDescription_name(*description));
            let error = rdsys::rd_kafka_TopicDescription_error(*description);
            let id = id_of(rdsys::rd_kafka_TopicDescription_topic_id(*description));
            (name, id, rdsys::rd_kafka_error_code(error))
        };
        match (id, RDKafkaErrorCode::from(code)) {
            (Some(_), _) | (None, RDKafkaErrorCode::NoError) => {
                ids.insert(name.to_string_lossy().into_owned(), id);
            }
            (None, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => {}
            (None, code) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(ids)
}

fn describe(
    client: &Client<DefaultClientContext>,
    names: &[CString],
    timeout: Duration,
) -> Result<Answer, KafkaError> {
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let kind = rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    native_request::ask(client, kind, timeout, |request| {
        // SAFETY: the names are valid during the call, which copies them; the collection is destroyed once.
        unsafe {
            let collection =
                rdsys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rdsys::rd_kafka_DescribeTopics(request.client, collection, request.options, request.queue);
            rdsys::rd_kafka_TopicCollection_destroy(collection);
        }
    })
}

/// `None` if the brokers gave none: all zeros.
fn id_of(uuid: *const rdsys::rd_kafka_Uuid_t) -> Option<TopicId> {
    if uuid.is_null() {
        return None;
    }
    // SAFETY: it points into a description that the caller holds.
    let (most, least) = unsafe {
        (rdsys::rd_kafka_Uuid_most_significant_bits(uuid), rdsys::rd_kafka_Uuid_least_significant_bits(uuid))
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&most.to_be_bytes());
    bytes[8..].copy_from_slice(&least.to_be_bytes());
    (bytes != [0; 16]).then(|| TopicId::from_bytes(bytes))
}
