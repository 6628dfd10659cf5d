//! Resets on a cluster in memory, which can fail at any point.

use std::cell::{Cell, RefCell};

use millstream_state_stores::TaskId;

use super::*;
use crate::clock::ManualClock;

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

/// A cluster where each change may be the last before the process dies.
#[derive(Default)]
struct FakeCluster {
    topics: RefCell<BTreeMap<String, i32>>,
    committed: RefCell<BTreeMap<Partition, (Offset, String)>>,
    members: RefCell<Vec<GroupMember>>,
    /// How often members that were removed come back at once.
    returns: Cell<u32>,
    /// How often there are members when the reset is to be finished.
    visits: Cell<u32>,
    /// Changes that are made before all further ones fail.
    changes_left: Cell<Option<usize>>,
}

impl FakeCluster {
    fn change(&self) -> Result<()> {
        match self.changes_left.get() {
            Some(0) => Err(Error::fatal("the process died")),
            left => {
                self.changes_left.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

impl ResetCluster for FakeCluster {
    fn topics(&self) -> Result<BTreeMap<String, i32>> {
        Ok(self.topics.borrow().clone())
    }

    fn group_ids(&self) -> Result<Vec<String>> {
        Ok(vec!["shop".to_owned()])
    }

    fn members(&self) -> Result<Vec<GroupMember>> {
        Ok(self.members.borrow().clone())
    }

    fn remove_members(&self, members: &[GroupMember]) -> Result<()> {
        self.change()?;
        match self.returns.get() {
            0 => self.members.borrow_mut().retain(|member| !members.contains(member)),
            returns => self.returns.set(returns - 1),
        }
        Ok(())
    }

    fn committed(&self) -> Result<BTreeMap<Partition, Offset>> {
        let committed = self.committed.borrow();
        Ok(committed.iter().map(|(partition, (offset, _))| (partition.clone(), *offset)).collect())
    }

    fn bounds(&self, _partition: &Partition) -> Result<(Offset, Offset)> {
        Ok((Offset::new(3), Offset::new(10)))
    }

    fn at_time(&self, partitions: &[Partition], _time: Timestamp) -> Result<BTreeMap<Partition, Offset>> {
        Ok(partitions.iter().map(|partition| (partition.clone(), Offset::new(5))).collect())
    }

    fn commit(&self, offsets: &[(Partition, Offset)], note: &str) -> Result<()> {
        self.change()?;
        let is_visited = note.is_empty() && self.visits.get() > 0;
        if is_visited {
            self.visits.set(self.visits.get() - 1);
        }
        if is_visited || !self.members.borrow().is_empty() {
            return Err(Error::new(ErrorKind::Migrated, "the group has members"));
        }
        for (partition, offset) in offsets {
            self.committed.borrow_mut().insert(partition.clone(), (*offset, note.to_owned()));
        }
        Ok(())
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.change()?;
        self.topics.borrow_mut().remove(topic);
        Ok(())
    }
}

/// An application that has counted seven records, with its state on the disk.
fn application() -> (tempfile::TempDir, StateDirectory, FakeCluster) {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    drop(directory.lock_task(TASK).unwrap());
    let topics = ["orders", "shop-counts-changelog", "shop-by-sku-repartition"];
    let orders = (("orders".to_owned(), 0), (Offset::new(10), String::new()));
    let cluster = FakeCluster {
        topics: RefCell::new(topics.map(|name| (name.to_owned(), 1)).into()),
        committed: RefCell::new(BTreeMap::from([orders])),
        ..FakeCluster::default()
    };
    (root, directory, cluster)
}

fn reset(cluster: &FakeCluster, directory: &StateDirectory) -> Result<Vec<ResetStep>> {
    reset_as(cluster, directory, &ResetRequest::default())
}

fn reset_as(
    cluster: &FakeCluster,
    directory: &StateDirectory,
    request: &ResetRequest,
) -> Result<Vec<ResetStep>> {
    let plan = plan(cluster, "shop", directory, request)?;
    let mut steps = Vec::new();
    execute(cluster, directory, &*clock(), &plan, |step| steps.push(step.clone()))?;
    Ok(steps)
}

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_millis(0))
}

fn member(number: u32) -> GroupMember {
    GroupMember {
        client_id: format!("shop-StreamThread-{number}"),
        host: "/10.0.0.7".to_owned(),
        member_id: format!("m-{number}"),
        group_instance_id: None,
        can_be_removed: true,
    }
}

fn committed(cluster: &FakeCluster) -> Vec<(i64, String)> {
    cluster.committed.borrow().values().map(|(offset, note)| (offset.get(), note.clone())).collect()
}

#[test]
fn everything_of_the_application_is_reset_and_nothing_else() -> Result<()> {
    let (_root, directory, cluster) = application();
    let steps = reset(&cluster, &directory)?;
    assert_eq!(
        steps,
        [
            ResetStep::Begun,
            ResetStep::TopicDeleted("shop-by-sku-repartition".to_owned()),
            ResetStep::TopicDeleted("shop-counts-changelog".to_owned()),
            ResetStep::StateRemoved(TASK.into()),
            ResetStep::Finished,
        ]
    );
    assert_eq!(committed(&cluster), [(3, String::new())]);
    assert_eq!(cluster.topics.borrow().keys().collect::<Vec<_>>(), ["orders"]);
    assert_eq!(directory.list()?, []);
    Ok(())
}

#[test]
fn a_reset_that_died_anywhere_is_noticed_and_ends_right_when_run_again() -> Result<()> {
    for changes in 0.. {
        let (_root, directory, cluster) = application();
        cluster.changes_left.set(Some(changes));
        let first = reset(&cluster, &directory);
        let is_noted = committed(&cluster).iter().all(|(_, note)| note == UNFINISHED);
        assert_eq!(is_noted, changes > 0 && first.is_err(), "after {changes} changes");
        if changes == 0 {
            assert_eq!(cluster.topics.borrow().len(), 3, "nothing has changed");
        }
        cluster.changes_left.set(None);
        reset(&cluster, &directory)?;
        assert_eq!(committed(&cluster), [(3, String::new())], "after {changes} changes");
        assert_eq!(cluster.topics.borrow().len(), 1, "after {changes} changes");
        assert_eq!(directory.list()?, [], "after {changes} changes");
        if first.is_ok() {
            assert_eq!(changes, 4, "two commits and two topics");
            return Ok(());
        }
    }
    unreachable!("a reset has an end")
}

#[test]
fn a_running_application_is_refused_and_named() {
    let (_root, directory, cluster) = application();
    let request = ResetRequest::default();
    let made_before = plan(&cluster, "shop", &directory, &request).unwrap();
    cluster.members.borrow_mut().push(member(1));
    let planned = plan(&cluster, "shop", &directory, &request).map(drop);
    let executed = execute(&cluster, &directory, &*clock(), &made_before, |_step| {});
    for error in [planned, executed].map(|outcome| outcome.unwrap_err().to_string()) {
        assert!(
            error.contains("shop is running") && error.contains("shop-StreamThread-1 on /10.0.0.7"),
            "{error}"
        );
    }
    assert_eq!(committed(&cluster), [(10, String::new())]);
}

#[test]
fn state_that_is_in_use_ends_the_reset_before_it_is_finished() -> Result<()> {
    let (_root, directory, cluster) = application();
    let held = directory.lock_task(TASK)?;
    let error = reset(&cluster, &directory).unwrap_err().to_string();
    assert!(error.contains(&*directory.of(TASK).to_string_lossy()), "{error}");
    assert_eq!(committed(&cluster), [(3, UNFINISHED.to_owned())]);
    drop(held);
    reset(&cluster, &directory)?;
    assert_eq!(committed(&cluster), [(3, String::new())]);
    Ok(())
}

#[test]
fn members_are_removed_first_also_those_that_come_back_before_the_offsets_are_moved() -> Result<()> {
    let request = ResetRequest { remove_members: true, ..ResetRequest::default() };
    for returns in [0, 2] {
        let (_root, directory, cluster) = application();
        cluster.members.borrow_mut().extend([member(1), member(2)]);
        cluster.returns.set(returns);
        let steps = reset_as(&cluster, &directory, &request)?;
        let removal = |_| [1, 2].map(|number| ResetStep::MemberRemoved(member(number)));
        let removals: Vec<ResetStep> = (0..=returns).flat_map(removal).collect();
        assert_eq!(&steps[..removals.len()], &removals[..]);
        assert_eq!((&steps[removals.len()], steps.last()), (&ResetStep::Begun, Some(&ResetStep::Finished)));
        assert_eq!(committed(&cluster), [(3, String::new())]);
    }
    let (_root, directory, cluster) = application();
    cluster.members.borrow_mut().push(member(1));
    cluster.returns.set(u32::MAX);
    let error = reset_as(&cluster, &directory, &request).unwrap_err().to_string();
    assert!(error.contains("shop is running"), "{error}");
    assert_eq!(committed(&cluster), [(10, String::new())], "nothing has changed");
    Ok(())
}

#[test]
fn members_that_come_back_to_be_refused_are_waited_for() -> Result<()> {
    let request = ResetRequest { remove_members: true, ..ResetRequest::default() };
    let (_root, directory, cluster) = application();
    cluster.members.borrow_mut().push(member(1));
    cluster.visits.set(3);
    let steps = reset_as(&cluster, &directory, &request)?;
    assert_eq!(steps.last(), Some(&ResetStep::Finished));
    assert_eq!(committed(&cluster), [(3, String::new())]);
    cluster.visits.set(1);
    let nobody_was_removed = reset(&cluster, &directory).unwrap_err().to_string();
    assert!(nobody_was_removed.contains("members came back"), "{nobody_was_removed}");
    assert_eq!(committed(&cluster), [(3, UNFINISHED.to_owned())]);
    Ok(())
}

#[test]
fn members_that_are_not_in_the_plan_are_not_removed() {
    let (_root, directory, cluster) = application();
    let request = ResetRequest { remove_members: true, ..ResetRequest::default() };
    let made_before = plan(&cluster, "shop", &directory, &request).unwrap();
    cluster.members.borrow_mut().push(member(1));
    let error = execute(&cluster, &directory, &*clock(), &made_before, |_step| {}).unwrap_err().to_string();
    assert!(error.contains("shop is running"), "{error}");
    assert_eq!(cluster.members.borrow().len(), 1);
}

#[test]
fn state_is_waited_for_only_if_its_instance_was_removed() -> Result<()> {
    let (_root, directory, cluster) = application();
    let held = directory.lock_task(TASK)?;
    cluster.members.borrow_mut().push(member(1));
    let request = ResetRequest { remove_members: true, ..ResetRequest::default() };
    let plan = plan(&cluster, "shop", &directory, &request)?;
    let clock = clock();
    let error = execute(&cluster, &directory, &*clock, &plan, |_step| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert!(clock.monotonic() >= PATIENCE_WITH_REMOVED);
    assert_eq!(committed(&cluster), [(3, UNFINISHED.to_owned())]);
    drop(held);
    reset(&cluster, &directory)?;
    assert_eq!(directory.list()?, []);
    Ok(())
}
