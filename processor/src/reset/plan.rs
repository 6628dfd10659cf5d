//! From what there is and what is asked to what is to be done. Pure: no Kafka, no disk, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use millstream_state_stores::{Offset, StateOwner};
use serde_json::{Value, json};

use super::Partition;
use super::request::{InternalTopics, ResetRequest, ResetTarget};
use crate::error::{Error, Result};

/// How many names an error lists.
const NAMES_IN_AN_ERROR: usize = 10;

/// How the names of internal topics end: Kafka Streams' as well, since an application may have been one.
const INTERNAL_SUFFIXES: [&str; 4] =
    ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];

/// How those of a foreign-key join end that the user gave no name, before a number and `-topic`.
const UNNAMED_FOREIGN_KEY_JOIN: [&str; 2] =
    ["-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION", "-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE"];

/// What there is to reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetFacts {
    /// The application id, which is that of its consumer group.
    pub application_id: String,
    /// All topics of the cluster, and how many partitions they have.
    pub topics: BTreeMap<String, i32>,
    /// All groups of the cluster.
    pub groups: Vec<String>,
    /// The live members of the group.
    pub members: Vec<GroupMember>,
    /// The partitions to be moved.
    pub partitions: BTreeMap<Partition, PartitionFacts>,
    /// The application's state directory on this machine.
    pub state_directory: PathBuf,
    /// The tasks that have state in it, and the global tables of processes.
    pub tasks: Vec<StateOwner>,
}

/// A live member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// How it names itself to the brokers: for a stream thread, the thread's name.
    pub client_id: String,
    /// From where it is connected.
    pub host: String,
    /// The group's own name for it.
    pub member_id: String,
    /// Its name as a static member (KIP-345), if it is one.
    pub group_instance_id: Option<String>,
    /// Whether others may remove it. Members of a group of the consumer protocol (KIP-848) only leave by themselves.
    pub can_be_removed: bool,
}

/// What there is in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The offset of the oldest record.
    pub earliest: Offset,
    /// The offset after the newest record.
    pub end: Offset,
    /// What the application has committed.
    pub committed: Option<Offset>,
    /// The first record at or after the time that was asked for.
    pub at_time: Option<Offset>,
}

/// What a reset will do, in the order it does it: members are removed, offsets moved, topics deleted, state removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetPlan {
    /// The application id.
    pub application_id: String,
    /// The members that are removed from the group.
    pub removed_members: Vec<GroupMember>,
    /// The offsets that are committed, sorted by partition.
    pub offsets: Vec<OffsetMove>,
    /// The topics that are deleted, sorted.
    pub deleted_topics: Vec<String>,
    /// The local state that is removed.
    pub state: Option<StateRemoval>,
}

/// What becomes of the offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetMove {
    /// The partition.
    pub partition: Partition,
    /// Where the application is.
    pub from: Option<Offset>,
    /// Where it will be.
    pub to: Offset,
    /// How many offsets lie after that. An upper bound of the records to be processed: compacted ones leave gaps.
    pub ahead: u64,
}

/// Local state to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRemoval {
    /// The application's state directory.
    pub path: PathBuf,
    /// The tasks, and global tables of processes, whose state is removed.
    pub tasks: Vec<StateOwner>,
}

impl ResetPlan {
    /// Decides what is to be done.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use millstream_processor::Offset;
    /// use millstream_processor::reset::{PartitionFacts, ResetFacts, ResetPlan, ResetRequest};
    ///
    /// let orders = PartitionFacts {
    ///     earliest: Offset::new(100),
    ///     end: Offset::new(250),
    ///     committed: Some(Offset::new(200)),
    ///     at_time: None,
    /// };
    /// let facts = ResetFacts {
    ///     application_id: "shop".into(),
    ///     topics: [("orders", 1), ("shop-stock-changelog", 1)].map(|(name, count)| (name.into(), count)).into(),
    ///     partitions: BTreeMap::from([(("orders".into(), 0), orders)]),
    ///     ..ResetFacts::default()
    /// };
    /// let plan = ResetPlan::new(&ResetRequest::default(), &facts)?;
    /// assert_eq!(plan.offsets[0].to, Offset::new(100));
    /// assert_eq!(plan.deleted_topics, ["shop-stock-changelog"]);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid`, with all partitions that do not have the offset asked for, the topics that are not the application's, or the members that
    /// are not to be removed, or cannot be.
    pub fn new(request: &ResetRequest, facts: &ResetFacts) -> Result<Self> {
        check_members(&facts.members, request.remove_members, &facts.application_id)?;
        let mut offsets = Vec::new();
        let mut problems = Vec::new();
        for (partition, found) in &facts.partitions {
            match target(&request.to, partition, found) {
                Ok(Some(to)) => offsets.push(OffsetMove {
                    partition: partition.clone(),
                    from: found.committed,
                    to,
                    ahead: u64::try_from(found.end.get() - to.get()).unwrap_or(0),
                }),
                Ok(None) => {}
                Err(problem) => problems.push(format!("{}-{}: {problem}", partition.0, partition.1)),
            }
        }
        if !problems.is_empty() {
            return Err(Error::invalid(format!("these offsets cannot be set: {}", problems.join("; "))));
        }
        let state = (!request.keep_local_state && !facts.tasks.is_empty())
            .then(|| StateRemoval { path: facts.state_directory.clone(), tasks: facts.tasks.clone() });
        Ok(ResetPlan {
            application_id: facts.application_id.clone(),
            removed_members: facts.members.clone(),
            offsets,
            deleted_topics: facts.deleted_topics(&request.internal_topics)?,
            state,
        })
    }

    /// Whether there is nothing to do. That members would be removed is no reason to remove them.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.deleted_topics.is_empty() && self.state.is_none()
    }

    /// The plan for programs.
    pub fn to_json(&self) -> Value {
        let offset = |moved: &OffsetMove| {
            json!({
                "topic": moved.partition.0,
                "partition": moved.partition.1,
                "from": moved.from.map(Offset::get),
                "to": moved.to.get(),
                "ahead": moved.ahead,
            })
        };
        let member = |member: &GroupMember| {
            json!({
                "client_id": member.client_id,
                "host": member.host,
                "member_id": member.member_id,
                "group_instance_id": member.group_instance_id,
            })
        };
        let state = self.state.as_ref().map(|state| {
            let tasks: Vec<String> = state.tasks.iter().map(StateOwner::to_string).collect();
            json!({ "path": state.path, "tasks": tasks })
        });
        json!({
            "application_id": self.application_id,
            "removed_members": self.removed_members.iter().map(member).collect::<Vec<_>>(),
            "offsets": self.offsets.iter().map(offset).collect::<Vec<_>>(),
            "deleted_topics": self.deleted_topics,
            "removed_state": state,
        })
    }
}

/// Whether a reset may go on with these members in the group.
///
/// # Errors
/// `Invalid`, with the members, if it may not.
pub(super) fn check_members(
    members: &[GroupMember],
    may_be_removed: bool,
    application_id: &str,
) -> Result<()> {
    let (why, named): (_, Vec<&GroupMember>) = if may_be_removed {
        let stay = members.iter().filter(|member| !member.can_be_removed).collect();
        let why = "is a group of the consumer protocol (KIP-848), whose members only leave by themselves: stop its instances (one that was \
                   killed is gone after its session timeout)";
        (why, stay)
    } else {
        let stop =
            "is running: stop its instances first (one that was killed is gone after its session timeout)";
        let stop_or_force = "is running: stop its instances first (one that was killed is gone after its session timeout), or remove them \
                             from the group with --force";
        let can_be_removed = members.iter().all(|member| member.can_be_removed);
        (if can_be_removed { stop_or_force } else { stop }, members.iter().collect())
    };
    if named.is_empty() {
        return Ok(());
    }
    let names: Vec<String> =
        named.iter().map(|member| format!("{} on {}", member.client_id, member.host)).collect();
    Err(Error::invalid(format!("{application_id} {why}. Members: {}", names.join(", "))))
}

/// Where a partition's offset goes; `None` if it stays unset.
fn target(to: &ResetTarget, partition: &Partition, found: &PartitionFacts) -> Result<Option<Offset>, String> {
    let PartitionFacts { earliest, end, committed, at_time } = *found;
    let within = |offset: i64| {
        if (earliest.get()..=end.get()).contains(&offset) {
            Ok(Some(Offset::new(offset)))
        } else {
            Err(format!("it has offsets {earliest} to {end}, not {offset}"))
        }
    };
    match to {
        ResetTarget::Earliest => Ok(Some(earliest)),
        ResetTarget::Latest => Ok(Some(end)),
        ResetTarget::Current => Ok(committed),
        ResetTarget::Offset(offset) => within(offset.get()),
        ResetTarget::ShiftBy(records) => {
            let from = committed.ok_or("nothing is committed of it that could be shifted")?;
            within(from.get().saturating_add(*records))
        }
        ResetTarget::Timestamp(_) => Ok(Some(at_time.unwrap_or(end))),
        ResetTarget::Each(offsets) => offsets.get(partition).map_or(Ok(None), |offset| within(offset.get())),
    }
}

impl ResetFacts {
    fn deleted_topics(&self, asked: &InternalTopics) -> Result<Vec<String>> {
        let own: Vec<String> = self.internal_topics().map(str::to_owned).collect();
        match asked {
            InternalTopics::All => Ok(own),
            InternalTopics::Keep => Ok(Vec::new()),
            InternalTopics::Named(names) => match names.iter().find(|name| !own.contains(name)) {
                Some(other) => Err(Error::invalid(format!(
                    "{other} is no internal topic of {}; it has {}",
                    self.application_id,
                    some_of(own.iter().map(String::as_str))
                ))),
                None => Ok(names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()),
            },
        }
    }

    fn internal_topics(&self) -> impl Iterator<Item = &str> {
        let names = self.topics.keys().map(String::as_str);
        names.filter(|topic| is_internal(topic, &self.application_id, &self.groups))
    }
}

/// Whether a topic is a changelog or repartition topic of this application. What an application with a longer id begins its names with is
/// not: `shop-eu-stock-changelog` belongs to `shop-eu`, if there is such a group, and not to `shop`.
pub(super) fn is_internal(topic: &str, application_id: &str, groups: &[String]) -> bool {
    let belongs_to = |id: &str| topic.strip_prefix(id).is_some_and(|rest| rest.starts_with('-'));
    let is_of_longer = |group: &String| group.len() > application_id.len() && belongs_to(group);
    belongs_to(application_id)
        && (INTERNAL_SUFFIXES.iter().any(|suffix| topic.ends_with(suffix))
            || is_of_unnamed_foreign_key_join(topic))
        && !groups.iter().any(is_of_longer)
}

fn is_of_unnamed_foreign_key_join(topic: &str) -> bool {
    let numbered = topic.strip_suffix("-topic").and_then(|name| name.rsplit_once('-'));
    numbered.is_some_and(|(name, number)| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && UNNAMED_FOREIGN_KEY_JOIN.iter().any(|end| name.ends_with(end))
    })
}

/// The partitions whose offsets a request moves.
///
/// # Errors
/// `Invalid` if a topic or partition does not exist, or it cannot be told which ones are meant.
pub(super) fn select(
    request: &ResetRequest,
    application_id: &str,
    topics: &BTreeMap<String, i32>,
    groups: &[String],
    committed: &BTreeMap<Partition, Offset>,
) -> Result<BTreeSet<Partition>> {
    let is_input = |topic: &str| !is_internal(topic, application_id, groups);
    let selected: BTreeSet<Partition> = match &request.to {
        ResetTarget::Each(_) if !request.input_topics.is_empty() => {
            return Err(Error::invalid(
                "the file of offsets names the partitions: name no input topics besides",
            ));
        }
        ResetTarget::Each(offsets) => offsets.keys().cloned().collect(),
        _ if request.input_topics.is_empty() => {
            committed.keys().filter(|(topic, _)| is_input(topic)).cloned().collect()
        }
        _ => {
            let all_of = |topic: &str| 0..topics.get(topic).copied().unwrap_or(1);
            let partitions = request.input_topics.iter().flat_map(|selection| {
                let numbers = match selection.partitions.is_empty() {
                    true => all_of(&selection.topic).collect(),
                    false => selection.partitions.clone(),
                };
                numbers.into_iter().map(|number| (selection.topic.clone(), number))
            });
            partitions.collect()
        }
    };
    for (topic, partition) in &selected {
        let Some(count) = topics.get(topic) else {
            let inputs = topics.keys().map(String::as_str).filter(|topic| is_input(topic));
            return Err(Error::invalid(format!(
                "topic {topic} does not exist; there are {}",
                some_of(inputs)
            )));
        };
        if !(0..*count).contains(partition) {
            let last = count - 1;
            return Err(Error::invalid(format!("topic {topic} has partitions 0 to {last}, not {partition}")));
        }
        if !is_input(topic) {
            return Err(Error::invalid(format!(
                "{topic} is an internal topic of {application_id}: it is deleted, and its offsets with it; name input topics only"
            )));
        }
    }
    if selected.is_empty() {
        let others = groups.iter().map(String::as_str).filter(|group| *group != application_id);
        return Err(Error::invalid(format!(
            "{application_id} has committed no offsets here: check the application id, or name its input topics. Other groups: {}",
            some_of(others)
        )));
    }
    Ok(selected)
}

fn some_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.filter(|name| !name.starts_with("__")).collect();
    let more = names.len().saturating_sub(NAMES_IN_AN_ERROR);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names[..NAMES_IN_AN_ERROR].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use millstream_state_stores::{TaskId, Timestamp};

    use super::*;

    fn orders(partition: i32) -> Partition {
        ("orders".to_owned(), partition)
    }

    fn partition(earliest: i64, end: i64, committed: Option<i64>, at_time: Option<i64>) -> PartitionFacts {
        let (earliest, end) = (Offset::new(earliest), Offset::new(end));
        PartitionFacts {
            earliest,
            end,
            committed: committed.map(Offset::new),
            at_time: at_time.map(Offset::new),
        }
    }

    fn facts() -> ResetFacts {
        let topics = [
            "orders",
            "shop-by-sku-repartition",
            "shop-stock-changelog",
            "shop-eu-stock-changelog",
            "shop-news",
        ];
        ResetFacts {
            application_id: "shop".to_owned(),
            topics: topics.map(|name| (name.to_owned(), 2)).into(),
            groups: ["shop", "shop-eu"].map(str::to_owned).into(),
            partitions: BTreeMap::from([
                (orders(0), partition(100, 250, Some(200), Some(180))),
                (orders(1), partition(0, 50, None, None)),
            ]),
            members: Vec::new(),
            state_directory: "/var/lib/millstream/shop".into(),
            tasks: vec![StateOwner::Task(TaskId { subtopology: 0, partition: 1 }), StateOwner::Global(0)],
        }
    }

    fn planned(to: ResetTarget) -> Result<Vec<(i32, i64, u64)>> {
        let plan = ResetPlan::new(&ResetRequest { to, ..ResetRequest::default() }, &facts())?;
        let place = |moved: &OffsetMove| (moved.partition.1, moved.to.get(), moved.ahead);
        Ok(plan.offsets.iter().map(place).collect())
    }

    #[test]
    fn offsets_go_where_they_are_asked_to() -> Result<()> {
        let at = Offset::new;
        let cases = [
            (ResetTarget::Earliest, vec![(0, 100, 150), (1, 0, 50)]),
            (ResetTarget::Latest, vec![(0, 250, 0), (1, 50, 0)]),
            (ResetTarget::Current, vec![(0, 200, 50)]),
            (ResetTarget::Timestamp(Timestamp::from_millis(7)), vec![(0, 180, 70), (1, 50, 0)]),
            (ResetTarget::Each(BTreeMap::from([(orders(1), at(49))])), vec![(1, 49, 1)]),
        ];
        for (to, expected) in cases {
            assert_eq!(planned(to.clone())?, expected, "{to:?}");
        }
        Ok(())
    }

    #[test]
    fn an_offset_that_is_not_there_is_an_error_that_says_what_is() {
        let cases = [
            (
                ResetTarget::Offset(Offset::new(99)),
                "orders-0: it has offsets 100 to 250, not 99; orders-1: it has offsets 0 to 50, not 99",
            ),
            (
                ResetTarget::ShiftBy(-101),
                "orders-0: it has offsets 100 to 250, not 99; orders-1: nothing is committed of it",
            ),
            (ResetTarget::ShiftBy(i64::MIN), "orders-0"),
            (ResetTarget::Each(BTreeMap::from([(orders(0), Offset::new(251))])), "not 251"),
        ];
        for (to, said) in cases {
            let error = planned(to).expect_err("must be refused").to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn internal_topics_are_those_of_this_application_alone() -> Result<()> {
        let deleted = |internal_topics| {
            let request = ResetRequest { internal_topics, ..ResetRequest::default() };
            ResetPlan::new(&request, &facts()).map(|plan| plan.deleted_topics)
        };
        assert_eq!(deleted(InternalTopics::All)?, ["shop-by-sku-repartition", "shop-stock-changelog"]);
        assert_eq!(deleted(InternalTopics::Keep)?, [""; 0]);
        let stock = "shop-stock-changelog".to_owned();
        assert_eq!(deleted(InternalTopics::Named(vec![stock.clone(), stock]))?, ["shop-stock-changelog"]);
        for other in ["shop-news", "shop-eu-stock-changelog"] {
            let error =
                deleted(InternalTopics::Named(vec![other.to_owned()])).expect_err("not its own").to_string();
            assert!(error.contains(other) && error.contains("it has shop-by-sku-repartition"), "{error}");
        }
        Ok(())
    }

    #[test]
    fn the_topics_of_foreign_key_joins_are_internal_named_or_not() {
        for (topic, expected) in [
            ("shop-with-customer-subscription-registration-topic", true),
            ("shop-with-customer-subscription-response-topic", true),
            ("shop-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic", true),
            ("shop-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000014-topic", true),
            ("shop-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-topic", false),
            ("shop-news-0000000014-topic", false),
        ] {
            assert_eq!(is_internal(topic, "shop", &[]), expected, "{topic}");
        }
    }

    #[test]
    fn local_state_is_removed_unless_it_is_to_stay() -> Result<()> {
        let state = |keep_local_state| {
            let request = ResetRequest { keep_local_state, ..ResetRequest::default() };
            ResetPlan::new(&request, &facts()).map(|plan| plan.state)
        };
        assert_eq!(state(false)?.map(|state| state.tasks), Some(facts().tasks));
        assert_eq!(state(true)?, None);
        Ok(())
    }

    #[test]
    fn members_are_removed_only_if_asked_and_where_they_can_be() {
        let member = |number: u8, can_be_removed| GroupMember {
            client_id: format!("shop-StreamThread-{number}"),
            host: "/10.0.0.7".to_owned(),
            member_id: format!("m-{number}"),
            group_instance_id: None,
            can_be_removed,
        };
        let plan = |members: &[GroupMember], remove_members| {
            let request = ResetRequest { remove_members, ..ResetRequest::default() };
            ResetPlan::new(&request, &ResetFacts { members: members.to_vec(), ..facts() })
        };
        let classic = [member(1, true), member(2, true)];
        let consumer_protocol = [member(3, false)];
        assert_eq!(plan(&classic, true).unwrap().removed_members, classic);
        let json = plan(&classic, true).unwrap().to_json();
        assert_eq!(json["removed_members"][1]["client_id"], "shop-StreamThread-2");
        assert_eq!(plan(&[], true).unwrap().removed_members, []);
        for (members, asked, said) in [
            (&classic[..], false, "shop is running: stop its instances first"),
            (&classic[..], false, "--force. Members: shop-StreamThread-1 on /10.0.0.7, shop-StreamThread-2"),
            (&consumer_protocol[..], true, "KIP-848"),
            (&consumer_protocol[..], true, "Members: shop-StreamThread-3 on /10.0.0.7"),
        ] {
            let error = plan(members, asked).expect_err("must be refused").to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    fn selected(topics: &[&str]) -> Result<Vec<Partition>> {
        let input_topics = topics.iter().map(|topic| topic.parse()).collect::<Result<_>>()?;
        let request = ResetRequest { input_topics, ..ResetRequest::default() };
        let facts = facts();
        let committed = BTreeMap::from([
            (orders(0), Offset::new(200)),
            (("shop-by-sku-repartition".to_owned(), 0), Offset::new(7)),
        ]);
        Ok(select(&request, "shop", &facts.topics, &facts.groups, &committed)?.into_iter().collect())
    }

    #[test]
    fn inputs_are_what_is_named_else_what_is_committed() -> Result<()> {
        assert_eq!(selected(&[])?, [orders(0)], "and no internal topic");
        assert_eq!(selected(&["orders"])?, [orders(0), orders(1)]);
        assert_eq!(selected(&["orders:1"])?, [orders(1)]);
        for (topic, said) in [
            ("ordes", "topic ordes does not exist; there are orders, shop-eu-stock-changelog, shop-news"),
            ("orders:2", "topic orders has partitions 0 to 1, not 2"),
            ("shop-stock-changelog", "is an internal topic of shop"),
        ] {
            let error = selected(&[topic]).expect_err("must be refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        Ok(())
    }

    #[test]
    fn an_application_nobody_knows_is_an_error() {
        let groups = ["shop".to_owned()];
        let request = ResetRequest::default();
        let error =
            select(&request, "shpo", &facts().topics, &groups, &BTreeMap::new()).unwrap_err().to_string();
        assert!(
            error.contains("shpo has committed no offsets") && error.contains("Other groups: shop"),
            "{error}"
        );
    }

    #[test]
    fn the_plan_is_shown_to_programs() {
        let plan = ResetPlan::new(&ResetRequest::default(), &facts()).unwrap();
        let offset = |partition, from: Option<i64>, to, ahead| json!({ "topic": "orders", "partition": partition, "from": from, "to": to, "ahead": ahead });
        let expected = json!({
            "application_id": "shop",
            "removed_members": [],
            "offsets": [offset(0, Some(200), 100, 150), offset(1, None, 0, 50)],
            "deleted_topics": ["shop-by-sku-repartition", "shop-stock-changelog"],
            "removed_state": { "path": "/var/lib/millstream/shop", "tasks": ["0_1", "global-0"] },
        });
        assert_eq!(plan.to_json(), expected);
    }
}
