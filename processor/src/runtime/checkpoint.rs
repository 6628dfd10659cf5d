//! Which tasks of a stream thread checkpoint next, and when the thread waits for one: memory is bounded, time is not.

/// Committed bytes of a task that RocksDB does not have yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uncheckpointed {
    /// Wait for the next checkpoint.
    pub(crate) waiting: usize,
    /// Are being written by one.
    pub(crate) being_written: usize,
    pub(crate) is_in_flight: bool,
}

/// What is to be done about a task, given by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointStep {
    Begin(usize),
    Await(usize),
}

/// The next step of a thread whose tasks may hold `limit` bytes together; `None` if there is room. At half of it the task with
/// most begins a checkpoint, which is written beside the loop; only at the limit itself does the loop wait.
pub(crate) fn next_step(tasks: &[Uncheckpointed], limit: usize) -> Option<CheckpointStep> {
    let waiting: usize = tasks.iter().map(|task| task.waiting).sum();
    let being_written: usize = tasks.iter().map(|task| task.being_written).sum();
    let with_most = |is_in_flight: bool, bytes: fn(&Uncheckpointed) -> usize| {
        let tasks = tasks.iter().enumerate().filter(|(_, task)| task.is_in_flight == is_in_flight);
        tasks.max_by_key(|(_, task)| bytes(task)).map(|(place, _)| place)
    };
    if waiting > limit / 2
        && let Some(place) = with_most(false, |task| task.waiting)
        && tasks[place].waiting > 0
    {
        return Some(CheckpointStep::Begin(place));
    }
    if waiting + being_written > limit {
        return with_most(true, |task| task.being_written).map(CheckpointStep::Await);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 100;

    fn waits(waiting: usize) -> Uncheckpointed {
        Uncheckpointed { waiting, ..Uncheckpointed::default() }
    }

    fn writes(being_written: usize, waiting: usize) -> Uncheckpointed {
        Uncheckpointed { waiting, being_written, is_in_flight: true }
    }

    #[test]
    fn the_task_with_most_begins_and_the_loop_waits_at_the_limit_only() {
        let cases: [(&[Uncheckpointed], Option<CheckpointStep>); 7] = [
            (&[], None),
            (&[waits(20), waits(30)], None),
            (&[waits(20), waits(31)], Some(CheckpointStep::Begin(1))),
            (&[waits(20), writes(31, 0)], None),
            (&[waits(20), writes(50, 31)], Some(CheckpointStep::Begin(0))),
            (&[writes(40, 0), writes(50, 10)], None),
            (&[writes(40, 0), writes(50, 11)], Some(CheckpointStep::Await(1))),
        ];
        for (tasks, step) in cases {
            assert_eq!(next_step(tasks, LIMIT), step, "{tasks:?}");
        }
    }

    proptest! {
        #[test]
        fn after_its_steps_a_thread_is_within_its_limit(
            mut tasks in prop::collection::vec((0..200_usize, 0..200_usize, any::<bool>()), 0..6)
                .prop_map(|tasks| tasks.into_iter().map(|(waiting, written, is_in_flight)| {
                    if is_in_flight { writes(written, waiting) } else { waits(waiting) }
                }).collect::<Vec<_>>()),
        ) {
            while let Some(step) = next_step(&tasks, LIMIT) {
                match step {
                    CheckpointStep::Begin(place) => {
                        prop_assert!(!tasks[place].is_in_flight);
                        tasks[place] = writes(tasks[place].waiting, 0);
                    }
                    CheckpointStep::Await(place) => {
                        prop_assert!(tasks[place].is_in_flight);
                        tasks[place] = waits(tasks[place].waiting);
                    }
                }
            }
            let held: usize = tasks.iter().map(|task| task.waiting + task.being_written).sum();
            prop_assert!(held <= LIMIT, "{:?}", tasks);
        }
    }
}
