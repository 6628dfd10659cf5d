//! `millstream query`

use std::time::Duration;

use clap::{Args, Subcommand};
use millstream::Result;
use millstream::clock::SystemClock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::Ended;
use crate::instance::InstanceArgument;
use crate::output::{Output, table};

/// Rows the instance gives in one answer at most.
const PAGE: usize = 10_000;

/// Ask a store of a running instance: one key, a range, or all of it. An instance answers for the partitions it has
#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(subcommand)]
    question: Question,
    #[command(flatten)]
    instance: InstanceArgument,
    /// Ask again and again, and print what has changed, until Ctrl-C
    #[arg(long, global = true)]
    watch: bool,
    /// Milliseconds between two questions of --watch
    #[arg(long, global = true, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    every: u64,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// The stores there are
    Stores,
    /// The row of one key; of a window or session store, the key's rows
    Get {
        /// Its name in the topology
        store: String,
        /// The key as text; JSON where its type is written as JSON
        key: String,
        /// The first start of windows, or end of sessions, in milliseconds since 1970
        #[arg(long)]
        from: Option<String>,
        /// The last one, included
        #[arg(long)]
        to: Option<String>,
    },
    /// The rows of a range of keys, in the order of their bytes
    Range {
        /// Its name in the topology
        store: String,
        /// The first key, included; of a window or session store, the first time
        #[arg(long)]
        from: Option<String>,
        /// The last key, included; of a window or session store, the last time
        #[arg(long)]
        to: Option<String>,
        /// Keys that begin with this
        #[arg(long, conflicts_with_all = ["from", "to"])]
        prefix: Option<String>,
        /// In descending order
        #[arg(long)]
        reverse: bool,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// All rows, however many; of a window or session store, the first 10000
    All {
        /// Its name in the topology
        store: String,
    },
}

impl Query {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        let clock = SystemClock::shared();
        let mut shown = None;
        loop {
            let answer = self.question.ask(&self.instance)?;
            if shown.as_ref() != Some(&answer) {
                output.print(&answer, || self.question.shown(&answer))?;
            }
            if !self.watch {
                return Ok(Ended::Done);
            }
            shown = Some(answer);
            clock.sleep(Duration::from_millis(self.every));
        }
    }
}

impl Question {
    fn ask(&self, instance: &InstanceArgument) -> Result<Value> {
        match self {
            Question::Stores => instance.get_json("/stores", &[]),
            Question::Get { store, key, from, to } => {
                let times = [("from", from), ("to", to)].into_iter();
                let times: Vec<_> = times.filter_map(|(name, time)| Some((name, time.clone()?))).collect();
                instance.get_json(&format!("/stores/{}/{}", encoded(store), encoded(key)), &times)
            }
            Question::Range { store, from, to, prefix, reverse, limit } => {
                let mut parameters = vec![("limit", limit.to_string())];
                let bounds = [("from", from), ("to", to), ("prefix", prefix)];
                parameters.extend(bounds.into_iter().filter_map(|(name, key)| Some((name, key.clone()?))));
                if *reverse {
                    parameters.push(("reverse", "true".to_owned()));
                }
                instance.get_json(&format!("/stores/{}", encoded(store)), &parameters)
            }
            Question::All { store } => all(instance, store),
        }
    }

    fn shown(&self, answer: &Value) -> String {
        match self {
            Question::Stores => {
                let mut stores = table(["STORE", "KIND", "KEYS", "VALUES", "ENTRIES", "PARTITIONS"]);
                for store in answer["stores"].as_array().into_iter().flatten() {
                    let partitions = &store["partitions"];
                    let (here, of) = (text(&partitions["here"]), text(&partitions["of"]));
                    let column = |name| text(&store[name]);
                    let entries = column("approximate_entries");
                    let types = [column("key_type"), column("value_type")];
                    let [keys, values] = types;
                    stores.add_row([
                        column("name"),
                        column("kind"),
                        keys,
                        values,
                        entries,
                        format!("{here} of {of}"),
                    ]);
                }
                stores.to_string()
            }
            Question::Get { .. } | Question::Range { .. } | Question::All { .. } => {
                rows(answer["rows"].as_array().map_or(std::slice::from_ref(answer), Vec::as_slice))
            }
        }
    }
}

/// Page by page. Each begins with the last row of the one before, because the key that follows it cannot be written.
fn all(instance: &InstanceArgument, store: &str) -> Result<Value> {
    let path = format!("/stores/{}", encoded(store));
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let mut parameters = vec![("limit", PAGE.to_string())];
        parameters.extend(rows.last().map(|last| ("from", text(&last["key"]))));
        let mut answer = instance.get_json(&path, &parameters)?;
        let page = answer["rows"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let known = rows.pop();
        let is_truncated = answer["truncated"] == json!(true);
        let is_last = page.len() < 2 && known.is_some() || !is_truncated;
        rows.extend(page);
        // Windows are asked for by time, not from a key on.
        let is_windowed = rows.last().is_some_and(|row| row["key"]["start"].is_number());
        if is_last || is_windowed {
            answer["rows"] = rows.into();
            answer["truncated"] = json!(is_truncated && !is_last);
            return Ok(answer);
        }
    }
}

fn rows(rows: &[Value]) -> String {
    let mut shown = table(["KEY", "VALUE", "TIMESTAMP"]);
    for row in rows {
        shown.add_row([text(&row["key"]), text(&row["value"]), text(&row["timestamp"])]);
    }
    shown.to_string()
}

/// As an instance reads keys: a string as it is, all else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn encoded(part: &str) -> String {
    utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()
}
