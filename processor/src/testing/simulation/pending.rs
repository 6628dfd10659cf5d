//! Tasks whose stores are not complete yet when the group forms anew.

use std::sync::Arc;

use super::clients::ASKS_FOR_STARTS;
use super::cluster::Protocol;
use super::fate::Fate;
use super::scenario::Scenario;
use super::world::World;

/// More than a thread needs to do all that it can do without the state updater.
const ROUNDS: usize = 20;

/// Lets the only thread of the only machine run; the state updater gets no turn.
fn run_thread(world: &mut World) -> Result<(), String> {
    for _ in 0..ROUNDS {
        let instance = world.machines[0].instance.as_mut().ok_or("the machine was started")?;
        let turn = instance.take_turn(0, &world.around);
        world.after(0, turn)?;
    }
    Ok(())
}

/// Where nothing is committed and reading begins at the end, a second answer would be a later place, and a table that is restored from its topic
/// would miss the rows in between: its store is restored up to the first.
#[test]
fn what_waits_for_its_stores_and_stays_begins_where_it_was_first_told() -> Result<(), String> {
    for seed in 0..20 {
        let scenario = Scenario {
            machines: 1,
            threads: 1,
            standby_replicas: 0,
            protocol: Protocol::Eager,
            ..Scenario::of_seed(seed, None)
        };
        let fate = Arc::new(Fate::new(seed, true, |_fault| false));
        let mut world = World::new(scenario, &fate).map_err(|error| error.to_string())?;
        world.machines[0].start(&world.around).map_err(|error| error.to_string())?;
        run_thread(&mut world)?;
        world.around.cluster.borrow_mut().group.rebalance(&fate);
        run_thread(&mut world)?;
        world.come_to_rest()?;
        let told = |what: &str| fate.trace().iter().filter(|line| line.contains(what)).count();
        assert_eq!(told("change: AssignedAll"), 2, "seed {seed}: the tasks were taken and given back");
        assert_eq!(told(ASKS_FOR_STARTS), 1, "seed {seed}");
    }
    Ok(())
}
