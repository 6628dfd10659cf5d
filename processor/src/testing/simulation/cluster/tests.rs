//! The simulated brokers do what Kafka's do.

use super::*;
use crate::testing::simulation::process::Process;
use crate::testing::simulation::program::Kind;
use millstream_state_stores::Timestamp;

const TIMEOUTS: Timeouts = Timeouts { session: 6_000, transaction: 10_000 };

struct Scene {
    cluster: Cluster,
    clock: Arc<SimulatedClock>,
    fate: Arc<Fate>,
}

fn scene() -> Scene {
    let (clock, fate) = (Arc::new(SimulatedClock::default()), Arc::new(Fate::new(7, false, |_| false)));
    let program =
        Rc::new(Program { kind: Kind::Join, is_cached: false, chooses_partitions: false, partitions: 3 });
    scene_of(&program, Protocol::Eager, clock, fate)
}

fn scene_of(program: &Rc<Program>, protocol: Protocol, clock: Arc<SimulatedClock>, fate: Arc<Fate>) -> Scene {
    Scene { cluster: Cluster::new(program, protocol, TIMEOUTS, &clock, &fate, None), clock, fate }
}

impl Scene {
    fn join(&mut self, name: &str) -> (Arc<Process>, MemberId) {
        let process = Process::new(name.to_string(), &self.fate);
        let member = self.cluster.group.join(&process, name, self.clock.millis());
        (process, member)
    }

    fn pass(&mut self, millis: i64) {
        self.clock.advance(millis);
        self.cluster.tick();
    }
}

fn results() -> TopicPartition {
    ("results".into(), 0)
}

fn orders(partition: i32) -> TopicPartition {
    ("orders".into(), partition)
}

fn record() -> LogRecord {
    LogRecord { key: None, value: None, timestamp: Timestamp::from_millis(0) }
}

#[test]
fn only_the_newest_producer_of_a_transactional_id_may_write() -> Result<(), Refusal> {
    let mut scene = scene();
    let cluster = &mut scene.cluster;
    let first = cluster.init_transactions("shop-1")?;
    cluster.produce(&results(), record(), Some(&first))?;
    let second = cluster.init_transactions("shop-1")?;
    assert_eq!(cluster.produce(&results(), record(), Some(&first)), Err(Refusal::Fenced));
    assert_eq!(cluster.end_transaction(&first, true), Err(Refusal::Fenced));
    cluster.produce(&results(), record(), Some(&second))?;
    cluster.end_transaction(&second, true)?;
    scene.pass(1_000);
    let seen: Vec<i64> =
        scene.cluster.log(&results()).committed().map(|placed| placed.offset.get()).collect();
    assert_eq!(seen, [2], "after what was aborted and its mark");
    Ok(())
}

#[test]
fn offsets_of_a_transaction_are_unstable_until_it_is_over() -> Result<(), Refusal> {
    let mut scene = scene();
    let (_process, member) = scene.join("a");
    scene.pass(1);
    let producer = scene.cluster.init_transactions("shop-1")?;
    let current = Membership { member, generation: 1 };
    scene.cluster.add_offsets(&producer, current, &[(orders(0), 0)])?;
    assert_eq!(scene.cluster.committed(&orders(0)), Err(Refusal::NotYet));
    scene.cluster.end_transaction(&producer, true)?;
    scene.pass(1_000);
    assert_eq!(scene.cluster.committed(&orders(0)), Ok(Some(0)));
    let stale = Membership { generation: 0, ..current };
    assert_eq!(scene.cluster.add_offsets(&producer, stale, &[(orders(0), 0)]), Err(Refusal::StaleMember));
    assert_eq!(scene.cluster.commit(stale, &[(orders(0), 0)]), Err(Refusal::StaleMember));
    Ok(())
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() -> Result<(), Refusal> {
    let mut scene = scene();
    let producer = scene.cluster.init_transactions("shop-1")?;
    scene.cluster.produce(&results(), record(), Some(&producer))?;
    scene.pass(TIMEOUTS.transaction);
    assert_eq!(scene.cluster.log(&results()).stable_end().get(), 0, "still open");
    scene.pass(1);
    assert_eq!(scene.cluster.log(&results()).stable_end().get(), 2);
    assert_eq!(scene.cluster.end_transaction(&producer, true), Err(Refusal::Fenced));
    Ok(())
}

#[test]
fn a_generation_begins_when_all_have_given_up_and_splits_each_topic_by_ranges() {
    let mut scene = scene();
    let (_first_process, first) = scene.join("a");
    scene.pass(1);
    let (second_process, second) = scene.join("b");
    scene.pass(1);
    assert!(scene.cluster.group.must_rejoin(first), "it has partitions to give up");
    assert!(scene.cluster.group.assignment(second).is_none());
    scene.cluster.group.rejoin(first);
    scene.pass(1);
    let group = &scene.cluster.group;
    let numbers = |member| {
        let (generation, partitions) = group.assignment(member)?;
        let orders = partitions.iter().filter(|(topic, _)| **topic == *"orders");
        Some((generation, orders.map(|(_, partition)| *partition).collect::<Vec<_>>()))
    };
    assert_eq!((numbers(first), numbers(second)), (Some((2, vec![0, 1])), Some((2, vec![2]))));
    second_process.pause(true);
    scene.pass(TIMEOUTS.session + 1);
    assert!(!scene.cluster.group.knows(second), "nothing was heard of it");
    assert!(scene.cluster.group.must_rejoin(first));
}

#[test]
fn partition_by_partition_nobody_gets_what_another_has_not_given_up() {
    let (clock, fate) = (Arc::new(SimulatedClock::default()), Arc::new(Fate::new(7, false, |_| false)));
    let program =
        Rc::new(Program { kind: Kind::Join, is_cached: false, chooses_partitions: false, partitions: 2 });
    let mut scene = scene_of(&program, Protocol::Incremental, clock, fate);
    let (_first_process, first) = scene.join("a");
    let mut had = Vec::new();
    while !scene.cluster.group.is_stable() {
        match scene.cluster.group.next_move(first, &scene.fate) {
            Some((_, Move::Assign(partitions))) => had.extend(partitions),
            Some((_, Move::Revoke(partitions))) => panic!("nobody else is there for {partitions:?}"),
            None => {}
        }
    }
    assert_eq!(had.len(), 4, "all of both topics");

    let (_second_process, second) = scene.join("b");
    assert!(scene.cluster.group.next_move(second, &scene.fate).is_none(), "nothing is free");
    let Some((_, Move::Revoke(revoked))) = scene.cluster.group.next_move(first, &scene.fate) else {
        panic!("half of them are for the second");
    };
    assert!(scene.cluster.group.next_move(second, &scene.fate).is_none(), "still the first one's");
    scene.cluster.group.given_up(first, &revoked);
    let mut got = Vec::new();
    while !scene.cluster.group.is_stable() {
        if let Some((_, Move::Assign(partitions))) = scene.cluster.group.next_move(second, &scene.fate) {
            got.extend(partitions);
        }
    }
    got.sort_unstable();
    assert_eq!(got, revoked);
    assert!(scene.cluster.group.next_move(first, &scene.fate).is_none(), "the rest never moved");
}
