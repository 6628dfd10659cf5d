//! Placement in groups that deal out their tasks as Kafka's do.

use super::*;

fn task(partition: i32) -> TaskId {
    TaskId { subtopology: 1, partition }
}

fn inputs(tasks: i32) -> Inputs {
    Inputs::new([("by-sku".into(), 1, tasks)])
}

/// What the order of members follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Client ids, which the brokers put before something of their own.
    Classic,
    /// Something that clients make up.
    Consumer,
    /// The names of instances.
    Static,
}

/// A group of instances `i-0`, `i-1`, .. with so many threads each.
#[derive(Clone)]
struct Group {
    kind: Kind,
    inputs_of: i32,
    members: Vec<MemberAssignment>,
}

impl Group {
    fn new(kind: Kind, instances: usize, threads: usize, tasks: i32) -> Self {
        let member = |instance: usize, thread: usize| {
            let process = format!("i-{instance}");
            let client_id = format!("{}-consumer", client_id("shop", &process, thread));
            let made_up = weight(&client_id, task(0)).to_string();
            MemberAssignment {
                member_id: if kind == Kind::Classic { format!("{client_id}-{made_up}") } else { made_up },
                group_instance_id: (kind == Kind::Static).then(|| format!("{process}-{thread}")),
                client_id,
                partitions: Vec::new(),
            }
        };
        let of_instance = |instance| (1..=threads).map(move |thread| member(instance, thread));
        let members = (0..instances).flat_map(of_instance).collect();
        let mut group = Group { kind, inputs_of: tasks, members };
        group.rebalance();
        group
    }

    fn protocol(&self) -> GroupProtocol {
        if self.kind == Kind::Consumer { GroupProtocol::Consumer } else { GroupProtocol::Classic }
    }

    /// As a group does it, which knows of members and partitions only.
    fn rebalance(&mut self) {
        let order = |member: &MemberAssignment| (member.group_instance_id.clone(), member.member_id.clone());
        self.members.sort_by_key(order);
        let tasks = usize::try_from(self.inputs_of).unwrap();
        let (each, more) = (tasks / self.members.len(), tasks % self.members.len());
        let mut left = 0..self.inputs_of;
        for (place, member) in self.members.iter_mut().enumerate() {
            let share = left.by_ref().take(each + usize::from(place < more));
            member.partitions = share.map(|partition| ("by-sku".to_owned(), partition)).collect();
        }
    }

    fn without(&self, process: &str) -> Self {
        let mut left = self.clone();
        left.members.retain(|member| process_of("shop", &member.client_id) != Some(process));
        left.rebalance();
        left
    }

    /// Which instance runs each task.
    fn owners(&self) -> BTreeMap<TaskId, &str> {
        let mut owners = BTreeMap::new();
        for member in &self.members {
            let process = process_of("shop", &member.client_id).unwrap();
            owners.extend(member.partitions.iter().map(|(_, partition)| (task(*partition), process)));
        }
        owners
    }

    fn processes(&self) -> BTreeSet<&str> {
        self.members.iter().filter_map(|member| process_of("shop", &member.client_id)).collect()
    }

    /// Where each task has its standbys, by the account of those that have them.
    fn standbys(&self, replicas: usize) -> BTreeMap<TaskId, BTreeSet<&str>> {
        let inputs = inputs(self.inputs_of);
        let mut placed: BTreeMap<TaskId, BTreeSet<&str>> = BTreeMap::new();
        for me in self.processes() {
            // Each is told of the members in another order.
            let mut members = self.members.clone();
            members.rotate_left(usize::try_from(weight(me, task(0))).unwrap() % self.members.len());
            let placement = Placement::of("shop", self.protocol(), &inputs, &members);
            for task in placement.standbys(me, replicas, |_| true) {
                placed.entry(task).or_default().insert(me);
            }
        }
        placed
    }
}

/// Of the tasks that move when one instance is gone, whichever it is: how many there are, and how many find no copy. First those of that
/// instance, then those that others ran.
fn moves(group: &Group, replicas: usize) -> [(usize, usize); 2] {
    let (before, standbys) = (group.owners(), group.standbys(replicas));
    let mut moves = [(0, 0); 2];
    for gone in group.processes() {
        for (task, process) in group.without(gone).owners() {
            if before[&task] != process {
                let (moved, without_copy) = &mut moves[usize::from(before[&task] != gone)];
                *moved += 1;
                *without_copy += usize::from(!standbys[&task].contains(process));
            }
        }
    }
    moves
}

/// Sizes of groups, and of what they share.
fn groups(kind: Kind, threads: usize) -> impl Iterator<Item = Group> {
    let sizes = (2..=5).flat_map(|instances| (1..=24).map(move |tasks| (instances, tasks)));
    sizes.map(move |(instances, tasks)| Group::new(kind, instances, threads, tasks))
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
        member_id: client_id.to_owned(),
        group_instance_id: None,
        partitions: partitions.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition)).collect(),
    };
    let members = [
        member("shop-StreamThread-1-a-consumer", &[("orders", 0), ("stock", 0)]),
        member("shop-StreamThread-2-a-consumer", &[("by-sku", 3), ("unknown", 1)]),
        member("a-console", &[("orders", 1)]),
        member("shop-StreamThread-1-b-consumer", &[]),
    ];
    let placement = Placement::of("shop", GroupProtocol::Classic, &inputs, &members);
    let first = TaskId { subtopology: 0, partition: 0 };
    let expected = BTreeMap::from([
        (Some("a"), BTreeSet::from([first, task(3)])),
        (None, BTreeSet::from([TaskId { partition: 1, ..first }])),
        (Some("b"), BTreeSet::new()),
    ]);
    assert_eq!(placement.active, expected);
    assert_eq!(placement.active("stranger"), None);
    let standbys = |me| placement.standbys(me, 2, |_| true).len();
    assert_eq!((standbys("a"), standbys("b"), standbys("a-console")), (1, 3, 0));
}

#[test]
fn each_task_has_its_standbys_elsewhere_as_far_as_there_are_instances() {
    for (instances, replicas) in [(1, 1), (2, 1), (3, 1), (3, 2), (3, 5), (5, 2)] {
        let group = Group::new(Kind::Classic, instances, 2, 40);
        let (owners, standbys) = (group.owners(), group.standbys(replicas));
        let expected = replicas.min(instances - 1);
        assert_eq!(standbys.len(), if expected == 0 { 0 } else { 40 });
        for (task, places) in standbys {
            assert_eq!(places.len(), expected, "{task} on {places:?}");
            assert!(!places.contains(owners[&task]), "{task} runs on {}, of {places:?}", owners[&task]);
        }
    }
    let (inputs, group) = (inputs(40), Group::new(Kind::Classic, 3, 1, 40));
    let placement = Placement::of("shop", group.protocol(), &inputs, &group.members);
    assert!(placement.standbys("i-0", 1, |_| false).is_empty(), "none of them has state");
    assert!(placement.standbys("stranger", 1, |_| true).is_empty(), "it is not in the group");
}

#[test]
fn the_tasks_of_an_instance_that_ends_find_their_copies_whichever_it_is() {
    for kind in [Kind::Classic, Kind::Consumer, Kind::Static] {
        for group in (1..=3).flat_map(|threads| groups(kind, threads)) {
            let [moves, _] = moves(&group, 1);
            assert_eq!(moves, (group.owners().len(), 0), "{kind:?}, {:?}", group.owners());
        }
    }
}

#[test]
fn so_do_those_that_move_between_others_with_one_thread_each_or_static_members_or_two_replicas() {
    // In how many threads, and with how many replicas.
    let cases = [
        (Kind::Classic, 1, 1),
        (Kind::Classic, 2, 2),
        (Kind::Classic, 3, 2),
        (Kind::Static, 1, 1),
        (Kind::Static, 2, 1),
        (Kind::Static, 3, 1),
        (Kind::Consumer, 1, 1),
    ];
    for (kind, threads, replicas) in cases {
        let mut all_moved = 0;
        for group in groups(kind, threads) {
            let [_, (moved, without_copy)] = moves(&group, replicas);
            assert_eq!(
                without_copy,
                0,
                "{kind:?}, {threads} threads, {replicas} replicas: {:?}",
                group.owners()
            );
            all_moved += moved;
        }
        assert!(all_moved > 100, "{kind:?}: {all_moved}");
    }
}

#[test]
fn copies_that_nothing_speaks_for_are_spread() {
    // The first replica of each task is where range would have it; the third one is anywhere.
    let group = Group::new(Kind::Classic, 6, 1, 600);
    let (two, three) = (group.standbys(2), group.standbys(3));
    for me in group.processes() {
        let third =
            three.iter().filter(|(task, places)| places.contains(me) && !two[task].contains(me)).count();
        assert!((60..140).contains(&third), "{me} has {third} of 600 on 6");
    }
}
