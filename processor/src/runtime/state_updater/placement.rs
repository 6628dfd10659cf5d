//! Where standbys belong, as a function of who runs which task. Every instance comes to the same answer, so that nobody has to be asked.

use std::collections::{BTreeMap, BTreeSet};

use millstream_state_stores::{TaskId, murmur2};

use crate::kafka::MemberAssignment;
use crate::membership::Inputs;

/// The tasks that each live instance runs, by its process id; under none, those of members that do not say of which process they are,
/// and so have no standbys.
pub(crate) type ActiveTasks = BTreeMap<Option<String>, BTreeSet<TaskId>>;

/// What a stream thread's clients are called in Kafka, up to what each of them does: `<application>-StreamThread-<n>-<process>`. Others
/// read off it which process a member of the group is of. The process comes last, other than in Kafka Streams, because `range` deals
/// partitions to members sorted by their ids, which begin like this: so the first threads of all processes come before the second ones,
/// and no process has two threads at work while another has none.
pub(crate) fn client_id(application_id: &str, process_id: &str, thread: usize) -> String {
    format!("{application_id}-StreamThread-{thread}-{process_id}")
}

/// The process that a client of the application is of; none if it is called otherwise.
pub(crate) fn process_of<'a>(application_id: &str, client_id: &'a str) -> Option<&'a str> {
    let rest = client_id.strip_prefix(application_id)?.strip_prefix("-StreamThread-")?;
    let (_thread, rest) = rest.split_once('-')?;
    rest.rsplit_once('-').map(|(process, _purpose)| process)
}

/// Which instance runs what.
pub(crate) fn active_tasks(
    application_id: &str,
    inputs: &Inputs,
    members: &[MemberAssignment],
) -> ActiveTasks {
    let mut active = ActiveTasks::new();
    for member in members {
        let process = process_of(application_id, &member.client_id).map(str::to_owned);
        let tasks = active.entry(process).or_default();
        tasks
            .extend(member.partitions.iter().filter_map(|(topic, partition)| inputs.task(topic, *partition)));
    }
    active
}

/// The tasks that the instance `me` keeps standbys of, if each of those that `is_stateful` is to have `replicas` of them: on the
/// instances with the greatest weights for the task (rendezvous hashing), never on one that runs it. When an instance comes or goes, only the
/// standbys move that it has or gets.
pub(crate) fn standbys_of(
    me: &str,
    active: &ActiveTasks,
    replicas: usize,
    is_stateful: impl Fn(TaskId) -> bool,
) -> BTreeSet<TaskId> {
    let tasks: BTreeSet<TaskId> =
        active.values().flatten().copied().filter(|task| is_stateful(*task)).collect();
    let is_mine = |task: &TaskId| {
        let others = active.iter().filter(|(_, tasks)| !tasks.contains(task));
        let mut others: Vec<&str> = others.filter_map(|(process, _)| process.as_deref()).collect();
        others.sort_by_cached_key(|process| std::cmp::Reverse((weight(process, *task), *process)));
        others.iter().take(replicas).any(|process| *process == me)
    };
    tasks.into_iter().filter(is_mine).collect()
}

fn weight(process: &str, task: TaskId) -> u32 {
    // Once more, because its last step mixes the last bytes too little for names that differ in their last letter alone.
    let first = murmur2(format!("{process} {task}").as_bytes());
    murmur2(&first.to_be_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(partition: i32) -> TaskId {
        TaskId { subtopology: 1, partition }
    }

    /// `tasks` spread over instances `i-0`, `i-1`, .. in runs, as `range` does it.
    fn active(instances: usize, tasks: i32) -> ActiveTasks {
        let mut active: ActiveTasks = (0..instances).map(|number| (name(number), BTreeSet::new())).collect();
        for partition in 0..tasks {
            let place = usize::try_from(partition).unwrap() * instances / usize::try_from(tasks).unwrap();
            active.get_mut(&name(place)).unwrap().insert(task(partition));
        }
        active
    }

    fn name(number: usize) -> Option<String> {
        Some(format!("i-{number}"))
    }

    fn placed(active: &ActiveTasks, replicas: usize) -> BTreeMap<TaskId, Vec<&str>> {
        let mut placed: BTreeMap<TaskId, Vec<&str>> = BTreeMap::new();
        for me in active.keys().flatten() {
            for task in standbys_of(me, active, replicas, |_| true) {
                placed.entry(task).or_default().push(me);
            }
        }
        placed
    }

    #[test]
    fn client_ids_name_their_process() {
        let id = client_id("shop-eu", "6f-1a", 2);
        assert_eq!(id, "shop-eu-StreamThread-2-6f-1a");
        let cases = [
            (&*format!("{id}-consumer"), Some("6f-1a")),
            ("shop-eu-6f-1a-admin", None),
            ("shop-eux-StreamThread-1-6f-consumer", None),
            ("orders-StreamThread-1-6f-consumer", None),
        ];
        for (client_id, process) in cases {
            assert_eq!(process_of("shop-eu", client_id), process, "{client_id}");
        }
    }

    #[test]
    fn partitions_make_tasks_and_threads_make_instances() {
        let inputs = Inputs::new([("orders".into(), 0, 2), ("stock".into(), 0, 2), ("by-sku".into(), 1, 4)]);
        let member = |client_id: &str, partitions: &[(&str, i32)]| MemberAssignment {
            client_id: client_id.to_owned(),
            partitions: partitions
                .iter()
                .map(|(topic, partition)| ((*topic).to_owned(), *partition))
                .collect(),
        };
        let members = [
            member("shop-StreamThread-1-a-consumer", &[("orders", 0), ("stock", 0)]),
            member("shop-StreamThread-2-a-consumer", &[("by-sku", 3), ("unknown", 1)]),
            member("a-console", &[("orders", 1)]),
            member("shop-StreamThread-1-b-consumer", &[]),
        ];
        let active = active_tasks("shop", &inputs, &members);
        let first = TaskId { subtopology: 0, partition: 0 };
        let expected = ActiveTasks::from([
            (Some("a".to_owned()), BTreeSet::from([first, task(3)])),
            (None, BTreeSet::from([TaskId { partition: 1, ..first }])),
            (Some("b".to_owned()), BTreeSet::new()),
        ]);
        assert_eq!(active, expected);
        let standbys = |me| standbys_of(me, &active, 2, |_| true).len();
        assert_eq!((standbys("a"), standbys("b"), standbys("a-console")), (1, 3, 0));
    }

    #[test]
    fn each_task_has_its_standbys_elsewhere_as_far_as_there_are_instances() {
        for (instances, replicas) in [(1, 1), (2, 1), (3, 1), (3, 2), (3, 5), (5, 2)] {
            let active = active(instances, 40);
            let placed = placed(&active, replicas);
            let expected = replicas.min(instances - 1);
            assert_eq!(placed.len(), if expected == 0 { 0 } else { 40 });
            for (task, places) in placed {
                assert_eq!(places.len(), expected, "{task} on {places:?}");
                assert!(
                    places.iter().all(|place| !active[&Some((*place).to_owned())].contains(&task)),
                    "{task} on {places:?}"
                );
            }
        }
        assert!(standbys_of("i-0", &active(3, 40), 1, |_| false).is_empty(), "none of them has state");
        assert!(standbys_of("stranger", &active(3, 40), 1, |_| true).is_empty(), "it is not in the group");
    }

    #[test]
    fn standbys_are_spread_and_only_those_move_that_have_to() {
        let before = active(4, 400);
        for me in before.keys().flatten() {
            let many = standbys_of(me, &before, 1, |_| true).len();
            assert!((60..140).contains(&many), "{me} has {many} of 400 on 4");
        }
        // i-3 goes; what it ran comes to the others.
        let mut after = before.clone();
        let orphans = after.remove(&name(3)).unwrap();
        after.get_mut(&name(0)).unwrap().extend(&orphans);
        let (before, after) = (placed(&before, 1), placed(&after, 1));
        for (task, places) in &before {
            let has_to_move = places[0] == "i-3" || orphans.contains(task) && places[0] == "i-0";
            assert!(has_to_move || after[task] == *places, "{task} from {places:?} to {:?}", after[task]);
        }
    }
}
