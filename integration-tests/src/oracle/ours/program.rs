//! Makes the topology of a case's program: statement by statement, in order. A new operator is one more arm here, and one in `Programs.java`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millstream::topology::TopicPattern;
use millstream::{EmitStrategy, StreamsBuilder, Topology, TopologyOptimization};

use super::super::case::{Op, Statement, Store};
use super::super::functions::{
    aggregator, flat_mapper, flat_value_mapper, key_selector, mapper, predicate, reducer, value_mapper,
};
use super::grouped::{aggregate_table, count_table, reduce_table};
use super::handle::{Handle, JoinKind, Joining};
use super::processors::{add_global_store, processor};
use super::stores::materialized;

/// The program's topology, or why millstream refuses it.
///
/// # Errors
/// If the statements make no program, as [`super::observe`] says.
pub(super) fn build(program: &[Statement], is_optimized: bool) -> Result<millstream::Result<Topology>> {
    let builder = StreamsBuilder::new();
    let builder = if is_optimized { builder.optimized(TopologyOptimization::ALL) } else { builder };
    let mut handles = HashMap::new();
    for statement in program {
        let handle = declare(&builder, &mut handles, statement)
            .with_context(|| format!("statement {}, {:?}", statement.id, statement.op))?;
        handles.insert(statement.id.as_str(), handle);
    }
    Ok(builder.build())
}

fn declare<'a>(
    builder: &StreamsBuilder,
    handles: &mut HashMap<&'a str, Handle>,
    statement: &'a Statement,
) -> Result<Handle> {
    let store = statement.store.as_ref();
    ensure!(store != Some(&Store::default()), "a store without a name or an option cannot be asked for");
    let has_windows = || {
        let of = statement.of.as_deref().and_then(|of| handles.get(of));
        matches!(of, Some(Handle::WindowedStream(_) | Handle::WindowedCogroup(_)))
    };
    let is_retained = store.is_some_and(|store| store.retention.is_some());
    ensure!(!is_retained || has_windows(), "only windows and sessions have a retention");
    let handle = match statement.op {
        Op::Stream => {
            let topics: Vec<String> = topic(statement)?.split(',').map(str::to_owned).collect();
            Handle::Stream(Box::new(builder.stream::<Option<String>, Option<String>>(topics)))
        }
        Op::StreamPattern => {
            let pattern = TopicPattern::new(topic(statement)?)?;
            Handle::Stream(Box::new(builder.stream::<Option<String>, Option<String>>(pattern)))
        }
        Op::Table => Handle::Table(Box::new(builder.table::<String, String>(topic(statement)?))),
        Op::GlobalTable => Handle::GlobalTable(builder.global_table(topic(statement)?, materialized(store))),
        Op::GlobalStore => {
            add_global_store(builder, topic(statement)?, store.context("in which store?")?);
            Handle::GlobalStore
        }
        Op::DefaultBranch => match take(handles, statement.of.as_deref())? {
            Handle::Split(split) => split.default_branch(),
            of => bail!("the default branch of {}", of.kind()),
        },
        Op::Cogroup | Op::Aggregate | Op::WindowedBy
            if matches!(handle_of(handles, statement.of.as_deref())?, Handle::Cogrouped(_)) =>
        {
            let Handle::Cogrouped(others) = take(handles, statement.of.as_deref())? else {
                bail!("no cogroup")
            };
            let by = || aggregator(statement.by.as_deref().unwrap_or_default());
            match (statement.op, statement.with.as_deref()) {
                (Op::Aggregate, _) => others.aggregate(by()?, store),
                (Op::WindowedBy, _) if statement.emit.is_some() => bail!("a windowed cogroup emits updates"),
                (Op::WindowedBy, _) => {
                    others.windowed_by(statement.windows.as_ref().context("which windows?")?)?
                }
                (_, with) => match handle_of(handles, with)? {
                    Handle::GroupedStream(grouped) => grouped.cogroup(Some(others), by()?)?,
                    with => bail!("cogroup with {}", with.kind()),
                },
            }
        }
        Op::Aggregate
            if matches!(handle_of(handles, statement.of.as_deref())?, Handle::WindowedCogroup(_)) =>
        {
            let Handle::WindowedCogroup(windowed) = take(handles, statement.of.as_deref())? else {
                bail!("no windowed cogroup")
            };
            windowed.aggregate(aggregator(statement.by.as_deref().unwrap_or_default())?, store)
        }
        Op::Cogroup if statement.with.is_some() => bail!("a cogroup begins with one grouped stream"),
        Op::Merge | Op::Join | Op::LeftJoin | Op::OuterJoin => {
            let of = handle_of(handles, statement.of.as_deref())?;
            combine(statement, of, handle_of(handles, statement.with.as_deref())?)?
        }
        _ => continue_with(statement, handle_of(handles, statement.of.as_deref())?)?,
    };
    let handle = match (statement.op, handle) {
        // They take the store as an argument.
        (
            Op::GlobalTable
            | Op::GlobalStore
            | Op::Count
            | Op::Reduce
            | Op::Aggregate
            | Op::Process
            | Op::ProcessValues
            | Op::Suppress,
            handle,
        ) => handle,
        (Op::Join | Op::LeftJoin | Op::OuterJoin, handle @ Handle::Stream(_)) => handle,
        (_, handle) => handle.materialized(store)?,
    };
    match &statement.named {
        Some(name) => handle.named(name),
        None => Ok(handle),
    }
}

/// An operator with two sides.
fn combine(statement: &Statement, of: &Handle, with: &Handle) -> Result<Handle> {
    let kind = match statement.op {
        Op::Merge | Op::Join => JoinKind::Inner,
        Op::LeftJoin => JoinKind::Left,
        _ => JoinKind::Outer,
    };
    let with_key = match statement.by.as_deref() {
        None => false,
        Some("with_key") => true,
        Some(name) => bail!("no such joiner: {name}"),
    };
    let joining = Joining { kind, with_key };
    let on = || key_selector(statement.on.as_deref().context("on which key?")?);
    let store = statement.store.as_ref();
    match (statement.op, of, with) {
        (Op::Merge, Handle::Stream(stream), Handle::Stream(other)) => stream.merge(other.as_ref()),
        (Op::Merge, of, with) => bail!("merge of {} with {}", of.kind(), with.kind()),
        (_, Handle::Stream(stream), Handle::Stream(other)) => {
            let within = statement.within.as_ref().context("within which windows?")?;
            stream.join_stream(other.as_ref(), within, store, joining)
        }
        (_, Handle::Stream(_), _) if store.is_some() => bail!("a store for a join with {}", with.kind()),
        (_, Handle::Stream(stream), Handle::Table(table)) => {
            stream.join_table(table.as_ref(), statement.grace.map(Duration::from_millis), joining)
        }
        (_, Handle::Stream(stream), Handle::GlobalTable(table)) => {
            stream.join_global_table(table, on()?, joining)
        }
        (_, Handle::Table(_), _) if with_key => bail!("a joiner of tables gets no key"),
        (_, Handle::Table(table), Handle::Table(other)) if statement.on.is_some() => {
            table.join_foreign_table(other.as_ref(), on()?, kind)
        }
        (_, Handle::Table(table), Handle::Table(other)) => table.join_table(other.as_ref(), kind),
        (op, of, with) => bail!("{op:?} of {} with {}", of.kind(), with.kind()),
    }
}

/// An operator with one side.
fn continue_with(statement: &Statement, of: &Handle) -> Result<Handle> {
    let (by, store) = (statement.by.as_deref().unwrap_or_default(), statement.store.as_ref());
    Ok(match (statement.op, of) {
        (Op::Filter, Handle::Stream(stream)) => stream.filter(predicate(by)?),
        (Op::Filter, Handle::Table(table)) => table.filter(predicate(by)?),
        (Op::FilterNot, Handle::Stream(stream)) => stream.filter_not(predicate(by)?),
        (Op::FilterNot, Handle::Table(table)) => table.filter_not(predicate(by)?),
        (Op::MapValues, Handle::Stream(stream)) => stream.map_values(value_mapper(by)?),
        (Op::MapValues, Handle::Table(_)) if by == "null_if_long" => bail!("a row's value is never null"),
        (Op::MapValues, Handle::Table(table)) => table.map_values(value_mapper(by)?),
        (Op::FlatMapValues, Handle::Stream(stream)) => stream.flat_map_values(flat_value_mapper(by)?),
        (Op::Map, Handle::Stream(stream)) => stream.map(mapper(by)?),
        (Op::FlatMap, Handle::Stream(stream)) => stream.flat_map(flat_mapper(by)?),
        (Op::SelectKey, Handle::Stream(stream)) => stream.select_key(key_selector(by)?),
        (Op::Peek, Handle::Stream(stream)) => stream.peek(),
        (Op::ForEach, Handle::Stream(stream)) => stream.for_each(),
        (Op::Split, Handle::Stream(stream)) => stream.split(),
        (Op::Branch, Handle::Split(split)) => split.branch(predicate(by)?),
        (Op::Repartition, Handle::Stream(stream)) => stream.repartition(),
        (Op::To, Handle::Stream(stream)) => stream.to(topic(statement)?),
        (Op::ToChosenTopic, Handle::Stream(stream)) => stream.to_chosen_topic(key_selector(by)?),
        (Op::ToTable, Handle::Stream(stream)) => stream.to_table(),
        (Op::ToStream, Handle::Table(table)) => table.to_stream(),
        (Op::Suppress, Handle::Table(table)) => table.suppress(statement)?,
        (Op::GroupByKey, Handle::Stream(stream)) => stream.group_by_key(),
        (Op::GroupBy, Handle::Stream(stream)) => stream.group_by(key_selector(by)?),
        (Op::GroupBy, Handle::Table(table)) => table.group_by(key_selector(by)?),
        (Op::Count, Handle::GroupedStream(grouped)) => grouped.count(store),
        (Op::Count, Handle::GroupedTable(grouped)) => count_table(grouped, store),
        (Op::Reduce, Handle::GroupedStream(grouped)) => grouped.reduce(reducer(by)?, store),
        (Op::Reduce, Handle::GroupedTable(grouped)) => reduce_table(grouped, reducer(by)?, store),
        (Op::Aggregate, Handle::GroupedStream(grouped)) => grouped.aggregate(aggregator(by)?, store),
        (Op::Aggregate, Handle::GroupedTable(grouped)) => aggregate_table(grouped, aggregator(by)?, store),
        (Op::WindowedBy, Handle::GroupedStream(grouped)) => {
            let windows = statement.windows.as_ref().context("which windows?")?;
            grouped.windowed_by(windows, emit_strategy(statement.emit.as_deref())?)?
        }
        (_, Handle::WindowedStream(_)) if store.is_some_and(|store| store.versioned.is_some()) => {
            bail!("a versioned store of windows")
        }
        (Op::Count, Handle::WindowedStream(windowed)) => windowed.count(store),
        (Op::Reduce, Handle::WindowedStream(windowed)) => windowed.reduce(reducer(by)?, store),
        (Op::Aggregate, Handle::WindowedStream(windowed)) => windowed.aggregate(aggregator(by)?, store),
        (Op::Cogroup, Handle::GroupedStream(grouped)) => grouped.cogroup(None, aggregator(by)?)?,
        (Op::Process, Handle::Stream(stream)) => stream.process(processor(by)?, store)?,
        (Op::ProcessValues, Handle::Stream(stream)) => stream.process_values(processor(by)?, store)?,
        (Op::TransformValues, Handle::Table(table)) => table.transform_values(value_mapper(by)?),
        (op, of) => bail!("{op:?} of {}", of.kind()),
    })
}

fn emit_strategy(name: Option<&str>) -> Result<EmitStrategy> {
    match name {
        None | Some("on_window_update") => Ok(EmitStrategy::on_window_update()),
        Some("on_window_close") => Ok(EmitStrategy::on_window_close()),
        Some(name) => bail!("no such emit strategy: {name}"),
    }
}

/// For what can be continued only once.
fn take(handles: &mut HashMap<&str, Handle>, id: Option<&str>) -> Result<Handle> {
    let id = id.context("of what?")?;
    handles.remove(id).with_context(|| format!("{id} is not there, or not any more"))
}

fn handle_of<'h>(handles: &'h HashMap<&str, Handle>, id: Option<&str>) -> Result<&'h Handle> {
    let id = id.context("of what?")?;
    handles.get(id).with_context(|| format!("{id} is not declared before"))
}

fn topic(statement: &Statement) -> Result<&str> {
    statement.topic.as_deref().context("which topic?")
}
