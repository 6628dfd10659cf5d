//! Global tables: every instance has all of one, before it processes anything and as it changes; `kill -9` costs the records since the last
//! checkpoint; a topic that was made anew is read anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use millstream_integration_tests::kafka::{NewRecord, ReadRecord, RealKafka, unique_name};
use millstream_integration_tests::process::RunningProgram;
use millstream_integration_tests::wait::await_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::command_line::millstream;
use crate::in_process::DEADLINE;

const PARTITIONS: usize = 3;

/// Topics and names of one test.
struct Shop {
    kafka: &'static RealKafka,
    application_id: String,
    orders: String,
    products: String,
    output: String,
    state_dir: TempDir,
}

impl Shop {
    fn new(subject: &str) -> Result<Self> {
        let shop = Shop {
            kafka: RealKafka::shared()?,
            application_id: unique_name(subject),
            orders: unique_name("orders"),
            products: unique_name("products"),
            output: unique_name("named-orders"),
            state_dir: tempfile::tempdir()?,
        };
        // The table's topic need not have as many partitions as the stream's.
        shop.kafka.create_topic(&shop.orders, 4, &[])?;
        shop.create_products()?;
        shop.kafka.create_topic(&shop.output, 2, &[])?;
        Ok(shop)
    }

    fn create_products(&self) -> Result<()> {
        self.kafka.create_topic(&self.products, PARTITIONS, &[("cleanup.policy", "compact")])
    }

    fn write_products(&self, numbers: std::ops::Range<u32>, suffix: &str) -> Result<()> {
        let record = |number| NewRecord::new(format!("sku-{number}"), format!("product {number}{suffix}"));
        self.kafka.produce(&self.products, numbers.map(record))
    }

    fn order(&self, id: &str, sku: &str) -> Result<()> {
        self.kafka.produce(&self.orders, [NewRecord::new(id, sku)])
    }

    /// Waits until an order has this answer, the newest if it has several.
    fn await_answer(&self, id: &str, expected: &str) -> Result<()> {
        await_until(DEADLINE, format!("the answer to {id}"), || {
            let answers = self.kafka.read_all(&self.output).ok()?;
            let mut own = answers.iter().filter(|record| record.key_text().as_deref() == Some(id));
            let newest: &ReadRecord = own.next_back()?;
            (newest.value.as_deref() == Some(expected.as_bytes())).then_some(())
        })
    }
}

struct Worker {
    program: RunningProgram,
    address: String,
}

/// What a worker read of the products before it ran.
#[derive(Debug, PartialEq, Eq)]
struct Restored {
    from: i64,
    to: i64,
    records: i64,
}

impl Worker {
    fn start(shop: &Shop, state_dir: &Path) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_global-worker"));
        command.args([shop.kafka.bootstrap_servers(), &shop.application_id, &shop.orders, &shop.products]);
        command.arg(&shop.output).arg(state_dir);
        let mut program = RunningProgram::start("global-worker", command)?;
        let address = program
            .await_line(DEADLINE, "its address", |line| line.strip_prefix("http ").map(str::to_owned))?;
        // It may have told of its state before it told of its address.
        let is_running = |line: &str| line == "state running";
        if !program.lines().iter().any(|line| is_running(line)) {
            program.await_line(DEADLINE, "the state running", |line| is_running(line).then_some(()))?;
        }
        Ok(Worker { program, address: format!("http://{address}") })
    }

    fn get(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.address);
        let mut response = ureq::get(&url).call().with_context(|| format!("cannot GET {url}"))?;
        Ok(response.body_mut().read_to_string()?)
    }

    fn get_json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.get(path)?)?)
    }

    fn products(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.get_json("/stores/products?limit=10000")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
        let rows = answer["rows"].as_array().context("rows")?.iter();
        rows.map(|row| Ok((text(&row["key"])?, text(&row["value"])?))).collect()
    }

    /// Checkpoints written of the global tables.
    fn checkpoints(&self) -> Option<u64> {
        let text = self.get("/metrics").ok()?;
        let lines = text.lines().filter(|line| line.starts_with("millstream_task_checkpoints_total{"));
        let of_global = lines.filter(|line| line.contains(r#"task="0_0""#));
        of_global.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).next()
    }

    fn restored(&self) -> Vec<Restored> {
        let parse = |line: String| {
            let words: Vec<&str> = line.split(' ').collect();
            let ["restored", "products", "from", from, "to", to, "records", records] = words[..] else {
                return None;
            };
            Some(Restored { from: from.parse().ok()?, to: to.parse().ok()?, records: records.parse().ok()? })
        };
        self.program.lines().into_iter().filter_map(parse).collect()
    }

    fn stop(mut self) -> Result<()> {
        self.program.interrupt()?;
        let status = self.program.wait(DEADLINE)?;
        ensure!(status.success(), "it ended with {status}: {}", self.program.error_lines().join("\n"));
        Ok(())
    }
}

fn products(numbers: std::ops::Range<u32>, suffix: &str) -> BTreeMap<String, String> {
    numbers.map(|number| (format!("sku-{number}"), format!("product {number}{suffix}"))).collect()
}

#[test]
fn every_instance_has_all_of_the_table_from_the_first_record_on() -> Result<()> {
    let shop = Shop::new("everywhere")?;
    shop.write_products(0..500, "")?;
    // There before the instances are: an answer that does not know the product would show that they began too early.
    let ids: Vec<String> = (0..12).map(|number| format!("order-{number}")).collect();
    for (number, id) in ids.iter().enumerate() {
        shop.order(id, &format!("sku-{number}"))?;
    }
    // Of one machine: they share the folder, and each has a directory of its own in it.
    let workers = [(); 3].map(|()| Worker::start(&shop, shop.state_dir.path()));
    let workers: Vec<Worker> = workers.into_iter().collect::<Result<_>>()?;
    for (number, id) in ids.iter().enumerate() {
        shop.await_answer(id, &format!("sku-{number} is product {number}"))?;
    }
    let all = products(0..500, "");
    for worker in &workers {
        assert_eq!(worker.products()?, all);
        let tasks = worker.get_json("/tasks")?;
        let global = &tasks["global_tables"];
        assert_eq!(
            (&global["state"], global["partitions"].as_array().map(Vec::len)),
            (&"running".into(), Some(PARTITIONS))
        );
        assert_eq!(
            worker.get_json("/stores")?["stores"][0]["partitions"],
            serde_json::json!({ "here": 1, "of": 1 })
        );
        let topology = worker.get("/topology")?;
        assert!(topology.contains("for global store (will not generate tasks)"), "{topology}");
        assert!(
            worker.get("/metrics")?.contains(&format!("topic=\"{}\"", shop.products)),
            "its lag is a metric"
        );
    }
    let application = shop.state_dir.path().join(&shop.application_id);
    for directory in ["global-0", "global-1", "global-2"] {
        assert!(application.join(directory).join("rocksdb").exists(), "{directory}");
    }

    // A change reaches all of them, whoever answers the next order.
    shop.write_products(0..12, " (new)")?;
    let mut changed = all;
    changed.extend(products(0..12, " (new)"));
    for worker in &workers {
        await_until(DEADLINE, "the change to arrive", || {
            worker.products().is_ok_and(|found| found == changed).then_some(())
        })?;
    }
    for (number, id) in ids.iter().enumerate() {
        shop.order(id, &format!("sku-{number}"))?;
        shop.await_answer(id, &format!("sku-{number} is product {number} (new)"))?;
    }
    workers.into_iter().try_for_each(Worker::stop)
}

#[test]
fn a_kill_costs_what_came_since_the_last_checkpoint() -> Result<()> {
    let shop = Shop::new("global-killed")?;
    shop.write_products(0..2_000, "")?;
    let mut killed = Worker::start(&shop, shop.state_dir.path())?;
    assert_eq!(killed.restored(), [Restored { from: 0, to: 2_000, records: 2_000 }]);
    await_until(DEADLINE, "a checkpoint", || killed.checkpoints().filter(|written| *written > 0))?;
    let written = killed.checkpoints();
    shop.write_products(0..100, " (new)")?;
    await_until(DEADLINE, "a checkpoint of the change", || (killed.checkpoints() > written).then_some(()))?;
    let mut expected = products(0..2_000, "");
    expected.extend(products(0..100, " (new)"));
    await_until(DEADLINE, "the change to arrive", || {
        killed.products().is_ok_and(|found| found == expected).then_some(())
    })?;
    killed.program.kill()?;
    // While it is away.
    shop.kafka.produce(&shop.products, [NewRecord::tombstone("sku-7"), NewRecord::new("sku-8", "last")])?;
    expected.remove("sku-7");
    expected.insert("sku-8".into(), "last".into());

    let again = Worker::start(&shop, shop.state_dir.path())?;
    let restored = again.restored();
    let [Restored { from, to, records }] = restored[..] else { anyhow::bail!("{restored:?}") };
    ensure!(to == 2_102 && (2_000..=2_100).contains(&from) && records == to - from, "{restored:?}");
    assert_eq!(again.products()?, expected);
    again.stop()?;

    let clean = Worker::start(&shop, shop.state_dir.path())?;
    assert_eq!(clean.restored(), [], "all of it was in the state directory");
    assert_eq!(clean.products()?, expected);
    clean.stop()
}

#[test]
fn the_table_of_a_topic_that_was_made_anew_is_read_anew() -> Result<()> {
    let shop = Shop::new("global-anew")?;
    shop.write_products(0..100, "")?;
    Worker::start(&shop, shop.state_dir.path())?.stop()?;
    shop.kafka.delete_topics(&[&shop.products])?;
    await_until(DEADLINE, "the topic to be gone", || {
        (!shop.kafka.topics().ok()?.contains(&shop.products)).then_some(())
    })?;
    shop.create_products()?;
    // More than before, so that offsets tell nothing.
    shop.write_products(50..250, " (anew)")?;
    let worker = Worker::start(&shop, shop.state_dir.path())?;
    assert_eq!(worker.products()?, products(50..250, " (anew)"));
    worker.stop()
}

#[test]
fn a_reset_removes_the_table_here_and_leaves_its_topic_alone() -> Result<()> {
    let shop = Shop::new("global-reset")?;
    shop.write_products(0..100, "")?;
    shop.order("order-1", "sku-1")?;
    let worker = Worker::start(&shop, shop.state_dir.path())?;
    shop.await_answer("order-1", "sku-1 is product 1")?;
    worker.stop()?;
    let state_dir = shop.state_dir.path().to_string_lossy();
    let servers = shop.kafka.bootstrap_servers();
    let arguments = ["reset", "--application-id", &shop.application_id, "--bootstrap-servers", servers];
    let plan = millstream([&arguments[..], &["--state-dir", &state_dir, "--yes", "--json"]].concat().iter())?;
    let plan: Value = serde_json::from_str(&plan.success()?)?;
    assert_eq!(plan["removed_state"]["tasks"], serde_json::json!(["global-0"]));
    let moved = plan["offsets"].as_array().context("offsets")?.iter();
    let topics: Vec<_> = moved.map(|moved| moved["topic"].as_str().unwrap_or_default()).collect();
    ensure!(!topics.is_empty() && topics.iter().all(|topic| *topic == shop.orders), "{plan}");
    assert!(!shop.state_dir.path().join(&shop.application_id).join("global-0").exists());

    let again = Worker::start(&shop, shop.state_dir.path())?;
    assert_eq!(again.restored(), [Restored { from: 0, to: 100, records: 100 }]);
    await_until(DEADLINE, "the order to be answered again", || {
        (shop.kafka.read_all(&shop.output).ok()?.len() == 2).then_some(())
    })?;
    again.stop()
}
