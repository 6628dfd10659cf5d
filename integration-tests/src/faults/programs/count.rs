//! Counts words, through a repartition topic: two sub-topologies, and a store behind the second.
//!
//! ```text
//! lines ──┬──► seen                        each line, from the first sub-topology
//!         └──► by word ──► words-repartition ──┬──► passed      each line, from the second
//!                                              └──► COUNTS ──► counts
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use millstream::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Feed, Given, PassedOn, topic_of};
use crate::faults::check::{Findings, Rules, Topics, each_once, in_sequence};
use crate::kafka::{NewRecord, ReadRecord};

const COUNTS: StoreName<String, u64> = StoreName::new("word-counts");

pub(super) const TOPICS: &[Given] = &[
    Given { name: "lines", passed_on: None },
    Given { name: "seen", passed_on: Some(PassedOn { from: "lines", input_of: |line| line }) },
    Given { name: "passed", passed_on: None },
    Given { name: "counts", passed_on: None },
];

const WORDS: u32 = 40;

pub(super) fn topology(application_id: &str) -> millstream::Result<Topology> {
    let topic = |name| topic_of(application_id, name);
    let builder = StreamsBuilder::new();
    let lines = builder.stream::<String, String>(topic("lines"));
    lines.to(topic("seen"));
    let by_word = lines.select_key(|_, line| word_of(line).to_owned()).repartition("words");
    by_word.to(topic("passed"));
    // Uncached, so that each record is one count in the output and one in the changelog, and none can hide another.
    by_word.group_by_key().count(COUNTS.without_caching()).to_stream().to(topic("counts"));
    builder.build()
}

/// A line is a word, and a number that no other line has.
fn word_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

pub(super) struct Lines {
    chance: StdRng,
    written: u64,
}

impl Lines {
    pub(super) fn new(seed: u64) -> Self {
        Self { chance: StdRng::seed_from_u64(seed), written: 0 }
    }
}

impl Feed for Lines {
    fn next(&mut self) -> Result<Option<(&'static str, NewRecord)>> {
        let (key, word) = (self.chance.random_range(0..1000_u32), self.chance.random_range(0..WORDS));
        self.written += 1;
        let line = format!("word-{word} {}", self.written);
        Ok(Some(("lines", NewRecord::new(format!("key-{key}"), line))))
    }
}

pub(super) fn check(
    topics: &Topics,
    changelogs: &BTreeMap<String, Vec<ReadRecord>>,
    rules: Rules,
) -> Result<Findings> {
    let lines = |topic: &str| topics[topic].iter().filter_map(ReadRecord::value_text);
    let mut findings = Findings::default();
    for output in ["seen", "passed"] {
        findings.extend(each_once(output, lines("lines"), lines(output), rules.guarantee));
    }
    if !rules.hold_to_all() {
        return Ok(findings);
    }
    let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines("lines") {
        let counts = expected.entry(word_of(&line).to_owned()).or_default();
        counts.push(counts.len() as u64 + 1);
    }
    let changelog = &changelogs[COUNTS.name()];
    for (name, records) in [("counts", &topics["counts"]), ("the changelog", changelog)] {
        let found = counts_by_word(records)?;
        for word in expected.keys().chain(found.keys().filter(|word| !expected.contains_key(*word))) {
            let of = |counts: &BTreeMap<String, Vec<u64>>| counts.get(word).cloned().unwrap_or_default();
            let what = format!("{word} in {name}");
            findings.extend(in_sequence(&what, &of(&expected), &of(&found), rules.guarantee));
        }
    }
    Ok(findings)
}

fn counts_by_word(records: &[ReadRecord]) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let value = record.value.as_deref().context("a count was deleted")?;
        let count = u64::from_be_bytes(value.try_into().context("a count has eight bytes")?);
        counts.entry(record.key_text().unwrap_or_default()).or_default().push(count);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::super::read_back;
    use super::*;
    use crate::faults::{Guarantee, ViolationKind};

    type Read = (Topics, BTreeMap<String, Vec<ReadRecord>>);

    /// Three lines of two words, and what a program without faults makes of them.
    fn faithful() -> Read {
        let lines = ["apple 1", "pear 2", "apple 3"];
        let texts = |offset: usize| read_back(offset, "key", lines[offset]);
        let counts = [("apple", 1_u64), ("pear", 1), ("apple", 2)];
        let count =
            |offset: usize| read_back(offset, counts[offset].0, counts[offset].1.to_be_bytes().to_vec());
        let mut topics = Topics::new();
        for name in ["lines", "seen", "passed"] {
            topics.insert(name, (0..3).map(texts).collect());
        }
        topics.insert("counts", (0..3).map(count).collect());
        (topics, BTreeMap::from([(COUNTS.name().to_owned(), (0..3).map(count).collect())]))
    }

    fn violations(tamper: impl FnOnce(&mut Read)) -> Vec<ViolationKind> {
        let mut read = faithful();
        tamper(&mut read);
        let rules = Rules { guarantee: Guarantee::ExactlyOnce, has_one_writer: true };
        let findings = check(&read.0, &read.1, rules).expect("all of it can be decoded");
        findings.violations.iter().map(|violation| violation.kind).collect()
    }

    fn topic<'a>(read: &'a mut Read, name: &str) -> &'a mut Vec<ReadRecord> {
        read.0.get_mut(name).expect("a topic of the program")
    }

    #[test]
    fn one_record_more_or_less_is_seen_in_every_topic() {
        assert_eq!(violations(|_| ()), []);
        for name in ["seen", "passed", "counts"] {
            let lost = violations(|read| drop(topic(read, name).remove(1)));
            assert_eq!(lost, [ViolationKind::Lost], "{name}");
            let doubled = violations(|read| {
                let again = topic(read, name)[2].clone();
                topic(read, name).push(again);
            });
            assert_eq!(doubled, [ViolationKind::Duplicated], "{name}");
        }
        let counted_twice =
            violations(|read| topic(read, "counts")[2].value = Some(3_u64.to_be_bytes().to_vec()));
        assert_eq!(counted_twice, [ViolationKind::Lost, ViolationKind::Duplicated], "3 came instead of 2");
        let swapped = violations(|read| topic(read, "counts").swap(0, 2));
        assert_eq!(swapped, [ViolationKind::Diverged]);
        let changelog = violations(|read| read.1.values_mut().for_each(|records| drop(records.pop())));
        assert_eq!(changelog, [ViolationKind::Lost]);
    }
}
