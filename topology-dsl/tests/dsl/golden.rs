//! What Kafka Streams printed for many programs: a file of texts, each between `### program` and `###END`.

/// Such a file's contents.
pub(crate) struct GoldenTexts(pub(crate) &'static str);

impl GoldenTexts {
    /// What Kafka Streams prints for the program of this name.
    pub(crate) fn of(&self, program: &str) -> &'static str {
        let start = format!("### {program}\n");
        let (_, rest) = self.0.split_once(&start).unwrap_or_else(|| panic!("no golden text for {program}"));
        rest.split_once("###END").expect("golden texts end").0.trim_end()
    }

    /// Fails if there is a program that none of these test sources compares.
    #[track_caller]
    pub(crate) fn are_all_compared(&self, sources: &[&str]) {
        for program in self.0.lines().filter_map(|line| line.strip_prefix("### ")) {
            let comparison = format!("same_as_kafka_streams(\"{program}\"");
            assert!(sources.iter().any(|source| source.contains(&comparison)), "{program} is not compared");
        }
    }
}
