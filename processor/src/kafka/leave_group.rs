//! Removes members from a group, as Kafka's `removeMembersFromConsumerGroup` does (KIP-571): one request of our own on the wire,
//! because the client library has no call for it.
//!
//! ```text
//! LeaveGroup version 3, which brokers since Kafka 2.4 take; integers are big-endian, a string is length (i16) | UTF-8
//! request   size i32 | 13 i16 | 3 i16 | correlation i32 | client id | group | members: n i32, n x (id | instance id, or -1)
//! response  size i32 | correlation i32 | throttled i32 | error i16 | members: n i32, n x (id | instance id, or -1 | error i16)
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::client::kafka_error;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::reset::GroupMember;

const API_KEY: i16 = 13;
const VERSION: i16 = 3;
const CORRELATION: i32 = 1;
/// No answer about the members of a group is larger.
const MOST_BYTES: usize = 16 << 20;

/// Has the coordinator of a group remove these members. One that is gone already is no error.
///
/// # Errors
/// `Invalid` if the cluster is not reached without encryption and login, or it refuses; `Retry` if the broker does not answer, or is the
/// coordinator no longer.
pub(super) fn send(
    settings: &Settings,
    client_id: &str,
    (host, port): &(String, u16),
    group: &str,
    members: &[GroupMember],
) -> Result<()> {
    let protocol = settings.properties_for(&["admin."]).remove("security.protocol");
    if let Some(protocol) = protocol.filter(|protocol| !protocol.eq_ignore_ascii_case("plaintext")) {
        return Err(Error::invalid(format!(
            "members of {group} cannot be removed with security.protocol={protocol}: the request is not the client library's, and goes over \
             plaintext only. Stop the instances, or wait until the session timeout has removed those that were killed; Kafka's own \
             kafka-streams-application-reset --force removes them, too"
        )));
    }
    let request = encode(client_id, group, members)
        .ok_or_else(|| Error::invalid("the id of a group or member is longer than Kafka allows"))?;
    let answer = exchange((host, *port), &request, settings.request_timeout).map_err(|error| {
        let doing = format!("{host}:{port}, the coordinator of {group}, does not answer");
        Error::new(ErrorKind::Retry, doing).with_source(error)
    })?;
    let code = first_error(&answer).map_err(|error| {
        Error::fatal(format!("{host}:{port} answered what is no answer to LeaveGroup")).with_source(error)
    })?;
    match code {
        None => Ok(()),
        Some(code) => {
            Err(kafka_error(format!("cannot remove the members of {group}"), KafkaError::AdminOp(code)))
        }
    }
}

/// The request with its size; none if a text is too long for it.
fn encode(client_id: &str, group: &str, members: &[GroupMember]) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    request.put_i32(0);
    request.put_i16(API_KEY);
    request.put_i16(VERSION);
    request.put_i32(CORRELATION);
    put_text(&mut request, client_id)?;
    put_text(&mut request, group)?;
    request.put_i32(i32::try_from(members.len()).ok()?);
    for member in members {
        // A static member is known by its instance id, whatever its member id is by now (KIP-345).
        match &member.group_instance_id {
            Some(instance_id) => {
                put_text(&mut request, "")?;
                put_text(&mut request, instance_id)?;
            }
            None => {
                put_text(&mut request, &member.member_id)?;
                request.put_i16(-1);
            }
        }
    }
    let size = i32::try_from(request.len() - size_of::<i32>()).ok()?;
    request[..size_of::<i32>()].copy_from_slice(&size.to_be_bytes());
    Some(request)
}

fn put_text(request: &mut Vec<u8>, text: &str) -> Option<()> {
    request.put_i16(i16::try_from(text.len()).ok()?);
    request.put_slice(text.as_bytes());
    Some(())
}

/// Sends a request and reads the answer, without its size.
fn exchange(broker: (&str, u16), request: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut connection = connect(broker, timeout)?;
    connection.set_write_timeout(Some(timeout))?;
    connection.set_read_timeout(Some(timeout))?;
    connection.write_all(request)?;
    let mut size = [0; size_of::<i32>()];
    connection.read_exact(&mut size)?;
    let size = usize::try_from(i32::from_be_bytes(size)).ok().filter(|size| *size <= MOST_BYTES);
    let size =
        size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an answer of no sensible size"))?;
    // Memory is taken as the answer comes, whatever size it claims.
    let mut answer = Vec::new();
    connection.take(size as u64).read_to_end(&mut answer)?;
    if answer.len() < size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is cut off"));
    }
    Ok(answer)
}

/// To the first of the broker's addresses that answers.
fn connect(broker: (&str, u16), timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for address in broker.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Why members were not removed; `None` if all are gone.
fn first_error(mut answer: &[u8]) -> Result<Option<RDKafkaErrorCode>, TryGetError> {
    let _correlation = answer.try_get_i32()?;
    let _throttled = answer.try_get_i32()?;
    let mut codes = vec![answer.try_get_i16()?];
    for _member in 0..answer.try_get_i32()? {
        for _text in ["member id", "instance id"] {
            let length = usize::try_from(answer.try_get_i16()?).unwrap_or(0);
            if answer.len() < length {
                return Err(TryGetError { requested: length, available: answer.len() });
            }
            answer.advance(length);
        }
        codes.push(answer.try_get_i16()?);
    }
    let codes = codes.into_iter().map(|code| {
        RDKafkaRespErr::try_from(i32::from(code)).map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)
    });
    let mut failures =
        codes.filter(|code| !matches!(code, RDKafkaErrorCode::NoError | RDKafkaErrorCode::UnknownMemberId));
    Ok(failures.next())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn member(member_id: &str, group_instance_id: Option<&str>) -> GroupMember {
        GroupMember {
            client_id: "shop-StreamThread-1-consumer".into(),
            host: "/10.0.0.7".into(),
            member_id: member_id.into(),
            group_instance_id: group_instance_id.map(str::to_owned),
            can_be_removed: true,
        }
    }

    /// The answer to a request about members `a`, `b`, ...
    fn answer(code: i16, of_members: &[i16]) -> Vec<u8> {
        let mut answer = vec![0, 0, 0, 1, 0, 0, 0, 0];
        answer.put_i16(code);
        answer.put_i32(i32::try_from(of_members.len()).unwrap());
        for code in of_members {
            answer.put_slice(b"\0\x01a\xff\xff");
            answer.put_i16(*code);
        }
        answer
    }

    #[test]
    fn the_request_is_laid_out_as_kafka_says() {
        let members = [member("m-1", None), member("m-2", Some("pod-2"))];
        let request = encode("tool", "shop", &members).unwrap();
        let expected =
            b"\0\0\0\x28\0\x0d\0\x03\0\0\0\x01\0\x04tool\0\x04shop\0\0\0\x02\0\x03m-1\xff\xff\0\0\0\x05pod-2";
        assert_eq!(request, expected);
        assert_eq!(encode("tool", &"x".repeat(40_000), &[]), None);
    }

    #[test]
    fn one_member_that_stays_is_an_error_and_one_that_was_gone_is_none() {
        let cases = [
            (answer(0, &[0, 0]), None),
            (answer(0, &[0, 25]), None),
            (answer(16, &[]), Some(RDKafkaErrorCode::NotCoordinator)),
            (answer(0, &[25, 82]), Some(RDKafkaErrorCode::FencedInstanceId)),
            (answer(0, &[9_999]), Some(RDKafkaErrorCode::Unknown)),
        ];
        for (answer, expected) in cases {
            assert_eq!(first_error(&answer).unwrap(), expected);
        }
        let whole = answer(0, &[0]);
        for length in 0..whole.len() {
            assert!(first_error(&whole[..length]).is_err(), "{length} bytes are no answer");
        }
    }

    #[test]
    fn the_coordinator_is_asked_and_its_refusal_is_named() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ("127.0.0.1".to_owned(), broker.local_addr().unwrap().port());
        let served = std::thread::spawn(move || {
            let cut_off = |answer: &[u8]| answer[..2].to_vec();
            let whole = [answer(0, &[0]), answer(30, &[]), answer(0, &[0])];
            let sent = [whole[0].clone(), whole[1].clone(), cut_off(&whole[2])];
            [0, 1, 2].map(|place| {
                let (mut connection, _) = broker.accept().unwrap();
                let mut request = vec![0; encode("tool", "shop", &[member("m-1", None)]).unwrap().len()];
                connection.read_exact(&mut request).unwrap();
                connection.write_all(&i32::try_from(whole[place].len()).unwrap().to_be_bytes()).unwrap();
                connection.write_all(&sent[place]).unwrap();
                request
            })
        });
        let settings = Settings::new("nowhere:9092");
        let remove = || send(&settings, "tool", &address, "shop", &[member("m-1", None)]);
        remove().unwrap();
        let refused = remove().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        let cut_off = remove().unwrap_err();
        assert_eq!(cut_off.kind(), ErrorKind::Retry, "{cut_off}");
        let requests = served.join().unwrap();
        assert_eq!(requests[0], requests[1]);
        assert_eq!(remove().unwrap_err().kind(), ErrorKind::Retry, "nobody listens any more");
    }

    #[test]
    fn what_needs_encryption_or_a_login_is_refused_before_anything_is_sent() {
        let mut settings = Settings::new("nowhere:9092");
        settings.kafka_properties.insert("security.protocol".into(), "SASL_SSL".into());
        let error = send(&settings, "tool", &("nowhere".into(), 1), "shop", &[]).unwrap_err().to_string();
        assert!(
            error.contains("security.protocol=SASL_SSL") && error.contains("Stop the instances"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_answers_are_read_or_refused(
            members in prop::collection::vec(any::<i16>(), 0..4),
            edits in prop::collection::vec((any::<Index>(), any::<u8>()), 0..4),
            length: Index,
        ) {
            let mut answer = answer(0, &members);
            for (at, byte) in edits {
                *at.get_mut(&mut answer) = byte;
            }
            drop(first_error(&answer));
            drop(first_error(&answer[..length.index(answer.len())]));
        }
    }
}
