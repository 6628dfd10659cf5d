//! The dead letters of one application, for its users.

use std::sync::Arc;

use super::execute::{RedriveOutcome, RedriveStep, execute};
use super::letter::{DeadLetter, FailedRecord, LetterId};
use super::plan::RedrivePlan;
use super::reading::{LetterList, LetterTopic};
use super::request::{LetterFilter, RedriveRequest};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::error::Result;
use crate::kafka::KafkaLetters;

/// The dead letters of one application.
///
/// ```no_run
/// use millstream_processor::Settings;
/// use millstream_processor::dead_letters::{DeadLetters, LetterFilter, RedriveRequest, Selection};
///
/// let dead_letters = DeadLetters::new("shop", &Settings::new("localhost:9092"))?;
/// let of_orders = LetterFilter { source_topic: Some("orders".into()), ..LetterFilter::default() };
/// for letter in dead_letters.list(&of_orders)?.letters {
///     println!("{}: {}", letter.id, letter.message);
/// }
/// let plan = dead_letters.plan(&RedriveRequest { letters: Selection::Matching(of_orders), by_key: false })?;
/// println!("{:#}", plan.to_json());
/// let outcome = dead_letters.execute(&plan, |step| println!("{step:?}"))?;
/// println!("{} records were put back", outcome.redriven);
/// # Ok::<(), millstream_processor::Error>(())
/// ```
pub struct DeadLetters {
    topic: String,
    cluster: KafkaLetters,
    clock: Arc<dyn Clock>,
}

impl DeadLetters {
    /// Of the application with this id, in the topic that these settings name or that is its own. Nothing is connected yet.
    ///
    /// # Errors
    /// `Invalid` if a property of the settings is not accepted.
    pub fn new(application_id: &str, settings: &Settings) -> Result<Self> {
        let topic = settings.dead_letter_topic_of(application_id);
        let clock = SystemClock::shared();
        let cluster = KafkaLetters::new(settings, &format!("{topic}-tool"), Arc::clone(&clock))?;
        Ok(DeadLetters { topic, cluster, clock })
    }

    /// The dead-letter topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The letters that match, without their records.
    ///
    /// # Errors
    /// `Invalid` if there is no such topic; `Retry` if the cluster does not answer.
    pub fn list(&self, filter: &LetterFilter) -> Result<LetterList> {
        self.find()?.list(filter)
    }

    /// One letter, and the record that failed.
    ///
    /// # Errors
    /// `Invalid` if there is no record at this place, or it is no dead letter; `Retry` if the cluster does not answer.
    pub fn show(&self, letter: LetterId) -> Result<(DeadLetter, FailedRecord)> {
        self.find()?.show(letter)
    }

    /// What redriving as requested would do. Changes nothing.
    ///
    /// # Errors
    /// `Invalid` if there is no such topic, or a single letter is asked for that is not there or cannot be put back; `Retry` if the cluster
    /// does not answer.
    pub fn plan(&self, request: &RedriveRequest) -> Result<RedrivePlan> {
        self.find()?.plan(request)
    }

    /// Does what a plan says, and tells of each part that is done. If it ends with an error, run it again, or make another plan and run
    /// that: no record is put back twice.
    ///
    /// # Errors
    /// `Migrated` if another redrive has begun; `Invalid` if the topic was made anew since the plan was made, or the topic of the markers does
    /// not keep them; `Fatal` if that one takes none; `Retry` if the cluster does not answer. That the topic of a record does not take it is
    /// none: the outcome says so.
    pub fn execute(&self, plan: &RedrivePlan, on_step: impl FnMut(&RedriveStep)) -> Result<RedriveOutcome> {
        execute(&self.cluster, &*self.clock, plan, on_step)
    }

    fn find(&self) -> Result<LetterTopic<'_, KafkaLetters>> {
        LetterTopic::find(&self.cluster, &*self.clock, &self.topic)
    }
}
