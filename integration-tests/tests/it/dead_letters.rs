//! `millstream dead-letters` and its library: what failed is listed and shown, and goes back where it came from, repaired or not, each
//! record once, whatever a redrive dies of and however many there are at a time.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use millstream::dead_letters::{DeadLetters, RedriveRequest, RedriveStep};
use millstream::handlers::{Handlers, Reaction};
use millstream::prelude::*;
use millstream::{ErrorKind, Streams};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord};
use millstream_integration_tests::wait::await_until;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command_line::{Ended, millstream};
use crate::in_process::{DEADLINE, Scene, running};

#[derive(Clone, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    lines: Vec<Line>,
}

json_serde!(Order);

/// What an order's value is where the number is none.
const POISON: &str = r#"{"lines":[{"sku":"apples","quantity":"three"}]}"#;

fn order(quantity: i64) -> String {
    format!(r#"{{"lines":[{{"sku":"apples","quantity":{quantity}}}]}}"#)
}

/// Writes how much each order is of, and takes none of more than a hundred.
fn quantities(scene: &Scene) -> Result<Streams> {
    let builder = StreamsBuilder::new();
    let orders = builder.stream::<String, Order>(scene.input.as_str());
    let quantities = orders.try_map_values(|id, order| {
        let quantity = order.lines.iter().map(|line| line.quantity).sum::<i64>();
        if quantity > 100 { Err(format!("{id} is of {quantity}")) } else { Ok(quantity) }
    });
    quantities.to(scene.output.as_str());
    let mut settings = scene.settings();
    settings.handlers = Handlers::all(Reaction::DeadLetter);
    running(scene.app(builder.build()?, settings))
}

fn dead_letters(scene: &Scene, command: &str, more: &[&str]) -> Result<Ended> {
    let mut arguments = vec!["dead-letters", command, "--application-id", &scene.application_id];
    arguments.extend(["--bootstrap-servers", scene.kafka.bootstrap_servers()]);
    millstream(arguments.iter().chain(more))
}

fn json_of(scene: &Scene, command: &str, more: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&dead_letters(scene, command, &[more, &["--json"]].concat())?.success()?)?)
}

/// The letters, as soon as there are so many.
fn await_letters(scene: &Scene, count: usize) -> Result<Vec<Value>> {
    await_until(DEADLINE, format!("{count} dead letters"), || {
        let list = json_of(scene, "list", &[]).ok()?;
        list.as_array().filter(|letters| letters.len() >= count).cloned()
    })
}

/// The quantities in the output topic, as soon as there are so many.
fn await_quantities(scene: &Scene, count: usize) -> Result<Vec<(String, i64)>> {
    await_until(DEADLINE, format!("{count} orders to be processed"), || {
        let quantity = |record: &ReadRecord| {
            let bytes = record.value.as_deref()?.try_into().ok()?;
            Some((record.key_text()?, i64::from_be_bytes(bytes)))
        };
        let written = scene.kafka.read_all(&scene.output).ok()?;
        (written.len() >= count).then(|| written.iter().filter_map(quantity).collect())
    })
}

fn header<'a>(record: &'a ReadRecord, name: &str) -> Option<&'a str> {
    let (_, value) = record.headers.iter().rev().find(|(known, _)| known == name)?;
    std::str::from_utf8(value.as_deref()?).ok()
}

#[test]
fn a_letter_is_listed_shown_repaired_and_processed() -> Result<()> {
    let scene = Scene::new("letters", 2)?;
    let app = quantities(&scene)?;
    let records = [
        NewRecord::new("o-1", order(3)).at(1_000).in_partition(0),
        NewRecord::new("o-2", POISON).at(2_000).in_partition(1).with_header("trace", "abc"),
        NewRecord::new("o-3", order(300)).at(3_000).in_partition(0),
    ];
    scene.kafka.produce(&scene.input, records)?;
    scene.await_committed(&[&scene.input])?;
    let letters = await_letters(&scene, 2)?;
    let of = |stage: &str| letters.iter().find(|letter| letter["stage"] == stage).context("a letter of each");
    let (poison, large) = (of("decode")?, of("process")?);
    let place = |letter: &Value| format!("{}:{}", letter["partition"], letter["offset"]);

    assert_eq!(
        (&poison["source"]["topic"], &poison["source"]["partition"]),
        (&json!(scene.input), &json!(1))
    );
    assert_eq!((&poison["source"]["offset"], &poison["error"]), (&json!(0), &json!("SerdeError::Json")));
    let message = poison["message"].as_str().unwrap_or_default();
    for said in ["Order", "lines[0].quantity", "line 1, column"] {
        assert!(message.contains(said), "{said:?} is not in {message:?}");
    }
    assert_eq!(message.matches("invalid type").count(), 1, "each cause once: {message}");
    assert!(large["message"].as_str().is_some_and(|message| message.contains("o-3 is of 300")), "{large}");

    for (filter, expected) in [
        (["--stage", "process"], vec![place(large)]),
        (["--error", "SerdeError::Json"], vec![place(poison)]),
        (["--node", poison["node"].as_str().context("its node")?], vec![place(poison)]),
        (["--source-topic", &scene.output], vec![]),
        (["--since", "2999-01-01T00:00:00Z"], vec![]),
        (["--since", "PT1H"], letters.iter().map(place).collect()),
    ] {
        let found = json_of(&scene, "list", &filter)?;
        let found: Vec<String> = found.as_array().context("a list")?.iter().map(place).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let table = dead_letters(&scene, "list", &[])?.success()?;
    for said in ["LETTER", "SerdeError::Json", &format!("{}-1@0", scene.input), "o-3 is of 300"] {
        assert!(table.contains(said), "{said:?} is not in {table}");
    }

    let shown = json_of(&scene, "show", &[&place(poison)])?;
    let expected = json!({
        "timestamp": 2_000,
        "key": { "text": "o-2" },
        "value": { "text": POISON },
        "headers": [{ "name": "trace", "value": { "text": "abc" } }],
    });
    assert_eq!(shown["record"], expected);
    let text = dead_letters(&scene, "show", &[&place(poison)])?.success()?;
    assert!(text.contains(POISON) && text.contains("trace: abc") && text.contains("never"), "{text}");

    let file = scene.state_dir.path().join("order.json");
    std::fs::write(&file, order(7))?;
    let repaired = ["--only", &place(poison), "--value-from", &file.to_string_lossy()];
    let plan = json_of(&scene, "redrive", &[&repaired[..], &["--dry-run"]].concat())?;
    assert_eq!(plan["redriven"][0]["to"], json!({ "topic": scene.input, "partition": 1 }));
    assert_eq!(plan["has_repaired_value"], json!(true));
    let not_asked = dead_letters(&scene, "redrive", &repaired)?;
    assert_eq!((not_asked.code, not_asked.stderr.contains("pass --yes")), (Some(3), true), "{not_asked:?}");
    let done = dead_letters(&scene, "redrive", &[&repaired[..], &["--yes"]].concat())?;
    assert!(done.stderr.contains("1 records were put back"), "{done:?}");
    done.success()?;

    let mut quantities = await_quantities(&scene, 2)?;
    quantities.sort();
    assert_eq!(quantities, [("o-1".to_owned(), 3), ("o-2".to_owned(), 7)]);
    let input = scene.kafka.read_all(&scene.input)?;
    let back = input.iter().rfind(|record| record.partition == 1).context("the record")?;
    assert_eq!((back.key_text().as_deref(), back.timestamp), (Some("o-2"), Some(2_000)));
    let names: Vec<&str> = back.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (names, header(back, "__millstream.redriven")),
        (vec!["trace", "__millstream.redriven"], Some("1"))
    );

    let again = dead_letters(&scene, "redrive", &[&repaired[..], &["--yes"]].concat())?;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("redriven before, which happens once"), "{again:?}");

    // What is not repaired fails again, and is another letter.
    dead_letters(&scene, "redrive", &["--yes"])?.success()?;
    let letters = await_letters(&scene, 3)?;
    let times: Vec<_> = letters.iter().map(|letter| letter["times_redriven"].as_u64()).collect();
    assert_eq!(times.iter().flatten().sum::<u64>(), 1, "{letters:?}");
    let redriven = letters.iter().filter(|letter| letter["redriven_at"].is_u64()).count();
    assert_eq!(redriven, 2, "{letters:?}");
    app.close()?;
    Ok(())
}

/// So many that a redrive needs three transactions.
const MANY: usize = 1_200;

/// An application with these many dead letters, of both partitions of its input.
fn with_letters(subject: &str, count: usize) -> Result<Scene> {
    let scene = Scene::new(subject, 2)?;
    let topic = scene.internal("dead-letters");
    scene.kafka.create_topic(&topic, 2, &[])?;
    let letter = |number: usize| {
        NewRecord::new(format!("order-{number}"), number.to_string())
            .at(1_000)
            .in_partition(i32::from(number.is_multiple_of(3)))
            .with_header("__streams.errors.exception", "SerdeError::Json")
            .with_header("__streams.errors.topic", scene.input.as_str())
            .with_header("__streams.errors.partition", (number % 2).to_string())
            .with_header("__streams.errors.offset", number.to_string())
    };
    scene.kafka.produce(&topic, (0..count).map(letter))?;
    Ok(scene)
}

/// Checks that each of the letters' records is in the input once, in the partition that it came from.
fn check_input(scene: &Scene, count: usize) -> Result<()> {
    let mut found: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    for record in scene.kafka.read_all(&scene.input)? {
        let number = record.value_text().context("a value")?.parse()?;
        found.entry(number).or_default().push(record.partition);
    }
    let expected = (0..count).map(|number| Ok((number, vec![i32::try_from(number % 2)?])));
    assert_eq!(found, expected.collect::<Result<_>>()?);
    Ok(())
}

fn library(scene: &Scene) -> Result<DeadLetters> {
    Ok(DeadLetters::new(&scene.application_id, &scene.settings())?)
}

#[test]
fn a_redrive_that_dies_half_way_is_run_again_and_puts_back_what_is_left() -> Result<()> {
    let scene = with_letters("dies", MANY)?;
    for dies_at in [RedriveStep::Begun(MANY), RedriveStep::Written(500), RedriveStep::Committed(500)] {
        let library = library(&scene)?;
        let plan = library.plan(&RedriveRequest::default())?;
        let died = catch_unwind(AssertUnwindSafe(|| {
            library.execute(&plan, |step| assert_ne!(*step, dies_at, "the process dies"))
        }));
        assert!(died.is_err(), "{dies_at:?}");
    }
    let left = library(&scene)?.plan(&RedriveRequest::default())?;
    assert_eq!((left.redriven.len(), left.left.len()), (MANY - 500, 500));
    let done = dead_letters(&scene, "redrive", &["--yes"])?;
    assert!(done.stderr.contains("700 records were put back"), "{done:?}");
    done.success()?;
    check_input(&scene, MANY)?;
    let nothing = dead_letters(&scene, "redrive", &["--yes"])?.success()?;
    assert!(nothing.contains("nothing to redrive") && nothing.contains("1200  redriven before"), "{nothing}");
    check_input(&scene, MANY)
}

#[test]
fn a_redrive_that_begins_while_another_goes_on_takes_over() -> Result<()> {
    let scene = with_letters("takes-over", MANY)?;
    let (first, second) = (library(&scene)?, library(&scene)?);
    let plan = first.plan(&RedriveRequest::default())?;
    let mut others = None;
    let refused = first.execute(&plan, |step| {
        if *step == RedriveStep::Written(500) && others.is_none() {
            others = Some(second.execute(&plan, |_| ()));
        }
    });
    let others = others.context("it began")??;
    assert_eq!((others.redriven, others.redriven_before), (MANY, 0));
    let error = refused.err().context("the first went on")?;
    assert_eq!(error.kind(), ErrorKind::Migrated, "{error}");
    assert!(error.to_string().contains("another redrive of the same dead letters has begun"), "{error}");
    check_input(&scene, MANY)
}

#[test]
fn two_redrives_at_the_same_time_put_back_each_record_once() -> Result<()> {
    let scene = with_letters("two", MANY)?;
    let redrive = || dead_letters(&scene, "redrive", &["--yes"]);
    let ended = thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(redrive));
        both.map(|redrive| redrive.join().map_err(|_| anyhow!("a redrive panicked"))?)
    });
    for ended in ended {
        let ended = ended?;
        let has_given_way = ended.code == Some(1) && ended.stderr.contains("run the redrive again");
        assert!(ended.code == Some(0) || has_given_way, "{ended:?}");
    }
    check_input(&scene, MANY)
}

#[test]
fn what_cannot_be_done_is_told_with_the_remedy() -> Result<()> {
    let scene = with_letters("refused", 3)?;
    let topic = scene.internal("dead-letters");
    scene.kafka.produce(&topic, [NewRecord::new("stranger", "no letter").in_partition(1)])?;
    let cases: [(&str, &[&str], &[&str]); 7] = [
        (
            "list",
            &["--dead-letter-topic", "no-such-topic"],
            &["no dead-letter topic no-such-topic", "application id"],
        ),
        ("show", &["0:700"], &["no record 0:700", &topic, "dead-letters list"]),
        ("show", &["7:0"], &["has partitions 0 to 1, not 7"]),
        ("show", &["1:1"], &["no dead letter", "no header __streams.errors.exception"]),
        ("redrive", &["--yes", "--only", "1:1"], &["no dead letter"]),
        ("redrive", &["--only", "0:0", "--value-from", "/no/such/file"], &["cannot read /no/such/file"]),
        ("list", &["--since", "yesterday"], &["--since yesterday: write a time such as"]),
    ];
    for (command, arguments, said) in cases {
        let ended = dead_letters(&scene, command, arguments)?;
        ensure!(ended.code == Some(1), "{arguments:?}: {ended:?}");
        for part in said {
            ensure!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
        }
    }
    for (command, arguments, said) in [
        ("show", &["orders:0"][..], "such as 0:17"),
        ("redrive", &["--value-from", "order.json"], "--only"),
        ("redrive", &["--only", "0:0", "--stage", "decode"], "cannot be used with"),
    ] {
        let ended = dead_letters(&scene, command, arguments)?;
        ensure!(ended.code == Some(2) && ended.stderr.contains(said), "{arguments:?}: {ended:?}");
    }
    let listed = dead_letters(&scene, "list", &["--json"])?;
    ensure!(
        listed.stderr.contains("1 records of") && listed.stderr.contains("no dead letters"),
        "{listed:?}"
    );
    assert_eq!(serde_json::from_str::<Value>(&listed.success()?)?.as_array().map(Vec::len), Some(3));
    assert!(!scene.kafka.topics()?.contains(&scene.internal("dead-letters-redriven")), "nothing was changed");
    Ok(())
}

/// A record that its topic does not take stays, and keeps no other from it.
#[test]
fn a_record_too_large_for_its_topic_stays_and_a_smaller_one_goes_in_its_place() -> Result<()> {
    let scene = with_letters("too-large-again", 3)?;
    let narrow = scene.internal("narrow");
    scene.kafka.create_topic(&narrow, 1, &[("max.message.bytes", "2000")])?;
    let letter = |value: &str| {
        NewRecord::new("apples", value)
            .in_partition(0)
            .with_header("__streams.errors.exception", "Error::Record")
            .with_header("__streams.errors.output.topic", narrow.as_str())
    };
    let large = "x".repeat(5_000);
    scene
        .kafka
        .produce(&scene.internal("dead-letters"), [letter("before"), letter(&large), letter("after")])?;
    let ended = dead_letters(&scene, "redrive", &["--yes"])?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["5 records were put back", "these letters stay", "--only and --value-from"] {
        assert!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
    }
    let values = || {
        let written = scene.kafka.read_all(&narrow)?;
        Ok::<_, anyhow::Error>(written.iter().filter_map(ReadRecord::value_text).collect::<Vec<_>>())
    };
    assert_eq!(values()?, ["before", "after"]);
    check_input(&scene, 3)?;

    let left = json_of(&scene, "redrive", &["--dry-run"])?;
    let letter = &left["redriven"][0];
    let file = scene.state_dir.path().join("smaller");
    std::fs::write(&file, "smaller")?;
    let place = format!("{}:{}", letter["partition"], letter["offset"]);
    dead_letters(&scene, "redrive", &["--yes", "--only", &place, "--value-from", &file.to_string_lossy()])?
        .success()?;
    assert_eq!(values()?, ["before", "after", "smaller"]);
    Ok(())
}
