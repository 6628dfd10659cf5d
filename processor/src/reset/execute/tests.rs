//! Resets on a cluster in memory, which can fail at any point.

use std::cell::{Cell, RefCell};

use millstream_state_stores::TaskId;

use super::*;

const TASK: TaskId = TaskId { subtopology: 0, partition: 0 };

/// A cluster where each change may be the last before the process dies.
#[derive(Default)]
struct FakeCluster {
    topics: RefCell<BTreeMap<String, i32>>,
    committed: RefCell<BTreeMap<Partition, (Offset, String)>>,
    members: RefCell<Vec<GroupMember>>,
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
    let plan = plan(cluster, "shop", directory, &ResetRequest::default())?;
    let mut steps = Vec::new();
    execute(cluster, directory, &plan, |step| steps.push(step.clone()))?;
    Ok(steps)
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
            ResetStep::StateRemoved(TASK),
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
    let member = GroupMember { client_id: "shop-StreamThread-1".to_owned(), host: "/10.0.0.7".to_owned() };
    let request = ResetRequest::default();
    let made_before = plan(&cluster, "shop", &directory, &request).unwrap();
    cluster.members.borrow_mut().push(member);
    let planned = plan(&cluster, "shop", &directory, &request).map(drop);
    let executed = execute(&cluster, &directory, &made_before, |_step| {});
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
    assert!(error.contains(&*directory.task(TASK).to_string_lossy()), "{error}");
    assert_eq!(committed(&cluster), [(3, UNFINISHED.to_owned())]);
    drop(held);
    reset(&cluster, &directory)?;
    assert_eq!(committed(&cluster), [(3, String::new())]);
    Ok(())
}
