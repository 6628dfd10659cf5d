//! When a commit is due, and what becomes of one that fails.

use std::sync::Arc;

use millstream_state_stores::Timestamp;

use super::*;
use crate::api::Headers;
use crate::testing::one_task::adding_up;
use crate::topology::{PartitionCount, Sink};

fn clock() -> CommitClock {
    CommitClock::starting_at(
        Duration::ZERO,
        RowLimits { uncommitted: usize::MAX, uncheckpointed: usize::MAX },
    )
}

fn failed(topic: &str, kind: ErrorKind) -> FailedOutput {
    FailedOutput {
        topic: topic.into(),
        partition: Some(0),
        key: None,
        value: None,
        timestamp: Timestamp::from_millis(0),
        headers: Headers::default(),
        error: Arc::new(Error::new(kind, "refused")),
        may_pass_alone: false,
    }
}

#[test]
fn one_undelivered_record_decides_about_its_transaction() {
    use ErrorKind::{Abortable, Fatal, Invalid, Migrated, Record, Retry};
    assert!(check_all_delivered(&[]).is_ok());
    let cases: [(&[ErrorKind], ErrorKind); 5] = [
        (&[Retry], Abortable),
        (&[Fatal], Abortable),
        (&[Migrated, Retry], Abortable),
        (&[Retry, Record], Record),
        (&[Invalid], Invalid),
    ];
    for (kinds, expected) in cases {
        let outputs: Vec<FailedOutput> = kinds.iter().map(|kind| failed("sold", *kind)).collect();
        let error = check_all_delivered(&outputs).expect_err("something failed");
        assert_eq!(error.kind(), expected, "{kinds:?}: {error}");
        assert!(error.to_string().contains("sold"), "{error}");
    }
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    let (at_least_once, mut exactly_once) = (Settings::new("b:1"), Settings::new("b:1"));
    exactly_once.processing_guarantee = crate::config::ProcessingGuarantee::ExactlyOnce;
    let goes_on =
        |kind, settings: &Settings| clock().failed(Error::new(kind, "no"), settings, Duration::ZERO).is_ok();
    for (kind, expected) in [
        (ErrorKind::Retry, [true, true]),
        (ErrorKind::Migrated, [true, false]),
        (ErrorKind::Abortable, [false, false]),
        (ErrorKind::Fatal, [false, false]),
    ] {
        assert_eq!([goes_on(kind, &at_least_once), goes_on(kind, &exactly_once)], expected, "{kind:?}");
    }
}

#[test]
fn aborts_without_an_end_are_an_error() {
    let mut clock = clock();
    let mut abort_at = |now| clock.aborted(Error::new(ErrorKind::Abortable, "again"), now).is_ok();
    assert!(abort_at(Duration::ZERO));
    assert!(abort_at(GIVE_UP_AFTER / 2));
    assert!(abort_at(GIVE_UP_AFTER));
    assert!(!abort_at(GIVE_UP_AFTER + Duration::from_secs(1)));
}

#[test]
fn an_abort_now_and_then_is_none() {
    let mut clock = clock();
    for hour in 0..24 {
        let now = Duration::from_secs(3600 * hour);
        assert!(clock.aborted(Error::new(ErrorKind::Abortable, "now and then"), now).is_ok());
    }
}

#[test]
fn a_commit_is_early_when_what_only_it_frees_becomes_too_much() -> Result<()> {
    let one_partition: PartitionCount = Arc::new(|_topic| Ok(1));
    let unbounded = Settings { commit_interval: Some(Duration::from_secs(3_600)), ..Settings::new("b:1") };
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let mut task = adding_up(&[1], Sink::topic("totals"), &unbounded, &one_partition)?;
        task.process(1, Timestamp::from_millis(0), Duration::ZERO)?;
        tasks.push(task);
    }
    let held = tasks[0].stores().uncommitted_bytes();
    assert!(held > 0, "a row is not committed");
    let clock = |of_thread| {
        let limits = RowLimits { uncommitted: of_thread, uncheckpointed: usize::MAX };
        CommitClock::starting_at(Duration::ZERO, limits)
    };
    let is_due = |of_task, of_thread| {
        let settings = Settings { max_uncommitted_bytes: of_task, ..unbounded.clone() };
        clock(of_thread).is_due(Duration::ZERO, &settings, &tasks)
    };
    assert!(!is_due(held, 2 * held));
    assert!(is_due(held - 1, 2 * held), "a task holds too much");
    assert!(is_due(held, 2 * held - 1), "the tasks of a thread hold too much together");

    let mut failing = clock(0);
    failing.failed(Error::new(ErrorKind::Retry, "away"), &unbounded, Duration::ZERO)?;
    assert!(!failing.is_due(Duration::ZERO, &unbounded, &tasks), "it is tried again in its time");
    Ok(())
}
