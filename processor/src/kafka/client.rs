//! What all clients have in common: properties, log lines, errors.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

use crate::config::Settings;
use crate::error::{Error, ErrorKind};

/// Properties of one client: ours, overridden by the user's, overridden by those that must not be changed.
pub(super) fn client_config(
    settings: &Settings,
    client_id: &str,
    prefixes: &[&str],
    defaults: &[(&str, &str)],
    fixed: &[(&str, &str)],
) -> ClientConfig {
    let mut properties: BTreeMap<String, String> =
        defaults.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    properties.extend(settings.properties_for(prefixes));
    properties.insert("bootstrap.servers".into(), settings.bootstrap_servers.clone());
    properties.insert("client.id".into(), client_id.to_string());
    properties.extend(fixed.iter().map(|(name, value)| (name.to_string(), value.to_string())));
    let mut config = ClientConfig::new();
    for (name, value) in properties {
        config.set(name, value);
    }
    config
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// An error of the client library, with what was being done.
pub(super) fn kafka_error(doing: impl Into<String>, error: KafkaError) -> Error {
    Error::new(kind_of(code_of(&error)), doing).with_source(error)
}

/// An error of the client library about a topic that is known to exist: a broker that does not know it has yet to hear of it.
pub(super) fn known_topic_error(doing: impl Into<String>, error: KafkaError) -> Error {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    match code_of(&error) {
        Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition) => {
            Error::new(ErrorKind::Retry, doing).with_source(error)
        }
        _ => kafka_error(doing, error),
    }
}

fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        // Of these the client library does not tell the code itself.
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// An error of a request to the cluster that was not answered in time.
pub(super) fn unreachable(doing: &str, servers: &str, within: Duration, error: KafkaError) -> Error {
    let message = format!("{doing} at {servers} within {within:?}: check bootstrap_servers and the brokers");
    kafka_error(message, error)
}

pub(super) fn kind_of(code: Option<RDKafkaErrorCode>) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Some(
            Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::RebalanceInProgress
            | Code::FencedInstanceId
            | Code::AssignmentLost
            | Code::MemberIdRequired
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
            | Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch,
        ) => ErrorKind::Migrated,
        Some(
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            // The client dropped the connection a request was for, as when the broker's place is taken by another.
            | Code::DestroyBroker
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::NotController
            | Code::BrokerNotAvailable
            | Code::WaitingForCoordinator
            | Code::NetworkException
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::ReplicaNotAvailable
            | Code::KafkaStorageError
            | Code::QueueFull
            | Code::UnstableOffsetCommit
            | Code::ConcurrentTransactions,
        ) => ErrorKind::Retry,
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidDifferentRecord
            | Code::InvalidTimestamp,
        ) => ErrorKind::Record,
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTransactionTimeout
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::InvalidReplicationFactor,
        ) => ErrorKind::Invalid,
        _ => ErrorKind::Fatal,
    }
}

/// A span as milliseconds for librdkafka.
pub(super) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_does_not_know_a_topic_which_exists_is_asked_again() {
        let unknown = || KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition);
        assert_eq!(kafka_error("asking", unknown()).kind(), ErrorKind::Invalid);
        assert_eq!(known_topic_error("asking", unknown()).kind(), ErrorKind::Retry);
        let refused = KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(known_topic_error("asking", refused).kind(), ErrorKind::Invalid);
    }
}
