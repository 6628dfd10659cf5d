//! Looks at the running application from outside, as any thread of a user's program may: its stores, and what its threads report.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream::query::{QueryError, ReadOnlyKeyValueStore};
use millstream::runtime::RestoreProgress;
use millstream::{Result, Streams, TaskId};

use super::display::{Frame, SkuRow};
use super::events::{OrderStatus, Reservations};
use super::recount::{Recount, View};
use super::topology::{DEMAND, RESERVATIONS, STATUS, STOCK};

/// How far restores are: by task and store, records done and to do.
#[derive(Clone, Default)]
pub struct Restores(Arc<Mutex<DoneAndAll>>);

type DoneAndAll = BTreeMap<(TaskId, Arc<str>), (u64, u64)>;

impl Restores {
    /// What the application is to tell its progress.
    pub fn listener(&self) -> impl Fn(&RestoreProgress) + Send + Sync + 'static {
        let restores = Arc::clone(&self.0);
        move |progress| {
            let store = (progress.task, Arc::clone(&progress.store));
            let all = u64::try_from(progress.end.get() - progress.from.get()).unwrap_or(0);
            let done = all.saturating_sub(progress.remaining());
            restores.lock().unwrap_or_else(PoisonError::into_inner).insert(store, (done, all));
        }
    }

    /// Done and to do, of all that was begun; none if nothing is left.
    fn total(&self) -> Option<(u64, u64)> {
        let restores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let add = |sum: (u64, u64), one: &(u64, u64)| (sum.0 + one.0, sum.1 + one.1);
        let (done, all) = restores.values().fold((0, 0), add);
        (done < all).then_some((done, all))
    }
}

/// Handles of the stores, and the application they belong to.
pub struct Watch<'a> {
    app: &'a Streams,
    restores: Restores,
    stock: ReadOnlyKeyValueStore<String, i64>,
    reservations: ReadOnlyKeyValueStore<String, Reservations>,
    status: ReadOnlyKeyValueStore<String, OrderStatus>,
    /// If the program keeps it.
    demand: Option<ReadOnlyKeyValueStore<String, i64>>,
}

impl<'a> Watch<'a> {
    /// Of this application.
    ///
    /// # Errors
    /// `Fatal` if it has not the stores of the example.
    pub fn new(app: &'a Streams, restores: Restores) -> Result<Self> {
        let missing = |error: QueryError| {
            millstream::Error::fatal("the application has not the example's stores").with_source(error)
        };
        Ok(Watch {
            app,
            restores,
            stock: app.store(STOCK).map_err(missing)?,
            reservations: app.store(RESERVATIONS).map_err(missing)?,
            status: app.store(STATUS).map_err(missing)?,
            demand: match app.store(DEMAND) {
                Err(QueryError::UnknownStore { .. }) => None,
                found => Some(found.map_err(missing)?),
            },
        })
    }

    /// The run as it is now. Without rows where the stores cannot be read at the moment.
    pub fn frame(&self, at: Duration, phase: &'static str, written: u64) -> Frame {
        Frame {
            at,
            phase,
            state: self.app.state(),
            written,
            processed: self.processed(),
            lag: self.lag(),
            poison: self.poison(),
            restore: self.restores.total(),
            skus: self.rows().unwrap_or_default(),
        }
    }

    fn rows(&self) -> Result<Vec<SkuRow>, QueryError> {
        let mut rows: BTreeMap<String, SkuRow> = BTreeMap::new();
        for row in self.stock.all()? {
            let (sku, on_hand) = row?;
            rows.insert(sku.clone(), SkuRow { sku, on_hand, ..SkuRow::default() });
        }
        for row in self.reservations.all()? {
            let (sku, reservations) = row?;
            let row = rows.entry(sku.clone()).or_insert_with(|| SkuRow { sku, ..SkuRow::default() });
            row.reserved = reservations.reserved;
            row.promised_orders = reservations.promised_orders;
            row.refused_orders = reservations.refused_orders;
        }
        Ok(rows.into_values().collect())
    }

    /// Everything the stores say here, asked for by the keys the recount has and by scans for those it has not.
    ///
    /// # Errors
    /// If a store cannot be read now.
    pub fn view(&self, recount: &Recount) -> Result<View, QueryError> {
        let mut view = View {
            stock: self.stock.all()?.collect::<Result<_, _>>()?,
            reservations: self.reservations.all()?.collect::<Result<_, _>>()?,
            status: self.status.all()?.collect::<Result<_, _>>()?,
            demand: match &self.demand {
                Some(demand) => Some(demand.all()?.collect::<Result<_, _>>()?),
                None => None,
            },
            ..View::default()
        };
        let mut elsewhere = Vec::new();
        for sku in recount.skus() {
            if !view.stock.contains_key(sku) && is_elsewhere(&self.stock, sku)? {
                elsewhere.push((STOCK.name(), sku.clone()));
            }
            if !view.reservations.contains_key(sku) && is_elsewhere(&self.reservations, sku)? {
                elsewhere.push((RESERVATIONS.name(), sku.clone()));
            }
            if let (Some(demand), Some(rows)) = (&self.demand, &view.demand)
                && !rows.contains_key(sku)
                && is_elsewhere(demand, sku)?
            {
                elsewhere.push((DEMAND.name(), sku.clone()));
            }
        }
        for order_id in recount.orders() {
            if !view.status.contains_key(order_id) && is_elsewhere(&self.status, order_id)? {
                elsewhere.push((STATUS.name(), order_id.clone()));
            }
        }
        view.elsewhere.extend(elsewhere);
        Ok(view)
    }

    /// Records processed by this instance.
    pub fn processed(&self) -> u64 {
        self.app.threads().iter().flat_map(|thread| &thread.tasks).map(|task| task.processed).sum()
    }

    /// Records this instance has yet to process, as far as it knows.
    pub fn lag(&self) -> u64 {
        let threads = self.app.threads();
        let partitions = threads.iter().flat_map(|thread| &thread.tasks).flat_map(|task| &task.partitions);
        partitions.filter_map(|partition| partition.lag).sum()
    }

    /// Records this instance dead-lettered.
    pub fn poison(&self) -> u64 {
        let threads = self.app.threads();
        threads.iter().flat_map(|thread| &thread.tasks).flat_map(|task| task.dead_letters).sum()
    }
}

/// Whether a key without a row here may have one in another instance.
fn is_elsewhere<K: Eq + Hash, V>(store: &ReadOnlyKeyValueStore<K, V>, key: &K) -> Result<bool, QueryError> {
    match store.get(key) {
        Ok(_row) => Ok(false),
        Err(QueryError::NotHere { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}
