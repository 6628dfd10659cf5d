//! `range`, by which groups share out partitions, as a function: whose a task is follows from the members and from how many partitions
//! there are. So it can be told before whose a task will be when some members are gone.

use millstream_state_stores::TaskId;

use super::inputs::Inputs;
use crate::config::GroupProtocol;
use crate::kafka::MemberAssignment;

/// Members of a group, in the order in which each topic's partitions are dealt out to them, in runs.
pub(crate) struct Range<'a> {
    members: Vec<&'a MemberAssignment>,
    inputs: &'a Inputs,
}

impl<'a> Range<'a> {
    pub(crate) fn over(
        protocol: GroupProtocol,
        inputs: &'a Inputs,
        members: impl IntoIterator<Item = &'a MemberAssignment>,
    ) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by_key(|&member| order(protocol, member));
        Range { members, inputs }
    }

    /// The same when some members are gone.
    pub(crate) fn without(&self, is_gone: impl Fn(&MemberAssignment) -> bool) -> Self {
        let members = self.members.iter().copied().filter(|member| !is_gone(member)).collect();
        Range { members, ..*self }
    }

    /// Whose a task is; nobody's if there are no members, or no such task.
    pub(crate) fn owner(&self, task: TaskId) -> Option<&'a MemberAssignment> {
        let tasks = self.inputs.task_count(task.subtopology);
        if !(0..tasks).contains(&task.partition) {
            return None;
        }
        let place = place(to_usize(task.partition), to_usize(tasks), self.members.len())?;
        self.members.get(place).copied()
    }
}

/// Static members go by their instance ids, the others by their member ids. Among both kinds, the coordinator (Kafka 4's `RangeAssignor`) has
/// the static ones first; librdkafka compares member ids then, and those of static members begin with their instance ids.
fn order(protocol: GroupProtocol, member: &MemberAssignment) -> (bool, &str) {
    let instance = member.group_instance_id.as_deref();
    let comes_second = protocol == GroupProtocol::Consumer && instance.is_none();
    (comes_second, instance.unwrap_or(&member.member_id))
}

/// Which of so many members a partition goes to: all get equally many, one after the other, and the first ones one more each if they do not
/// come out even.
fn place(partition: usize, partitions: usize, members: usize) -> Option<usize> {
    let (share, with_one_more) = (partitions.checked_div(members)?, partitions % members);
    let dealt_to_those = with_one_more * (share + 1);
    Some(match partition.checked_sub(dealt_to_those) {
        None => partition / (share + 1),
        Some(rest) => with_one_more + rest / share,
    })
}

fn to_usize(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(member_id: &str, group_instance_id: Option<&str>) -> MemberAssignment {
        MemberAssignment {
            client_id: String::new(),
            member_id: member_id.into(),
            group_instance_id: group_instance_id.map(str::to_owned),
            partitions: Vec::new(),
        }
    }

    /// Whose the tasks of sub-topology 1 are.
    fn dealt(range: &Range<'_>) -> String {
        let owners = (0..).map_while(|partition| range.owner(TaskId { subtopology: 1, partition }));
        owners.map(|owner| owner.member_id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_first_members_get_one_more_if_it_does_not_come_out_even() {
        let members = ["b", "c", "a"].map(|name| member(name, None));
        let cases = [
            (7, "a a a b b c c", "a a a a c c c"),
            (6, "a a b b c c", "a a a c c c"),
            (2, "a b", "a c"),
            (0, "", ""),
        ];
        for (partitions, expected, without_b) in cases {
            let inputs = Inputs::new([("by-sku".into(), 1, partitions)]);
            let range = Range::over(GroupProtocol::Classic, &inputs, &members);
            assert_eq!(dealt(&range), expected);
            assert_eq!(dealt(&range.without(|member| member.member_id == "b")), without_b);
            assert_eq!(dealt(&range.without(|_| true)), "");
            assert!(range.owner(TaskId { subtopology: 0, partition: 0 }).is_none(), "nobody reads for it");
        }
    }

    #[test]
    fn static_members_keep_their_places_whatever_they_are_called_by_the_brokers() {
        let members =
            [member("pod-2-x", Some("pod-2")), member("m", None), member("pod-10-y", Some("pod-10"))];
        let inputs = Inputs::new([("by-sku".into(), 1, 3)]);
        let cases =
            [(GroupProtocol::Classic, "m pod-10-y pod-2-x"), (GroupProtocol::Consumer, "pod-10-y pod-2-x m")];
        for (protocol, expected) in cases {
            assert_eq!(dealt(&Range::over(protocol, &inputs, &members)), expected, "{protocol:?}");
        }
    }
}
