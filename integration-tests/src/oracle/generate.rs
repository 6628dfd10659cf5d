//! Random cases: programs of a few operators, and records with few keys, nulls, and event times that are equal or out of order. A case is a
//! function of its seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::case::{Case, Input, JoinWindows, Op, Statement, Step, Store, WindowKind, Windows};
use super::exceptions::hindrance;
use super::ours::{Fitness, fitness};

/// The operators that random programs are made of, and how often: those that both sides have.
const OPERATORS: &[(Op, u32)] = &[
    (Op::Filter, 6),
    (Op::FilterNot, 2),
    (Op::MapValues, 6),
    (Op::FlatMapValues, 3),
    (Op::Map, 3),
    (Op::FlatMap, 3),
    (Op::SelectKey, 4),
    (Op::Peek, 1),
    (Op::ForEach, 1),
    (Op::Merge, 4),
    (Op::Split, 2),
    (Op::Branch, 3),
    (Op::DefaultBranch, 2),
    (Op::Repartition, 2),
    (Op::ToTable, 5),
    (Op::ToStream, 4),
    (Op::GroupByKey, 6),
    (Op::GroupBy, 8),
    (Op::Count, 6),
    (Op::Reduce, 6),
    (Op::Aggregate, 8),
    (Op::Join, 8),
    (Op::LeftJoin, 8),
    (Op::OuterJoin, 4),
    (Op::WindowedBy, 8),
    (Op::Process, 2),
    (Op::ProcessValues, 2),
    (Op::TransformValues, 2),
    (Op::Cogroup, 3),
    (Op::Suppress, 4),
];

/// Longer than all records of a case lie apart, in milliseconds.
const LONG: u64 = 10_000;

/// Operators below one another.
const DEEPEST: usize = 5;

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const VALUES: [&str; 10] = ["", "a", "b", "c", "ab", "abc", "bca", "dab", "abcd", "cabbage"];

const PREDICATES: [&str; 6] = ["all", "none", "even_length", "long", "has_value", "key_after_a"];
const VALUE_MAPPERS: [&str; 5] = ["upper", "append", "with_key", "half", "null_if_long"];
const FLAT_VALUE_MAPPERS: [&str; 3] = ["letters", "twice", "none_if_long"];
const KEY_SELECTORS: [&str; 5] = ["key", "value", "first_letter", "length", "same"];
const MAPPERS: [&str; 2] = ["swap", "by_first_letter"];
const FLAT_MAPPERS: [&str; 2] = ["by_letter", "and_swapped"];
const AGGREGATORS: [&str; 3] = ["log", "total_length", "until_long"];
/// Stream time is one for all sub-topologies in Kafka Streams' driver, and for nobody else.
const PROCESSORS: [&str; 2] = ["running_count", "tick_by_wall_clock"];
/// Those that have a name; of a stream.
const JOINERS: [&str; 1] = ["with_key"];
const REDUCERS: [&str; 3] = ["concat", "last", "max"];

/// The case of this seed and number, one that can be compared.
pub fn random_case(seed: u64, number: u64) -> Case {
    let mut chance = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
    loop {
        let name = format!("seed {seed}, case {number}");
        let mut draft = Draft { chance: &mut chance, program: Vec::new() };
        draft.declare_sources();
        draft.declare_operators();
        draft.declare_sinks();
        let program = draft.program;
        let (commits_by_hand, optimized) = (chance.random_bool(0.3), chance.random_bool(0.25));
        let steps = random_steps(&mut chance, &program, commits_by_hand);
        let case = Case { name, differs: None, commits_by_hand, optimized, program, steps };
        if hindrance(&case).is_none() {
            return case;
        }
    }
}

/// A program that grows. What does not fit is not added.
struct Draft<'c> {
    chance: &'c mut StdRng,
    program: Vec<Statement>,
}

impl Draft<'_> {
    fn declare_sources(&mut self) {
        let count = self.chance.random_range(1..=3);
        for topic in TOPICS.iter().take(count) {
            let op = *self.pick(&[Op::Stream, Op::Stream, Op::Stream, Op::Table, Op::Table, Op::GlobalTable]);
            let mut topic = (*topic).to_owned();
            if op == Op::Stream && self.chance.random_bool(0.1) {
                topic = format!("{topic},{topic}2");
            }
            let source = Statement { op, topic: Some(topic), ..self.named_statement(op) };
            self.push(source);
        }
    }

    fn declare_operators(&mut self) {
        let wanted = self.program.len() + self.chance.random_range(1..=9);
        for _ in 0..200 {
            if self.program.len() >= wanted {
                break;
            }
            let statement = self.random_operator();
            if self.depth(&statement) <= DEEPEST {
                self.add(statement);
            }
        }
    }

    /// Every end is written to a topic, and some of what others build on.
    fn declare_sinks(&mut self) {
        let ids: Vec<String> = self.program.iter().map(|statement| statement.id.clone()).collect();
        for id in ids {
            let is_end = !self.program.iter().any(|statement| statement.parents().any(|parent| parent == id));
            if is_end || self.chance.random_bool(0.2) {
                self.write(&id);
            }
        }
    }

    /// To a topic of its own, and through `to_stream` first if it is a table.
    fn write(&mut self, id: &str) {
        let topic = format!("out-{id}");
        let to =
            |of: &str| Statement { topic: Some(topic.clone()), of: Some(of.to_owned()), ..statement(Op::To) };
        if self.add(to(id)).is_none() {
            let stream = Statement { of: Some(id.to_owned()), ..statement(Op::ToStream) };
            if let Some(stream) = self.add(stream) {
                self.add(to(&stream));
            }
        }
    }

    fn random_operator(&mut self) -> Statement {
        let (op, _) = *OPERATORS
            .choose_weighted(self.chance, |(_, weight)| *weight)
            .expect("the list is not empty, and its weights are positive");
        let of = Some(self.some_id());
        let has_other_side = match op {
            Op::Merge | Op::Join | Op::LeftJoin | Op::OuterJoin => true,
            Op::Cogroup => self.chance.random_bool(0.6),
            _ => false,
        };
        let with = has_other_side.then(|| self.some_id());
        let by = match op {
            Op::Filter | Op::FilterNot | Op::Branch => Some(&PREDICATES[..]),
            Op::MapValues | Op::TransformValues => Some(&VALUE_MAPPERS[..]),
            Op::FlatMapValues => Some(&FLAT_VALUE_MAPPERS[..]),
            Op::Map => Some(&MAPPERS[..]),
            Op::FlatMap => Some(&FLAT_MAPPERS[..]),
            Op::SelectKey | Op::GroupBy => Some(&KEY_SELECTORS[..]),
            Op::Aggregate | Op::Cogroup => Some(&AGGREGATORS[..]),
            Op::Reduce => Some(&REDUCERS[..]),
            Op::Process => Some(&PROCESSORS[..]),
            Op::ProcessValues => Some(&PROCESSORS[..1]),
            Op::Join | Op::LeftJoin | Op::OuterJoin if self.chance.random_bool(0.15) => Some(&JOINERS[..]),
            _ => None,
        };
        let by = by.map(|names| (*self.pick(names)).to_owned());
        let is_join = matches!(op, Op::Join | Op::LeftJoin | Op::OuterJoin);
        let on = (is_join && self.chance.random_bool(0.5)).then(|| (*self.pick(&KEY_SELECTORS)).to_owned());
        let windows = (op == Op::WindowedBy).then(|| self.random_windows());
        let may_close = windows.as_ref().is_some_and(|windows| windows.kind != WindowKind::Unlimited);
        let closes = may_close && self.chance.random_bool(0.3);
        let emit = closes.then(|| "on_window_close".to_owned());
        let within = is_join.then(|| self.random_join_windows());
        let waits = is_join && self.chance.random_bool(0.2);
        let grace = waits.then(|| *self.pick(&[0, 5, 20]));
        let statement =
            Statement { of, with, by, on, windows, emit, within, grace, ..self.named_statement(op) };
        match op {
            Op::Suppress => self.with_random_limits(statement),
            Op::Count | Op::Reduce | Op::Aggregate => self.with_random_retention(statement),
            _ => statement,
        }
    }

    /// Of windows: some are kept until the last record comes.
    fn with_random_retention(&mut self, statement: Statement) -> Statement {
        let has_end = |windows: &Windows| windows.kind != WindowKind::Unlimited;
        let is_of_windows = self.program.iter().any(|windowed| {
            windowed.windows.as_ref().is_some_and(has_end) && statement.of.as_deref() == Some(&*windowed.id)
        });
        if !is_of_windows || self.chance.random_bool(0.5) {
            return statement;
        }
        let store = Store { retention: Some(LONG), ..statement.store.clone().unwrap_or_default() };
        Statement { store: Some(store), ..statement }
    }

    /// Of what is suppressed.
    fn with_random_limits(&mut self, statement: Statement) -> Statement {
        let by_time = self.chance.random_bool(0.6);
        let (is_limited, counts_bytes) = (self.chance.random_bool(0.3), self.chance.random_bool(0.1));
        Statement {
            time_limit: by_time.then(|| *self.pick(&[0, 5, 10, 30])),
            max_records: is_limited.then(|| self.chance.random_range(1..=3)),
            max_bytes: counts_bytes.then(|| self.chance.random_range(50..=200)),
            when_full: (by_time && (is_limited || counts_bytes))
                .then(|| (*self.pick(&["emit_early", "shut_down"])).to_owned()),
            ..statement
        }
    }

    fn random_windows(&mut self) -> Windows {
        if self.chance.random_bool(0.1) {
            return Windows { kind: WindowKind::Unlimited, size: 0, advance: None, grace: 0 };
        }
        let kind =
            *self.pick(&[WindowKind::Time, WindowKind::Time, WindowKind::Sliding, WindowKind::Session]);
        let hops = kind == WindowKind::Time && self.chance.random_bool(0.5);
        Windows { kind, size: 10, advance: hops.then_some(5), grace: *self.pick(&[0, 5, 20]) }
    }

    fn random_join_windows(&mut self) -> JoinWindows {
        JoinWindows {
            before: *self.pick(&[0, 5, 10]),
            after: *self.pick(&[0, 5, 10]),
            grace: *self.pick(&[0, 5, 20]),
        }
    }

    /// With an id, perhaps a name, and perhaps a store if it can have one.
    fn named_statement(&mut self, op: Op) -> Statement {
        let number = self.program.len();
        let keeps = match op {
            Op::Count | Op::Reduce | Op::Aggregate | Op::Table | Op::GlobalTable | Op::ToTable => 0.5,
            Op::Process | Op::ProcessValues => 1.0,
            Op::Filter
            | Op::FilterNot
            | Op::MapValues
            | Op::TransformValues
            | Op::Join
            | Op::LeftJoin
            | Op::OuterJoin => 0.2,
            _ => 0.0,
        };
        // Kafka Streams builds no global table whose store has options but no name.
        let must_have_name = matches!(op, Op::GlobalTable | Op::Process | Op::ProcessValues);
        let has_name = must_have_name || self.chance.random_bool(0.7);
        let store = Store {
            name: has_name.then(|| format!("store-{number}")),
            cached: self.chance.random_bool(0.6),
            logged: self.chance.random_bool(0.9),
            in_memory: self.chance.random_bool(0.2),
            versioned: None,
            retention: None,
        };
        let is_versioned = matches!(op, Op::Table | Op::ToTable | Op::Reduce | Op::Aggregate)
            && has_name
            && self.chance.random_bool(0.15);
        let store = if is_versioned {
            Store { cached: true, in_memory: false, versioned: Some(*self.pick(&[5, 20])), ..store }
        } else {
            store
        };
        let store = (store != Store::default() && self.chance.random_bool(keeps)).then_some(store);
        let named = self.chance.random_bool(0.1).then(|| format!("name-{number}"));
        Statement { named, store, ..statement(op) }
    }

    /// Rather one of those declared last.
    fn some_id(&mut self) -> String {
        let count = self.program.len();
        let from = if self.chance.random_bool(0.6) { count.saturating_sub(3) } else { 0 };
        self.program[self.chance.random_range(from..count)].id.clone()
    }

    /// How many operators lie above each other, this one included. Sources, sinks and groupings do not count.
    fn depth(&self, statement: &Statement) -> usize {
        let counts = !matches!(
            statement.op,
            Op::Stream
                | Op::Table
                | Op::GlobalTable
                | Op::GroupBy
                | Op::GroupByKey
                | Op::ToStream
                | Op::Split
        );
        let find = |id: &str| self.program.iter().find(|parent| parent.id == id);
        let above = statement.parents().filter_map(find).map(|parent| self.depth(parent)).max();
        above.unwrap_or(0) + usize::from(counts)
    }

    /// Gives the statement an id and adds it.
    fn push(&mut self, statement: Statement) -> String {
        let id = format!("s{}", self.program.len());
        self.program.push(Statement { id: id.clone(), ..statement });
        id
    }

    /// Does so if the program is still one.
    fn add(&mut self, statement: Statement) -> Option<String> {
        let before = fitness(&self.program);
        let id = self.push(statement);
        let fits = match fitness(&self.program) {
            Fitness::Program => true,
            // Now and then, to see that the other side refuses it, too.
            Fitness::Refused => before == Fitness::Refused || self.chance.random_bool(0.02),
            Fitness::Nothing => false,
        };
        if !fits {
            self.program.pop();
        }
        fits.then_some(id)
    }

    fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        items.choose(self.chance).expect("there is something to choose from")
    }
}

fn statement(op: Op) -> Statement {
    Statement { op, ..Statement::default() }
}

fn random_steps(chance: &mut StdRng, program: &[Statement], commits_by_hand: bool) -> Vec<Step> {
    let sources = program.iter().filter(|statement| statement.of.is_none());
    let topics: Vec<&str> =
        sources.filter_map(|source| source.topic.as_deref()).flat_map(|topics| topics.split(',')).collect();
    // Some programs cannot be compared with nulls.
    let (null_keys, null_values) = if chance.random_bool(0.3) { (0.0, 0.0) } else { (0.07, 0.15) };
    let mut now = 0;
    let mut steps = Vec::new();
    for _ in 0..chance.random_range(1..=20) {
        if commits_by_hand && chance.random_bool(0.2) {
            steps.push(Step::Commit);
        }
        if chance.random_bool(0.05) {
            steps.push(Step::Advance(*[1, 9, 25].choose(chance).expect("there are some")));
        }
        now += *[0, 0, 1, 3, 10, 40].choose(chance).expect("there are some");
        let late = if chance.random_bool(0.25) { chance.random_range(0..=25) } else { 0 };
        let text = |chance: &mut StdRng, texts: &[&str], nulls| {
            let text = texts.choose(chance).map(|text| (*text).to_owned());
            text.filter(|_| !chance.random_bool(nulls))
        };
        let has_header = chance.random_bool(0.1);
        steps.push(Step::Pipe(Input {
            topic: (*topics.choose(chance).expect("a program has a source")).to_owned(),
            key: text(chance, &KEYS, null_keys),
            value: text(chance, &VALUES, null_values),
            at: (now - late).max(0),
            headers: has_header.then(|| ("header".to_owned(), now.to_string())).into_iter().collect(),
        }));
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::ours::observe;
    use super::*;

    #[test]
    fn a_case_follows_from_its_seed_and_is_a_program() {
        for number in 0..100 {
            let case = random_case(7, number);
            assert_eq!(case, random_case(7, number));
            assert!(observe(&case).is_ok(), "{case:?}");
        }
        assert_ne!(random_case(7, 1), random_case(8, 1));
    }

    #[test]
    fn every_operator_of_the_list_is_used() {
        let cases = (0..1000).map(|number| random_case(1, number));
        let used: BTreeSet<String> =
            cases.flat_map(|case| case.program).map(|statement| format!("{:?}", statement.op)).collect();
        let missing: Vec<&Op> =
            OPERATORS.iter().map(|(op, _)| op).filter(|op| !used.contains(&format!("{op:?}"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
