//! `millstream state`

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use clap::{Args, Subcommand};
use millstream::clock::SystemClock;
use millstream::{Error, Result, StateDirectory, StateOwner, StateUsage};
use serde_json::json;

use crate::Ended;
use crate::cluster::StateDirArgument;
use crate::output::{Output, confirm, table};
use crate::time::{shown_age, shown_time};

/// List the local state of applications on this machine, or remove it
#[derive(Debug, Args)]
pub(crate) struct State {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    state_dir: StateDirArgument,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The tasks that have state here, how much, when it was last used, and whether it is now
    List {
        /// Of this application alone
        #[arg(long, value_name = "ID")]
        application_id: Option<String>,
    },
    /// Remove the state of an application, or of some of its tasks. It is restored from the changelogs where a task runs again
    Remove {
        /// Of this application
        #[arg(long, value_name = "ID")]
        application_id: String,
        /// Of this task alone, such as 0_3, or of these global tables, such as global-0; may be repeated
        #[arg(long = "task", value_name = "TASK")]
        tasks: Vec<StateOwner>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// The state of a task.
struct TaskState {
    application_id: String,
    task: StateOwner,
    usage: StateUsage,
}

impl State {
    pub(crate) fn run(self, output: Output) -> Result<Ended> {
        let root = self.state_dir.path();
        match self.action {
            Action::List { application_id } => {
                let found = found(&root, application_id.as_deref())?;
                print(&found, output)?;
                Ok(Ended::Done)
            }
            Action::Remove { application_id, tasks, yes } => {
                let mut found = found(&root, Some(&application_id))?;
                if let Some(missing) =
                    tasks.iter().find(|task| found.iter().all(|found| found.task != **task))
                {
                    let there: Vec<String> = found.iter().map(|found| found.task.to_string()).collect();
                    let path = root.join(&application_id);
                    return Err(Error::invalid(format!(
                        "task {missing} has no state in {}; there is {}",
                        path.display(),
                        if there.is_empty() { "none".to_owned() } else { there.join(", ") }
                    )));
                }
                found.retain(|found| tasks.is_empty() || tasks.contains(&found.task));
                print(&found, output)?;
                if found.is_empty() {
                    return Ok(Ended::Done);
                }
                if !yes && !confirm(&format!("Remove the state of {} tasks?", found.len()))? {
                    return Ok(Ended::NotConfirmed);
                }
                let directory = StateDirectory::new(root, &application_id);
                found.iter().try_for_each(|found| directory.remove(found.task))?;
                Ok(Ended::Done)
            }
        }
    }
}

fn found(root: &Path, application_id: Option<&str>) -> Result<Vec<TaskState>> {
    let applications = match application_id {
        Some(application_id) => vec![application_id.to_owned()],
        None => applications(root)?,
    };
    let mut found = Vec::new();
    for application_id in applications {
        let directory = StateDirectory::new(root, &application_id);
        for task in directory.list()? {
            if let Some(usage) = directory.usage(task)? {
                found.push(TaskState { application_id: application_id.clone(), task, usage });
            }
        }
    }
    Ok(found)
}

fn print(found: &[TaskState], output: Output) -> Result<()> {
    let now = SystemClock::shared().wall_clock();
    let json = found.iter().map(|found| {
        json!({
            "application_id": found.application_id,
            "task": found.task.to_string(),
            "bytes": found.usage.bytes,
            "last_used": shown_time(found.usage.last_used),
            "in_use": found.usage.is_in_use,
        })
    });
    output.print(&json.collect::<Vec<_>>().into(), || {
        if found.is_empty() {
            return "no state here".to_owned();
        }
        let mut shown = table(["APPLICATION", "TASK", "BYTES", "LAST USED", "IN USE"]);
        for found in found {
            let in_use = if found.usage.is_in_use { "yes" } else { "no" };
            shown.add_row([
                found.application_id.clone(),
                found.task.to_string(),
                found.usage.bytes.to_string(),
                shown_age(found.usage.last_used, now),
                in_use.to_owned(),
            ]);
        }
        shown.to_string()
    })
}

fn applications(root: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| unreadable(root, error))?,
    };
    let mut applications = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(root, error))?;
        if entry.path().is_dir() {
            applications.extend(entry.file_name().into_string());
        }
    }
    applications.sort();
    Ok(applications)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::invalid(format!("cannot read {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use millstream::TaskId;

    use super::*;

    #[test]
    fn state_is_found_with_its_size_and_whether_it_is_used() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::new(root.path(), "shop");
        let [used, idle] = [0, 1].map(|partition| TaskId { subtopology: 0, partition });
        let _held = directory.lock_task(used).unwrap();
        drop(directory.lock_task(idle).unwrap());
        fs::create_dir(directory.of(idle).join("rocksdb")).unwrap();
        fs::write(directory.of(idle).join("rocksdb/000004.sst"), [0; 100]).unwrap();

        let all = found(root.path(), None).unwrap();
        let seen: Vec<_> =
            all.iter().map(|found| (found.task, found.usage.bytes, found.usage.is_in_use)).collect();
        assert_eq!(seen, [(used.into(), 0, true), (idle.into(), 100, false)]);
        assert!(all.iter().all(|found| found.application_id == "shop"));
        assert!(found(root.path(), Some("shpo")).unwrap().is_empty());
        assert!(found(&root.path().join("nowhere"), None).unwrap().is_empty());
    }
}
