//! Punctuation: what processors schedule by stream time or by the wall clock, and what of it is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use millstream_state_stores::Timestamp;

use super::edge::Failure;

/// The clock a schedule follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PunctuationType {
    /// The largest event time of the task's records and heartbeats. It stands still while none come, and a replay punctuates after the same
    /// ones.
    StreamTime,
    /// The clock of the machine. It goes on while no records come; a replay punctuates after other records.
    WallClockTime,
}

/// How often a processor is punctuated, and from when on. A [`Duration`] converts into it.
///
/// ```
/// use std::time::Duration;
///
/// use millstream_processor::Timestamp;
/// use millstream_processor::api::Interval;
///
/// let hourly = Interval::of(Duration::from_secs(3600));
/// let at_half_past = hourly.starting_at(Timestamp::from_millis(30 * 60 * 1000));
/// assert_ne!(hourly, at_half_past);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    length: Duration,
    start: Option<Timestamp>,
}

impl Interval {
    /// Calls this far apart, at least a millisecond. By stream time they fall on its multiples since 1970, and the first comes with the first
    /// record; by the wall clock the first comes after one interval.
    pub fn of(length: Duration) -> Self {
        Interval { length, start: None }
    }

    /// Calls at this time and then at whole intervals after it (KIP-1146). If it has passed, the first one comes at the next of these times.
    #[must_use]
    pub fn starting_at(self, start: Timestamp) -> Self {
        Interval { start: Some(start), ..self }
    }
}

impl From<Duration> for Interval {
    fn from(length: Duration) -> Self {
        Interval::of(length)
    }
}

/// Something a processor has scheduled, told apart from what else it has (Kafka Streams' `Cancellable`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schedule {
    id: u64,
    kind: PunctuationType,
}

impl Schedule {
    /// The clock it follows.
    pub fn kind(self) -> PunctuationType {
        self.kind
    }
}

/// One call of [`Processor::punctuate`](super::Processor::punctuate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punctuation {
    /// What was scheduled.
    pub schedule: Schedule,
    /// The time on the schedule's clock. If it has jumped over several intervals, there is one call for all of them.
    pub time: Timestamp,
}

/// All that the processors of a task have scheduled.
#[derive(Debug, Default)]
pub(crate) struct Punctuations {
    by_stream_time: BinaryHeap<Reverse<Due>>,
    by_wall_clock: BinaryHeap<Reverse<Due>>,
    scheduled: u64,
}

/// The next call of a schedule. Ordered by time, then by what was scheduled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Timestamp,
    schedule: Schedule,
    node: usize,
    /// In milliseconds, at least one.
    interval: i64,
}

impl Due {
    /// The first time of the schedule after `now`, and after this one.
    fn after(self, now: Timestamp) -> Self {
        let (at, now) = (self.at.as_millis(), now.as_millis());
        let passed = now.saturating_sub(at).max(0) / self.interval;
        let next = at.saturating_add(passed.saturating_add(1).saturating_mul(self.interval));
        Due { at: Timestamp::from_millis(next), ..self }
    }
}

impl Punctuations {
    /// Schedules calls of a node; `now` is the time on their clock, as far as it is known.
    ///
    /// # Errors
    /// If the interval is shorter than a millisecond.
    pub(super) fn schedule(
        &mut self,
        node: usize,
        interval: Interval,
        kind: PunctuationType,
        now: Option<Timestamp>,
    ) -> Result<Schedule, Failure> {
        let length = i64::try_from(interval.length.as_millis()).unwrap_or(i64::MAX);
        if length < 1 {
            let length = interval.length;
            let message =
                format!("an interval of {length:?} cannot be scheduled: it takes a millisecond at least");
            return Err(Failure::process(message.into()));
        }
        let schedule = Schedule { id: self.scheduled, kind };
        self.scheduled += 1;
        let epoch = Timestamp::from_millis(0);
        let due = |at| Due { at, schedule, node, interval: length };
        let first = match (interval.start, now) {
            (Some(start), Some(now)) if start < now => due(start).after(now),
            (Some(start), _) => due(start),
            (None, now) => match kind {
                PunctuationType::StreamTime => due(epoch),
                PunctuationType::WallClockTime => {
                    let now = now.unwrap_or(epoch);
                    due(now).after(now)
                }
            },
        };
        self.of_mut(kind).push(Reverse(first));
        Ok(schedule)
    }

    pub(super) fn cancel(&mut self, schedule: Schedule) {
        self.of_mut(schedule.kind).retain(|Reverse(due)| due.schedule != schedule);
    }

    /// The time on this clock at which the next call is due.
    #[inline]
    pub(crate) fn next_at(&self, kind: PunctuationType) -> Option<Timestamp> {
        let of_kind = match kind {
            PunctuationType::StreamTime => &self.by_stream_time,
            PunctuationType::WallClockTime => &self.by_wall_clock,
        };
        of_kind.peek().map(|Reverse(due)| due.at)
    }

    /// The next call that is due by `now`, with its node. The one after it is scheduled already, so that the call may cancel it.
    pub(crate) fn next_due(&mut self, kind: PunctuationType, now: Timestamp) -> Option<(usize, Punctuation)> {
        self.next_at(kind).filter(|at| *at <= now)?;
        let of_kind = self.of_mut(kind);
        let Reverse(due) = of_kind.pop()?;
        of_kind.push(Reverse(due.after(now)));
        Some((due.node, Punctuation { schedule: due.schedule, time: now }))
    }

    fn of_mut(&mut self, kind: PunctuationType) -> &mut BinaryHeap<Reverse<Due>> {
        match kind {
            PunctuationType::StreamTime => &mut self.by_stream_time,
            PunctuationType::WallClockTime => &mut self.by_wall_clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PunctuationType::{StreamTime, WallClockTime};
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn every(millis: u64) -> Interval {
        Interval::of(Duration::from_millis(millis))
    }

    /// The times at which a schedule was called while its clock stood at these times, one after the other.
    fn calls(
        interval: Interval,
        kind: PunctuationType,
        scheduled_at: Option<i64>,
        times: &[i64],
    ) -> Vec<i64> {
        let mut punctuations = Punctuations::default();
        punctuations.schedule(7, interval, kind, scheduled_at.map(at)).expect("the interval is long enough");
        let mut calls = Vec::new();
        for time in times {
            while let Some((node, punctuation)) = punctuations.next_due(kind, at(*time)) {
                assert_eq!((node, punctuation.schedule.kind()), (7, kind));
                calls.push(punctuation.time.as_millis());
            }
        }
        calls
    }

    #[test]
    fn stream_time_fires_on_first_data_and_then_on_multiples_of_the_interval() {
        assert_eq!(calls(every(10), StreamTime, None, &[3, 9, 10, 12, 19, 25]), [3, 10, 25]);
        assert_eq!(calls(every(10), StreamTime, Some(95), &[95, 99, 100]), [95, 100]);
    }

    #[test]
    fn the_wall_clock_fires_after_one_interval_and_then_on_the_grid_of_the_first() {
        assert_eq!(
            calls(every(10), WallClockTime, Some(1_003), &[1_003, 1_012, 1_013, 1_022, 1_025, 1_033]),
            [1_013, 1_025, 1_033]
        );
    }

    #[test]
    fn a_jump_over_many_intervals_is_one_call() {
        assert_eq!(calls(every(10), WallClockTime, Some(0), &[100, 109, 110]), [100, 110]);
        assert_eq!(calls(every(10), StreamTime, None, &[0, 1_000, 1_001]), [0, 1_000]);
    }

    #[test]
    fn an_anchored_schedule_keeps_to_its_grid() {
        let anchored = every(10).starting_at(at(25));
        assert_eq!(calls(anchored, WallClockTime, Some(0), &[24, 25, 34, 35]), [25, 35], "in the future");
        assert_eq!(calls(anchored, WallClockTime, Some(25), &[25, 34, 35]), [25, 35], "now");
        assert_eq!(calls(anchored, WallClockTime, Some(61), &[61, 64, 65]), [65], "in the past");
        assert_eq!(calls(anchored, StreamTime, Some(35), &[35, 44, 45]), [45], "in the past of stream time");
        assert_eq!(calls(anchored, StreamTime, None, &[24, 26, 35]), [26, 35], "without any time yet");
    }

    #[test]
    fn what_is_due_first_comes_first_then_what_was_scheduled_first() {
        let mut punctuations = Punctuations::default();
        for (node, interval) in [(1, 20), (2, 10), (3, 20)] {
            punctuations
                .schedule(node, every(interval), WallClockTime, Some(at(0)))
                .expect("it is scheduled");
        }
        let mut nodes = Vec::new();
        while let Some((node, _)) = punctuations.next_due(WallClockTime, at(20)) {
            nodes.push(node);
        }
        assert_eq!(nodes, [2, 1, 3]);
    }

    #[test]
    fn a_call_may_cancel_its_own_schedule() {
        let mut punctuations = Punctuations::default();
        let kept = punctuations.schedule(1, every(10), StreamTime, None).expect("it is scheduled");
        let ended = punctuations.schedule(2, every(10), StreamTime, None).expect("it is scheduled");
        while let Some((_, punctuation)) = punctuations.next_due(StreamTime, at(0)) {
            if punctuation.schedule == ended {
                punctuations.cancel(ended);
            }
        }
        let next = punctuations.next_due(StreamTime, at(10)).expect("the other goes on");
        assert_eq!(next.1.schedule, kept);
        assert_eq!(punctuations.next_due(StreamTime, at(10)), None);
    }

    #[test]
    fn intervals_without_length_and_without_end() {
        let mut punctuations = Punctuations::default();
        let refused = punctuations.schedule(1, Duration::from_micros(999).into(), StreamTime, None);
        assert!(format!("{:?}", refused.expect_err("it is too short")).contains("a millisecond at least"));
        assert_eq!(calls(Duration::MAX.into(), StreamTime, None, &[0, 1 << 60]), [0]);
    }
}
