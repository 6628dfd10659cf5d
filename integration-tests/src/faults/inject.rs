//! Carries out a fault, from its first moment to its last. What it broke runs again, or is repaired by the stage.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Guarantee;
use super::check::ViolationKind;
use super::control::Order;
use super::power::PowerSupply;
use super::schedule::{Fault, FaultKind};
use super::stage::Stage;
use crate::wait::await_until;
use millstream::runtime::Step;

/// How long to wait for a step that may never come: an instance without tasks commits nothing.
const DEADLINE_OF_A_STEP: Duration = Duration::from_secs(6);
/// By then a write that failed while the disk was full has been told of.
const A_CHECKPOINT_LATER: Duration = Duration::from_secs(1);
const DEADLINE_OF_A_BROKER: Duration = Duration::from_secs(120);
const DEADLINE_OF_A_GUEST: Duration = Duration::from_secs(60);

pub(super) fn inject(fault: &Fault, stage: &mut Stage<'_>) -> Result<()> {
    let Fault { target, lasting, .. } = *fault;
    match fault.kind {
        FaultKind::Kill => {
            stage.worker(target).kill()?;
            thread::sleep(lasting);
            stage.start(target)
        }
        FaultKind::Step => die_at(fault, stage),
        FaultKind::Power => {
            stage.worker(target).kill()?;
            stage.worker(target).lose_what_is_not_synced()?;
            thread::sleep(lasting);
            stage.start(target)
        }
        FaultKind::Pause => {
            stage.worker(target).pause()?;
            thread::sleep(lasting);
            stage.worker(target).resume()
        }
        FaultKind::Stall => {
            stage.worker(target).order(Order::Stall(lasting))?;
            thread::sleep(lasting);
            Ok(())
        }
        FaultKind::Fence => fence(target, stage),
        FaultKind::Storm => storm(fault.times, stage),
        FaultKind::Cut => {
            stage.cluster.proxy(target).cut();
            thread::sleep(lasting);
            stage.cluster.proxy(target).restore();
            Ok(())
        }
        FaultKind::Delay => {
            stage.cluster.proxy(target).delay(fault.latency);
            thread::sleep(lasting);
            stage.cluster.proxy(target).restore();
            Ok(())
        }
        FaultKind::Broker => {
            if fault.is_violent {
                stage.cluster.kill(target)?;
            } else {
                stage.cluster.stop(target)?;
            }
            restart_node(target, lasting, stage)
        }
        FaultKind::Leader => {
            let sources = stage.topology.source_topics();
            let topic = sources.first().context("a program reads something")?;
            let topic = topic.in_application(&stage.application.id);
            let partition = i32::try_from(target % stage.cluster.client().topic_partitions(&topic)?)?;
            let node = stage.cluster.leader(&topic, partition)?.context("a partition has a leader")?;
            stage.cluster.kill(node)?;
            restart_node(node, lasting, stage)
        }
        FaultKind::Freeze => {
            stage.cluster.freeze(target)?;
            thread::sleep(lasting);
            stage.cluster.thaw(target)?;
            stage.cluster.await_in_sync(DEADLINE_OF_A_BROKER)
        }
        FaultKind::Disk => fill_disk(fault, stage),
        FaultKind::Clock => stage.worker(target).order(Order::JumpClock(fault.jump)),
    }
}

fn die_at(fault: &Fault, stage: &mut Stage<'_>) -> Result<()> {
    let step = match (fault.step, stage.application.guarantee) {
        // There is no transaction that offsets could be sent to.
        (Step::OffsetsSent, Guarantee::AtLeastOnce) => Step::OutputsAcknowledged,
        (step, _) => step,
    };
    let worker = stage.worker(fault.target);
    worker.expect_end();
    worker.order(Order::DieAt { step, nth: fault.times })?;
    let ended = await_until(DEADLINE_OF_A_STEP, "the step", || match worker.is_running() {
        Ok(true) => None,
        ended => Some(ended.map(drop)),
    });
    match ended {
        Ok(ended) => ended?,
        Err(_not_reached) => worker.kill()?,
    }
    if fault.is_violent && PowerSupply::IS_POSSIBLE {
        worker.lose_what_is_not_synced()?;
    }
    thread::sleep(fault.lasting);
    stage.start(fault.target)
}

/// Takes over the id of one of the transactional producers that wrote last.
fn fence(target: usize, stage: &mut Stage<'_>) -> Result<()> {
    let client = stage.cluster.client();
    let mut ids: Vec<(i64, String)> = Vec::new();
    for record in client.read_all("__transaction_state")? {
        // A version of two bytes, the length of the id in two, and the id.
        let id = record.key.as_deref().and_then(|key| key.get(4..)).unwrap_or_default();
        let id = String::from_utf8_lossy(id).into_owned();
        if id.starts_with(&stage.application.id) {
            ids.retain(|(_, known)| *known != id);
            ids.push((record.timestamp.unwrap_or_default(), id));
        }
    }
    ids.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    ids.truncate(stage.workers.len());
    match ids.get(target % ids.len().max(1)) {
        Some((_, id)) => client.fence(id),
        // Nobody has written yet.
        None => Ok(()),
    }
}

fn storm(instances: u32, stage: &mut Stage<'_>) -> Result<()> {
    for _ in 0..instances {
        let name = format!("{}-guest-{}", stage.application.id, stage.guests.len());
        let mut guest = stage.new_worker(&name)?;
        guest.start(&stage.application)?;
        thread::sleep(Duration::from_secs(1));
        if let Some(last) = stage.guests.last_mut() {
            last.stop(DEADLINE_OF_A_GUEST)?;
        }
        stage.guests.push(guest);
    }
    stage.guests.last_mut().map_or(Ok(()), |last| last.stop(DEADLINE_OF_A_GUEST))
}

fn restart_node(node: usize, after: Duration, stage: &mut Stage<'_>) -> Result<()> {
    thread::sleep(after);
    stage.cluster.start_again(node)?;
    stage.cluster.await_in_sync(DEADLINE_OF_A_BROKER)
}

/// No room until an instance has ended by it, or nobody wanted to write; then some time without, then room again.
fn fill_disk(fault: &Fault, stage: &mut Stage<'_>) -> Result<()> {
    let is_shared = stage.disk.can_be_filled();
    let target = fault.target % stage.workers.len();
    let is_hit = |number: usize| is_shared || number == target;
    if is_shared {
        stage.disk.fill()?;
    }
    for (_, worker) in stage.workers.iter_mut().enumerate().filter(|(number, _)| is_hit(*number)) {
        worker.meet_full_disk();
        if !is_shared {
            worker.order(Order::FillDisk(true))?;
        }
    }
    let workers = &mut stage.workers;
    let ended = await_until(DEADLINE_OF_A_STEP, "an instance to notice", || {
        workers.iter_mut().any(|worker| !worker.is_running().unwrap_or(true)).then_some(())
    });
    // That nobody noticed is no failure: who had nothing to checkpoint wrote nothing.
    if ended.is_ok() {
        thread::sleep(fault.lasting);
    }
    if is_shared {
        stage.disk.make_room()?;
    }
    thread::sleep(A_CHECKPOINT_LATER);
    for (number, worker) in stage.workers.iter_mut().enumerate().filter(|(number, _)| is_hit(*number)) {
        if worker.is_running()? {
            if !is_shared {
                worker.order(Order::FillDisk(false))?;
            }
            continue;
        }
        let place = worker.state_dir().display().to_string();
        if !worker.has_said(&place) {
            let what = format!(
                "instance {number} ended on a full disk without naming {place}: {}",
                worker.last_words()
            );
            stage.findings.add(ViolationKind::GaveUp, what);
        }
    }
    Ok(())
}
