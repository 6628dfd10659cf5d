//! Which standbys this instance is to have: the group is looked at now and then, and after each rebalance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_state_stores::TaskId;
use tracing::{info, warn};

use super::placement::Placement;
use crate::error::Result;
use crate::kafka::MemberAssignment;
use crate::runtime::Shared;

/// Asks who is in the application's group and what each member reads; none while that is not settled.
pub(crate) type GroupView = Box<dyn Fn() -> Result<Option<Vec<MemberAssignment>>>>;

/// How often the group is looked at if nothing is heard of a rebalance.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How soon after a look at a group that was not settled.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long a standby that failed is left alone.
const ASIDE: Duration = Duration::from_secs(5);

/// See the module's description.
pub(super) struct Standbys {
    group: GroupView,
    wanted: BTreeSet<TaskId>,
    /// What runs here, or will when its stream thread hears of it.
    active_here: BTreeSet<TaskId>,
    /// Standbys that failed, and until when they are left alone.
    aside: BTreeMap<TaskId, Duration>,
    next_look: Duration,
    /// Whether the last look failed.
    is_blind: bool,
}

impl Standbys {
    pub(super) fn new(group: GroupView) -> Self {
        Standbys {
            group,
            wanted: BTreeSet::new(),
            active_here: BTreeSet::new(),
            aside: BTreeMap::new(),
            next_look: Duration::ZERO,
            is_blind: false,
        }
    }

    /// Tasks have moved between instances.
    pub(super) fn rebalanced(&mut self, now: Duration) {
        self.next_look = self.next_look.min(now);
    }

    /// The task runs here from now on.
    pub(super) fn is_active(&mut self, task: TaskId) {
        self.wanted.remove(&task);
    }

    pub(super) fn failed(&mut self, task: TaskId, now: Duration) {
        self.aside.insert(task, now + ASIDE);
    }

    /// Looks at the group if it is time. If it cannot be seen, or this instance is not in it, everything stays as it is.
    pub(super) fn look_if_due(&mut self, shared: &Shared, now: Duration) -> bool {
        let replicas = shared.settings.num_standby_replicas;
        if replicas == 0 || now < self.next_look {
            return false;
        }
        let members = match (self.group)() {
            Ok(members) => {
                self.is_blind = false;
                members
            }
            Err(error) => {
                if !self.is_blind {
                    warn!(%error, "cannot see who runs which task; the standbys stay as they are");
                }
                self.is_blind = true;
                self.next_look = now + LOOK_INTERVAL;
                return false;
            }
        };
        let (me, protocol) = (shared.process_id(), shared.settings.group_protocol);
        let placement = members
            .as_ref()
            .map(|members| Placement::of(&shared.application_id, protocol, &shared.inputs, members));
        let mine = placement.as_ref().and_then(|placement| placement.active(me));
        let (Some(placement), Some(mine)) = (&placement, mine) else {
            self.next_look = now + LOOK_AGAIN;
            return false;
        };
        self.next_look = now + LOOK_INTERVAL;
        self.active_here.clone_from(mine);
        let is_stateful = |task| shared.plan_of(task).changelog_topics().any(|topic| topic.is_some());
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
