//! What readers of the output notice when instances are added, removed and restarted, as an operator does.

use super::Row;
use super::failover::{Event, Failover};
use crate::report::{Figure, Goal};

/// A partition that stays with its instance pauses for one commit interval at most, which is a second.
const ADD: &[Goal] = &[Goal::of(Figure::StayingGapMs, 1000.0)];
const REMOVE: &[Goal] = &[Goal::of(Figure::GapMs, 1000.0)];
const RESTART_WITH_STANDBY: &[Goal] = &[Goal::of(Figure::FromZero, 0.0)];

pub(super) fn rows() -> Vec<Box<dyn Row>> {
    let row = |name, title, instances, event, has_standby, goals| -> Box<dyn Row> {
        Box::new(Failover { name, title, instances, event, has_standby, rounds_of_peer: 1, goals })
    };
    vec![
        row("rolling-add", "a fourth instance joins three", 3, Event::Add, false, ADD),
        row("rolling-add-standby", "a fourth instance joins three, with a standby", 3, Event::Add, true, ADD),
        row("rolling-remove", "one of four instances is stopped", 4, Event::Stop, false, &[]),
        row(
            "rolling-remove-standby",
            "one of four instances is stopped, with a standby",
            4,
            Event::Stop,
            true,
            REMOVE,
        ),
        row("rolling-restart", "three instances are restarted one by one", 3, Event::Restart, false, &[]),
        row(
            "rolling-restart-standby",
            "three instances are restarted one by one, with a standby",
            3,
            Event::Restart,
            true,
            RESTART_WITH_STANDBY,
        ),
    ]
}
