//! The rows of a range of an overlay, in order, as they were when the scan began.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::Run;
use crate::key_range::{Direction, KeyRange};

/// Walks over several runs at once and keeps them alive.
pub(crate) struct OverlayScan {
    /// The newest first.
    cursors: Vec<Cursor>,
    direction: Direction,
}

/// What is left to visit of one run: places in its order.
struct Cursor {
    run: Arc<Run>,
    rest: Range<usize>,
}

impl OverlayScan {
    pub(super) fn new<'runs>(
        newest_first: impl Iterator<Item = &'runs Arc<Run>>,
        range: &KeyRange,
        direction: Direction,
    ) -> Self {
        let cursor = |run: &Arc<Run>| {
            let sorted = run.sorted();
            let start = sorted.partition_point(|place| run.key(*place) < range.start());
            let end =
                range.end().map_or(sorted.len(), |end| sorted.partition_point(|place| run.key(*place) < end));
            Cursor { run: Arc::clone(run), rest: start..end.max(start) }
        };
        Self { cursors: newest_first.map(cursor).collect(), direction }
    }

    /// The next key with what the newest run that knows it says.
    pub(crate) fn next_row(&mut self) -> Option<(&[u8], Option<&[u8]>)> {
        let direction = self.direction;
        let mut next: Option<(usize, &[u8])> = None;
        for (number, cursor) in self.cursors.iter().enumerate() {
            if let Some(key) = cursor.key(direction)
                && next.is_none_or(|(_, smallest)| direction.order(key, smallest) == Ordering::Less)
            {
                next = Some((number, key));
            }
        }
        let (number, _) = next?;
        let (newer, older) = self.cursors.split_at_mut(number + 1);
        let (run, place) = newer.last_mut()?.take(direction)?;
        let key = run.key(place);
        for cursor in older {
            if cursor.key(direction) == Some(key) {
                cursor.take(direction);
            }
        }
        Some((key, run.row(place)))
    }
}

impl Iterator for OverlayScan {
    type Item = (Vec<u8>, Option<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().map(|(key, row)| (key.to_vec(), row.map(<[u8]>::to_vec)))
    }
}

impl Cursor {
    /// The key that is to be visited next.
    fn key(&self, direction: Direction) -> Option<&[u8]> {
        let next = match direction {
            Direction::Forward => self.rest.clone().next(),
            Direction::Reverse => self.rest.clone().next_back(),
        };
        next.map(|next| self.run.key(self.run.sorted()[next]))
    }

    /// Visits it.
    fn take(&mut self, direction: Direction) -> Option<(&Run, u32)> {
        let next = match direction {
            Direction::Forward => self.rest.next(),
            Direction::Reverse => self.rest.next_back(),
        }?;
        Some((&self.run, self.run.sorted()[next]))
    }
}
