//! A real Prometheus, configured by `deploy/`, scrapes the running example: every alert works, and every query of the
//! Grafana dashboard answers with something that its panel can show.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millstream_integration_tests::ports::free_port;
use millstream_integration_tests::process::{RunningProgram, workspace_binary};
use millstream_integration_tests::wait::await_until;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// For each step, on a busy machine. All of them together take some ten seconds on an idle one.
const DEADLINE: Duration = Duration::from_secs(90);

const HOW_TO_INSTALL: &str = "this test needs the program `prometheus`; run: scripts/prerequisites.sh test \
    (or: sudo apt-get install -y prometheus; macOS: brew install prometheus)";

/// Queries without an answer when all is well: the title of the panel, and why.
const MAY_BE_EMPTY: [(&str, &str); 5] = [
    ("Alerts", "no alert fires while all is well"),
    ("Records still to restore", "a first start finds no changelog to restore"),
    ("Restored records per second", "a first start finds no changelog to restore"),
    ("Lag of standbys", "the example keeps none"),
    ("Standby records per second", "the example keeps none"),
];

#[test]
fn a_real_prometheus_answers_the_dashboard_and_evaluates_the_alerts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut command = workspace_binary("order_inventory")?;
    command.args(["--rate", "200", "--http", "127.0.0.1:0", "--state-dir"]).arg(folder.path().join("state"));
    let mut demo = RunningProgram::start("order_inventory", command)?;
    let address = demo.await_line(DEADLINE, "the address of its metrics", |line| {
        line.split_whitespace()
            .find_map(|word| word.strip_prefix("http://")?.strip_suffix("/metrics"))
            .map(str::to_owned)
    })?;

    let mut prometheus = Prometheus::start(&address, folder.path())?;
    prometheus.await_target(&address)?;
    every_query_of_the_dashboard_answers(&prometheus)?;
    every_alert_is_evaluated(&prometheus)?;

    for program in [&mut demo, &mut prometheus.program] {
        program.interrupt()?;
        let status = program.wait(DEADLINE)?;
        ensure!(status.success(), "ended with {status}: {:#?}", program.error_lines());
    }
    Ok(())
}

fn every_query_of_the_dashboard_answers(prometheus: &Prometheus) -> Result<()> {
    let dashboard: Dashboard = serde_json::from_str(&read_deployed("grafana/dashboards/millstream.json")?)
        .context("the dashboard is not read right")?;
    let variables = prometheus.values_of_variables(&dashboard)?;
    let queries = dashboard.queries();
    for (title, _) in MAY_BE_EMPTY {
        ensure!(
            queries.iter().any(|query| query.title == title),
            "MAY_BE_EMPTY names {title:?}, which is not on the dashboard"
        );
    }
    for query in queries {
        let expression = fill_in(&query.expression, &variables)?;
        let may_be_empty = MAY_BE_EMPTY.iter().any(|(title, _)| *title == query.title);
        let mut defect = String::new();
        let answered = await_until(DEADLINE, "an answer that the panel can show", || {
            let found = match prometheus.query(&expression) {
                Ok(series) if series.is_empty() && may_be_empty => None,
                Ok(series) => defect_of(&series, &query.legend),
                Err(error) => Some(format!("{error:#}")),
            };
            let is_good = found.is_none();
            defect = found.unwrap_or_default();
            is_good.then_some(())
        });
        answered.with_context(|| format!("panel {:?}: {defect}\n{expression}", query.title))?;
    }
    Ok(())
}

fn every_alert_is_evaluated(prometheus: &Prometheus) -> Result<()> {
    let written = read_deployed("prometheus/rules.yml")?.matches("- alert:").count();
    ensure!(written > 5, "found only {written} alerts in rules.yml, is it still read right?");
    let mut rules = Vec::new();
    let evaluated = await_until(DEADLINE, "every alert to be evaluated without an error", || {
        let loaded = prometheus.get::<RuleGroups>("rules", &[]).ok()?;
        rules = loaded.groups.into_iter().flat_map(|group| group.rules).collect();
        (rules.len() == written && rules.iter().all(|rule| rule["health"] == "ok")).then_some(())
    });
    evaluated.with_context(|| format!("rules.yml has {written} alerts, Prometheus says: {rules:#?}"))
}

/// What keeps a panel from showing these series under its legend, as a sentence; none if nothing does.
fn defect_of(series: &[Series], legend: &str) -> Option<String> {
    if series.is_empty() {
        return Some("no series".into());
    }
    if !series.iter().any(Series::has_a_number) {
        return Some("no series has a number".into());
    }
    let labels = legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    labels
        .map(str::trim)
        .find(|label| !series.iter().all(|one| one.metric.contains_key(*label)))
        .map(|label| format!("its legend names the label {label:?}, which a series has not: {series:?}"))
}

/// Puts values in the place of Grafana's variables.
fn fill_in(expression: &str, variables: &[(String, String)]) -> Result<String> {
    // Grafana takes four scrapes, which are one second apart here.
    let built_in = expression.replace("$__rate_interval", "4s").replace("$__range", "15m");
    let filled =
        variables.iter().fold(built_in, |text, (name, value)| text.replace(&format!("${name}"), value));
    ensure!(!filled.contains('$'), "a variable of this query has no value: {filled}");
    Ok(filled)
}

/// A value as a part of a regular expression in a PromQL string, as Grafana writes it.
fn escape(value: &str) -> String {
    value.chars().fold(String::new(), |escaped, letter| {
        let mark = if letter.is_ascii_punctuation() { r"\\" } else { "" };
        format!("{escaped}{mark}{letter}")
    })
}

fn read_deployed(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// A Prometheus that scrapes one target every second.
struct Prometheus {
    program: RunningProgram,
    url: String,
    agent: ureq::Agent,
}

impl Prometheus {
    /// With the configuration of `deploy/`, but for the places and the pace; its data go below `folder`.
    fn start(target: &str, folder: &Path) -> Result<Self> {
        let mut config = read_deployed("prometheus/prometheus.yml")?;
        for (deployed, here) in [("demo:8080", target), (": 5s", ": 1s")] {
            ensure!(config.contains(deployed), "prometheus.yml has no {deployed:?} to replace");
            config = config.replace(deployed, here);
        }
        let config_file = folder.join("prometheus.yml");
        std::fs::write(&config_file, config)?;
        // Prometheus looks for it beside its configuration.
        std::fs::write(folder.join("rules.yml"), read_deployed("prometheus/rules.yml")?)?;

        let listen = format!("127.0.0.1:{}", free_port(&[])?);
        let mut command = Command::new("prometheus");
        command
            .env("PATH", path_with_tools()?)
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={listen}"));
        let program = RunningProgram::start("prometheus", command).context(HOW_TO_INSTALL)?;
        let settings = ureq::Agent::config_builder()
            // The body of an error says what is wrong.
            .http_status_as_error(false)
            .timeout_global(Some(DEADLINE))
            .build();
        Ok(Self { program, url: format!("http://{listen}/api/v1"), agent: settings.into() })
    }

    /// Waits until it has scraped `address`.
    fn await_target(&mut self, address: &str) -> Result<()> {
        let mut seen = None;
        let up = await_until(DEADLINE, "Prometheus to scrape the example", || {
            if let Ok(status) = self.program.wait(Duration::ZERO) {
                return Some(Err(anyhow::anyhow!("Prometheus ended with {status}")));
            }
            let targets = seen.insert(self.get::<Targets>("targets", &[])).as_ref().ok()?;
            let [target] = targets.active.as_slice() else { return None };
            (target["health"] == "up" && target["labels"]["instance"] == address).then_some(Ok(()))
        });
        up.and_then(|result| result)
            .with_context(|| format!("targets: {seen:#?}\nits log: {:#?}", self.program.error_lines()))
    }

    /// What the dashboard's variables stand for when "All" is selected, in their order.
    fn values_of_variables(&self, dashboard: &Dashboard) -> Result<Vec<(String, String)>> {
        let mut known = Vec::new();
        for Variable { name, definition } in &dashboard.templating.list {
            let (selector, label) = definition
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
                .with_context(|| format!("the variable {name} is no label_values(..): {definition}"))?;
            let selector = fill_in(selector, &known)?;
            // A target is up a moment before what was scraped can be asked for.
            let values = await_until(DEADLINE, format!("values of {name}: {definition}"), || {
                let values = self.get(&format!("label/{label}/values"), &[("match[]", &selector)]);
                values.ok().filter(|values: &Vec<String>| !values.is_empty())
            })?;
            let any_of_them: Vec<_> = values.iter().map(|value| escape(value)).collect();
            known.push((name.clone(), format!("({})", any_of_them.join("|"))));
        }
        Ok(known)
    }

    /// The series an expression gives now.
    fn query(&self, expression: &str) -> Result<Vec<Series>> {
        self.get::<Vector>("query", &[("query", expression)]).map(|vector| vector.result)
    }

    /// The data of an answer. An answer that is no success is an error that carries Prometheus' explanation.
    fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T> {
        let request = self.agent.get(format!("{}/{path}", self.url)).query_pairs(parameters.iter().copied());
        let text = request.call()?.body_mut().read_to_string()?;
        let answer = serde_json::from_str(&text).with_context(|| format!("{path} answered: {text}"))?;
        match answer {
            Answer { status, data: Some(data), .. } if status == "success" => Ok(data),
            Answer { status, error, .. } => bail!("{path} answered {status}: {}", error.unwrap_or_default()),
        }
    }
}

/// The search path, with the folder before it that `scripts/prerequisites.sh` unpacks programs into.
fn path_with_tools() -> Result<OsString> {
    let tools = std::env::var_os("MILLSTREAM_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| Some(std::env::home_dir()?.join(".cache/millstream/tools")));
    let system = std::env::var_os("PATH").unwrap_or_default();
    let folders = tools.map(|tools| tools.join("bin")).into_iter().chain(std::env::split_paths(&system));
    std::env::join_paths(folders).context("a folder of the search path has a colon in its name")
}

/// Every answer of Prometheus' API.
#[derive(Deserialize)]
struct Answer<T> {
    status: String,
    data: Option<T>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Series>,
}

/// One series at one moment: its labels, the time, and the value in words.
#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Series {
    fn has_a_number(&self) -> bool {
        self.value.1.parse::<f64>().is_ok_and(|number| !number.is_nan())
    }
}

#[derive(Debug, Deserialize)]
struct Targets {
    #[serde(rename = "activeTargets")]
    active: Vec<Value>,
}

#[derive(Deserialize)]
struct RuleGroups {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<Value>,
}

/// The parts of a Grafana dashboard that hold queries.
#[derive(Deserialize)]
struct Dashboard {
    templating: List<Variable>,
    annotations: List<Annotation>,
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct List<T> {
    list: Vec<T>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    definition: String,
}

#[derive(Deserialize)]
struct Annotation {
    name: String,
    expr: String,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    #[serde(default)]
    targets: Vec<PanelQuery>,
    /// Of a row that is folded up.
    #[serde(default)]
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PanelQuery {
    expr: String,
    legend_format: String,
}

/// A query of the dashboard, and what it is asked for.
struct DashboardQuery {
    title: String,
    expression: String,
    legend: String,
}

impl Dashboard {
    fn queries(self) -> Vec<DashboardQuery> {
        let mut queries: Vec<_> = self
            .annotations
            .list
            .into_iter()
            .map(|Annotation { name, expr }| DashboardQuery {
                title: name,
                expression: expr,
                legend: String::new(),
            })
            .collect();
        let mut panels = self.panels;
        while let Some(panel) = panels.pop() {
            panels.extend(panel.panels);
            queries.extend(panel.targets.into_iter().map(|target| DashboardQuery {
                title: panel.title.clone(),
                expression: target.expr,
                legend: target.legend_format,
            }));
        }
        queries
    }
}
