//! The example on a real cluster: its own recount agrees, its HTTP answers agree with a recount of ours, and `kill -9` loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_integration_tests::kafka::{ReadRecord, RealKafka, unique_name};
use millstream_integration_tests::process::{RunningProgram, workspace_binary};
use millstream_integration_tests::wait::await_until;
use serde_json::Value;
use tempfile::TempDir;

use crate::command_line::millstream;
use crate::in_process::DEADLINE;

/// One run of the example after another, on topics of their own.
struct Shop {
    kafka: &'static RealKafka,
    name: String,
    state_dir: TempDir,
}

impl Shop {
    fn new() -> Result<Self> {
        let state_dir = tempfile::Builder::new().prefix("order-inventory-of-a-test-").tempdir()?;
        Ok(Shop { kafka: RealKafka::shared()?, name: unique_name("shop"), state_dir })
    }

    fn start(&self, arguments: &[&str]) -> Result<RunningProgram> {
        let mut command = workspace_binary("order_inventory")?;
        command.args(["--bootstrap-servers", self.kafka.bootstrap_servers(), "--application-id", &self.name]);
        command.args(["--topic-prefix", &format!("{}-", self.name), "--session-timeout-ms", "6000"]);
        command.arg("--state-dir").arg(self.state_dir.path()).args(arguments);
        RunningProgram::start("order_inventory", command)
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// All records of an input topic that are JSON.
    fn events(&self, topic: &str) -> Result<Vec<(ReadRecord, Value)>> {
        let records = self.kafka.read_all(&self.topic(topic))?;
        records
            .into_iter()
            .map(|record| {
                let json = serde_json::from_slice(record.value.as_deref().context("no value")?)?;
                Ok((record, json))
            })
            .collect()
    }

    fn committed(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let committed = self.kafka.committed_offsets(&self.name)?;
        let topic = self.topic(topic);
        Ok(committed
            .into_iter()
            .filter(|((committed, _), _)| *committed == topic)
            .map(|((_, partition), next)| (partition, next))
            .collect())
    }

    fn await_all_committed(&self) -> Result<()> {
        let topics =
            ["orders", "stock-movements", "orders-by-sku-repartition", "progress-by-order-repartition"];
        await_until(3 * DEADLINE, "all topics to be committed", || {
            let is_done = |topic: &&str| {
                let ends = self.kafka.end_offsets(&self.topic(topic)).ok()?;
                let committed = self.committed(topic).ok()?;
                let next = |partition| committed.get(&partition).copied().unwrap_or(0);
                ends.into_iter().all(|(partition, end)| next(partition) >= end).then_some(())
            };
            topics.iter().all(|topic| is_done(topic).is_some()).then_some(())
        })
    }

    /// Pieces on hand by sku, counted from the topic.
    fn stock(&self) -> Result<BTreeMap<String, i64>> {
        let mut stock = BTreeMap::new();
        for (_, moved) in self.events("stock-movements")? {
            let (sku, quantity) = sku_and_quantity(&moved)?;
            *stock.entry(sku).or_insert(0) += quantity;
        }
        Ok(stock)
    }
}

fn sku_and_quantity(event: &Value) -> Result<(String, i64)> {
    let sku = event["sku"].as_str().with_context(|| format!("no sku in {event}"))?;
    let quantity = event["quantity"].as_i64().with_context(|| format!("no quantity in {event}"))?;
    Ok((sku.to_owned(), quantity))
}

/// The address the program says it serves HTTP at: `http://127.0.0.1:12345`.
fn http_address(program: &mut RunningProgram) -> Result<String> {
    program.await_line(DEADLINE, "its HTTP address", |line| {
        let (_, rest) = line.split_once("http://")?;
        Some(format!("http://{}", rest.split('/').next()?))
    })
}

pub(crate) fn get_json(url: &str) -> Result<Value> {
    let mut response = ureq::get(url).call().with_context(|| format!("cannot GET {url}"))?;
    Ok(response.body_mut().read_json()?)
}

/// The rows of a store over HTTP: key and value.
fn rows(address: &str, store: &str) -> Result<BTreeMap<String, Value>> {
    let answer = get_json(&format!("{address}/stores/{store}?limit=1000"))?;
    ensure!(answer["truncated"] == Value::Bool(false), "more than a page of {store}");
    let rows = answer["rows"].as_array().with_context(|| format!("no rows in {answer}"))?;
    rows.iter()
        .map(|row| {
            Ok((row["key"].as_str().context("a key that is no text")?.to_owned(), row["value"].clone()))
        })
        .collect()
}

#[test]
fn the_view_agrees_with_the_recount_and_over_http_with_ours() -> Result<()> {
    let shop = Shop::new()?;
    let mut run = shop.start(&["--events", "3000", "--rate", "0", "--poison", "500", "--http", "none"])?;
    run.await_line(2 * DEADLINE, "its result", |line| {
        line.starts_with("view agrees with a recount of 3000 events").then_some(())
    })?;
    let status = run.wait(DEADLINE)?;
    ensure!(status.success(), "it ended with {status}");
    assert_eq!(shop.kafka.read_all(&shop.topic("dead-letters"))?.len(), 6, "poison is kept");

    let mut again = shop.start(&["--generate", "false", "--http", "127.0.0.1:0"])?;
    let address = http_address(&mut again)?;
    await_ready(&address)?;
    let mut stock = BTreeMap::new();
    for record in shop.kafka.read_all(&shop.topic("stock-movements"))? {
        let Ok(moved) = serde_json::from_slice::<Value>(record.value.as_deref().unwrap_or_default()) else {
            continue;
        };
        let Ok((sku, quantity)) = sku_and_quantity(&moved) else { continue };
        *stock.entry(sku).or_insert(0) += quantity;
    }
    let found = rows(&address, "stock")?;
    assert_eq!(found, stock.iter().map(|(sku, on_hand)| (sku.clone(), Value::from(*on_hand))).collect());
    for (sku, on_hand) in &stock {
        assert_eq!(get_json(&format!("{address}/stores/stock/{sku}"))?["value"], Value::from(*on_hand));
    }
    again.interrupt()?;
    ensure!(again.wait(DEADLINE)?.success(), "it did not end cleanly");
    Ok(())
}

fn await_ready(address: &str) -> Result<()> {
    await_until(DEADLINE, "the example to be ready", || {
        ureq::get(format!("{address}/health/ready")).call().is_ok().then_some(())
    })
}

#[test]
fn two_kills_lose_no_record_and_count_twice_at_most_what_was_not_committed() -> Result<()> {
    let shop = Shop::new()?;
    // By sku: how much may be counted twice.
    let mut in_doubt: BTreeMap<String, i64> = BTreeMap::new();
    let mut written = 0;
    for _kill in 0..2 {
        let mut run = shop.start(&["--rate", "2000", "--http", "none"])?;
        await_until(DEADLINE, "more events to be processed", || {
            if run.wait(Duration::ZERO).is_ok() {
                return Some(Err(anyhow::anyhow!("it ended by itself: {}", run.error_lines().join("\n"))));
            }
            let committed = shop.committed("stock-movements").ok()?.values().sum::<i64>();
            (committed >= written + 400).then_some(Ok(()))
        })??;
        run.kill()?;
        let committed = shop.committed("stock-movements")?;
        let movements = shop.events("stock-movements")?;
        written = i64::try_from(movements.len())?;
        let is_in_doubt =
            |record: &ReadRecord| record.offset >= committed.get(&record.partition).copied().unwrap_or(0);
        for (_, moved) in movements.iter().filter(|(record, _)| is_in_doubt(record)) {
            let (sku, quantity) = sku_and_quantity(moved)?;
            *in_doubt.entry(sku).or_insert(0) += quantity.abs();
        }
    }

    let mut last = shop.start(&["--generate", "false", "--http", "127.0.0.1:0"])?;
    let address = http_address(&mut last)?;
    await_ready(&address)?;
    shop.await_all_committed()?;
    // What is committed is published a moment later.
    let recounted = shop.stock()?;
    let mut found = BTreeMap::new();
    await_until(DEADLINE, "the view to be that of a recount", || {
        found = rows(&address, "stock").ok()?;
        let is_near = |(sku, on_hand): (&String, &i64)| {
            let off_by = (found.get(sku)?.as_i64()? - on_hand).abs();
            (off_by <= in_doubt.get(sku).copied().unwrap_or(0)).then_some(())
        };
        (found.len() == recounted.len() && recounted.iter().all(|row| is_near(row).is_some())).then_some(())
    })
    .with_context(|| format!("{found:?} instead of {recounted:?}, and {in_doubt:?} were in doubt"))?;

    // Not one order is without an answer and a status.
    let orders: BTreeSet<String> =
        shop.events("orders")?.iter().filter_map(|(record, _)| record.key_text()).collect();
    let answered: BTreeSet<String> =
        shop.events("order-availability")?.iter().filter_map(|(record, _)| record.key_text()).collect();
    assert_eq!(answered, orders);
    for order in orders.iter().step_by(orders.len().div_ceil(200)) {
        await_until(DEADLINE, format!("the answer to {order} to be its status"), || {
            let status = get_json(&format!("{address}/stores/order-status/{order}")).ok()?;
            (status["value"]["state"] != "placed").then_some(())
        })?;
    }
    last.interrupt()?;
    ensure!(last.wait(DEADLINE)?.success(), "it did not end cleanly");
    Ok(())
}

#[test]
fn a_reset_and_a_second_pass_over_the_same_history_agree_with_the_recount() -> Result<()> {
    second_pass(&[])
}

/// With a view that the first pass did not keep: it counts the orders of the past, too.
#[test]
fn a_changed_program_over_the_same_history_agrees_with_the_recount() -> Result<()> {
    second_pass(&["--demand"])
}

fn second_pass(changes: &[&str]) -> Result<()> {
    let shop = Shop::new()?;
    let first = ["--events", "3000", "--rate", "0", "--http", "none", "--quiet"];
    let second = ["--events", "0", "--answers", "order-availability-2", "--http", "none", "--quiet"];
    let run = |arguments: &[&str]| -> Result<()> {
        let mut program = shop.start(arguments)?;
        program.await_line(2 * DEADLINE, "the recount", |line| {
            (line == "view agrees with a recount of 3000 events").then_some(())
        })?;
        ensure!(program.wait(DEADLINE)?.success(), "the view differs: {:?}", program.lines());
        Ok(())
    };
    run(&first)?;
    let state_dir = shop.state_dir.path().to_string_lossy();
    let servers = shop.kafka.bootstrap_servers();
    let reset = ["reset", "--application-id", &shop.name, "--bootstrap-servers", servers, "--yes"];
    millstream([&reset[..], &["--state-dir", &state_dir]].concat().iter())?.success()?;
    run(&[&second[..], changes].concat())?;
    let answers = |topic| Ok::<_, anyhow::Error>(shop.kafka.read_all(&shop.topic(topic))?.len());
    assert_eq!(
        answers("order-availability-2")?,
        answers("order-availability")?,
        "each order was answered again"
    );
    Ok(())
}
