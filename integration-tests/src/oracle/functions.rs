//! The functions that cases name. Each is the function of the same name in `integration-tests/oracle/Functions.java`: what one of them does,
//! both do. They take keys and values of any type as text.

use anyhow::{Result, bail};
use millstream::Windowed;

/// Rows that only grow would soon be all that a case is about.
const LONGEST: usize = 40;

/// A key or a value as functions read it; none is null.
pub(super) type Text<'a> = Option<&'a str>;
pub(super) type Predicate = fn(Text, Text) -> bool;
pub(super) type ValueMapper = fn(Text, Text) -> Option<String>;
pub(super) type FlatValueMapper = fn(Text, Text) -> Vec<Option<String>>;
/// For keys, foreign keys, keys of groups and of global tables.
pub(super) type KeySelector = fn(Text, Text) -> Option<String>;
pub(super) type Mapper = fn(Text, Text) -> Pair;
pub(super) type FlatMapper = fn(Text, Text) -> Vec<Pair>;
pub(super) type Pair = (Option<String>, Option<String>);

/// What a value becomes in a row: put in, and, if the row is of a table's group, taken out again.
#[derive(Clone, Copy)]
pub(super) struct Aggregator {
    pub(super) initial: &'static str,
    pub(super) add: fn(Text, &str) -> Option<String>,
    pub(super) subtract: fn(Text, &str) -> Option<String>,
    /// Of two sessions that meet.
    pub(super) merge: fn(&str, &str) -> String,
}

/// How two values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reducer {
    Concat,
    Last,
    Max,
}

pub(super) fn predicate(name: &str) -> Result<Predicate> {
    Ok(match name {
        "all" => |_, _| true,
        "none" => |_, _| false,
        "even_length" => |_, value| length(value).is_multiple_of(2),
        "long" => |_, value| is_long(value),
        "has_value" => |_, value| value.is_some(),
        "key_after_a" => |key, _| key.is_some_and(|key| key > "a"),
        _ => bail!("no such predicate: {name}"),
    })
}

pub(super) fn value_mapper(name: &str) -> Result<ValueMapper> {
    Ok(match name {
        "upper" => |_, value| value.map(str::to_uppercase),
        "append" => |_, value| Some(format!("{}!", shown(value))),
        "with_key" => |key, value| Some(format!("{}={}", shown(key), shown(value))),
        "half" => |_, value| value.map(|value| value[..value.len() / 2].to_owned()),
        "null_if_long" => |_, value| value.filter(|_| !is_long(value)).map(str::to_owned),
        _ => bail!("no such value mapper: {name}"),
    })
}

pub(super) fn flat_value_mapper(name: &str) -> Result<FlatValueMapper> {
    Ok(match name {
        "letters" => |_, value| letters(value).map(Some).collect(),
        "twice" => |_, value| vec![value.map(str::to_owned); 2],
        "none_if_long" => |_, value| if is_long(value) { Vec::new() } else { vec![value.map(str::to_owned)] },
        _ => bail!("no such flat value mapper: {name}"),
    })
}

pub(super) fn key_selector(name: &str) -> Result<KeySelector> {
    Ok(match name {
        "key" => |key, _| key.map(str::to_owned),
        "value" => |_, value| value.map(str::to_owned),
        "first_letter" => |_, value| letters(value).next(),
        "length" => |_, value| Some(length(value).to_string()),
        "same" => |_, _| Some("same".to_owned()),
        _ => bail!("no such key selector: {name}"),
    })
}

pub(super) fn mapper(name: &str) -> Result<Mapper> {
    Ok(match name {
        "swap" => |key, value| (value.map(str::to_owned), key.map(str::to_owned)),
        "by_first_letter" => |_, value| (letters(value).next(), value.map(str::to_owned)),
        _ => bail!("no such mapper: {name}"),
    })
}

pub(super) fn flat_mapper(name: &str) -> Result<FlatMapper> {
    Ok(match name {
        "by_letter" => {
            |_, value| letters(value).map(|letter| (Some(letter), value.map(str::to_owned))).collect()
        }
        "and_swapped" => |key, value| {
            let (key, value) = (key.map(str::to_owned), value.map(str::to_owned));
            vec![(key.clone(), value.clone()), (value, key)]
        },
        _ => bail!("no such flat mapper: {name}"),
    })
}

pub(super) fn aggregator(name: &str) -> Result<Aggregator> {
    Ok(match name {
        "log" => Aggregator {
            initial: "",
            add: |value, row| Some(newest(format!("{row}+{}", shown(value)))),
            subtract: |value, row| Some(newest(format!("{row}-{}", shown(value)))),
            merge: |one, other| newest(format!("{one}|{other}")),
        },
        "total_length" => Aggregator {
            initial: "0",
            add: |value, row| Some((number(row) + length(value) as i64).to_string()),
            subtract: |value, row| Some((number(row) - length(value) as i64).to_string()),
            merge: |one, other| (number(one) + number(other)).to_string(),
        },
        "until_long" => Aggregator {
            initial: "",
            add: |value, row| (!is_long(value)).then(|| newest(format!("{row}{}", shown(value)))),
            subtract: |value, row| is_long(value).then(|| newest(format!("{row}-{}", shown(value)))),
            merge: |one, other| newest(format!("{one}|{other}")),
        },
        _ => bail!("no such aggregator: {name}"),
    })
}

pub(super) fn reducer(name: &str) -> Result<Reducer> {
    Ok(match name {
        "concat" => Reducer::Concat,
        "last" => Reducer::Last,
        "max" => Reducer::Max,
        _ => bail!("no such reducer: {name}"),
    })
}

pub(super) fn join(left: Text, right: Text) -> String {
    newest(format!("{}/{}", shown(left), shown(right)))
}

/// The same of a joiner that gets the key.
pub(super) fn join_with_key(key: Text, left: Text, right: Text) -> String {
    newest(format!("{}:{}", shown(key), join(left, right)))
}

/// A key or a value that can be read as text.
pub(super) trait Readable {
    fn text(&self) -> String;
}

/// A value whose rows can be reduced.
pub(super) trait Reducible: Readable {
    fn reduce(reducer: Reducer, row: Self, value: Self) -> Self;
}

impl Readable for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Readable for u64 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl<K: Readable> Readable for Windowed<K> {
    fn text(&self) -> String {
        format!("{}@{}", self.key.text(), self.window)
    }
}

impl Reducible for String {
    fn reduce(reducer: Reducer, row: Self, value: Self) -> Self {
        match reducer {
            Reducer::Concat => newest(row + &value),
            Reducer::Last => value,
            Reducer::Max => row.max(value),
        }
    }
}

impl Reducible for u64 {
    fn reduce(reducer: Reducer, row: Self, value: Self) -> Self {
        match reducer {
            Reducer::Concat => row + value,
            Reducer::Last => value,
            Reducer::Max => row.max(value),
        }
    }
}

/// What takes a value out of a row that a reducer made.
pub(super) fn subtract(row: &str, value: &str) -> String {
    newest(format!("{row}-{value}"))
}

/// As Java shows a null.
fn shown(text: Text<'_>) -> &str {
    text.unwrap_or("null")
}

fn length(text: Text) -> usize {
    text.map_or(0, str::len)
}

pub(super) fn is_long(value: Text) -> bool {
    length(value) > 2
}

/// Of a long value only the first three, so that cases stay small.
fn letters(value: Text<'_>) -> impl Iterator<Item = String> {
    value.unwrap_or_default().chars().take(3).map(String::from)
}

fn number(row: &str) -> i64 {
    row.parse().unwrap_or_default()
}

fn newest(mut text: String) -> String {
    text.split_off(text.len().saturating_sub(LONGEST))
}
