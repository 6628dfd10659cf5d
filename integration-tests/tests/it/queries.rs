//! Interactive queries beside a running application, over two partitions.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use millstream::prelude::*;
use millstream::query::QueryError;
use millstream::runtime::RestoreProgress;
use millstream::{ClientState, Streams};
use millstream_integration_tests::wait::await_until;

use crate::in_process::{COUNTS, DEADLINE, Scene, await_rows, counts_of, recount};
use crate::recovery::orders;

/// `a-0` once, `a-1` twice, .. `b-0` once, ..: five keys each, over both partitions.
fn some_words() -> Vec<(String, String)> {
    let keys = ["a", "b"].into_iter().flat_map(|letter| (0..5).map(move |number| (letter, number)));
    keys.flat_map(|(letter, number)| (0..=number).map(move |_| (format!("{letter}-{number}"), String::new())))
        .collect()
}

type Row = (String, u64);

fn collected(rows: Result<impl Iterator<Item = Result<Row, QueryError>>, QueryError>) -> Result<Vec<Row>> {
    Ok(rows?.collect::<Result<_, _>>()?)
}

#[test]
fn rows_come_merged_and_in_order() -> Result<()> {
    let scene = Scene::new("queries", 2)?;
    scene.write(some_words())?;
    let app = scene.run(scene.count_by_key()?)?;
    scene.await_committed(&[&scene.input])?;
    let expected = recount(some_words().into_iter().map(|(key, _)| key));
    await_rows(&expected, || counts_of(&app))?;
    let all: Vec<(String, u64)> = expected.into_iter().collect();
    let ends = scene.kafka.end_offsets(&scene.input)?;
    assert!(ends.values().all(|end| *end > 0), "both partitions have rows: {ends:?}");

    let counts = app.store(COUNTS)?;
    for (key, count) in &all {
        assert_eq!(counts.get(key)?, Some(*count), "{key}");
    }
    assert_eq!(counts.get(&"c".into())?, None);
    assert_eq!(collected(counts.all())?, all);
    let (from, to) = ("a-3".to_owned(), "b-1".to_owned());
    let between: Vec<_> = all[3..7].to_vec();
    assert_eq!(collected(counts.range(from.clone()..=to.clone()))?, between);
    assert_eq!(collected(counts.range(from.clone()..to.clone()))?, between[..3]);
    assert_eq!(
        collected(counts.range((Bound::Excluded(from.clone()), Bound::Unbounded)))?,
        all[4..].to_vec()
    );
    let reversed: Vec<_> = between.iter().rev().cloned().collect();
    assert_eq!(collected(counts.reverse_range(from..=to))?, reversed);
    assert_eq!(collected(counts.prefix_scan("b-"))?, all[5..].to_vec());
    assert_eq!(collected(counts.prefix_scan("c"))?, []);
    // A key that is written before a checkpoint and after it is counted twice until RocksDB compacts.
    let estimate = counts.approximate_num_entries()?;
    assert!((10..=30).contains(&estimate), "10 keys, written by 30 records, are estimated at {estimate}");
    let position = counts.position()?;
    for (partition, end) in ends {
        let reflected = position.get(&scene.input, millstream::PartitionId::new(partition));
        assert_eq!(reflected.map(|offset| offset.get()), Some(end), "partition {partition}");
    }

    let unknown: StoreName<String, u64> = StoreName::new("no-such-store");
    assert!(app.store(unknown).is_err_and(|error| error.to_string().contains("counts")));
    let wrong: StoreName<String, String> = StoreName::new(COUNTS.name());
    assert!(app.store(wrong).is_err_and(|error| matches!(error, QueryError::WrongType { .. })));
    app.close()?;
    assert!(counts.all().is_err(), "a closed application answers");
    Ok(())
}

#[test]
fn a_store_that_restores_says_so_and_answers_later() -> Result<()> {
    let scene = Scene::new("restoring", 2)?;
    scene.write(some_words())?;
    let app = scene.run(scene.count_by_key()?)?;
    scene.await_committed(&[&scene.input])?;
    app.close()?;
    std::fs::remove_dir_all(scene.state_dir.path())?;

    // The restore begins and waits until the test has asked.
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let gate = Mutex::new(Some((begun, may_go_on)));
    let wait_once = move |_: &RestoreProgress| {
        let gate = gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((begun, may_go_on)) = gate {
            let told = begun.send(());
            let let_go = may_go_on.recv_timeout(DEADLINE);
            assert!(told.is_ok() && let_go.is_ok(), "the test has given up");
        }
    };
    let app: Streams = scene.app(scene.count_by_key()?, scene.settings()).on_restore(wait_once).start()?;
    let handle = app.store(COUNTS)?;
    has_begun.recv_timeout(DEADLINE).context("no restore began")?;
    let error = handle.all().err().context("a store that restores was read")?;
    assert!(error.may_pass() && matches!(error, QueryError::Restoring { .. }), "{error}");
    assert!(handle.get(&"a-0".into()).is_err_and(|error| error.may_pass()));
    go_on.send(())?;
    app.await_state(ClientState::Running, DEADLINE)?;
    assert_eq!(counts_of(&app)?, recount(some_words().into_iter().map(|(key, _)| key)));
    app.close()?;
    Ok(())
}

#[test]
fn queries_under_load_see_committed_counts_and_do_not_stop_the_loop() -> Result<()> {
    const RECORDS: usize = 30_000;
    let scene = Scene::new("queried", 2)?;
    let app = scene.run(scene.count_by_key()?)?;
    let enough = AtomicBool::new(false);
    let (processed, asked) = std::thread::scope(|scope| {
        let ask = || -> Result<u64> {
            let (mut asked, mut before) = (0, 0);
            while !enough.load(Ordering::Relaxed) {
                let counted = counts_of(&app)?.values().sum();
                assert!(counted >= before, "{before} were counted, then {counted}");
                (asked, before) = (asked + 1, counted);
            }
            Ok(asked)
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        let write_and_wait = || {
            for first in (0..RECORDS).step_by(1_000) {
                scene.write(orders(first, 1_000))?;
            }
            scene.await_committed(&[&scene.input])
        };
        let processed = write_and_wait();
        enough.store(true, Ordering::Relaxed);
        (processed, askers.map(|asker| asker.join()))
    });
    processed?;
    for asker in asked {
        let asked = asker.map_err(|_| anyhow::anyhow!("an asker panicked"))??;
        assert!(asked > 10, "only {asked} queries were answered");
    }
    // The new rows are published just after the offsets are committed.
    let expected = recount(orders(0, RECORDS).map(|(key, _)| key));
    await_until(DEADLINE, "all counts", || {
        counts_of(&app).is_ok_and(|found| found == expected).then_some(())
    })?;
    app.close()?;
    Ok(())
}
