//! A store of another thread as the record path of this one reads it: as of its last commit.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::ValueAndTimestamp;
use super::keys::StoreKeys;
use crate::error::StoreError;
use crate::reader::StoreReader;
use crate::serde::SerdeRef;

/// The committed rows of a store that another thread writes, for one thread. Each look sees the newest commit, and waits for nobody.
///
/// ```
/// use millstream_state_stores::*;
/// use std::sync::Arc;
///
/// let prices = Arc::new(KeyValueStoreBuilder::new("prices", String::serde(), i64::serde()));
/// let task = TaskId { subtopology: 0, partition: 0 };
/// let mut stores = TaskStores::open(
///     task, "shop", None, StateMemory::new(16 << 20), TaskStoresOptions::default(), &[prices.clone()],
/// )?;
/// let seen_by_others = prices.committed(stores.reader("prices").expect("it was just opened"));
/// let apples = "apples".to_string();
/// let row = ValueAndTimestamp::new(30, Timestamp::from_millis(7));
/// stores.key_value::<String, i64>("prices")?.put(&apples, Some(row))?;
/// assert_eq!(seen_by_others.get(&apples)?, None);
///
/// stores.prepare_commit()?;
/// stores.drain_changelog(|_| Ok::<(), StoreError>(()))?;
/// stores.commit(Arc::new(Position::new()))?;
/// assert_eq!(seen_by_others.get(&apples)?, Some(row));
/// # Ok::<(), StoreError>(())
/// ```
pub struct CommittedStore<K, V> {
    reader: Arc<StoreReader>,
    keys: StoreKeys<K>,
    value_serde: SerdeRef<V>,
    buffers: RefCell<Buffers>,
}

/// Reused for encoded keys and rows.
#[derive(Default)]
struct Buffers {
    key: Vec<u8>,
    row: Vec<u8>,
}

impl<K, V> CommittedStore<K, V> {
    pub(super) fn new(reader: Arc<StoreReader>, key_serde: SerdeRef<K>, value_serde: SerdeRef<V>) -> Self {
        let keys = StoreKeys::new(reader.name(), key_serde);
        Self { reader, keys, value_serde, buffers: RefCell::default() }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the key or the stored value cannot be converted, or the engine fails; [`StoreError::Closed`] once its owner has closed the
    /// store.
    pub fn get(&self, key: &K) -> Result<Option<ValueAndTimestamp<V>>, StoreError> {
        let Buffers { key: bytes, row } = &mut *self.buffers.borrow_mut();
        bytes.clear();
        self.keys.append(key, bytes)?;
        match self.reader.read_live_row(bytes, row)? {
            true => Ok(Some(self.reader.decode(&self.value_serde, row)?)),
            false => Ok(None),
        }
    }
}

impl<K, V> fmt::Debug for CommittedStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CommittedStore").field("name", &self.reader.name()).finish_non_exhaustive()
    }
}
