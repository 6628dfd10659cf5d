//! `join`, `left_join` and `outer_join` of two tables with equal keys.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record, Wiring};
use millstream_processor::{Change, Timestamp, ValueAndTimestamp};

use super::newest_only::NewestOnly;
use super::rows::{RowLookup, RowRef, Rows, stored_or_computed_rows};
use super::table_store::TableStore;
use crate::join::TableJoinTarget;
use crate::logical::{Operation, OperationId, OperationKind, TableJoinKind, WriteNode};
use crate::table::KTable;

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// A row for each key that both tables have. It is made anew when either side changes, and deleted when one side is.
    ///
    /// The closure borrows both rows, which stay in their tables, and must always give the same result for the same rows: unless the result
    /// is kept in a store of its own ([`KTable::materialized`]), rows are computed again whenever they are looked up. A row has the later of
    /// the two event times. The topics of both tables must have equal partition counts.
    ///
    /// To join by a key in the value, choose it with [`KTable::on`].
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// let stock = builder.table::<String, i64>("stock");
    /// stock.join(&prices, |on_hand, cents| on_hand * cents).to_stream().to("stock-values");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let stock = driver.input_topic::<String, Option<i64>>("stock");
    /// stock.pipe_input("apples", 3)?;
    /// driver.input_topic::<String, i64>("prices").pipe_input("apples", 20)?;
    /// stock.pipe_input("apples", None)?;
    /// let values = driver.output_topic::<String, Option<i64>>("stock-values");
    /// assert_eq!(values.read_key_values_to_list()?, [("apples".into(), Some(60)), ("apples".into(), None)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[track_caller]
    pub fn join<T: TableJoinTarget<K>, V2: Clone + 'static>(
        &self,
        other: T,
        joiner: impl Fn(&V, &T::Value) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        let join = move |left: Option<&V>, right: Option<&T::Value>| Some(joiner(left?, right?));
        self.join_table(other.table(), TableJoinKind::Inner, join)
    }

    /// [`join`](Self::join), but a row without one on the other side is joined with `None`.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let names = builder.table::<String, String>("product-names");
    /// let stock = builder.table::<String, i64>("stock");
    /// names.left_join(&stock, |name, on_hand| format!("{}x {name}", on_hand.unwrap_or(&0))).to_stream().to("shelf-labels");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("product-names").pipe_input("sku-1", "apples")?;
    /// driver.input_topic::<String, i64>("stock").pipe_input("sku-1", 3)?;
    /// let labels = driver.output_topic::<String, String>("shelf-labels");
    /// assert_eq!(labels.read_key_values_to_list()?, [("sku-1".into(), "0x apples".into()), ("sku-1".into(), "3x apples".into())]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "leftJoin")]
    #[track_caller]
    pub fn left_join<T: TableJoinTarget<K>, V2: Clone + 'static>(
        &self,
        other: T,
        joiner: impl Fn(&V, Option<&T::Value>) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        let join = move |left: Option<&V>, right: Option<&T::Value>| Some(joiner(left?, right));
        self.join_table(other.table(), TableJoinKind::Left, join)
    }

    /// [`join`](Self::join), but a row of either table without one on the other side is joined with `None`. The closure never gets `None`
    /// twice.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let sold = builder.table::<String, i64>("sold");
    /// let returned = builder.table::<String, i64>("returned");
    /// sold.outer_join(&returned, |sold, returned| sold.unwrap_or(&0) - returned.unwrap_or(&0)).to_stream().to("kept");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("returned").pipe_input("apples", 1)?;
    /// driver.input_topic::<String, i64>("sold").pipe_input("apples", 5)?;
    /// let kept = driver.output_topic::<String, i64>("kept");
    /// assert_eq!(kept.read_key_values_to_list()?, [("apples".into(), -1), ("apples".into(), 4)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "outerJoin")]
    #[track_caller]
    pub fn outer_join<T: TableJoinTarget<K>, V2: Clone + 'static>(
        &self,
        other: T,
        joiner: impl Fn(Option<&V>, Option<&T::Value>) -> V2 + Send + Sync + 'static,
    ) -> KTable<K, V2> {
        let join = move |left: Option<&V>, right: Option<&T::Value>| {
            (left.is_some() || right.is_some()).then(|| joiner(left, right))
        };
        self.join_table(other.table(), TableJoinKind::Outer, join)
    }

    /// Declares the join. `join` makes a row of those of both tables, if these make one.
    #[track_caller]
    fn join_table<V2, R, F>(&self, other: &KTable<K, V2>, kind: TableJoinKind, join: F) -> KTable<K, R>
    where
        V2: Clone + 'static,
        R: Clone + 'static,
        F: Fn(Option<&V>, Option<&V2>) -> Option<R> + Send + Sync + 'static,
    {
        assert!(Rc::ptr_eq(&self.graph, &other.graph), "only tables of one StreamsBuilder can be joined");
        let join = Arc::new(join);
        let (join_left, join_right) = (Arc::clone(&join), Arc::clone(&join));
        let [left_stands_alone, right_stands_alone] = kind.sides_that_stand_alone();
        let write_sides = [
            write_side(&other.rows, left_stands_alone, move |left: Option<&V>, right: Option<&V2>| {
                join_left(left, right)
            }),
            write_side(&self.rows, right_stands_alone, move |right: Option<&V2>, left: Option<&V>| {
                join_right(left, right)
            }),
        ];
        let (left_rows, right_rows) = (Rc::clone(&self.rows), Rc::clone(&other.rows));
        KTable::declare(
            &self.graph,
            Operation {
                kind: OperationKind::TableJoin { kind, write_sides },
                parents: vec![self.id, other.id],
                name: None,
                store: None,
                write: JoinMerge::<K, R>::write(),
            },
            |id| joined_rows(id, left_rows, right_rows, join),
        )
    }
}

/// The node for the changes of one side. `join` gets a value of this side first, then one of the other.
fn write_side<K, V, V2, R, F>(other: &RowLookup<K, V2>, stands_alone: bool, join: F) -> WriteNode
where
    K: Clone + 'static,
    V: Clone + 'static,
    V2: Clone + 'static,
    R: Clone + 'static,
    F: Fn(Option<&V>, Option<&V2>) -> Option<R> + Clone + Send + Sync + 'static,
{
    let other = Rc::clone(other);
    Box::new(move |place| {
        let (open_other, join) = (other(place.plan)?, join.clone());
        let (sends_old_values, newest_only) = (place.sends_old_values, NewestOnly::of(place));
        place.add_processor(move |wiring| {
            Ok(JoinSide::<K, V, V2, R, F> {
                other: open_other(wiring)?,
                stands_alone,
                sends_old_values,
                newest_only,
                join: join.clone(),
                types: PhantomData,
            })
        })
    })
}

/// Joins the changes of one table with the rows of the other.
struct JoinSide<K, V, V2, R, F> {
    other: Box<dyn Rows<K, V2>>,
    /// Whether a row of this side gives one also if the other side has none.
    stands_alone: bool,
    sends_old_values: bool,
    newest_only: NewestOnly,
    join: F,
    types: PhantomData<(V, R)>,
}

impl<K, V, V2, R, F> Processor for JoinSide<K, V, V2, R, F>
where
    K: Clone + 'static,
    V: Clone + 'static,
    V2: Clone + 'static,
    R: Clone + 'static,
    F: Fn(Option<&V>, Option<&V2>) -> Option<R> + 'static,
{
    type KeyIn = K;
    type ValueIn = Change<V>;
    type KeyOut = K;
    type ValueOut = Change<R>;

    fn process(
        &mut self,
        record: Record<K, Change<V>>,
        context: &mut ProcessorContext<'_, K, Change<R>>,
    ) -> Result<(), Failure> {
        if self.newest_only.drops(context.task()) {
            return Ok(());
        }
        let Record { key, value: Change { old, new }, timestamp, headers } = record;
        let changes_alone = self.stands_alone && (new.is_some() || old.is_some());
        let mut joined = None;
        self.other.read(&key, &mut |row| {
            if row.is_none() && !changes_alone {
                return;
            }
            let value = row.map(|row| row.value);
            let change = Change {
                old: if self.sends_old_values { (self.join)(old.as_ref(), value) } else { None },
                new: (self.join)(new.as_ref(), value),
            };
            joined = Some((change, row.map_or(timestamp, |row| timestamp.max(row.timestamp))));
        })?;
        let Some((value, timestamp)) = joined else { return Ok(()) };
        context.forward(Record { key, value, timestamp, headers })
    }
}

/// Where the changes of both sides meet: keeps the joined table, if it is kept.
struct JoinMerge<K, R> {
    store: Option<TableStore<K, R>>,
}

impl<K: Clone + 'static, R: Clone + 'static> JoinMerge<K, R> {
    fn write() -> WriteNode {
        TableStore::write_optional(|_, store, _| Ok(JoinMerge::<K, R> { store }))
    }
}

impl<K: Clone + 'static, R: Clone + 'static> Processor for JoinMerge<K, R> {
    type KeyIn = K;
    type ValueIn = Change<R>;
    type KeyOut = K;
    type ValueOut = Change<R>;

    fn process(
        &mut self,
        record: Record<K, Change<R>>,
        context: &mut ProcessorContext<'_, K, Change<R>>,
    ) -> Result<(), Failure> {
        match &self.store {
            Some(store) => store.put_change(record, context),
            None => context.forward(record),
        }
    }

    fn prepare_commit(&mut self, context: &mut ProcessorContext<'_, K, Change<R>>) -> Result<(), Failure> {
        self.store.as_ref().map_or(Ok(()), |store| store.emit(context))
    }
}

/// Rows of a join: in its store if it has one, else computed from the rows of both tables.
fn joined_rows<K, V, V2, R, F>(
    join_id: OperationId,
    left: RowLookup<K, V>,
    right: RowLookup<K, V2>,
    join: Arc<F>,
) -> RowLookup<K, R>
where
    K: Clone + 'static,
    V: Clone + 'static,
    V2: Clone + 'static,
    R: Clone + 'static,
    F: Fn(Option<&V>, Option<&V2>) -> Option<R> + Send + Sync + 'static,
{
    stored_or_computed_rows(join_id, move |plan| {
        let (open_left, open_right, join) = (left(plan)?, right(plan)?, Arc::clone(&join));
        Ok(Arc::new(move |wiring: &Wiring<'_>| {
            let (left, right) = (open_left(wiring)?, open_right(wiring)?);
            Ok(Box::new(JoinedRows { left, right, join: Arc::clone(&join) }))
        }))
    })
}

struct JoinedRows<K, V, V2, F> {
    left: Box<dyn Rows<K, V>>,
    right: Box<dyn Rows<K, V2>>,
    join: Arc<F>,
}

impl<K, V, V2, R, F> Rows<K, R> for JoinedRows<K, V, V2, F>
where
    V: Clone,
    F: Fn(Option<&V>, Option<&V2>) -> Option<R>,
{
    fn read_as_of(
        &self,
        key: &K,
        // A join of the newest rows is made of nothing else.
        _as_of: Option<Timestamp>,
        use_row: &mut dyn FnMut(Option<RowRef<'_, R>>),
    ) -> Result<(), Failure> {
        // One after the other, because both may be rows of one store.
        let left = self.left.copy(key)?;
        self.right.read(key, &mut |right| {
            let value = (self.join)(left.as_ref().map(|row| &row.value), right.map(|row| row.value));
            let timestamp = left.as_ref().map(|row| row.timestamp).max(right.map(|row| row.timestamp));
            use_row(
                value
                    .as_ref()
                    .zip(timestamp)
                    .map(|(value, timestamp)| ValueAndTimestamp::new(value, timestamp)),
            );
        })
    }
}

#[cfg(test)]
mod tests;
