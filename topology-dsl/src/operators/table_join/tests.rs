//! Joins of tables on the test driver. Where a test says so, what it expects was printed by Kafka Streams 4.3.1 for the same program and the
//! same records.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_processor::testing::TopologyTestDriver;

use super::TableJoinKind;
use crate::operators::test_support::{
    at, change_row, driver, driver_without_commits, pipe_all, table, text, written, written_at,
};
use crate::{KTable, StoreName, StoreOptions, StreamsBuilder};

const NAMES: StoreName<String, String> = StoreName::new("names");
const VERSIONS: StoreName<String, String> = StoreName::new("versions");
const JOINED: StoreName<String, String> = StoreName::new("joined");
const TRACE: StoreName<String, String> = StoreName::new("trace");

/// A change of a table's row of the key `k`, and its event time.
type Step = (&'static str, Option<&'static str>, i64);

/// Changes of the tables `a` and `b`: deletions of what is not there, times out of order, and everything that either side can do first.
const CHANGES: [Step; 13] = [
    ("a", None, 1),
    ("b", Some("b0"), 5),
    ("a", Some("a1"), 10),
    ("b", Some("b1"), 7),
    ("a", Some("a2"), 3),
    ("b", None, 20),
    ("b", None, 21),
    ("a", Some("a3"), 4),
    ("a", None, 30),
    ("a", None, 31),
    ("b", Some("b2"), 1),
    ("a", None, 40),
    ("b", None, 50),
];

/// Both values with a slash between them; a dash is none.
fn join(
    kind: TableJoinKind,
    left: &KTable<String, String>,
    right: &KTable<String, String>,
) -> KTable<String, String> {
    let or_dash = |value: Option<&String>| value.map_or("-", String::as_str).to_string();
    match kind {
        TableJoinKind::Inner => left.join(right, |left, right| format!("{left}/{right}")),
        TableJoinKind::Left => left.left_join(right, move |left, right| format!("{left}/{}", or_dash(right))),
        TableJoinKind::Outer => {
            left.outer_join(right, move |left, right| format!("{}/{}", or_dash(left), or_dash(right)))
        }
    }
}

fn inner(left: &KTable<String, String>, right: &KTable<String, String>) -> KTable<String, String> {
    join(TableJoinKind::Inner, left, right)
}

/// Writes the table's changes to `out`.
fn to_out(table: &KTable<String, String>) {
    table.to_stream().to("out");
}

/// Groups all rows and writes to `out` what was added and what was taken away so far: what the table said of old values.
fn trace_to_out(table: &KTable<String, String>) {
    let all = table.group_by(|_, value| (text("all"), value));
    let trace = all.aggregate(
        TRACE.without_caching(),
        String::new,
        |_, value, trace| format!("{trace}+{value}"),
        |_, value, trace| format!("{trace}-{value}"),
    );
    to_out(&trace);
}

fn change(driver: &TopologyTestDriver, changes: &[Step]) {
    for (topic, value, time) in changes {
        change_row(driver, topic, "k", *value, *time);
    }
}

/// What the changes wrote to `out`: values, with event times.
fn outputs(driver: &TopologyTestDriver, changes: &[Step]) -> Vec<(Option<String>, i64)> {
    change(driver, changes);
    let written = written_at::<String, Option<String>>(&driver.output_topic("out"));
    written.into_iter().map(|(_, value, time)| (value, time)).collect()
}

/// The last thing written to `out`.
fn last(driver: &TopologyTestDriver, changes: &[Step]) -> String {
    outputs(driver, changes).pop().and_then(|(value, _)| value).expect("something was written")
}

fn expected(outputs: &[(&str, i64)]) -> Vec<(Option<String>, i64)> {
    outputs
        .iter()
        .map(|(value, time)| (Some(value.to_string()).filter(|value| value != "null"), *time))
        .collect()
}

/// As Kafka Streams.
#[test]
fn each_kind_has_its_rows_and_deletes_only_what_was_there() {
    let both = [("a1/b0", 10), ("a1/b1", 10), ("a2/b1", 7)];
    let inner = [both.as_slice(), &[("null", 20)]].concat();
    let left = [both.as_slice(), &[("a2/-", 20), ("a3/-", 4), ("null", 30)]].concat();
    let outer = [&[("-/b0", 5)], left.as_slice(), &[("-/b2", 1), ("null", 50)]].concat();
    for (kind, rows) in
        [(TableJoinKind::Inner, inner), (TableJoinKind::Left, left), (TableJoinKind::Outer, outer)]
    {
        let plain = driver(|builder| to_out(&join(kind, &table(builder, "a"), &table(builder, "b"))));
        assert_eq!(outputs(&plain, &CHANGES), expected(&rows), "{kind:?}");
        let kept = driver(|builder| {
            to_out(&join(kind, &table(builder, "a"), &table(builder, "b")).materialized(JOINED));
        });
        assert_eq!(outputs(&kept, &CHANGES), expected(&rows), "{kind:?}, kept in a store");
        assert_eq!(plain.dropped_records(), 0);
    }
}

/// As Kafka Streams.
#[test]
fn old_values_are_those_the_join_had_made() {
    let common = "+a1/b0-a1/b0+a1/b1-a1/b1+a2/b1-a2/b1";
    for (kind, trace) in [
        (TableJoinKind::Inner, common.to_string()),
        (TableJoinKind::Left, format!("{common}+a2/--a2/-+a3/--a3/-")),
        (TableJoinKind::Outer, format!("+-/b0--/b0{common}+a2/--a2/-+a3/--a3/-+-/b2--/b2")),
    ] {
        let plain = driver(|builder| trace_to_out(&join(kind, &table(builder, "a"), &table(builder, "b"))));
        assert_eq!(last(&plain, &CHANGES), trace, "{kind:?}");
        let kept = driver(|builder| {
            trace_to_out(&join(kind, &table(builder, "a"), &table(builder, "b")).materialized(JOINED));
        });
        assert_eq!(last(&kept, &CHANGES), trace, "{kind:?}, kept in a store");
    }
}

/// As Kafka Streams: each side is joined with the row as it is already, and says so.
#[test]
fn a_table_joined_with_itself_changes_twice() {
    let changes = [("a", Some("a1"), 1), ("a", Some("a2"), 2), ("a", None, 3), ("a", None, 4)];
    let plain = driver(|builder| {
        let a = table(builder, "a");
        to_out(&inner(&a, &a));
    });
    let twice = [("a1/a1", 1), ("a1/a1", 1), ("a2/a2", 2), ("a2/a2", 2)];
    assert_eq!(outputs(&plain, &changes), expected(&twice));

    let updates = "-a1/a2+a2/a2-a2/a1+a2/a2";
    for (kind, trace) in [
        (TableJoinKind::Inner, format!("+a1/a1+a1/a1{updates}")),
        (TableJoinKind::Left, format!("+a1/a1-a1/-+a1/a1{updates}-a2/-")),
        (TableJoinKind::Outer, format!("+a1/a1-a1/-+a1/a1{updates}-a2/---/a2")),
    ] {
        let grouped = driver(|builder| {
            let a = table(builder, "a");
            trace_to_out(&join(kind, &a, &a));
        });
        assert_eq!(last(&grouped, &changes), trace, "{kind:?}");
        let kept = driver(|builder| {
            let a = table(builder, "a");
            trace_to_out(&join(kind, &a, &a).materialized(JOINED.without_caching()));
        });
        assert_eq!(last(&kept, &changes), trace, "{kind:?}, kept in an uncached store");
    }
}

const CHANGES_OF_THREE: [Step; 7] = [
    ("c", Some("c1"), 9),
    ("a", Some("a1"), 1),
    ("b", Some("b1"), 5),
    ("c", Some("c2"), 2),
    ("b", None, 11),
    ("c", None, 12),
    ("b", Some("b2"), 13),
];

/// As Kafka Streams.
#[test]
fn joins_are_joined_with_rows_that_are_computed_or_kept() {
    let rows = [("a1/b1/c1", 9), ("a1/b1/c2", 5), ("null", 11), ("a1/b2/-", 13)];
    for is_kept in [false, true] {
        let three = driver(|builder| {
            let ab = inner(&table(builder, "a"), &table(builder, "b"));
            let ab = if is_kept { ab.materialized(JOINED) } else { ab };
            to_out(&join(TableJoinKind::Left, &ab, &table(builder, "c")));
        });
        assert_eq!(outputs(&three, &CHANGES_OF_THREE), expected(&rows), "kept: {is_kept}");
    }
    let outer_of_inner = driver(|builder| {
        let ab = inner(&table(builder, "a"), &table(builder, "b"));
        trace_to_out(&join(TableJoinKind::Outer, &ab, &table(builder, "c")));
    });
    let trace = "+-/c1--/c1+a1/b1/c1-a1/b1/c1+a1/b1/c2-a1/b1/c2+-/c2--/c2+a1/b2/-";
    assert_eq!(last(&outer_of_inner, &CHANGES_OF_THREE), trace);
}

/// As Kafka Streams.
#[test]
fn two_views_of_one_table_are_joined_and_looked_up() {
    let diamond = driver(|builder| {
        let a = table(builder, "a");
        let calm = a.filter(|_, value| !value.ends_with('!'));
        let loud = a.map_values(|_, value| value.to_uppercase());
        to_out(&inner(&inner(&calm, &loud), &table(builder, "c")));
    });
    let changes = [
        ("c", Some("c1"), 9),
        ("a", Some("x"), 1),
        ("a", Some("y!"), 2),
        ("a", Some("z"), 3),
        ("c", Some("c2"), 4),
    ];
    let twice = [("x/X/c1", 9), ("x/X/c1", 9), ("null", 9), ("z/Z/c1", 9), ("z/Z/c1", 9), ("z/Z/c2", 4)];
    assert_eq!(outputs(&diamond, &changes), expected(&twice));
}

#[test]
fn a_stream_finds_the_rows_of_joins_of_filtered_and_mapped_tables() {
    let driver = driver(|builder| {
        let calm = table(builder, "a").filter(|_, value| !value.ends_with('!'));
        let loud = table(builder, "b").map_values(|_, value| value.to_uppercase()).materialized(NAMES);
        let joined = join(TableJoinKind::Outer, &calm, &loud).map_values(|_, value| format!("<{value}>"));
        builder.stream::<String, String>("clicks").join(&joined, |_, row| row.clone()).to("seen");
    });
    let clicks = driver.input_topic::<String, String>("clicks");
    let steps = [("a", Some("x")), ("b", Some("y")), ("a", Some("x!")), ("b", None)];
    for (topic, value) in steps {
        change(&driver, &[(topic, value, 0)]);
        pipe_all(&clicks, [("k", "click")]);
    }
    let seen = ["<x/->", "<x/Y>", "<-/Y>"].map(|row| (text("k"), text(row)));
    assert_eq!(written(&driver.output_topic::<String, String>("seen")), seen);
}

#[test]
fn aggregates_and_streams_as_tables_are_joined_at_commit_with_what_was_committed_as_the_old_value() {
    let driver = driver_without_commits(|builder| {
        let counts = builder.stream::<String, String>("a").group_by_key().count(());
        let latest = builder.stream::<String, Option<String>>("b").to_table();
        let joined = counts.outer_join(&latest, |count, latest| {
            format!("{}/{}", count.unwrap_or(&0), latest.map_or("-", String::as_str))
        });
        trace_to_out(&joined);
    });
    let commit = || driver.commit().expect("the commit succeeds");
    change(&driver, &[("a", Some("x"), 1), ("a", Some("x"), 2), ("b", Some("b1"), 3)]);
    assert_eq!(outputs(&driver, &[]), [], "nothing before the commit");
    commit();
    // Each side is joined with the other's newest row, as in Kafka Streams.
    let first = "+2/b1-2/-+2/b1";
    assert_eq!(last(&driver, &[]), first);
    change(&driver, &[("a", Some("x"), 4), ("a", Some("x"), 5)]);
    commit();
    assert_eq!(last(&driver, &[]), format!("{first}-2/b1+4/b1"));
    change(&driver, &[("b", Some("b2"), 6), ("b", None, 7)]);
    commit();
    assert_eq!(last(&driver, &[]), format!("{first}-2/b1+4/b1-4/b1+4/-"));
}

#[test]
fn a_deletion_passes_an_uncached_table_and_is_a_tombstone_where_the_other_side_has_a_row() {
    let driver = driver(|builder| {
        let a = table(builder, "a").materialized(NAMES.without_caching());
        to_out(&inner(&a, &table(builder, "b")));
    });
    let changes = [("a", None, 1), ("b", Some("b1"), 2), ("a", None, 3)];
    assert_eq!(outputs(&driver, &changes), expected(&[("null", 3)]));
}

#[test]
fn a_store_of_its_own_holds_the_joined_rows_with_the_later_time() {
    let driver = driver(|builder| {
        to_out(&inner(&table(builder, "a"), &table(builder, "b")).materialized(JOINED));
    });
    outputs(&driver, &[("a", Some("a1"), 10), ("b", Some("b1"), 7)]);
    let row = || {
        let joined = driver.key_value_store(JOINED).expect("the join has a store");
        let row = joined.get(&text("k")).expect("it can be read");
        row.map(|row| (row.value, row.timestamp.as_millis()))
    };
    assert_eq!(row(), Some((text("a1/b1"), 10)));
    change(&driver, &[("b", None, 8)]);
    assert_eq!(row(), None);
}

#[test]
fn the_topics_of_joined_tables_need_equal_partition_counts() {
    let builder = StreamsBuilder::new();
    to_out(&inner(&table(&builder, "a"), &table(&builder, "b")));
    let topology = builder.build().expect("the program is right");
    let counts = |a, b| {
        let counts = BTreeMap::from([(text("a"), a), (text("b"), b)]);
        topology.partition_counts(&counts).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(counts(3, 3), Ok(()));
    let error = counts(3, 4).expect_err("the counts differ");
    assert!(error.contains("need equal partition counts") && error.contains("b has 4"), "{error}");
}

#[test]
#[should_panic(expected = "only tables of one StreamsBuilder can be joined")]
fn a_table_of_another_builder_is_refused() {
    let (one, other) = (StreamsBuilder::new(), StreamsBuilder::new());
    inner(&table(&one, "a"), &table(&other, "b"));
}

#[test]
fn older_versions_of_a_versioned_table_are_not_joined() {
    const HUNDRED: Duration = Duration::from_millis(100);
    let driver = driver(|builder| {
        let versions = table(builder, "a").materialized(VERSIONS.versioned(HUNDRED));
        to_out(&inner(&versions, &table(builder, "b")).materialized(JOINED.versioned(HUNDRED)));
    });
    change(&driver, &[("b", Some("b1"), 5), ("a", Some("a1"), 200), ("a", Some("a0"), 150)]);
    change(&driver, &[("a", Some("a2"), 210)]);
    let out = written_at::<String, Option<String>>(&driver.output_topic("out"));
    let expected = [("a1/b1", 200), ("a2/b1", 210)].map(|(row, time)| (text("k"), Some(text(row)), time));
    assert_eq!(out, expected);
    assert_eq!(driver.dropped_records(), 1);
    let joined = driver.versioned_store(JOINED).expect("the join has a versioned store");
    let then = joined.get_as_of(&text("k"), at(209)).expect("it can be read");
    assert_eq!(then.map(|then| (then.value, then.valid_to)), Some((text("a1/b1"), Some(at(210)))));
}
