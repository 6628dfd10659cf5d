//! A case as data: a program, statement by statement, and what is done with it, step by step. `integration-tests/oracle/Programs.java` reads
//! the same JSON.

use serde::{Deserialize, Serialize};

/// One program, and the records that go through it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The id of the exception because of which the two differ here. Such a case must differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// Commits only where a step says so, and at the end, instead of after each record: caches show what they hold back.
    #[serde(default, skip_serializing_if = "is_default")]
    pub commits_by_hand: bool,
    /// Built with all optimizations of the topology.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimized: bool,
    /// In declaration order.
    pub program: Vec<Statement>,
    /// In the order in which they happen.
    pub steps: Vec<Step>,
}

/// One call on the DSL. Which of the fields it has, depends on the operator; `by` and `on` name functions of `functions.rs`, times are in
/// milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What later statements know its result by.
    pub id: String,
    /// Which call.
    pub op: Op,
    /// The id of what it is called on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The id of the other side of a join, merge or cogroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// What it does to each record or row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The foreign key of a table, or the key of a global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// What is read or written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The name given by `named`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// How the table is kept; the operator's default unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
    /// Windows of a grouped stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Windows>,
    /// `on_window_update` or `on_window_close`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit: Option<String>,
    /// How far the records of two joined streams may lie apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<JoinWindows>,
    /// How long a stream waits for a versioned table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<u64>,
    /// Until when changes are suppressed; until their window closes unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<u64>,
    /// How many changes are suppressed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u64>,
    /// How many bytes of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// `emit_early` or `shut_down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_full: Option<String>,
}

/// The calls, by the names of the operators.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Op {
    #[default]
    Stream,
    StreamPattern,
    Table,
    GlobalTable,
    GlobalStore,
    Filter,
    FilterNot,
    MapValues,
    TransformValues,
    FlatMapValues,
    Map,
    FlatMap,
    SelectKey,
    Peek,
    ForEach,
    Merge,
    Split,
    Branch,
    DefaultBranch,
    Repartition,
    To,
    ToChosenTopic,
    ToTable,
    ToStream,
    GroupByKey,
    GroupBy,
    WindowedBy,
    Cogroup,
    Count,
    Reduce,
    Aggregate,
    Join,
    LeftJoin,
    OuterJoin,
    Suppress,
    Process,
    ProcessValues,
}

/// Options of a store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "their names are those of the DSL")]
pub struct Store {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub cached: bool,
    pub logged: bool,
    pub in_memory: bool,
    /// For how long it knows older versions of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versioned: Option<u64>,
    /// For how long it keeps windows or sessions; as long as they need by themselves unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Store { name: None, cached: true, logged: true, in_memory: false, versioned: None, retention: None }
    }
}

/// Windows of a grouped stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// Which windows.
    pub kind: WindowKind,
    /// Size, time difference or gap.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: u64,
    /// Of windows that hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advance: Option<u64>,
    /// How late a record may come.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grace: u64,
}

/// `TimeWindows`, `SlidingWindows`, `SessionWindows` and `UnlimitedWindows`; the last have no size, and nothing is late for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum WindowKind {
    Time,
    Sliding,
    Session,
    Unlimited,
}

/// The windows of a join of two streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "their names are those of the DSL")]
pub struct JoinWindows {
    pub before: u64,
    pub after: u64,
    pub grace: u64,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A record is written to a topic and goes through the program.
    Pipe(Input),
    /// Wall-clock time moves on.
    Advance(u64),
    /// Everything is committed.
    Commit,
}

/// A record of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Where it is written.
    pub topic: String,
    /// None is null.
    pub key: Option<String>,
    /// None is null.
    pub value: Option<String>,
    /// Event time.
    pub at: i64,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

impl Case {
    /// The statement with this id.
    pub fn statement(&self, id: &str) -> Option<&Statement> {
        self.program.iter().find(|statement| statement.id == id)
    }

    /// The records of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.steps.iter().filter_map(|step| if let Step::Pipe(input) = step { Some(input) } else { None })
    }

    /// The statements that this one builds on, and those that these build on.
    pub fn above(&self, id: &str) -> Vec<&Statement> {
        let mut known: Vec<&str> = self.statement(id).into_iter().flat_map(Statement::parents).collect();
        let mut above = Vec::new();
        for statement in self.program.iter().rev() {
            if known.contains(&&*statement.id) {
                known.extend(statement.parents());
                above.push(statement);
            }
        }
        above
    }

    /// The statements that build on this one, and on those.
    pub fn below<'a>(&'a self, id: &'a str) -> Vec<&'a Statement> {
        let mut known = vec![id];
        let mut below = Vec::new();
        for statement in &self.program {
            if statement.parents().any(|parent| known.contains(&parent)) {
                known.push(&statement.id);
                below.push(statement);
            }
        }
        below
    }
}

impl Statement {
    /// Whether it reads the topic as a stream.
    pub fn is_stream_of(&self, topic: &str) -> bool {
        let names = self.topic.as_deref().unwrap_or_default();
        self.op == Op::StreamPattern || self.op == Op::Stream && names.split(',').any(|name| name == topic)
    }

    /// The name of its store, if it was given one.
    pub fn store_name(&self) -> Option<&str> {
        self.store.as_ref()?.name.as_deref()
    }

    /// The ids of what it builds on.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.of.iter().chain(&self.with).map(String::as_str)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
