//! What a task's database says about itself: the rows of its default column family, and the names of the others.
//!
//! ```text
//! format              u32, big-endian                 the version of these layouts
//! application         UTF-8                           the application id
//! task                UTF-8, "0_3" or "global"        the task, or the global tables of a process
//! store/<name>        UTF-8, "<kind>\n<key>\n<value>" for people: the kind of the store and its Rust types
//! offset/<name>       i64, big-endian                 the next changelog offset to restore from
//! offset/<name>/<n>   i64, big-endian                 of a global table: the next offset to read in partition n of its topic
//! changelog/<name>    16 bytes                        the id of the topic that is the changelog, or of a global table the topic
//! ```
//! The rows of store `<name>` are in the column family `store/<name>`. What it keeps besides them, its companion, has rows here as a
//! store has, and a column family, under the name `<name>/expiry` or `<name>/history-<interval>`.

use crate::store::StoreTypes;
use crate::types::{Offset, PartitionId, TopicId};

/// The version of the layouts of this module and of [`super::row`].
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Key of the row that holds [`FORMAT_VERSION`].
pub(crate) const FORMAT_KEY: &[u8] = b"format";
/// Key of the row that holds the application id.
pub(crate) const APPLICATION_KEY: &[u8] = b"application";
/// Key of the row that holds the task id.
pub(crate) const TASK_KEY: &[u8] = b"task";

const STORE_PREFIX: &str = "store/";

/// The column family of a store. The prefix keeps it apart from RocksDB's own family, `default`.
pub(crate) fn column_family(store: &str) -> String {
    format!("{STORE_PREFIX}{store}")
}

/// The store whose rows a column family holds; `None` for RocksDB's own.
pub(crate) fn store_of_column_family(column_family: &str) -> Option<&str> {
    column_family.strip_prefix(STORE_PREFIX)
}

/// The store of which a companion has this name: what a store keeps besides its rows is called `<store>/<what>`.
pub(crate) fn store_of_companion(name: &str) -> Option<&str> {
    name.split_once('/').map(|(store, _)| store)
}

/// Key of the row that describes a store.
pub(crate) fn description_key(store: &str) -> Vec<u8> {
    format!("{STORE_PREFIX}{store}").into_bytes()
}

/// The description of a store.
pub(crate) fn description(types: StoreTypes) -> String {
    let StoreTypes { kind, key, value } = types;
    format!("{kind}\n{key}\n{value}")
}

/// Key of the row that holds the offset of a store's changelog, or of one partition of a global table's topic.
pub(crate) fn offset_key(store: &str, partition: Option<PartitionId>) -> Vec<u8> {
    match partition {
        None => format!("offset/{store}").into_bytes(),
        Some(partition) => format!("offset/{store}/{partition}").into_bytes(),
    }
}

/// Where the offsets of all partitions of a global table's topic begin, and before which key they end. Names of stores have no slash.
pub(crate) fn partition_offset_keys(store: &str) -> [Vec<u8>; 2] {
    // A zero is what follows the slash in ASCII.
    ["/", "0"].map(|end| format!("offset/{store}{end}").into_bytes())
}

/// The row of [`offset_key`].
pub(crate) fn encode_offset(next: Offset) -> [u8; 8] {
    next.get().to_be_bytes()
}

/// The offset in a row of [`offset_key`], or `None` if it has another length, or is negative, which no offset is.
pub(crate) fn decode_offset(row: &[u8]) -> Option<Offset> {
    let offset = i64::from_be_bytes(row.try_into().ok()?);
    (offset >= 0).then(|| Offset::new(offset))
}

/// Key of the row that holds the id of a store's changelog.
pub(crate) fn changelog_key(store: &str) -> Vec<u8> {
    format!("changelog/{store}").into_bytes()
}

/// The id in a row of [`changelog_key`], or `None` if it has another length.
pub(crate) fn decode_changelog(row: &[u8]) -> Option<TopicId> {
    Some(TopicId::from_bytes(row.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_rows_are_as_documented() {
        assert_eq!(FORMAT_VERSION.to_be_bytes(), [0, 0, 0, 1]);
        assert_eq!(column_family("stock"), "store/stock");
        assert_eq!(store_of_column_family("store/stock"), Some("stock"));
        assert_eq!(store_of_column_family("default"), None);
        assert_eq!(store_of_companion("stock/expiry"), Some("stock"));
        assert_eq!(store_of_companion("stock"), None);
        assert_eq!(description_key("stock"), b"store/stock");
        let types = StoreTypes { kind: "key-value", key: "String", value: "i64" };
        assert_eq!(description(types), "key-value\nString\ni64");
        assert_eq!(offset_key("stock", None), b"offset/stock");
        let of_partition = offset_key("stock", Some(PartitionId::new(12)));
        assert_eq!(of_partition, b"offset/stock/12");
        let [from, to] = partition_offset_keys("stock");
        assert!(from < of_partition && of_partition < to);
        for other in [
            offset_key("stock", None),
            offset_key("stock-2", Some(PartitionId::new(0))),
            offset_key("stock.2", None),
        ] {
            assert!(!(from.clone()..to.clone()).contains(&other), "{other:?}");
        }
        assert_eq!(encode_offset(Offset::new(0x0102)), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode_offset(&[0, 0, 0, 0, 0, 0, 1, 2]), Some(Offset::new(0x0102)));
        assert_eq!(decode_offset(&[0, 1]), None);
        assert_eq!(decode_offset(&(-1_i64).to_be_bytes()), None);
        assert_eq!(changelog_key("stock"), b"changelog/stock");
        let id = TopicId::from_bytes(*b"0123456789abcdef");
        assert_eq!(decode_changelog(&id.to_bytes()), Some(id));
        assert_eq!(decode_changelog(b"0123"), None);
    }
}
