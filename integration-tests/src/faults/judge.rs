//! Reads everything an application has left in Kafka and on the disk, and has it judged.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};

use super::Guarantee;
use super::check::{Appended, Findings, Rules, Topics, commits_of, compare_state, read_state, redone};
use super::programs::{PassedOn, topic_of};
use super::stage::Stage;
use crate::kafka::ReadRecord;

const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// To be called after a clean end.
pub(super) fn judge(stage: &Stage<'_>, rules: Rules) -> Result<Findings> {
    let (client, application) = (stage.cluster.client(), &stage.application);
    let mut topics = Topics::new();
    for given in application.program.topics() {
        topics.insert(given.name, client.read_all(&topic_of(&application.id, given.name))?);
    }
    let mut changelogs = BTreeMap::new();
    for store in stage.topology.stores() {
        let changelog = millstream::changelog_topic(&application.id, store.name());
        changelogs.insert(store.name().to_owned(), client.read_all(&changelog)?);
    }
    let mut findings = application.program.check(&topics, &changelogs, rules)?;
    if rules.hold_to_all() {
        let mut directories = Vec::new();
        for worker in stage.workers.iter().chain(&stage.guests) {
            let found = read_state(worker.state_dir(), &application.id, &stage.topology, worker.has_died())?;
            directories.extend(found);
        }
        findings.extend(compare_state(&directories, &changelogs));
    }
    if rules.hold_to_all() && rules.guarantee == Guarantee::AtLeastOnce {
        let commits = commits_of(&application.id, &client.read_all(OFFSETS_TOPIC)?);
        for given in application.program.topics() {
            let Some(passed_on) = given.passed_on else { continue };
            let input = topic_of(&application.id, passed_on.from);
            for (partition, outputs) in appended(&topics[passed_on.from], &topics[given.name], passed_on)? {
                let key = (input.clone(), partition);
                let commits = commits.get(&key).map_or(&[][..], Vec::as_slice);
                findings.extend(redone(&format!("{input}-{partition}"), &outputs, commits));
            }
        }
    }
    Ok(findings)
}

/// The outputs of each partition as positions in its input.
fn appended(
    input: &[ReadRecord],
    output: &[ReadRecord],
    passed_on: PassedOn,
) -> Result<BTreeMap<i32, Vec<Appended>>> {
    let places: HashMap<String, i64> =
        input.iter().map(|record| (record.value_text().unwrap_or_default(), record.offset)).collect();
    let mut appended: BTreeMap<i32, Vec<Appended>> = BTreeMap::new();
    for record in output {
        let value = record.value_text().unwrap_or_default();
        let value = (passed_on.input_of)(&value);
        let input_offset = *places.get(value).with_context(|| format!("{value:?} is not in the input"))?;
        let at = record.timestamp.context("a broker says when it wrote a record")?;
        appended.entry(record.partition).or_default().push(Appended { input_offset, at });
    }
    Ok(appended)
}
