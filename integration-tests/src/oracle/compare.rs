//! Where two observations of one case differ. Nothing is forgiven here, but for what only hash codes decide.

use std::collections::BTreeSet;

use super::observation::{Observation, Outcome, Row, Written};

/// Something that is not the same on both sides, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is: a topic, a store, the topology's text.
    pub what: String,
    /// What millstream says.
    pub ours: Vec<String>,
    /// What Kafka Streams says.
    pub theirs: Vec<String>,
}

/// How the case ends: refused, failed, or through.
const END: &str = "end";

impl Difference {
    /// Whether one side refuses the program, or fails, where the other does not.
    pub(super) fn is_of_the_end(&self) -> bool {
        self.what == END
    }
}

/// All differences, the topology's text first, then topics, then stores.
pub fn differences(ours: &Observation, theirs: &Observation) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut note = |what: &str, ours: Vec<String>, theirs: Vec<String>| {
        if ours != theirs {
            all.push(Difference { what: what.to_owned(), ours, theirs });
        }
    };
    if let (Some(ours), Some(theirs)) = (ours.describe(), theirs.describe()) {
        note("topology", text_lines(ours), text_lines(theirs));
    }
    match (ours, theirs) {
        (Observation::Refused { .. }, Observation::Refused { .. }) => {}
        (Observation::Ran(ours), Observation::Ran(theirs)) if ours.failed_step() == theirs.failed_step() => {
            for topic in names(ours.topics.keys(), theirs.topics.keys()) {
                let of = |outcome: &Outcome| lines(outcome.topics.get(topic), record_line);
                note(&format!("topic {topic}"), of(ours), of(theirs));
            }
            for store in names(ours.stores.keys(), theirs.stores.keys()) {
                let of = |outcome: &Outcome| lines(outcome.stores.get(store), row_line);
                note(&format!("store {store}"), of(ours), of(theirs));
            }
            note("dropped records", vec![ours.dropped.to_string()], vec![theirs.dropped.to_string()]);
        }
        _ => note(END, vec![end(ours)], vec![end(theirs)]),
    }
    all
}

fn names<'a>(
    ours: impl Iterator<Item = &'a String>,
    theirs: impl Iterator<Item = &'a String>,
) -> BTreeSet<&'a String> {
    ours.chain(theirs).collect()
}

fn lines<T>(items: Option<&Vec<T>>, line: fn(&T) -> String) -> Vec<String> {
    items.into_iter().flatten().map(line).collect()
}

/// The topology's text with the names of each arrow, the topics of each source and the stores of each processor sorted: Kafka Streams puts several in an order that depends
/// on their hash codes. Nor is it compared which class chooses a topic.
fn text_lines(text: &str) -> Vec<String> {
    let sorted = |line: &str| {
        for (start, end) in
            [("      --> ", ""), ("      <-- ", ""), (" (topics: [", "])"), (" (stores: [", "])")]
        {
            let Some((before, names)) = line.split_once(start) else { continue };
            let mut names: Vec<&str> = names.trim_end_matches(end).split(", ").collect();
            names.sort_unstable();
            return format!("{before}{start}{}{end}", names.join(", "));
        }
        line.split("(extractor class:").next().unwrap_or_default().to_owned()
    };
    text.trim_end().lines().map(sorted).collect()
}

fn record_line(record: &Written) -> String {
    let mut line = format!("{} = {}", readable(record.key.as_deref()), readable(record.value.as_deref()));
    if let Some(at) = record.at {
        line += &format!(" at {at}");
    }
    if let Some(step) = record.step {
        line += &format!(" in step {step}");
    }
    for (name, value) in &record.headers {
        line += &format!(", {name}: {}", readable(value.as_deref()));
    }
    line
}

fn row_line(row: &Row) -> String {
    match row.at {
        Some(at) => format!("{} = {} at {at}", row.key, row.value),
        None => format!("{} = {}", row.key, row.value),
    }
}

fn end(observation: &Observation) -> String {
    match observation {
        Observation::Refused { refused } => format!("the program is refused: {refused}"),
        Observation::Ran(Outcome { failed: Some(failed), .. }) => {
            format!("step {} fails: {}", failed.step, failed.error)
        }
        Observation::Ran(_) => "everything goes through".to_owned(),
    }
}

/// Bytes in hex as text where they are text.
fn readable(hex: Option<&str>) -> String {
    let Some(hex) = hex else { return "null".to_owned() };
    let bytes: Option<Vec<u8>> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    let printable = |bytes: &Vec<u8>| bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    match bytes.filter(printable).map(String::from_utf8) {
        Some(Ok(text)) => format!("{text:?}"),
        _ => format!("0x{hex}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::observation::Failure;
    use super::*;

    fn written(key: &str, at: i64) -> Written {
        Written { step: Some(0), key: Some(key.to_owned()), value: None, at: Some(at), headers: Vec::new() }
    }

    fn outcome(describe: &str, out: Vec<Written>) -> Outcome {
        let topics = BTreeMap::from([("out".to_owned(), out)]);
        let describe = describe.to_owned();
        Outcome { describe, failed: None, topics, stores: BTreeMap::new(), dropped: 0 }
    }

    fn ran(out: Vec<Written>, dropped: u64) -> Observation {
        Observation::Ran(Outcome { dropped, ..outcome("text", out) })
    }

    #[test]
    fn the_order_of_records_counts_and_so_do_times_and_drops() {
        let (one, other) = (written("61", 1), written("6200", 2));
        let ours = ran(vec![one.clone(), other.clone()], 0);
        assert_eq!(differences(&ours, &ours), []);
        let theirs = ran(vec![other, one], 1);
        let found = differences(&ours, &theirs);
        assert_eq!(
            found.iter().map(|difference| &*difference.what).collect::<Vec<_>>(),
            ["topic out", "dropped records"]
        );
        assert_eq!(found[0].ours, [r#""a" = null at 1 in step 0"#, "0x6200 = null at 2 in step 0"]);
    }

    #[test]
    fn a_topic_that_only_one_side_writes_is_a_difference() {
        let nothing = ran(Vec::new(), 0);
        assert_eq!(differences(&nothing, &ran(vec![written("61", 1)], 0)).len(), 1);
    }

    #[test]
    fn both_must_fail_in_the_same_step_with_the_same_written_before_but_need_not_say_the_same() {
        let failed = |step, error: &str, out| {
            let failed = Some(Failure { step, error: error.to_owned() });
            Observation::Ran(Outcome { failed, ..outcome("text", out) })
        };
        let nothing = Vec::new;
        assert_eq!(differences(&failed(1, "one", nothing()), &failed(1, "other", nothing())), []);
        assert_eq!(differences(&failed(1, "one", nothing()), &failed(2, "one", nothing())).len(), 1);
        let written_before = failed(1, "one", vec![written("61", 1)]);
        assert_eq!(differences(&failed(1, "one", nothing()), &written_before).len(), 1);
        let refused = Observation::Refused { refused: "cycle".into() };
        assert_eq!(differences(&refused, &failed(0, "one", nothing())).len(), 1);
    }

    #[test]
    fn the_order_of_names_on_an_arrow_is_left_to_hash_codes() {
        let text = |text: &str| Observation::Ran(outcome(text, Vec::new()));
        assert_eq!(differences(&text("      --> a, b"), &text("      --> b, a")), []);
        assert_eq!(
            differences(&text("    Source: s (topics: [a, b])"), &text("    Source: s (topics: [b, a])")),
            []
        );
        assert_eq!(differences(&text("      --> a, b"), &text("      <-- a, b")).len(), 1);
        assert_eq!(differences(&text("      --> a, b"), &text("      --> a")).len(), 1);
    }
}
