//! What most operators see of a versioned table: the newest version of each row, and no change of an older one (KIP-914).

use millstream_processor::api::TaskContext;

use crate::logical::Place;

/// Leaves out changes of older versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewestOnly {
    reads_versions: bool,
}

impl NewestOnly {
    /// For a node in this place.
    pub(super) fn of(place: &Place<'_>) -> Self {
        NewestOnly { reads_versions: place.reads_versions }
    }

    /// Whether the change that is passed on is to be left out.
    #[inline]
    pub(super) fn leaves_out(self, task: &TaskContext) -> bool {
        self.reads_versions && task.is_superseded()
    }

    /// The same; the change is counted as dropped then.
    #[inline]
    pub(super) fn drops(self, task: &mut TaskContext) -> bool {
        let is_dropped = self.leaves_out(task);
        if is_dropped {
            task.drop_record();
        }
        is_dropped
    }
}
