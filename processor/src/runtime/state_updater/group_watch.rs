//! A look at the application's group, now and then and as soon as it has decided something: where standbys belong, and whether an instance
//! asks all of them to end, is read off it.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::error::Result;
use crate::kafka::GroupAssignment;
use crate::runtime::Shared;

/// Asks who is in the application's group; none if there is no group, or the cluster does not tell.
pub(crate) type GroupView = Box<dyn Fn() -> Result<Option<GroupAssignment>>>;

/// How often the group is looked at if nothing is heard of it.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How soon after a look that answered nothing.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Through the cluster's admin API.
pub(crate) fn group_view(shared: &Shared) -> GroupView {
    let (admin, application_id) = (Arc::clone(&shared.admin), Arc::clone(&shared.application_id));
    Box::new(move || admin.group_assignment(&application_id))
}

/// See the module's description.
pub(super) struct GroupWatch {
    view: GroupView,
    next_look: Duration,
    /// Whether the last look failed.
    is_blind: bool,
}

impl GroupWatch {
    /// The first look is not at once: this instance has yet to join, and the group may have to be made.
    pub(super) fn new(view: GroupView, now: Duration) -> Self {
        GroupWatch { view, next_look: now + LOOK_INTERVAL, is_blind: false }
    }

    /// The group has decided something.
    pub(super) fn look_now(&mut self, now: Duration) {
        self.next_look = self.next_look.min(now);
    }

    /// The last look did not show what was looked for, and the next one may.
    pub(super) fn look_again(&mut self, now: Duration) {
        self.next_look = self.next_look.min(now + LOOK_AGAIN);
    }

    /// The group, if it is time for a look and it can be seen; without members if there is none.
    pub(super) fn look_if_due(&mut self, now: Duration) -> Option<GroupAssignment> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_INTERVAL;
        let looked = (self.view)();
        let was_blind = std::mem::replace(&mut self.is_blind, looked.is_err());
        match looked {
            Ok(group) => Some(group.unwrap_or_default()),
            Err(error) => {
                if !was_blind {
                    warn!(%error, "cannot see who is in the group: standbys stay where they are, and a request to end is not heard");
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::error::{Error, ErrorKind};

    const START: Duration = Duration::from_secs(100);

    /// A watch of a group that is counted whenever it is looked at, and cannot be seen while it is told so.
    fn watch() -> (GroupWatch, Rc<Cell<u32>>, Rc<Cell<bool>>) {
        let (looks, is_hidden) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let (counted, hidden) = (Rc::clone(&looks), Rc::clone(&is_hidden));
        let view = move || {
            counted.set(counted.get() + 1);
            if hidden.get() { Err(Error::new(ErrorKind::Retry, "no answer")) } else { Ok(None) }
        };
        (GroupWatch::new(Box::new(view), START), looks, is_hidden)
    }

    #[test]
    fn it_looks_at_intervals_and_when_the_group_has_decided() {
        let (mut watch, looks, _) = watch();
        let look_at = |watch: &mut GroupWatch, millis| {
            let before = looks.get();
            let seen = watch.look_if_due(START + Duration::from_millis(millis));
            assert_eq!(seen, (looks.get() > before).then(GroupAssignment::default));
            seen.is_some()
        };
        assert!(!look_at(&mut watch, 4_999) && look_at(&mut watch, 5_000));
        assert!(!look_at(&mut watch, 6_000));
        watch.look_now(START + Duration::from_millis(6_000));
        assert!(look_at(&mut watch, 6_000) && !look_at(&mut watch, 10_999) && look_at(&mut watch, 11_000));
        watch.look_again(START + Duration::from_millis(11_000));
        assert!(!look_at(&mut watch, 11_199) && look_at(&mut watch, 11_200));
    }

    #[test]
    fn a_group_that_cannot_be_seen_is_looked_at_no_more_often() {
        let (mut watch, looks, is_hidden) = watch();
        is_hidden.set(true);
        for second in 0..11 {
            assert_eq!(watch.look_if_due(START + Duration::from_secs(second)), None);
        }
        assert_eq!(looks.get(), 2);
        is_hidden.set(false);
        assert!(watch.look_if_due(START + Duration::from_secs(15)).is_some());
    }
}
