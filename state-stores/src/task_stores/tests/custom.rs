//! A store of a user's own with an index in memory, which is made anew whenever rows were taken back.

use std::collections::BTreeSet;

use super::*;
use crate::store::{Custom, CustomStore};

/// Skus in the order of their stock.
struct Ranking {
    rows: Stock,
    by_stock: BTreeSet<(i64, String)>,
}

impl CustomStore for Ranking {
    const KIND: &'static str = "ranking";
    type Key = String;
    type Value = i64;

    fn open(rows: Stock) -> Result<Self, StoreError> {
        let by_stock =
            rows.all()?.map(|row| row.map(|(sku, row)| (row.value, sku))).collect::<Result<_, _>>()?;
        Ok(Ranking { rows, by_stock })
    }
}

impl Ranking {
    fn set(&mut self, sku: &str, on_hand: i64) -> Result<(), StoreError> {
        let sku = text(sku);
        if let Some(before) = self.rows.get(&sku)? {
            self.by_stock.remove(&(before.value, sku.clone()));
        }
        self.rows.put(&sku, row(on_hand, 5))?;
        self.by_stock.insert((on_hand, sku));
        Ok(())
    }

    fn least(&self) -> Option<String> {
        self.by_stock.first().map(|(_, sku)| sku.clone())
    }
}

fn open(root: Option<&tempfile::TempDir>) -> DormantStores {
    let directory = root.map(|root| StateDirectory::new(root.path(), "shop").lock_task(TASK).unwrap());
    let builder = stock_builder().custom::<Ranking>();
    DormantStores::open(TASK, "shop", directory, StateMemory::new(16 << 20), &[Arc::new(builder)]).unwrap()
}

fn wake(stores: DormantStores) -> (TaskStores, Custom<Ranking>) {
    let stores = stores.wake(TaskStoresOptions { undo: true, ..TaskStoresOptions::default() });
    let ranking = stores.custom("stock").unwrap();
    (stores, ranking)
}

fn least(ranking: &Custom<Ranking>) -> Option<String> {
    ranking.with(|ranking| Ok::<_, StoreError>(ranking.least())).unwrap()
}

#[test]
fn it_is_undone_rolled_back_committed_and_restored_with_the_others() {
    let root = tempfile::tempdir().unwrap();
    let (mut stores, ranking) = wake(open(Some(&root)));
    let set = |sku, on_hand| ranking.with(|ranking| ranking.set(sku, on_hand)).unwrap();
    stores.begin_record();
    set("apples", 5);
    set("pears", 3);
    assert_eq!(commit(&mut stores), [(text("apples"), Some(5), 5), (text("pears"), Some(3), 5)]);
    assert_eq!(least(&ranking), Some(text("pears")));

    stores.begin_record();
    set("apples", 1);
    assert_eq!(least(&ranking), Some(text("apples")));
    stores.undo_record();
    assert_eq!(least(&ranking), Some(text("pears")), "the index is of the rows as they are");

    set("apples", 1);
    stores.rollback();
    assert_eq!(least(&ranking), Some(text("pears")));
    stores.checkpoint(&[(STOCK.index().into(), Offset::new(2).into())]).unwrap();
    stores.close().unwrap();

    let mut stores = open(Some(&root));
    let value = 2_i64.to_be_bytes();
    let row = RestoreRow { key: b"plums", value: Some(&value), timestamp: at(7) };
    stores.restore(STOCK.index(), [row].into_iter(), Offset::new(3)).unwrap();
    stores.flush(STOCK.index()).unwrap();
    let (stores, ranking) = wake(stores);
    assert_eq!(least(&ranking), Some(text("plums")));
    let wrong = stores.key_value::<String, i64>("stock").unwrap_err();
    assert!(wrong.to_string().contains("holds a ranking store from"), "{wrong}");
}

#[test]
fn a_method_that_fails_leaves_no_half_of_its_change_in_memory() {
    let (_stores, ranking) = wake(open(None));
    ranking.with(|ranking| ranking.set("apples", 5)).unwrap();
    let failed = ranking.with(|ranking| {
        ranking.by_stock.clear();
        Err::<(), _>(StoreError::Closed { store: "the failure of the test".into() })
    });
    failed.unwrap_err();
    assert_eq!(least(&ranking), Some(text("apples")));
}
