//! `millstream reset`

use std::path::PathBuf;

use clap::Args;
use millstream::clock::SystemClock;
use millstream::reset::{
    ApplicationReset, InternalTopics, ResetPlan, ResetRequest, ResetStep, ResetTarget, TopicSelection,
    read_offsets_file,
};
use millstream::{Offset, Result, Timestamp};

use crate::Ended;
use crate::cluster::{ClusterArguments, StateDirArgument};
use crate::output::{Output, confirm, table, with_progress};
use crate::time::{before, point_in_time};

/// Make an application read its input again: move its offsets, delete its internal topics, remove its state on this machine
///
/// The instances must have ended, or are removed from the group with --force. Shows what it will do and asks. A reset that ended half-way is run again; until one is finished,
/// instances that start are refused. State on other machines is noticed and removed when they start.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// The application's id: its consumer group, and the prefix of its topics
    #[arg(long, value_name = "ID")]
    application_id: String,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    state_dir: StateDirArgument,
    /// An input topic, or some of its partitions; may be repeated. By default all that the application has committed offsets of
    #[arg(long = "input-topic", value_name = "TOPIC[:0,1]")]
    input_topics: Vec<TopicSelection>,
    #[command(flatten)]
    to: To,
    /// Delete this internal topic alone; may be repeated. By default all changelog and repartition topics are deleted
    #[arg(long = "internal-topic", value_name = "TOPIC", conflicts_with = "keep_internal_topics")]
    internal_topics: Vec<String>,
    /// Delete no internal topic
    #[arg(long)]
    keep_internal_topics: bool,
    /// Leave the state on this machine
    #[arg(long)]
    keep_local_state: bool,
    /// Remove live members from the group first. Instances that are removed end with an error; state they hold on this machine is waited for
    #[arg(long)]
    force: bool,
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Where to.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct To {
    /// To the oldest records (the default)
    #[arg(long)]
    to_earliest: bool,
    /// After the newest records
    #[arg(long)]
    to_latest: bool,
    /// Leave the offsets where they are
    #[arg(long)]
    to_current: bool,
    /// To this offset in every partition
    #[arg(long, value_name = "N")]
    to_offset: Option<i64>,
    /// By so many records, back if negative
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To the first records from then on, such as 2026-11-22T08:30:00; UTC unless it says otherwise, such as 2026-11-22T08:30:00+01:00
    #[arg(long, value_name = "TIME")]
    to_datetime: Option<String>,
    /// To the first records of this last while, as ISO 8601 or in words: P7D, PT90M, 36h
    #[arg(long, value_name = "DURATION")]
    by_duration: Option<String>,
    /// To the offsets in this file, with a line topic,partition,offset for each partition
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

impl Reset {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        let mut settings = self.cluster.settings()?;
        settings.state_dir = self.state_dir.path();
        let reset = ApplicationReset::new(self.application_id.as_str(), &settings)?;
        let now = SystemClock::shared().wall_clock();
        let plan = reset.plan(&ResetRequest {
            input_topics: self.input_topics,
            to: self.to.target(now)?,
            internal_topics: match (self.keep_internal_topics, self.internal_topics.is_empty()) {
                (true, _) => InternalTopics::Keep,
                (false, true) => InternalTopics::All,
                (false, false) => InternalTopics::Named(self.internal_topics),
            },
            keep_local_state: self.keep_local_state,
            remove_members: self.force,
        })?;
        output.print(&plan.to_json(), || shown(&plan))?;
        if self.dry_run || plan.is_empty() {
            return Ok(Ended::Done);
        }
        if !self.yes && !confirm(&format!("Reset {}?", self.application_id))? {
            return Ok(Ended::NotConfirmed);
        }
        carry_out(&reset, &plan)?;
        Ok(Ended::Done)
    }
}

impl To {
    fn target(&self, now: Timestamp) -> Result<ResetTarget> {
        let target = if self.to_latest {
            ResetTarget::Latest
        } else if self.to_current {
            ResetTarget::Current
        } else if let Some(offset) = self.to_offset {
            ResetTarget::Offset(Offset::new(offset))
        } else if let Some(records) = self.shift_by {
            ResetTarget::ShiftBy(records)
        } else if let Some(time) = &self.to_datetime {
            ResetTarget::Timestamp(point_in_time("--to-datetime", time)?)
        } else if let Some(duration) = &self.by_duration {
            ResetTarget::Timestamp(before(now, "--by-duration", duration)?)
        } else if let Some(file) = &self.from_file {
            ResetTarget::Each(read_offsets_file(file)?)
        } else {
            ResetTarget::Earliest
        };
        Ok(target)
    }
}

fn shown(plan: &ResetPlan) -> String {
    if plan.is_empty() {
        return format!("{}: nothing to reset", plan.application_id);
    }
    let mut text = String::new();
    if !plan.removed_members.is_empty() {
        let members = plan.removed_members.iter();
        let members: Vec<String> =
            members.map(|member| format!("{} on {}", member.client_id, member.host)).collect();
        text += &format!("Removed members:\n  {}\n\n", members.join("\n  "));
    }
    if !plan.offsets.is_empty() {
        let mut offsets = table(["TOPIC", "PARTITION", "FROM", "TO", "AHEAD"]);
        for moved in &plan.offsets {
            let from = moved.from.map_or("-".to_owned(), |from| from.to_string());
            let (topic, partition) = &moved.partition;
            offsets.add_row([
                topic.clone(),
                partition.to_string(),
                from,
                moved.to.to_string(),
                moved.ahead.to_string(),
            ]);
        }
        text += &format!("{offsets}\n");
    }
    if !plan.deleted_topics.is_empty() {
        text += &format!("\nDeleted topics:\n  {}\n", plan.deleted_topics.join("\n  "));
    }
    if let Some(state) = &plan.state {
        let tasks: Vec<String> = state.tasks.iter().map(ToString::to_string).collect();
        text += &format!("\nRemoved state in {}:\n  {}\n", state.path.display(), tasks.join(" "));
    }
    text
}

fn carry_out(reset: &ApplicationReset, plan: &ResetPlan) -> Result<()> {
    let tasks = plan.state.as_ref().map_or(0, |state| state.tasks.len());
    let parts = plan.removed_members.len() + plan.deleted_topics.len() + tasks + 2;
    with_progress(parts, |bar| {
        reset.execute(plan, |step| {
            bar.set_message(match step {
                ResetStep::MemberRemoved(member) => format!("{} removed", member.client_id),
                ResetStep::Begun => "offsets moved".to_owned(),
                ResetStep::TopicDeleted(topic) => format!("{topic} deleted"),
                ResetStep::StateRemoved(task) => format!("state of {task} removed"),
                _ => "done".to_owned(),
            });
            bar.inc(1);
        })
    })?;
    eprintln!("{} is reset", plan.application_id);
    Ok(())
}
