//! A table's store together with the rule when its changes go downstream: at each update, or at commit.

use millstream_processor::api::{Failure, Headers, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, KeyValueStore, Result, Timestamp, ValueAndTimestamp};

/// The store of a table as the node that keeps the table uses it.
pub(super) struct TableStore<K, V> {
    store: KeyValueStore<K, V>,
    sends_old_values: bool,
}

impl<K: Clone + 'static, V: Clone + 'static> TableStore<K, V> {
    pub(super) fn open(wiring: &Wiring<'_>, name: &str, sends_old_values: bool) -> Result<Self> {
        Ok(TableStore { store: wiring.key_value_store(name)?, sends_old_values })
    }

    /// Replaces or deletes the row of the record's key.
    pub(super) fn put(
        &self,
        record: Record<K, Option<V>>,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let row = value.map(|value| ValueAndTimestamp { value, timestamp });
        let changed = self.store.update(&key, timestamp, self.sends_old_values, |_| Ok::<_, Failure>(row))?;
        let Some((change, timestamp)) = changed else { return Ok(()) };
        context.forward(Record { key, value: change, timestamp, headers })
    }

    /// [`put`](Self::put), where the record says what the row was as far as those downstream are concerned.
    pub(super) fn put_change(
        &self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        let row = new.map(|value| ValueAndTimestamp { value, timestamp });
        let changed = self.store.update(&key, timestamp, false, |_| Ok::<_, Failure>(row))?;
        let Some((change, timestamp)) = changed else { return Ok(()) };
        context.forward(Record { key, value: Change { old, new: change.new }, timestamp, headers })
    }

    /// Gives the row a new value made from the one it has. Its event time is the latest of all records that went into it, also
    /// on the way downstream when it is deleted.
    pub(super) fn aggregate(
        &self,
        key: K,
        timestamp: Timestamp,
        headers: Headers,
        context: &mut ProcessorContext<'_, K, Change<V>>,
        change: impl FnOnce(&K, Option<V>) -> Result<Option<V>, Failure>,
    ) -> Result<(), Failure> {
        let mut latest = timestamp;
        let changed = self.store.update(&key, timestamp, self.sends_old_values, |row| {
            let current = row.map(|row| {
                latest = latest.max(row.timestamp);
                row.value
            });
            let value = change(&key, current)?;
            Ok::<_, Failure>(value.map(|value| ValueAndTimestamp { value, timestamp: latest }))
        })?;
        let Some((change, _)) = changed else { return Ok(()) };
        context.forward(Record { key, value: change, timestamp: latest, headers })
    }

    /// Whether the table has no row for the key.
    pub(super) fn lacks(&self, key: &K) -> Result<bool, Failure> {
        Ok(self.store.read(key, |row| row.is_none())?)
    }

    /// Forwards what a caching store held back since the last commit.
    pub(super) fn emit(&self, context: &mut ProcessorContext<'_, K, Change<V>>) -> Result<(), Failure> {
        if !self.store.is_cached() {
            return Ok(());
        }
        for emission in self.store.emissions()? {
            let Change { old, new } = emission.change;
            let change = Change { old: old.filter(|_| self.sends_old_values), new };
            context.forward(Record::new(emission.key, change, emission.timestamp))?;
        }
        Ok(())
    }
}
