//! Redrives on a Kafka in memory.

use super::*;
use crate::dead_letters::fake_kafka::{FakeKafka, LETTERS, Log, MARKERS, NOW, record};
use crate::dead_letters::{RedriveRequest, Selection};

#[test]
fn a_record_is_put_back_as_it_was_and_once() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 1), ("2", 0)]);
    let mut steps = Vec::new();
    let plan = kafka.plan()?;
    let outcome = kafka.execute(&plan, |step| steps.push(step.clone()))?;
    assert_eq!(outcome, RedriveOutcome { redriven: 2, ..RedriveOutcome::default() });
    assert_eq!(steps, [RedriveStep::Begun(2), RedriveStep::Written(2), RedriveStep::Committed(2)]);

    let orders = kafka.log("orders");
    let places: Vec<_> =
        orders.iter().map(|order| (order.id.partition, order.value.clone().unwrap())).collect();
    assert_eq!(places, [(0, "2".into()), (1, "1".into())]);
    let order = &orders[0];
    assert_eq!((order.key.as_deref(), order.timestamp.as_millis()), (Some(&b"apples"[..]), 2_000));
    let named: Vec<_> =
        order.headers.iter().map(|header| (header.name.as_str(), header.value.clone().unwrap())).collect();
    assert_eq!(named, [("trace", "abc".into()), (headers::REDRIVEN, "1".into())]);

    let letters = kafka.list()?.letters;
    assert!(letters.iter().all(|letter| letter.redriven_at == Some(NOW)), "{letters:?}");
    let again = kafka.plan()?;
    assert_eq!((again.redriven.len(), again.left.len()), (0, 2));
    // The plan of before.
    let outcome = kafka.execute(&plan, |_| ())?;
    assert_eq!(outcome, RedriveOutcome { redriven_before: 2, ..RedriveOutcome::default() });
    assert_eq!(kafka.orders(), ["1", "2"]);
    Ok(())
}

#[test]
fn how_often_a_record_was_put_back_is_counted() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.redrive()?;
    let order = kafka.log("orders").remove(0);
    let mut failed_again = order.headers;
    for (name, value) in
        [(headers::EXCEPTION, "Error"), (headers::TOPIC, "orders"), (headers::PARTITION, "0")]
    {
        failed_again.push(name, Some(Bytes::from_static(value.as_bytes())));
    }
    failed_again.push(headers::OFFSET, Some(Bytes::from_static(b"0")));
    kafka.state().append(LETTERS, 0, &record("1", failed_again));
    assert_eq!(kafka.list()?.letters[1].times_redriven, 1);
    assert_eq!(kafka.redrive()?.redriven, 1);
    let times = |order: &TopicEntry| order.headers.last(headers::REDRIVEN).flatten().cloned();
    assert_eq!(
        kafka.log("orders").iter().map(times).collect::<Vec<_>>(),
        [Some("1".into()), Some("2".into())]
    );
    Ok(())
}

/// Enough for three transactions.
fn many() -> Vec<String> {
    let mut values: Vec<String> = (0..2 * MOST_RECORDS + 10).map(|order| order.to_string()).collect();
    values.sort();
    values
}

fn with_many_letters() -> FakeKafka {
    let values = many();
    let records: Vec<(&str, i32)> = values.iter().map(|value| (value.as_str(), 0)).collect();
    FakeKafka::with_letters(&records)
}

#[test]
fn whatever_a_redrive_dies_of_the_next_puts_back_what_is_left() -> Result<()> {
    // A topic, a producer; for each transaction two records a letter, and a commit before and after which it may die.
    let effects = 2 + 2 * many().len() + 3 * 2;
    let near_the_ends = |at: &usize| (at + 4) % (2 * MOST_RECORDS) < 10 || *at > effects - 10;
    for dies_at in (0..effects).filter(near_the_ends) {
        let kafka = with_many_letters();
        kafka.state().effects_left = Some(dies_at);
        let died = kafka.redrive();
        assert!(died.is_err(), "{dies_at} of {effects}: {died:?}");
        kafka.state().effects_left = None;
        let before = kafka.orders().len();
        assert_eq!(kafka.redrive()?.redriven, many().len() - before);
        assert_eq!(kafka.orders(), many(), "{dies_at}");
        assert_eq!(kafka.log(MARKERS).len(), many().len());
    }
    let kafka = with_many_letters();
    kafka.state().effects_left = Some(effects);
    assert_eq!(kafka.redrive()?.redriven, many().len());
    Ok(())
}

#[test]
fn of_two_redrives_at_once_the_later_goes_on_and_no_record_is_put_back_twice() -> Result<()> {
    for second_begins in 0..7 {
        let kafka = with_many_letters();
        let plan = kafka.plan()?;
        let (mut steps, mut second) = (0, None);
        let first = kafka.execute(&plan, |_| {
            if steps == second_begins {
                second = Some(kafka.execute(&plan, |_| ()));
            }
            steps += 1;
        });
        let second = second.expect("it began")?;
        assert_eq!(second.redriven + second.redriven_before, many().len());
        match first {
            // The first had committed everything already.
            Ok(first) => assert_eq!((second_begins, first.redriven), (6, many().len())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Migrated);
                assert!(error.to_string().contains("run the redrive again"), "{error}");
            }
        }
        assert_eq!(kafka.orders(), many());
    }
    Ok(())
}

#[test]
fn what_another_redrive_puts_back_at_the_last_moment_is_seen() -> Result<()> {
    let kafka = with_many_letters();
    let plan = kafka.plan()?;
    let same = plan.clone();
    kafka.state().rival = Some(Box::new(move |kafka| kafka.execute(&same, |_| ()).map(drop)));
    let outcome = kafka.execute(&plan, |_| ())?;
    assert_eq!(outcome, RedriveOutcome { redriven_before: many().len(), ..RedriveOutcome::default() });
    assert_eq!(kafka.orders(), many());
    Ok(())
}

#[test]
fn a_record_that_is_not_taken_keeps_no_other_from_it() -> Result<()> {
    let large = "x".repeat(100);
    let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 0), (&large, 0), ("3", 0), ("4", 0)]);
    kafka.state().most_bytes = Some(50);
    let outcome = kafka.redrive()?;
    assert_eq!((outcome.redriven, kafka.orders()), (4, ["1", "2", "3", "4"].map(str::to_owned).to_vec()));
    let [(letter, why)] = outcome.refused.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(letter.to_string(), "0:2");
    assert!(why.contains("a record is too large"), "{why}");
    assert_eq!(kafka.list()?.letters[2].redriven_at, None);

    let repair = Repair { value: Some(Bytes::from_static(b"repaired")), key: None };
    let repaired = RedriveRequest { letters: Selection::Only(*letter, repair), by_key: false };
    let plan = kafka.topic()?.plan(&repaired)?;
    assert_eq!(kafka.execute(&plan, |_| ())?.redriven, 1);
    assert_eq!(kafka.orders().last().map(String::as_str), Some("repaired"));
    let again = kafka.topic()?.plan(&repaired).unwrap_err().to_string();
    assert!(
        again.contains("letter 0:2 of shop-dead-letters cannot be redriven: it is redriven before"),
        "{again}"
    );
    Ok(())
}

#[test]
fn a_transaction_that_must_be_aborted_is_tried_again_a_few_times() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 1)]);
    kafka.state().failing_commits = MOST_TRIES;
    let error = kafka.redrive().unwrap_err().to_string();
    assert!(error.contains("run the redrive again") && error.contains("it must be aborted"), "{error}");
    assert!(kafka.orders().is_empty());
    kafka.state().failing_commits = MOST_TRIES - 1;
    assert_eq!(kafka.redrive()?.redriven, 2);
    assert_eq!(kafka.orders(), ["1", "2"]);
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_has_letters_of_its_own() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    let plan = kafka.plan()?;
    kafka.redrive()?;
    kafka.state().topic_id = Some(2);
    let refused = kafka.execute(&plan, |_| ()).unwrap_err().to_string();
    assert!(refused.contains("shop-dead-letters was deleted and made again"), "{refused}");
    assert_eq!(kafka.list()?.letters[0].redriven_at, None);
    assert_eq!(kafka.redrive()?.redriven, 1);
    Ok(())
}

#[test]
fn letters_that_were_deleted_meanwhile_are_told() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 0)]);
    let plan = kafka.plan()?;
    kafka.state().topics.get_mut(LETTERS).unwrap()[0].remove(0);
    let outcome = kafka.execute(&plan, |_| ())?;
    let gone = LetterId { partition: 0, offset: Offset::new(0) };
    assert_eq!((outcome.redriven, outcome.gone), (1, vec![gone]));
    Ok(())
}

#[test]
fn a_topic_of_markers_that_forgets_is_refused() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    {
        let mut state = kafka.state();
        state.topics.insert(MARKERS.into(), vec![Log::new(), Log::new()]);
        state.policies.insert(MARKERS.into(), "delete".into());
    }
    let refused = kafka.redrive().unwrap_err().to_string();
    for said in [MARKERS, "has cleanup.policy=delete but needs compact", "kafka-configs --alter"] {
        assert!(refused.contains(said), "{refused}");
    }
    kafka.state().policies.clear();
    assert_eq!(kafka.redrive()?.redriven, 1, "its partitions are as many as somebody wished");
    assert_eq!(kafka.plan()?.left.len(), 1);
    Ok(())
}

#[test]
fn a_record_that_is_refused_while_others_are_sent_keeps_none_from_going_back() -> Result<()> {
    let large = "x".repeat(100);
    let kafka = FakeKafka::with_letters(&[("1", 0), (&large, 0), ("2", 0), ("3", 0)]);
    {
        let mut state = kafka.state();
        (state.most_bytes, state.refuses_at_once) = (Some(50), true);
    }
    let outcome = kafka.redrive()?;
    assert_eq!((outcome.redriven, kafka.orders()), (3, ["1", "2", "3"].map(str::to_owned).to_vec()));
    let [(letter, why)] = outcome.refused.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((letter.to_string().as_str(), why.contains("a record is too large")), ("0:1", true), "{why}");
    assert_eq!(kafka.list()?.letters[1].redriven_at, None);
    Ok(())
}

#[test]
fn what_may_not_be_written_to_its_topic_stays_and_keeps_no_other_from_going_back() -> Result<()> {
    for at_once in [true, false] {
        let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 1)]);
        for value in ["3", "4"] {
            kafka.write_letter(value, &[(headers::OUTPUT_TOPIC, "totals")]);
        }
        kafka.write_letter(
            "5",
            &[(headers::TOPIC, "orders"), (headers::PARTITION, "0"), (headers::OFFSET, "8")],
        );
        {
            let mut state = kafka.state();
            state.topics.insert("totals".into(), vec![Log::new()]);
            state.denied.insert("totals".into());
            state.refuses_at_once = at_once;
        }
        let outcome = kafka.redrive()?;
        assert_eq!((outcome.redriven, kafka.orders()), (3, ["1", "2", "5"].map(str::to_owned).to_vec()));
        let refused: Vec<_> =
            outcome.refused.iter().map(|(letter, why)| (letter.offset.get(), why.as_str())).collect();
        assert_eq!(refused, [2, 3].map(|offset| (offset, "the topic may not be written to")));
        kafka.state().denied.clear();
        assert_eq!(kafka.redrive()?.redriven, 2);
        assert_eq!(kafka.log("totals").len(), 2);
    }
    Ok(())
}

#[test]
fn where_nothing_can_be_marked_nothing_is_put_back() {
    for at_once in [true, false] {
        let kafka = FakeKafka::with_letters(&[("1", 0), ("2", 1)]);
        {
            let mut state = kafka.state();
            state.denied.insert(MARKERS.into());
            state.refuses_at_once = at_once;
        }
        let error = kafka.redrive().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
        for said in [MARKERS, "allow this user to Write to it", "the topic may not be written to"] {
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(kafka.orders().is_empty());
    }
}

#[test]
fn of_a_transaction_that_cannot_be_aborted_it_is_told_why_it_was_to_be() {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    {
        let mut state = kafka.state();
        (state.failing_commits, state.fails_to_abort) = (1, true);
    }
    let error = kafka.redrive().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Migrated, "{error}");
    for said in ["run the redrive again", "fenced", "it must be aborted"] {
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// Somebody gives the topic of the markers more partitions just before the fence, and another redrive marks there.
#[test]
fn the_partitions_of_the_markers_are_counted_behind_the_fence() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    let plan = kafka.plan()?;
    kafka.redrive()?;
    kafka.state().rival = Some(Box::new(|kafka| {
        let mut state = kafka.state();
        let markers = state.topics.get_mut(MARKERS).unwrap();
        markers.insert(0, Log::new());
        for entry in &mut markers[1] {
            entry.id.partition = 1;
        }
        Ok(())
    }));
    assert_eq!(
        kafka.execute(&plan, |_| ())?,
        RedriveOutcome { redriven_before: 1, ..RedriveOutcome::default() }
    );
    assert_eq!(kafka.orders(), ["1"]);
    Ok(())
}

#[test]
fn markers_that_brokers_do_not_tell_of_are_not_taken_for_none() -> Result<()> {
    for partitions in [None, Some(Vec::new())] {
        let kafka = FakeKafka::with_letters(&[("1", 0)]);
        kafka.state().rival = Some(Box::new(move |kafka| {
            let mut state = kafka.state();
            state.topics.remove(MARKERS);
            state.topics.extend(partitions.map(|logs| (MARKERS.to_owned(), logs)));
            Ok(())
        }));
        let error = kafka.redrive().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        assert!(error.to_string().contains(&format!("how many partitions topic {MARKERS} has")), "{error}");
        assert!(kafka.orders().is_empty());
    }
    Ok(())
}

#[test]
fn a_topic_of_markers_that_somebody_else_makes_in_the_same_moment_is_looked_at_too() -> Result<()> {
    let kafka = FakeKafka::with_letters(&[("1", 0)]);
    kafka.state().policies.insert(MARKERS.into(), "delete".into());
    let refused = kafka.redrive().unwrap_err().to_string();
    assert!(refused.contains("has cleanup.policy=delete but needs compact"), "{refused}");
    assert!(kafka.orders().is_empty());
    Ok(())
}
