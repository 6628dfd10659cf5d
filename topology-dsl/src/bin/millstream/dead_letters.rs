//! `millstream dead-letters`

mod redrive;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use millstream::api::FailureStage;
use millstream::clock::SystemClock;
use millstream::dead_letters::{DeadLetter, FailedRecord, LetterFilter, LetterId, LetterList, OtherRecords};
use millstream::{Result, Timestamp, dead_letters};
use serde_json::Value;

use crate::Ended;
use crate::cluster::ClusterArguments;
use crate::output::{Output, table};
use crate::time::{shown_age, shown_time, since};

/// How much of a message a table shows.
const CHARS_OF_MESSAGE: usize = 80;

/// Look at the records that an application could not process, and put them back where they came from
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    List(List),
    Show(Show),
    Redrive(redrive::Redrive),
}

/// List the dead letters: where each record came from, and what it failed of
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    application: ApplicationArguments,
    #[command(flatten)]
    filters: Filters,
}

/// Show one dead letter, with its record
#[derive(Debug, Args)]
struct Show {
    /// The letter, by its partition and offset in the dead-letter topic, such as 0:17
    #[arg(value_name = "PARTITION:OFFSET")]
    letter: LetterId,
    #[command(flatten)]
    application: ApplicationArguments,
}

/// Whose dead letters.
#[derive(Debug, Args)]
struct ApplicationArguments {
    /// The application's id: the prefix of its topics
    #[arg(long, value_name = "ID")]
    application_id: String,
    /// The topic of its dead letters, where its settings name one (MILLSTREAM_DEAD_LETTER_TOPIC)
    #[arg(long, value_name = "TOPIC")]
    dead_letter_topic: Option<String>,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Which letters. All that is given must hold.
#[derive(Debug, Args)]
struct Filters {
    /// Of records read from this topic, or of outputs that it did not take
    #[arg(long, value_name = "TOPIC")]
    source_topic: Option<String>,
    /// That failed at this stage
    #[arg(long, value_parser = stages())]
    stage: Option<FailureStage>,
    /// That failed in this node of the topology
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// With this kind of error, as the list shows it, such as SerdeError::Json
    #[arg(long, value_name = "ERROR")]
    error: Option<String>,
    /// That failed since then, such as 2026-11-22T08:30:00Z, or in this last while: PT90M, 36h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

fn stages() -> impl TypedValueParser<Value = FailureStage> {
    PossibleValuesParser::new(FailureStage::ALL.map(FailureStage::name))
        .try_map(|name| name.parse::<FailureStage>())
}

impl DeadLetters {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        match self.command {
            DeadLettersCommand::List(list) => list.run(output),
            DeadLettersCommand::Show(show) => show.run(output),
            DeadLettersCommand::Redrive(redrive) => redrive.run(output),
        }
    }
}

impl ApplicationArguments {
    fn dead_letters(&self) -> Result<dead_letters::DeadLetters> {
        let mut settings = self.cluster.settings()?;
        settings.dead_letter_topic = self.dead_letter_topic.clone().or(settings.dead_letter_topic);
        dead_letters::DeadLetters::new(&self.application_id, &settings)
    }
}

impl Filters {
    fn filter(self, now: Timestamp) -> Result<LetterFilter> {
        Ok(LetterFilter {
            source_topic: self.source_topic,
            stage: self.stage,
            node: self.node,
            error: self.error,
            since: self.since.map(|text| since(now, "--since", &text)).transpose()?,
        })
    }
}

impl List {
    fn run(self, output: Output) -> Result<Ended> {
        let now = SystemClock::shared().wall_clock();
        let dead_letters = self.application.dead_letters()?;
        let list = dead_letters.list(&self.filters.filter(now)?)?;
        let json: Vec<Value> = list.letters.iter().map(DeadLetter::to_json).collect();
        output.print(&json.into(), || shown_list(&list, now))?;
        if let Some(others) = &list.others {
            eprintln!("millstream: {}", shown_others(dead_letters.topic(), others));
        }
        Ok(Ended::Done)
    }
}

fn shown_list(list: &LetterList, now: Timestamp) -> String {
    if list.letters.is_empty() {
        return "no dead letters here".to_owned();
    }
    let mut shown = table(["LETTER", "FAILED", "SOURCE", "STAGE", "NODE", "ERROR", "MESSAGE", "REDRIVEN"]);
    for letter in &list.letters {
        let source = letter.source.as_ref().map(ToString::to_string);
        shown.add_row([
            letter.id.to_string(),
            shown_age(letter.failed_at, now),
            or_dash(source),
            or_dash(letter.stage.map(|stage| stage.name().to_owned())),
            or_dash(letter.node.clone()),
            letter.error.clone(),
            shortened(&letter.message),
            or_dash(letter.redriven_at.map(|time| shown_age(time, now))),
        ]);
    }
    shown.to_string()
}

fn shown_others(topic: &str, OtherRecords { count, first, why }: &OtherRecords) -> String {
    format!("{count} records of {topic} are no dead letters, the first of them {first}: {why}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// On one line, and no longer than a table can show.
fn shortened(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(CHARS_OF_MESSAGE) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

impl Show {
    fn run(self, output: Output) -> Result<Ended> {
        let (letter, record) = self.application.dead_letters()?.show(self.letter)?;
        let mut json = letter.to_json();
        json["record"] = record.to_json();
        output.print(&json, || shown_letter(&letter, &record))?;
        Ok(Ended::Done)
    }
}

fn shown_letter(letter: &DeadLetter, record: &FailedRecord) -> String {
    let time = |time: Timestamp| or_dash(shown_time(time));
    let source = letter.source.as_ref().map(ToString::to_string);
    let redriven = match letter.times_redriven {
        0 => "never".to_owned(),
        times => format!("{times} times"),
    };
    let mut lines = vec![
        ("failed", time(letter.failed_at)),
        ("source", or_dash(source)),
        ("stage", or_dash(letter.stage.map(|stage| stage.name().to_owned()))),
        ("node", or_dash(letter.node.clone())),
        ("task", or_dash(letter.task.clone())),
        ("error", letter.error.clone()),
        ("message", letter.message.clone()),
        ("redriven before it failed", redriven),
        ("redriven since", or_dash(letter.redriven_at.and_then(shown_time))),
        ("timestamp", time(record.timestamp)),
    ];
    let record = record.to_json();
    let header = |header: &Value| {
        let name = header["name"].as_str().unwrap_or_default();
        ("header", format!("{name}: {}", shown_bytes(&header["value"])))
    };
    lines.extend(record["headers"].as_array().into_iter().flatten().map(header));
    lines.extend(["key", "value"].map(|part| (part, shown_bytes(&record[part]))));
    lines.iter().map(|(name, text)| format!("{name:26}{text}\n")).collect()
}

/// Bytes as they are in JSON, for people.
fn shown_bytes(bytes: &Value) -> String {
    match (bytes["text"].as_str(), bytes["hex"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(hex)) => format!("0x{hex}"),
        (None, None) => "null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_shortened_to_a_line() {
        assert_eq!(shortened("no JSON\nat all"), "no JSON");
        assert_eq!(shortened(""), "");
        let long = "ä".repeat(CHARS_OF_MESSAGE + 1);
        assert_eq!(shortened(&long), format!("{}..", "ä".repeat(CHARS_OF_MESSAGE)));
        assert_eq!(shortened(&"ä".repeat(CHARS_OF_MESSAGE)), "ä".repeat(CHARS_OF_MESSAGE));
    }

    #[test]
    fn bytes_are_text_or_hex_or_null() {
        let shown = [json!({ "text": "apples" }), json!({ "hex": "0007" }), json!(null)]
            .map(|value| shown_bytes(&value));
        assert_eq!(shown, ["apples", "0x0007", "null"]);
    }
}
