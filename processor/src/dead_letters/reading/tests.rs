//! What is read of a Kafka in memory.

use super::*;
use crate::api::Headers;
use crate::clock::ManualClock;
use crate::dead_letters::fake_kafka::{FakeKafka, LETTERS, MARKERS, NOW, record};

#[test]
fn what_is_not_there_is_named_with_the_remedy() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.state().append(LETTERS, 0, &record("2", Headers::default()));
    let said = |error: Error, parts: &[&str]| {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        parts.iter().for_each(|part| assert!(text.contains(part), "{part:?} is not in: {text}"));
    };
    let clock = ManualClock::at(NOW);
    let no_topic = LetterTopic::find(&kafka, &*clock, "shpo-dead-letters").err().expect("there is none");
    said(no_topic, &["there is no dead-letter topic shpo-dead-letters", "check the application id"]);
    let only = |text: &str| kafka.topic()?.show(text.parse()?);
    said(only("1:0").unwrap_err(), &["shop-dead-letters has partitions 0 to 0, not 1"]);
    said(only("0:9").unwrap_err(), &["there is no record 0:9 in shop-dead-letters", "dead-letters list"]);
    said(only("0:1").unwrap_err(), &["0:1", "is no dead letter", "no header __streams.errors.exception"]);
    assert_eq!(only("0:0")?.1.value.as_deref(), Some(&b"1"[..]));
    Ok(())
}

#[test]
fn what_is_no_letter_is_told_by_lists_and_plans() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    for stranger in ["2", "3"] {
        kafka.state().append(LETTERS, 0, &record(stranger, Headers::default()));
    }
    let others = OtherRecords {
        count: 2,
        first: LetterId { partition: 0, offset: Offset::new(1) },
        why: "it has no header __streams.errors.exception".into(),
    };
    let list = kafka.list()?;
    assert_eq!((list.letters.len(), &list.others), (1, &Some(others.clone())));
    let plan = kafka.plan()?;
    assert_eq!((plan.redriven.len(), &plan.others), (1, &Some(others)));
    assert_eq!(plan.to_json()["others"]["count"], 2);
    Ok(())
}

#[test]
fn a_topic_that_brokers_do_not_tell_everything_of_is_asked_about_again() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.state().ids_not_told = 3;
    assert_eq!(kafka.topic()?.id, Some(TopicId::from_bytes([1; 16])));
    kafka.state().ids_not_told = u32::MAX;
    let refused = kafka.topic().err().expect("nobody tells its id");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    assert!(refused.to_string().contains("do not tell the id of topic shop-dead-letters"), "{refused}");

    kafka.state().ids_not_told = 0;
    for topic in [MARKERS, LETTERS] {
        kafka.state().topics.insert(topic.into(), Vec::new());
        let refused = kafka.list().unwrap_err().to_string();
        assert!(refused.contains(&format!("how many partitions topic {topic} has")), "{refused}");
    }
    Ok(())
}

#[test]
fn what_was_marked_while_brokers_gave_no_ids_stays_marked() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.state().topic_id = None;
    assert_eq!(kafka.redrive()?.redriven, 1);
    kafka.state().topic_id = Some(1);
    assert_eq!(kafka.list()?.letters[0].redriven_at, Some(NOW));
    Ok(())
}
