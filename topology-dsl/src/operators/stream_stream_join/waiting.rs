//! The records of both sides that were not joined yet and are emitted alone when their window closes; and the time that closes it.
//!
//! They are in a store, in the order of time. A search of it for each record would be slow, so the next slice of time is kept in memory:
//! the keys of those that close soon. Records that come are in later slices, and mostly have been joined when theirs is searched.

use std::any::type_name;
use std::collections::BTreeSet;

use millstream_processor::api::Failure;
use millstream_processor::{
    Encoded, JoinSide, KeyValueStore, LeftOrRightValue, SerdeError, SerdeRef, Timestamp, ValueAndTimestamp,
    begin_waiting_key, split_waiting_key,
};

use crate::windows::JoinWindows;

/// See the module's description. Both sides of a join share one, and so one stream time.
pub(super) struct Waiting<K, L, R> {
    store: WaitingStore<L, R>,
    key_serde: SerdeRef<K>,
    /// The latest event time of a record of either side; it begins anew with each task.
    stream_time: Timestamp,
    /// Of each side whose records wait.
    closing: [Option<NextToClose>; 2],
    /// What [`KeyValueStore::reverts`] said when `closing` was right.
    reverts: u64,
    /// Rows that failed on their way downstream.
    given_up: BTreeSet<Vec<u8>>,
    /// Reused for keys.
    key: Vec<u8>,
}

/// A row has all values of one side, key and time.
type WaitingStore<L, R> = KeyValueStore<Vec<u8>, Vec<LeftOrRightValue<L, R>>>;

/// The key, time and values of a row that was taken out of the store.
type Closed<K, L, R> = (K, Timestamp, Vec<LeftOrRightValue<L, R>>);

/// The records of one side that close next.
struct NextToClose {
    side: JoinSide,
    /// How far behind stream time the time is before which windows are closed, in milliseconds.
    delay: i64,
    /// The keys of the rows before `known_to`; some may be gone since.
    keys: BTreeSet<Vec<u8>>,
    /// In milliseconds.
    known_to: i64,
}

impl<K: Clone + 'static, L: Clone + 'static, R: Clone + 'static> Waiting<K, L, R> {
    /// `waits` says whether records of the left side wait, and of the right.
    pub(super) fn new(
        store: WaitingStore<L, R>,
        key_serde: SerdeRef<K>,
        windows: JoinWindows,
        [left_waits, right_waits]: [bool; 2],
    ) -> Self {
        let next = |side, span: i64| NextToClose::new(side, span.saturating_add(windows.grace));
        Waiting {
            reverts: store.reverts(),
            store,
            key_serde,
            stream_time: Timestamp::from_millis(-1),
            closing: [
                left_waits.then(|| next(JoinSide::Left, windows.after)),
                right_waits.then(|| next(JoinSide::Right, windows.before)),
            ],
            given_up: BTreeSet::new(),
            key: Vec::new(),
        }
    }

    pub(super) fn stream_time(&self) -> Timestamp {
        self.stream_time
    }

    /// Takes note of a record's time, and says whether it is the latest.
    #[inline]
    pub(super) fn observe(&mut self, time: Timestamp) -> bool {
        self.stream_time = self.stream_time.max(time);
        self.stream_time == time
    }

    /// Lets a record wait.
    pub(super) fn put(
        &mut self,
        side: JoinSide,
        time: Timestamp,
        key: &K,
        value: LeftOrRightValue<L, R>,
    ) -> Result<(), Failure> {
        self.encode(side, time, key)?;
        self.store.update(&self.key, time, false, |row| {
            let mut values = row.map_or_else(Vec::new, |row| row.value);
            values.push(value);
            Ok::<_, Failure>(Some(ValueAndTimestamp::new(values, time)))
        })?;
        if let Some(next) = self.closing.iter_mut().flatten().find(|next| next.side == side)
            && time.as_millis() < next.known_to
        {
            next.keys.insert(self.key.clone());
        }
        Ok(())
    }

    /// Lets the records of this side, key and time wait no longer: they are joined.
    pub(super) fn remove(&mut self, side: JoinSide, time: Timestamp, key: &K) -> Result<(), Failure> {
        if self.closing.iter().flatten().any(|next| next.side == side) {
            self.encode(side, time, key)?;
            self.store.put(&self.key, None)?;
        }
        Ok(())
    }

    /// The keys of the rows whose windows have closed, in the order of time, each of them once.
    pub(super) fn closed(&mut self) -> Result<Vec<Vec<u8>>, Failure> {
        let reverts = self.store.reverts();
        if reverts != self.reverts {
            self.closing.iter_mut().flatten().for_each(NextToClose::forget);
            self.reverts = reverts;
        } else {
            // Those that were closed before are gone for good.
            self.given_up.clear();
        }
        let mut closed = Vec::new();
        for next in self.closing.iter_mut().flatten() {
            next.take_closed(self.stream_time, &self.store, &mut closed)?;
        }
        closed.sort_unstable();
        Ok(closed)
    }

    /// Takes a row out of the store, if it is still there, because of a record of the time `at`.
    pub(super) fn take(
        &mut self,
        row_key: &Vec<u8>,
        at: Timestamp,
    ) -> Result<Option<Closed<K, L, R>>, Failure> {
        let mut taken = None;
        self.store.update(row_key, at, false, |row| {
            taken = row;
            Ok::<_, Failure>(None)
        })?;
        let Some((row, (time, _, key))) = taken.zip(split_waiting_key(row_key)) else { return Ok(None) };
        Ok(Some((self.key_serde.decode(key)?, time, row.value)))
    }

    /// Takes note that a row failed on its way downstream. The record that closed it is taken back, and each further one would be.
    pub(super) fn give_up(&mut self, row_key: Vec<u8>) {
        self.given_up.insert(row_key);
    }

    /// Whether a row failed before.
    pub(super) fn is_given_up(&self, row_key: &Vec<u8>) -> bool {
        self.given_up.contains(row_key)
    }

    /// Makes `self.key` that of a row.
    fn encode(&mut self, side: JoinSide, time: Timestamp, key: &K) -> Result<(), Failure> {
        begin_waiting_key(time, side, &mut self.key);
        match self.key_serde.encode(key, &mut self.key)? {
            Encoded::Bytes => Ok(()),
            Encoded::Null => Err(SerdeError::UnexpectedNull { type_name: type_name::<K>() }.into()),
        }
    }
}

impl NextToClose {
    fn new(side: JoinSide, delay: i64) -> Self {
        NextToClose { side, delay, keys: BTreeSet::new(), known_to: 0 }
    }

    /// Forgets what is known, so that the store is searched from its first row on.
    fn forget(&mut self) {
        *self = NextToClose::new(self.side, self.delay);
    }

    /// Adds the keys of the rows whose windows have closed to `closed`.
    fn take_closed<L: Clone + 'static, R: Clone + 'static>(
        &mut self,
        stream_time: Timestamp,
        store: &WaitingStore<L, R>,
        closed: &mut Vec<Vec<u8>>,
    ) -> Result<(), Failure> {
        let closed_before = stream_time.as_millis().saturating_sub(self.delay);
        if closed_before > self.known_to {
            self.search(closed_before.saturating_add(self.slice()), store)?;
        }
        let is_closed =
            |key: &Vec<u8>| split_waiting_key(key).is_some_and(|(time, ..)| time.as_millis() < closed_before);
        while self.keys.first().is_some_and(is_closed) {
            closed.extend(self.keys.pop_first());
        }
        Ok(())
    }

    /// Looks for rows up to `to`.
    fn search<L: Clone + 'static, R: Clone + 'static>(
        &mut self,
        to: i64,
        store: &WaitingStore<L, R>,
    ) -> Result<(), Failure> {
        let first_of = |millis: i64| {
            let mut key = Vec::new();
            begin_waiting_key(Timestamp::from_millis(millis), JoinSide::Right, &mut key);
            key
        };
        for row in store.range(first_of(self.known_to)..first_of(to))? {
            let (key, _) = row?;
            if split_waiting_key(&key).is_some_and(|(_, side, _)| side == self.side) {
                self.keys.insert(key);
            }
        }
        self.known_to = to;
        Ok(())
    }

    /// How much time is searched at once, in milliseconds: a small part of what waits, but not so little that it is done often.
    fn slice(&self) -> i64 {
        (self.delay / 32).max(1_000)
    }
}

#[cfg(test)]
mod tests {
    use millstream_processor::{HasSerde, StateMemory, TaskId, TaskStores, TaskStoresOptions};

    use super::*;
    use crate::millis;
    use crate::operators::test_support::at;
    use crate::options::StreamJoined;

    type OfNumbers = Waiting<String, i64, i64>;

    fn stores() -> TaskStores {
        let options = TaskStoresOptions { undo: true, ..TaskStoresOptions::default() };
        let task = TaskId { subtopology: 0, partition: 0 };
        let builder = StreamJoined::default().waiting_store::<i64, i64>("waiting");
        TaskStores::open(task, "shop", None, StateMemory::new(16 << 20), options, &[builder])
            .expect("stores in memory can be opened")
    }

    /// What a task has when it begins. Windows of ten milliseconds.
    fn waiting(stores: &TaskStores) -> OfNumbers {
        let store = stores.key_value("waiting").expect("it was just built");
        Waiting::new(store, String::serde(), millis(10).into(), [true, true])
    }

    fn put(waiting: &mut OfNumbers, side: JoinSide, time: i64, key: &str) {
        let put = waiting.put(side, at(time), &key.to_string(), LeftOrRightValue::Left(time));
        put.expect("the store takes it");
    }

    /// The keys and times of what is closed at a time, taken out of the store.
    fn closed(waiting: &mut OfNumbers, time: i64) -> Vec<(String, i64)> {
        waiting.observe(at(time));
        let rows = waiting.closed().expect("the store can be read");
        let taken = rows.iter().filter_map(|row| waiting.take(row, at(time)).expect("the store can be read"));
        taken.map(|(key, time, _)| (key, time.as_millis())).collect()
    }

    fn row(key: &str, time: i64) -> (String, i64) {
        (key.to_string(), time)
    }

    #[test]
    fn a_task_that_begins_finds_what_waits_in_its_store() {
        let stores = stores();
        let mut before = waiting(&stores);
        put(&mut before, JoinSide::Left, 5_000, "a");
        put(&mut before, JoinSide::Right, 9_000, "b");
        let mut after = waiting(&stores);
        assert_eq!(closed(&mut after, 5_010), []);
        assert_eq!(closed(&mut after, 5_011), [row("a", 5_000)]);
        assert_eq!(closed(&mut after, 5_011), []);
        assert_eq!(closed(&mut after, 9_999), [row("b", 9_000)]);
    }

    #[test]
    fn what_a_record_took_that_was_taken_back_is_found_again() {
        let mut stores = stores();
        let mut waiting = waiting(&stores);
        put(&mut waiting, JoinSide::Left, 100, "a");
        put(&mut waiting, JoinSide::Left, 101, "b");
        stores.begin_record();
        waiting.remove(JoinSide::Left, at(101), &"b".to_string()).expect("the store can be read");
        assert_eq!(closed(&mut waiting, 200), [row("a", 100)]);
        stores.undo_record();
        stores.begin_record();
        assert_eq!(closed(&mut waiting, 200), [row("a", 100), row("b", 101)]);
    }

    #[test]
    fn what_comes_late_is_found_in_a_slice_that_was_searched() {
        let stores = stores();
        let mut waiting = waiting(&stores);
        assert_eq!(closed(&mut waiting, 500), []);
        put(&mut waiting, JoinSide::Right, 501, "a");
        put(&mut waiting, JoinSide::Right, 500, "b");
        assert_eq!(closed(&mut waiting, 511), [row("b", 500)]);
        assert_eq!(closed(&mut waiting, 512), [row("a", 501)]);
    }
}
