//! A table's store together with the rule when its changes go downstream: at each update, or at commit.

use std::sync::Arc;

use millstream_processor::api::{Failure, Headers, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, Result, Timestamp, ValueAndTimestamp, VersionedPut, VersionedStore};

use super::rows::{KeptRows, RowStore, Rows};
use crate::logical::WriteNode;

/// The store of a table as the node that keeps the table uses it.
pub(super) struct TableStore<K, V> {
    rows: KeptRows<K, V>,
    sends_old_values: bool,
}

/// What was planned about the changes of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedChanges {
    /// Whether they carry old values.
    pub(super) sends_old_values: bool,
    /// Whether those of the table it is made of may be of older versions of their rows.
    pub(super) reads_versions: bool,
}

impl<K: Clone + 'static, V: Clone + 'static> TableStore<K, V> {
    /// Writes the node of a table that always keeps a store; `make` makes it for each task.
    pub(super) fn write<P: Processor>(make: impl Fn(Self) -> P + Send + Sync + 'static) -> WriteNode {
        let make = Arc::new(make);
        Box::new(move |place| {
            let (store, sends_old_values) = (place.required_store()?, place.sends_old_values);
            let make = Arc::clone(&make);
            place.add_processor(move |wiring| Ok(make(TableStore::open(wiring, &store, sends_old_values)?)))
        })
    }

    /// Writes the node of a table that keeps a store only if it was planned to. `make` makes it for each task, of the store, if there is
    /// one, and of what was planned about its changes.
    pub(super) fn write_optional<P: Processor>(
        make: impl Fn(&Wiring<'_>, Option<Self>, PlannedChanges) -> Result<P> + Send + Sync + 'static,
    ) -> WriteNode {
        let make = Arc::new(make);
        Box::new(move |place| {
            let (store, make) = (place.own_store(), Arc::clone(&make));
            let planned = PlannedChanges {
                sends_old_values: place.sends_old_values,
                reads_versions: place.reads_versions,
            };
            place.add_processor(move |wiring| {
                let open = |name: &String| TableStore::open(wiring, name, planned.sends_old_values);
                make(wiring, store.as_ref().map(open).transpose()?, planned)
            })
        })
    }

    fn open(wiring: &Wiring<'_>, name: &str, sends_old_values: bool) -> Result<Self> {
        Ok(TableStore { rows: KeptRows::open(wiring, name)?, sends_old_values })
    }

    /// Replaces or deletes the row of the record's key.
    pub(super) fn put(
        &self,
        record: Record<K, Option<V>>,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        let Record { key, value, timestamp, headers } = record;
        let store = match &self.rows {
            KeptRows::Newest(store) => store,
            KeptRows::Versions(store) => {
                let newest = if self.sends_old_values { store.get(&key)? } else { None };
                let value = Change { old: newest.map(|newest| newest.value), new: value };
                return put_version(store, Record { key, value, timestamp, headers }, context);
            }
        };
        let row = value.map(|value| ValueAndTimestamp { value, timestamp });
        let changed = store.update(&key, timestamp, self.sends_old_values, |_| Ok::<_, Failure>(row))?;
        let Some((change, timestamp)) = changed else { return Ok(()) };
        context.forward(Record { key, value: change, timestamp, headers })
    }

    /// [`put`](Self::put), where the record says what the row was as far as those downstream are concerned.
    pub(super) fn put_change(
        &self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<V>>,
    ) -> Result<(), Failure> {
        let store = match &self.rows {
            KeptRows::Newest(store) => store,
            KeptRows::Versions(store) => return put_version(store, record, context),
        };
        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        let row = new.map(|value| ValueAndTimestamp { value, timestamp });
        let changed = store.update(&key, timestamp, false, |_| Ok::<_, Failure>(row))?;
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
        let store = match &self.rows {
            KeptRows::Newest(store) => store,
            KeptRows::Versions(store) => {
                let current = store.get(&key)?;
                let timestamp = current.as_ref().map_or(latest, |current| latest.max(current.valid_from));
                let current = current.map(|current| current.value);
                let old = current.clone().filter(|_| self.sends_old_values);
                let value = Change { old, new: change(&key, current)? };
                return put_version(store, Record { key, value, timestamp, headers }, context);
            }
        };
        let changed = store.update(&key, timestamp, self.sends_old_values, |row| {
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
        let mut lacks = true;
        self.rows.read(key, &mut |row| lacks = row.is_none())?;
        Ok(lacks)
    }

    /// Forwards what was held back since the last commit: the changes of a caching store, rows of another one that expired.
    pub(super) fn emit(&self, context: &mut ProcessorContext<'_, K, Change<V>>) -> Result<(), Failure> {
        let KeptRows::Newest(store) = &self.rows else { return Ok(()) };
        let emissions = if store.is_cached() { store.emissions()? } else { store.take_expired()? };
        for emission in emissions {
            let Change { old, new } = emission.change;
            let change = Change { old: old.filter(|_| self.sends_old_values), new };
            context.forward(Record::new(emission.key, change, emission.timestamp))?;
        }
        Ok(())
    }
}

/// Puts a version of a row, and says whether it is the newest to those downstream.
fn put_version<K: Clone + 'static, V: Clone + 'static>(
    store: &VersionedStore<K, V>,
    record: Record<K, Change<V>>,
    context: &mut ProcessorContext<'_, K, Change<V>>,
) -> Result<(), Failure> {
    match store.put(&record.key, record.value.new.clone(), record.timestamp)? {
        VersionedPut::Latest => context.forward_version(record, true),
        VersionedPut::ValidUntil(_) => context.forward_version(record, false),
        VersionedPut::NotPut => {
            context.task().drop_record();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_processor::testing::TestInputTopic;

    use crate::operators::test_support::{at, driver, text, written, written_at};
    use crate::{StoreName, StoreOptions, StreamsBuilder};

    const PRICES: StoreName<String, i64> = StoreName::new("prices");
    const CHEAP: StoreName<String, i64> = StoreName::new("cheap");
    const COUNTS: StoreName<String, u64> = StoreName::new("counts");
    const HUNDRED: Duration = Duration::from_millis(100);

    fn pipe<V: crate::RecordField>(topic: &TestInputTopic<String, V>, records: Vec<(&str, V, i64)>) {
        for (key, value, time) in records {
            topic.pipe_input_at(key, value, at(time)).expect("the record is processed");
        }
    }

    #[test]
    fn versions_go_to_streams_in_any_order_and_what_is_too_old_is_dropped() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(HUNDRED));
            prices.filter(|_, cents| *cents < 50).to_stream().to("cheap");
        });
        let prices = driver.input_topic::<String, Option<i64>>("prices");
        pipe(&prices, vec![("apples", Some(40), 200), ("apples", Some(60), 150), ("apples", Some(30), 100)]);
        assert_eq!(driver.dropped_records(), 0);
        pipe(&prices, vec![("apples", Some(20), 99), ("apples", None, 300)]);
        assert_eq!(driver.dropped_records(), 1);
        let cheap = written_at::<String, Option<i64>>(&driver.output_topic("cheap"));
        let expected = [(Some(40), 200), (None, 150), (Some(30), 100), (None, 300)];
        assert_eq!(cheap, expected.map(|(cents, time)| (text("apples"), cents, time)));
        let store = driver.versioned_store(PRICES).expect("the table has a versioned store");
        let then = store.get_as_of(&text("apples"), at(299)).expect("it can be read");
        assert_eq!(then.map(|then| (then.value, then.valid_to)), Some((40, Some(at(300)))));
        assert_eq!(store.get(&text("apples")).expect("it can be read"), None);
    }

    #[test]
    fn groups_have_the_newest_versions_only() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(HUNDRED));
            let all = prices.filter(|_, cents| *cents > 0).group_by(|_, cents| (text("all"), cents));
            all.reduce((), |sum, cents| sum + cents, |sum, cents| sum - cents).to_stream().to("sum");
        });
        let prices = driver.input_topic::<String, i64>("prices");
        pipe(&prices, vec![("apples", 40, 200), ("apples", 60, 150), ("apples", 30, 210), ("pears", 5, 150)]);
        let sums: Vec<i64> =
            written::<String, i64>(&driver.output_topic("sum")).into_iter().map(|row| row.1).collect();
        assert_eq!(sums, [40, 30, 35]);
        assert_eq!(
            driver.dropped_records(),
            0,
            "60 is older than 40, which Kafka Streams does not count here"
        );
    }

    #[test]
    fn a_view_and_an_aggregate_may_keep_versions_too() {
        let driver = driver(|builder| {
            let prices = builder.table::<String, i64>("prices").materialized(PRICES.versioned(HUNDRED));
            prices.filter(|_, cents| *cents < 50).materialized(CHEAP.versioned(HUNDRED));
            builder.stream::<String, i64>("orders").group_by_key().count(COUNTS.versioned(HUNDRED));
        });
        let prices = driver.input_topic::<String, i64>("prices");
        pipe(&prices, vec![("apples", 40, 200), ("apples", 60, 150), ("apples", 30, 140)]);
        let cheap = driver.versioned_store(CHEAP).expect("the view has a versioned store");
        let as_of = |time| {
            let found = cheap.get_as_of(&text("apples"), at(time)).expect("it can be read");
            found.map(|found| (found.value, found.valid_from, found.valid_to))
        };
        assert_eq!(as_of(149), Some((30, at(140), Some(at(150)))));
        assert_eq!(as_of(150), None);
        assert_eq!(as_of(200), Some((40, at(200), None)));

        let orders = driver.input_topic::<String, i64>("orders");
        pipe(&orders, vec![("apples", 1, 10), ("apples", 1, 30), ("apples", 1, 20)]);
        let counts = driver.versioned_store(COUNTS).expect("the count has a versioned store");
        let count_at = |time| {
            let found = counts.get_as_of(&text("apples"), at(time)).expect("it can be read");
            found.map(|found| found.value)
        };
        assert_eq!([9, 10, 29, 30].map(count_at), [None, Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn rows_that_expire_leave_their_groups() {
        for is_cached in [false, true] {
            let driver = driver(|builder| {
                let carts = PRICES.with_ttl(HUNDRED);
                let carts = if is_cached { carts } else { carts.without_caching() };
                let carts = builder.table::<String, i64>("carts").materialized(carts);
                let all = carts.group_by(|_, items| (text("all"), items));
                all.count(COUNTS.without_caching()).to_stream().to("open-carts");
            });
            let carts = driver.input_topic::<String, i64>("carts");
            pipe(&carts, vec![("ann", 1, 0), ("bob", 1, 50), ("ann", 2, 60), ("eve", 1, 155)]);
            let written = written_at::<String, u64>(&driver.output_topic("open-carts"));
            let (key, last) = (text("all"), written.last().cloned());
            assert_eq!(last, Some((key, 2, 155)), "bob has gone, ann has not; {written:?}");
            let changelog = written_at::<String, Option<i64>>(&driver.output_topic("test-prices-changelog"));
            assert!(changelog.contains(&(text("bob"), None, 150)), "{changelog:?}");
        }
    }

    #[test]
    fn what_a_store_cannot_be_is_refused_with_the_remedy() {
        let refused = |declare: &dyn Fn(&StreamsBuilder), expected: &str| {
            let builder = StreamsBuilder::new();
            declare(&builder);
            let error = builder.build().expect_err("it is refused").to_string();
            assert!(error.contains(expected), "{error}");
        };
        let both = |builder: &StreamsBuilder| {
            let both = PRICES.versioned(HUNDRED).with_ttl(HUNDRED);
            builder.table::<String, i64>("prices").materialized(both);
        };
        refused(&both, "leave `with_ttl` out");
        let global = |builder: &StreamsBuilder| {
            builder.stream::<String, i64>("orders").to("archive");
            builder.global_table::<String, i64>("prices", PRICES.versioned(HUNDRED));
        };
        refused(&global, "leave `versioned` out");
        let unnamed = |builder: &StreamsBuilder| {
            let prices = builder.table::<String, i64>("prices");
            prices.filter(|_, _| true).materialized(().versioned(HUNDRED));
        };
        refused(&unnamed, "give it one with a `StoreName`");
    }
}
