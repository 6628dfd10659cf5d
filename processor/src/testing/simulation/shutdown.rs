//! An instance that asks all others of its application to end: they do, and none of them takes a task over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::fate::Fate;
use super::machine::{Instance, Worker};
use super::scenario::Scenario;
use super::world::World;
use crate::clock::Clock;
use crate::runtime::ShutdownRequest;

const SEEDS: u64 = 200;
/// Long enough for every instance to look at the group, whatever it is told.
const MOST_TURNS: usize = 5_000;

/// Three instances that have been through something, and are at rest. No faults follow.
fn world(seed: u64) -> Result<World, String> {
    let scenario = Scenario { machines: 3, ..Scenario::of_seed(seed, None) };
    let fate = Arc::new(Fate::new(seed, false, |fault| scenario.can_have(fault)));
    let mut world = World::new(scenario, &fate).map_err(|error| error.to_string())?;
    for _ in 0..50 {
        world.step()?;
    }
    world.come_to_rest()?;
    Ok(world)
}

/// The partitions whose tasks have the store of the program open, by machine.
fn tasks(world: &World) -> BTreeSet<(String, i32)> {
    let program = world.around.scenario.program;
    let has = |instance: &Instance, partition| {
        let mut threads = instance.workers.iter().filter_map(Worker::thread);
        threads.any(|thread| thread.reader(program.store(), partition).is_some())
    };
    let of_machine = |(name, instance): (&String, &Instance)| {
        let open = (0..program.partitions).filter(|partition| has(instance, *partition));
        open.map(|partition| (name.clone(), partition)).collect::<Vec<_>>()
    };
    let machines = world.machines.iter();
    machines
        .filter_map(|machine| Some((&machine.name, machine.instance.as_ref()?)))
        .flat_map(of_machine)
        .collect()
}

fn asks(world: &World, instance: &Instance) -> Option<ShutdownRequest<super::clients::SimulatedConsumer>> {
    let clients = world.around.clients(&instance.process);
    ShutdownRequest::make(&clients.clone(), &instance.shared, clients.into_group_view())
}

/// The machines whose instances were not asked by the time; how many tasks the one that asks had.
fn shut_down(seed: u64) -> Result<usize, String> {
    let mut world = world(seed)?;
    let mut asker = world.machines.remove(0);
    let before = tasks(&world);
    let instance = asker.instance.as_ref().ok_or("at rest, each machine has an instance")?;
    let request = asks(&world, instance).ok_or("nobody would hear of it")?;
    drop(asker.stop(&world.around));

    for _ in 0..MOST_TURNS {
        let fate = Arc::clone(&world.around.fate);
        world.around.clock.advance(10);
        let machine = fate.below(world.machines.len());
        let Some(instance) = &mut world.machines[machine].instance else { continue };
        instance.step(fate.below(instance.parties()))?;
        let has_heard = instance.shared.is_stopping();
        let error = instance.shared.take_error().map(|error| error.to_string());
        let turn = instance.judge(Ok(()), &world.around);
        world.after(machine, turn)?;
        let tasks = tasks(&world);
        if !tasks.is_subset(&before) {
            return Err(format!("{tasks:?} run, and only {before:?} did before"));
        }
        if has_heard {
            error.filter(|error| error.contains(&asker.name)).ok_or("the error does not name who asked")?;
        }
    }
    if world.machines.iter().any(|machine| machine.instance.is_some()) {
        return Err("an instance has not heard of it".to_string());
    }
    if !request.await_others() {
        return Err("others were waited for that have left".to_string());
    }
    let partitions = usize::try_from(world.around.scenario.program.partitions).unwrap_or(0);
    Ok(partitions - before.len())
}

#[test]
fn all_instances_end_and_none_takes_a_task_over() {
    let given_up = |seed| shut_down(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    let given_up: usize = (0..SEEDS).map(given_up).sum();
    assert!(given_up > 0, "there was nothing to take over");
}

#[test]
fn whoever_does_not_end_is_not_waited_for_without_end() -> Result<(), String> {
    let world = world(0)?;
    let instance = world.machines[0].instance.as_ref().ok_or("at rest, each machine has an instance")?;
    let request = asks(&world, instance).ok_or("nobody would hear of it")?;
    let start = world.around.clock.monotonic();
    assert!(!request.await_others());
    let stayed = world.around.clock.monotonic() - start;
    assert!((Duration::from_secs(30)..Duration::from_secs(32)).contains(&stayed), "{stayed:?}");

    let request = asks(&world, instance).ok_or("nobody would hear of it")?;
    instance.shared.stop_awaiting_others();
    let start = world.around.clock.monotonic();
    assert!(!request.await_others());
    assert!(world.around.clock.monotonic() - start < Duration::from_secs(1));
    Ok(())
}
