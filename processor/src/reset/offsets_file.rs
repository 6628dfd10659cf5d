//! Offsets in a file, as Kafka's tools write them: a line `topic,partition,offset` for each partition.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use millstream_state_stores::Offset;

use super::Partition;
use crate::error::{Error, Result};

/// Reads the file of `--from-file` (Kafka's `kafka-streams-application-reset --from-file`).
///
/// # Errors
/// `Invalid`, with the path and the line, if the file cannot be read, is empty, names a partition twice or has another line.
pub fn read_offsets_file(path: &Path) -> Result<BTreeMap<Partition, Offset>> {
    let text = fs::read_to_string(path)
        .map_err(|error| Error::invalid(format!("cannot read {}", path.display())).with_source(error))?;
    parse(&text).map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
}

fn parse(text: &str) -> Result<BTreeMap<Partition, Offset>, String> {
    let mut offsets = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split(',').map(|field| field.trim().trim_matches('"')).collect();
        let parsed = match fields[..] {
            [topic, partition, offset] => partition
                .parse::<i32>()
                .ok()
                .zip(offset.parse::<i64>().ok())
                .map(|(partition, offset)| ((topic.to_owned(), partition), Offset::new(offset))),
            _ => None,
        };
        let Some((partition, offset)) = parsed else {
            return Err(format!(
                "line {number} is {line:?}: write topic,partition,offset, such as orders,0,1200"
            ));
        };
        if let Some(before) = offsets.insert(partition.clone(), offset) {
            let (topic, partition) = partition;
            return Err(format!(
                "line {number} names {topic}-{partition} again, which is at {before} already"
            ));
        }
    }
    if offsets.is_empty() {
        return Err("it has no lines: write topic,partition,offset, such as orders,0,1200".to_owned());
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read_as_kafka_writes_them() {
        let expected = BTreeMap::from([
            (("orders".to_owned(), 0), Offset::new(12)),
            (("orders".to_owned(), 1), Offset::new(0)),
        ]);
        assert_eq!(parse("orders,0,12\norders,1,0\n"), Ok(expected.clone()));
        assert_eq!(parse("\"orders\",0,12\r\n\r\n\"orders\", 1, 0"), Ok(expected));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, said) in [
            ("", "no lines"),
            ("orders,0,1\norders,one,2", "line 2 is \"orders,one,2\""),
            ("orders,0", "topic,partition,offset"),
            ("orders,0,1\norders,0,2", "line 2 names orders-0 again, which is at 1"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_offsets_file(Path::new("/no/offsets.csv")).unwrap_err().to_string();
        assert!(error.contains("/no/offsets.csv"), "{error}");
    }

    proptest! {
        #[test]
        fn arbitrary_texts_are_offsets_or_refused(text in r#"([a-z",0-9 -]{0,12}[\r\n]?){0,4}|\PC*"#) {
            drop(parse(&text));
        }
    }
}
