//! The built program from the outside, on the embedded Kafka: what it prints and how it ends.

use std::process::{Command, Output};

fn order_inventory(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order_inventory"));
    command
        .args(arguments.split_whitespace())
        .env_remove("RUST_LOG")
        .env_remove("MILLSTREAM_SCHEMA_REGISTRY_URL")
        .output()
        .expect("the program can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_view_agrees_with_a_recount() {
    let run = order_inventory("--events 2000 --rate 0 --http 127.0.0.1:0 --poison 100");
    let (stdout, stderr) = (text(&run.stdout), text(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{stdout}\n{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    let expected =
        ["view agrees with a recount of 2000 events", "20 poison records in order-inventory-dead-letters"];
    assert!(lines.ends_with(&expected), "{stdout}");
    assert!(lines[0].starts_with("http://127.0.0.1:"), "{stdout}");
}

#[test]
fn one_thread_and_one_partition_are_enough() {
    let run =
        order_inventory("--events 500 --rate 0 --http none --threads 1 --partitions 1 --quiet --seed 3");
    assert_eq!(text(&run.stdout), "view agrees with a recount of 500 events\n", "{}", text(&run.stderr));
    assert_eq!(run.status.code(), Some(0));
}

#[test]
fn what_cannot_work_is_refused_with_the_remedy() {
    let cases = [
        ("--generate false --events 5", "leave one of them out"),
        ("--events 0 --format avro", "needs a schema registry: name it with --schema-registry"),
        ("--events 0 --format avro --schema-registry localhost:8081", "localhost:8081"),
        ("--threads 0 --events 0", "--threads"),
        ("--events 0 --http nowhere", "nowhere"),
        ("--events 0 --http none --application-id a/b", "a/b"),
    ];
    for (arguments, named) in cases {
        let run = order_inventory(arguments);
        assert_eq!(run.status.code(), Some(2), "{arguments}");
        let stderr = text(&run.stderr);
        assert!(stderr.contains(named), "{arguments}: {stderr}");
    }
}
