//! Directories on a real file system: who gets them, when they were used, when they go.

use std::time::Duration;

use super::*;

const TASK: TaskId = TaskId { subtopology: 0, partition: 3 };

#[test]
fn a_task_is_locked_by_one_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let held = directory.lock_task(TASK).unwrap();
    let error = directory.lock_task(TASK).unwrap_err();
    let StoreError::Locked { path } = &error else { panic!("{error:?}") };
    assert_eq!(*path, directory.of(TASK));
    assert!(error.to_string().contains("give every process its own `state_dir`"), "{error}");
    drop(held);
    directory.lock_task(TASK).unwrap();
}

#[test]
fn a_process_finds_its_id_again_and_shares_it_with_nobody() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let first = directory.claim_process_id(|| "first".to_owned()).unwrap();
    let second = directory.claim_process_id(|| "second".to_owned()).unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("first", "second"));
    drop(first);
    let again = directory.claim_process_id(|| unreachable!("it has an id")).unwrap();
    assert_eq!(again.as_str(), "first");
    drop(again);
    fs::write(directory.path().join("process-0"), "fir").unwrap();
    let after_a_crash = directory.claim_process_id(|| "third".to_owned()).unwrap();
    assert_eq!(after_a_crash.as_str(), "third", "half a line is no id");
    assert_eq!(directory.list().unwrap(), [], "they are no tasks");
}

fn age(directory: &StateDirectory, by: Duration) {
    let path = directory.of(TASK);
    for path in [path.clone(), path.join(LOCK_FILE)] {
        let file = File::open(path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - by).unwrap();
    }
}

#[test]
fn taking_a_directory_and_letting_go_of_it_is_use_and_looking_at_it_is_none() {
    const HOUR: Duration = Duration::from_secs(3600);
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    assert_eq!(directory.usage(TASK).unwrap(), None);
    let held = directory.lock_task(TASK).unwrap();
    let used = directory.usage(TASK).unwrap().unwrap();
    assert!(used.is_in_use);
    age(&directory, HOUR);
    let before = directory.usage(TASK).unwrap().unwrap().last_used;
    assert!(before < used.last_used);
    drop(held);
    let after = directory.usage(TASK).unwrap().unwrap();
    assert!(after.last_used > before && !after.is_in_use, "{after:?}");
    age(&directory, HOUR);
    let looked_at = directory.usage(TASK).unwrap();
    assert_eq!(directory.usage(TASK).unwrap(), looked_at);
    drop(directory.lock_task(TASK).unwrap());
    let taken_again = directory.usage(TASK).unwrap().unwrap();
    assert!(taken_again.last_used > looked_at.unwrap().last_used);
}

#[test]
fn only_what_nobody_holds_and_has_not_been_used_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let end_of_time = Timestamp::from_millis(i64::MAX);
    assert!(!directory.remove_unused_since(TASK, end_of_time).unwrap(), "it has no directory");
    let held = directory.lock_task(TASK).unwrap();
    fs::create_dir_all(held.rocksdb_path()).unwrap();
    assert!(!directory.remove_unused_since(TASK, end_of_time).unwrap(), "it is held");
    drop(held);
    let last_used = directory.usage(TASK).unwrap().unwrap().last_used;
    assert!(!directory.remove_unused_since(TASK, last_used).unwrap(), "it was used then");
    let later = Timestamp::from_millis(last_used.as_millis() + 1);
    assert!(directory.remove_unused_since(TASK, later).unwrap());
    assert_eq!(directory.list().unwrap(), []);
}

#[test]
fn all_files_count() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    assert_eq!(directory.bytes().unwrap(), 0);
    let held = directory.lock_task(TASK).unwrap();
    fs::create_dir_all(held.rocksdb_path()).unwrap();
    fs::write(held.rocksdb_path().join("000004.sst"), [0; 100]).unwrap();
    fs::write(directory.path().join("process-0"), "first\n").unwrap();
    assert_eq!(directory.bytes().unwrap(), 106);
    assert_eq!(directory.usage(TASK).unwrap().unwrap().bytes, 100);
}

#[test]
fn lists_tasks_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    assert_eq!(directory.list().unwrap(), []);
    let other = TaskId { subtopology: 1, partition: 0 };
    for task in [other, TASK] {
        directory.lock_task(task).unwrap();
    }
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    drop(directory.lock_global().unwrap());
    assert_eq!(directory.list().unwrap(), [TASK.into(), other.into(), StateOwner::Global(0)]);
}

#[test]
fn a_running_task_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let held = directory.lock_task(TASK).unwrap();
    fs::create_dir_all(held.rocksdb_path().join("files")).unwrap();
    assert!(matches!(directory.remove(TASK), Err(StoreError::Locked { .. })));
    assert!(held.rocksdb_path().exists());
    drop(held);
    directory.remove(TASK).unwrap();
    assert!(!directory.of(TASK).exists());
    directory.remove(TASK).unwrap();
}

#[test]
fn each_process_has_a_directory_for_its_global_tables_and_finds_it_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = StateDirectory::new(root.path(), "shop");
    let first = directory.lock_global().unwrap();
    let second = directory.lock_global().unwrap();
    assert_eq!([first.owner(), second.owner()], [StateOwner::Global(0), StateOwner::Global(1)]);
    drop(first);
    assert_eq!(directory.lock_global().unwrap().owner(), StateOwner::Global(0));
    assert!(matches!(directory.remove(StateOwner::Global(1)), Err(StoreError::Locked { .. })));
    directory.remove(StateOwner::Global(0)).unwrap();
    assert_eq!(directory.list().unwrap(), [StateOwner::Global(1)]);
}
