//! Which standbys this instance is to have, as far as can be told from the group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_state_stores::TaskId;
use tracing::info;

use super::placement::Placement;
use crate::kafka::GroupAssignment;
use crate::runtime::Shared;

/// How long a standby that failed is left alone.
const ASIDE: Duration = Duration::from_secs(5);

/// See the module's description.
#[derive(Default)]
pub(super) struct Standbys {
    wanted: BTreeSet<TaskId>,
    /// What runs here, or will when its stream thread hears of it.
    active_here: BTreeSet<TaskId>,
    /// Standbys that failed, and until when they are left alone.
    aside: BTreeMap<TaskId, Duration>,
}

impl Standbys {
    /// The task runs here from now on.
    pub(super) fn became_active(&mut self, task: TaskId) {
        self.wanted.remove(&task);
    }

    pub(super) fn failed(&mut self, task: TaskId, now: Duration) {
        self.aside.insert(task, now + ASIDE);
    }

    /// Places the standbys by who runs which task. False if nothing follows from that, because it is not settled, or this instance is not in
    /// the group; then everything stays as it is.
    pub(super) fn place(&mut self, shared: &Shared, group: &GroupAssignment) -> bool {
        let replicas = shared.settings.num_standby_replicas;
        if replicas == 0 {
            return true;
        }
        let (me, protocol, program) = (shared.process_id(), shared.settings.group_protocol, shared.program());
        let placement = Placement::of(&shared.application_id, protocol, &program.inputs, &group.members);
        let Some(mine) = placement.active(me).filter(|_| group.is_settled) else { return false };
        self.active_here.clone_from(mine);
        let is_stateful = |task| program.plan_of(task).changelogs().any(|changelog| changelog.is_some());
        let wanted = placement.standbys(me, replicas, is_stateful);
        if wanted != self.wanted {
            info!(?wanted, "standbys of this instance");
            self.wanted = wanted;
        }
        true
    }

    /// Whether the stores of the task are of use here: as its standby, or for a stream thread that is about to ask for them.
    pub(super) fn keeps(&self, task: TaskId) -> bool {
        self.wanted.contains(&task) || self.active_here.contains(&task)
    }

    /// The standbys to be had now.
    pub(super) fn due(&mut self, now: Duration) -> impl Iterator<Item = TaskId> {
        self.aside.retain(|_, until| *until > now);
        let aside = &self.aside;
        self.wanted.iter().copied().filter(move |task| !aside.contains_key(task))
    }
}
