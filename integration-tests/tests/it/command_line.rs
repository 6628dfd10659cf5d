//! The program `millstream` as a user calls it: on running applications, their groups and their state.

use anyhow::{Context, Result, ensure};
use millstream_integration_tests::process::workspace_binary;
use serde_json::{Value, json};

use crate::in_process::{COUNTS, Scene, await_rows, counts_of, recount, running};
use crate::recovery::orders;

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it printed.
    pub(crate) fn success(self) -> Result<String> {
        ensure!(self.code == Some(0), "{self:?}");
        Ok(self.stdout)
    }
}

/// Calls it, without a terminal and without the environment's settings.
pub(crate) fn millstream<'a>(arguments: impl Iterator<Item = &'a &'a str>) -> Result<Ended> {
    let mut command = workspace_binary("millstream")?;
    for variable in ["BOOTSTRAP_SERVERS", "STATE_DIR", "HTTP_ADDRESS"] {
        command.env_remove(format!("MILLSTREAM_{variable}"));
    }
    let output = command
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .context("cannot run millstream")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

fn printed(arguments: &[&str]) -> Result<String> {
    millstream(arguments.iter())?.success()
}

fn printed_json(arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&printed(&[arguments, &["--json"]].concat())?)?)
}

#[test]
fn a_running_application_shows_its_program_stores_lag_and_state() -> Result<()> {
    let scene = Scene::new("shown", 2)?;
    scene.write(orders(0, 400))?;
    let mut settings = scene.settings();
    settings.http_address = Some("127.0.0.1:0".into());
    let app = running(scene.app(scene.count_by_key()?, settings))?;
    let address = app.http_address().context("it serves HTTP")?.to_string();
    scene.await_committed(&[&scene.input])?;
    let counts = recount(orders(0, 400).map(|(key, _)| key));
    await_rows(&counts, || counts_of(&app))?;
    let here = ["--address", address.as_str()];
    let asked = |arguments: &[&str]| printed_json(&[arguments, &here].concat());

    let text = printed(&[&["topology"], &here[..]].concat())?;
    assert!(text.starts_with("Topologies:") && text.contains(&scene.input), "{text}");
    let mermaid = printed(&[&["topology", "--format", "mermaid"], &here[..]].concat())?;
    assert!(mermaid.contains("flowchart") || mermaid.contains("graph"), "{mermaid}");

    assert_eq!(asked(&["query", "stores"])?["stores"][0]["name"], json!(COUNTS.name()));
    assert_eq!(asked(&["query", "get", COUNTS.name(), "sku-3"])?["value"], json!(counts["sku-3"]));
    let range = asked(&["query", "range", COUNTS.name(), "--from", "sku-1", "--to", "sku-11"])?;
    let keys: Vec<_> =
        range["rows"].as_array().context("rows")?.iter().map(|row| row["key"].clone()).collect();
    assert_eq!(keys, [json!("sku-1"), json!("sku-10"), json!("sku-11")]);
    let all = asked(&["query", "all", COUNTS.name()])?;
    let rows = all["rows"].as_array().context("rows")?.iter();
    let rows: Vec<_> =
        rows.map(|row| (row["key"].as_str().unwrap_or_default().to_owned(), row["value"].as_u64())).collect();
    assert_eq!(rows, counts.iter().map(|(key, count)| (key.clone(), Some(*count))).collect::<Vec<_>>());
    let table = printed(&[&["query", "get", COUNTS.name(), "sku-3"], &here[..]].concat())?;
    assert!(table.contains("KEY") && table.contains("sku-3"), "{table}");
    let unknown = millstream([&["query", "get", "cuonts", "sku-3"], &here[..]].concat().iter())?;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(
        unknown.stderr.contains("there is no store cuonts") && unknown.stderr.contains(COUNTS.name()),
        "{unknown:?}"
    );

    let lag = printed_json(&[
        "lag",
        "--application-id",
        &scene.application_id,
        "--bootstrap-servers",
        scene.kafka.bootstrap_servers(),
    ])?;
    let partitions = lag.as_array().context("partitions")?;
    assert_eq!(partitions.len(), 2);
    assert!(partitions.iter().all(|partition| partition["lag"] == json!(0)), "{lag}");

    let root = scene.state_dir.path().to_string_lossy().into_owned();
    let state = ["--state-dir", root.as_str()];
    let remove = ["state", "remove", "--application-id", &scene.application_id, "--yes"];
    let in_use = millstream([&remove, &state[..]].concat().iter())?;
    assert_eq!(in_use.code, Some(1), "{in_use:?}");
    assert!(in_use.stderr.contains("is in use"), "{in_use:?}");
    app.close()?;

    let listed = printed_json(&[&["state", "list"], &state[..]].concat())?;
    let tasks: Vec<_> =
        listed.as_array().context("tasks")?.iter().map(|found| found["task"].clone()).collect();
    assert_eq!(tasks, [json!("0_0"), json!("0_1")]);
    assert!(listed[0]["bytes"].as_u64() > Some(0), "{listed}");
    assert!(listed[0]["last_used"].as_str().is_some_and(|time| time.ends_with('Z')), "{listed}");
    assert_eq!(listed[0]["in_use"], json!(false));
    let table = printed(&[&["state", "list"], &state[..]].concat())?;
    assert!(table.contains("LAST USED") && table.contains("s ago"), "{table}");
    printed(&[&remove[..], &["--task", "0_1"], &state].concat())?;
    let left = printed_json(&[&["state", "list"], &state[..]].concat())?;
    assert_eq!((left.as_array().map(Vec::len), &left[0]["task"]), (Some(1), &json!("0_0")));
    let missing = millstream([&remove[..], &["--task", "0_7"], &state].concat().iter())?;
    assert!(
        missing.stderr.contains("task 0_7 has no state") && missing.stderr.contains("0_0"),
        "{missing:?}"
    );
    Ok(())
}

#[test]
fn an_instance_that_is_not_there_is_an_error_that_says_so() -> Result<()> {
    let ended = millstream(["topology", "--address", "http://127.0.0.1:1"].iter())?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no answer from http://127.0.0.1:1"), "{ended:?}");
    Ok(())
}

#[test]
fn completions_are_printed_for_a_shell() -> Result<()> {
    let completions = printed(&["completions", "bash"])?;
    assert!(completions.contains("--to-datetime") && completions.contains("complete"), "no completions");
    Ok(())
}
