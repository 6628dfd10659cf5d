//! What a task's database says about itself: the rows of its default column family, and the names of the others.
//!
//! ```text
//! format              u32, big-endian                 the version of these layouts
//! application         UTF-8                           the application id
//! task                UTF-8, "0_3" or "global"        the task, or the global tables of a process
//! store/<name>        UTF-8, "<kind>\n<key>\n<value>" for people: the kind of the store and its Rust types
//! offset/<name>       position                        the changelog position to restore from
//! offset/<name>/<n>   position                        of a global table: that to read on from in partition n of its topic
//! changelog/<name>    16 bytes                        the id of the topic that is the changelog, or of a global table the topic
//!
//! position            next offset (i64) | as of (i64, milliseconds since 1970); without the latter if nobody knows
//! ```
//! The rows of store `<name>` are in the column family `store/<name>`. A store that keeps something besides its rows, its companion, is called
//! `<name>/with-expiry` or `<name>/with-history-<interval>` here.

use crate::store::StoreTypes;
use crate::types::{LogPosition, Offset, PartitionId, Timestamp, TopicId};

/// The version of the layouts of this module and of [`super::row`].
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Key of the row that holds [`FORMAT_VERSION`].
pub(crate) const FORMAT_KEY: &[u8] = b"format";
/// Key of the row that holds the application id.
pub(crate) const APPLICATION_KEY: &[u8] = b"application";
/// Key of the row that holds the task id.
pub(crate) const TASK_KEY: &[u8] = b"task";

const STORE_PREFIX: &str = "store/";

/// What a store is called in its database: its name, and how it is kept together with its companion, if it has one.
pub(crate) fn column(store: &str, companion: Option<&str>) -> String {
    match companion {
        None => store.to_owned(),
        Some(companion) => format!("{store}/{companion}"),
    }
}

/// The name of the store that is called so in a database. Names of stores have no slash.
pub(crate) fn store_of_column(column: &str) -> &str {
    column.split_once('/').map_or(column, |(store, _)| store)
}

/// The column family of what is called so. The prefix keeps it apart from RocksDB's own family, `default`.
pub(crate) fn column_family(column: &str) -> String {
    format!("{STORE_PREFIX}{column}")
}

/// What the store is called whose rows a column family holds; `None` for RocksDB's own.
pub(crate) fn column_of_family(column_family: &str) -> Option<&str> {
    column_family.strip_prefix(STORE_PREFIX)
}

/// Key of the row that describes a store.
pub(crate) fn description_key(column: &str) -> Vec<u8> {
    format!("{STORE_PREFIX}{column}").into_bytes()
}

/// The description of a store.
pub(crate) fn description(types: StoreTypes) -> String {
    let StoreTypes { kind, key, value } = types;
    format!("{kind}\n{key}\n{value}")
}

/// Key of the row that holds the position in a store's changelog, or in one partition of a global table's topic.
pub(crate) fn position_key(column: &str, partition: Option<PartitionId>) -> Vec<u8> {
    match partition {
        None => format!("offset/{column}").into_bytes(),
        Some(partition) => format!("offset/{column}/{partition}").into_bytes(),
    }
}

/// Where the positions in all partitions of a global table's topic begin, and before which key they end.
pub(crate) fn partition_position_keys(column: &str) -> [Vec<u8>; 2] {
    // A zero is what follows the slash in ASCII.
    ["/", "0"].map(|end| format!("offset/{column}{end}").into_bytes())
}

/// The row of [`position_key`].
pub(crate) fn encode_position(position: LogPosition) -> Vec<u8> {
    let as_of = position.as_of.map(|as_of| as_of.as_millis().to_be_bytes());
    [position.next.get().to_be_bytes()].into_iter().chain(as_of).flatten().collect()
}

/// The position in a row of [`position_key`], or `None` if it has another length, or its offset is negative, which no offset is.
pub(crate) fn decode_position(row: &[u8]) -> Option<LogPosition> {
    let number = |bytes: &[u8]| Some(i64::from_be_bytes(bytes.try_into().ok()?));
    let (next, as_of) = row.split_at_checked(size_of::<i64>())?;
    let next = number(next).filter(|next| *next >= 0)?;
    let as_of = if as_of.is_empty() { None } else { Some(Timestamp::from_millis(number(as_of)?)) };
    Some(LogPosition { next: Offset::new(next), as_of })
}

/// Key of the row that holds the id of a store's changelog.
pub(crate) fn changelog_key(column: &str) -> Vec<u8> {
    format!("changelog/{column}").into_bytes()
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
        assert_eq!(column_of_family("store/stock"), Some("stock"));
        assert_eq!(column_of_family("default"), None);
        assert_eq!(column("stock", None), "stock");
        assert_eq!(column("stock", Some("with-expiry")), "stock/with-expiry");
        assert_eq!(store_of_column("stock/with-expiry"), "stock");
        assert_eq!(store_of_column("stock"), "stock");
        assert_eq!(description_key("stock"), b"store/stock");
        let types = StoreTypes { kind: "key-value", key: "String", value: "i64" };
        assert_eq!(description(types), "key-value\nString\ni64");
        assert_eq!(position_key("stock", None), b"offset/stock");
        let of_partition = position_key("stock", Some(PartitionId::new(12)));
        assert_eq!(of_partition, b"offset/stock/12");
        let [from, to] = partition_position_keys("stock");
        assert!(from < of_partition && of_partition < to);
        for other in [
            position_key("stock", None),
            position_key("stock-2", Some(PartitionId::new(0))),
            position_key("stock.2", None),
        ] {
            assert!(!(from.clone()..to.clone()).contains(&other), "{other:?}");
        }
        let of_unknown_age = LogPosition::from(Offset::new(0x0102));
        let dated = LogPosition { as_of: Some(Timestamp::from_millis(0x0304)), ..of_unknown_age };
        for (position, bytes) in [
            (of_unknown_age, &[0, 0, 0, 0, 0, 0, 1, 2][..]),
            (dated, &[0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]),
        ] {
            assert_eq!(encode_position(position), bytes);
            assert_eq!(decode_position(bytes), Some(position));
        }
        for broken in [&[0, 1][..], &[0; 9], &[0; 17], &(-1_i64).to_be_bytes()] {
            assert_eq!(decode_position(broken), None, "{broken:?}");
        }
        assert_eq!(changelog_key("stock"), b"changelog/stock");
        let id = TopicId::from_bytes(*b"0123456789abcdef");
        assert_eq!(decode_changelog(&id.to_bytes()), Some(id));
        assert_eq!(decode_changelog(b"0123"), None);
    }
}
