//! `millstream dead-letters redrive`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use millstream::clock::SystemClock;
use millstream::dead_letters::{
    DeadLetters, LetterId, RedriveOutcome, RedrivePlan, RedriveRequest, RedriveStep, Repair, Selection,
};
use millstream::{Error, ErrorKind, Result};

use super::{ApplicationArguments, Filters, shown_others};
use crate::Ended;
use crate::output::{Output, confirm, table, with_progress};

/// Put records back into the topics they came from, each once, ever. Everybody who reads such a topic gets them
///
/// Shows what it will do and asks. A redrive that ended half-way is run again, and goes on where it was. A record goes back as it was, without the headers that describe its failure, and
/// with one that says how often it was put back (__millstream.redriven); if it fails again, that is another letter.
#[derive(Debug, Args)]
pub(super) struct Redrive {
    #[command(flatten)]
    application: ApplicationArguments,
    #[command(flatten)]
    filters: Filters,
    /// This letter alone, by its partition and offset in the dead-letter topic, such as 0:17
    #[arg(long, value_name = "PARTITION:OFFSET", conflicts_with = "Filters")]
    only: Option<LetterId>,
    /// Put the record back with what is in this file as its value, byte by byte
    #[arg(long, value_name = "FILE", requires = "only")]
    value_from: Option<PathBuf>,
    /// Put the record back with what is in this file as its key, byte by byte; the key decides the partition then
    #[arg(long, value_name = "FILE", requires = "only")]
    key_from: Option<PathBuf>,
    /// Let the keys decide the partitions, as Kafka's default partitioner does, in place of those the records came from
    #[arg(long)]
    by_key: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Redrive {
    pub(super) fn run(self, output: Output) -> Result<Ended> {
        let letters = match self.only {
            Some(letter) => {
                let read = |file: Option<PathBuf>| file.map(|file| contents(&file)).transpose();
                let repair = Repair { key: read(self.key_from)?, value: read(self.value_from)? };
                Selection::Only(letter, repair)
            }
            None => Selection::Matching(self.filters.filter(SystemClock::shared().wall_clock())?),
        };
        let dead_letters = self.application.dead_letters()?;
        let plan = dead_letters.plan(&RedriveRequest { letters, by_key: self.by_key })?;
        output.print(&plan.to_json(), || shown(&plan))?;
        if self.dry_run || plan.is_empty() {
            return Ok(Ended::Done);
        }
        if !self.yes && !confirm(&format!("Put {} records back?", plan.redriven.len()))? {
            return Ok(Ended::NotConfirmed);
        }
        tell(&carry_out(&dead_letters, &plan)?)?;
        Ok(Ended::Done)
    }
}

fn contents<B: From<Vec<u8>>>(file: &Path) -> Result<B> {
    std::fs::read(file)
        .map(B::from)
        .map_err(|error| Error::invalid(format!("cannot read {}", file.display())).with_source(error))
}

/// How many records go where, and why the others stay.
fn shown(plan: &RedrivePlan) -> String {
    let mut text = String::new();
    if plan.is_empty() {
        text += &format!("{}: nothing to redrive\n", plan.dead_letter_topic);
    } else {
        let mut counts: BTreeMap<(&str, Option<i32>), u64> = BTreeMap::new();
        for redrive in &plan.redriven {
            *counts.entry((&redrive.topic, redrive.partition)).or_default() += 1;
        }
        let mut records = table(["TOPIC", "PARTITION", "RECORDS"]);
        for ((topic, partition), count) in counts {
            let partition = partition.map_or("by key".to_owned(), |partition| partition.to_string());
            records.add_row([topic.to_owned(), partition, count.to_string()]);
        }
        text += &format!("{records}\n");
    }
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for left in &plan.left {
        *reasons.entry(left.why.to_string()).or_default() += 1;
    }
    if !reasons.is_empty() {
        text += "\nLetters that stay:\n";
    }
    for (why, count) in reasons {
        text += &format!("  {count}  {why}\n");
    }
    if let Some(others) = &plan.others {
        text += &format!("\n{}\n", shown_others(&plan.dead_letter_topic, others));
    }
    text
}

fn carry_out(dead_letters: &DeadLetters, plan: &RedrivePlan) -> Result<RedriveOutcome> {
    with_progress(plan.redriven.len(), |bar| {
        dead_letters.execute(plan, |step| match step {
            RedriveStep::Begun(records) => bar.set_length(*records as u64),
            RedriveStep::Committed(records) => bar.inc(*records as u64),
            RedriveStep::Refused(letter) => {
                bar.set_message(format!("{letter} was not taken"));
                bar.inc(1);
            }
            _ => {}
        })
    })
}

/// # Errors
/// If records were not taken.
fn tell(outcome: &RedriveOutcome) -> Result<()> {
    eprintln!("{} records were put back", outcome.redriven);
    if outcome.redriven_before > 0 {
        eprintln!("{} were put back by another redrive meanwhile", outcome.redriven_before);
    }
    if !outcome.gone.is_empty() {
        eprintln!("{} letters were deleted meanwhile, as their topic's retention has it", outcome.gone.len());
    }
    if outcome.refused.is_empty() {
        return Ok(());
    }
    let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (letter, why) in &outcome.refused {
        refused.entry(why).or_default().push(letter.to_string());
    }
    let refused: Vec<String> =
        refused.iter().map(|(why, letters)| format!("{} ({why})", letters.join(", "))).collect();
    Err(Error::new(
        ErrorKind::Record,
        format!(
            "these letters stay, because their records were not taken: {}; repair a record with --only and --value-from, or see to what \
             its topic and the rights to it ask for, and run the redrive again",
            refused.join("; ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use millstream::Offset;
    use millstream::dead_letters::{LeftLetter, OtherRecords, Redrive, WhyLeft};

    use super::*;

    #[test]
    fn a_plan_is_shown_by_where_records_go_and_why_they_stay() {
        let letter = |offset| LetterId { partition: 0, offset: Offset::new(offset) };
        let redrive =
            |offset, partition| Redrive { letter: letter(offset), topic: "orders".into(), partition };
        let mut plan = RedrivePlan {
            dead_letter_topic: "shop-dead-letters".into(),
            topic_id: None,
            redriven: vec![redrive(0, Some(1)), redrive(1, None), redrive(2, Some(1))],
            repair: Repair::default(),
            left: vec![3, 4]
                .into_iter()
                .map(|offset| LeftLetter { letter: letter(offset), why: WhyLeft::NoRecord })
                .collect(),
            others: Some(OtherRecords { count: 2, first: letter(5), why: "it has no header".into() }),
        };
        let words = |plan: &RedrivePlan| shown(plan).split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words(&plan);
        for said in [
            "orders by key 1 orders 1 2",
            "Letters that stay: 2 of a failure without a record",
            "2 records of shop-dead-letters are no dead letters, the first of them 0:5: it has no header",
        ] {
            assert!(text.contains(said), "{said:?} is not in {text}");
        }
        plan.redriven.clear();
        assert!(words(&plan).starts_with("shop-dead-letters: nothing to redrive Letters that stay"));
    }

    #[test]
    fn letters_whose_records_were_not_taken_are_named_with_the_reason() {
        let letter = |offset| LetterId { partition: 0, offset: Offset::new(offset) };
        let refused = [(1, "too large"), (2, "not allowed"), (3, "too large")];
        let refused = refused.map(|(offset, why)| (letter(offset), why.to_owned())).to_vec();
        let error = tell(&RedriveOutcome { refused, ..RedriveOutcome::default() }).unwrap_err().to_string();
        assert!(error.contains("not taken: 0:2 (not allowed); 0:1, 0:3 (too large); repair"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = contents::<Vec<u8>>(Path::new("/no/order.json")).unwrap_err().to_string();
        assert!(error.contains("cannot read /no/order.json"), "{error}");
    }
}
