//! Queries: the stores of this instance and their rows, as JSON.

use std::ops::Bound;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, State};
use millstream_state_stores::{KeyRange, Position, StoreBuilder, Timestamp, VersionedRecord};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::parameters::{AskedKeys, RowRequest, ScanRequest, TimesRequest};
use super::routes::{AllParameters, App};
use crate::query::{QueryError, StoreEntry, StoreView, TimedEntry, TimedView};

type Answer = Result<Json<Value>, ApiError>;

/// `GET /stores`
pub(super) async fn list(State(app): State<App>) -> Answer {
    on_reader_thread(move || {
        let stores = app.shared.stores.names().map(|name| describe(&app, name));
        Ok(json!({ "stores": stores.collect::<Result<Vec<_>, _>>()? }))
    })
    .await
}

/// `GET /stores/{name}`
pub(super) async fn scan(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
    parameters: Result<AllParameters, QueryRejection>,
) -> Answer {
    let (Path(name), parameters) = (name?, parameters?);
    on_reader_thread(move || {
        let store = Store::open(&app, &name)?;
        match store.timed() {
            Some(rows) => windows(&store, &rows, &TimesRequest::parse(&parameters)?),
            None => rows(&store, &ScanRequest::parse(&parameters)?),
        }
    })
    .await
}

/// `GET /stores/{name}/{key}`
pub(super) async fn get(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    parameters: Result<AllParameters, QueryRejection>,
) -> Answer {
    let (Path((name, key)), parameters) = (path?, parameters?);
    on_reader_thread(move || {
        let store = Store::open(&app, &name)?;
        match store.timed() {
            Some(rows) => windows_of_key(&store, &rows, &key, &TimesRequest::parse(&parameters)?),
            None => row(&store, &key, RowRequest::parse(&parameters)?),
        }
    })
    .await
}

/// Reads stores where it may take its time: reads go to disk, and the threads that answer requests must not wait for it.
async fn on_reader_thread(read: impl FnOnce() -> Result<Value, ApiError> + Send + 'static) -> Answer {
    match tokio::task::spawn_blocking(read).await {
        Ok(answer) => answer.map(Json),
        Err(error) => Err(ApiError::internal(format!("the query ended early: {error}"))),
    }
}

/// A store to read, with the types to read it by.
struct Store {
    view: StoreView,
    builder: Arc<dyn StoreBuilder>,
}

impl Store {
    fn open(app: &App, name: &str) -> Result<Self, ApiError> {
        let view = StoreView::new(Arc::clone(&app.shared.stores), name);
        view.coverage()?;
        let builder = app.shared.topology.store(name).cloned();
        let builder = builder.ok_or_else(|| ApiError::internal(format!("store {name} has no builder")))?;
        Ok(Store { view, builder })
    }

    /// The rows of a store whose keys carry time.
    fn timed(&self) -> Option<TimedView> {
        self.builder.timed().map(|layout| TimedView::new(self.view.clone(), layout))
    }

    /// The bytes of a key that the client wrote in `place`.
    fn key_bytes(&self, place: &str, text: &str) -> Result<Vec<u8>, ApiError> {
        let bad_key =
            |error| ApiError::bad_request(format!("{place} of store {}: {error}", self.view.name()));
        self.builder.key_from_text(text).map_err(bad_key)
    }

    /// What was valid at a time, and until when.
    fn version(
        &self,
        key: Vec<u8>,
        as_of: Timestamp,
    ) -> Result<Option<(StoreEntry, Option<Timestamp>)>, ApiError> {
        if !self.builder.types().is_versioned() {
            let error = format!("parameter as_of: store {} keeps no versions", self.view.name());
            return Err(
                ApiError::bad_request(error).with_remedy("declare it with versioned(history_retention)")
            );
        }
        let found = self.view.get_as_of(&key, as_of)?;
        Ok(found.map(|VersionedRecord { value, valid_from, valid_to }| {
            (StoreEntry { key, timestamp: valid_from, value }, valid_to)
        }))
    }

    fn entry_to_json(&self, entry: &StoreEntry) -> Result<Value, ApiError> {
        let key = self.builder.key_to_json(&entry.key).map_err(QueryError::from)?;
        let value = self.builder.value_to_json(&entry.value).map_err(QueryError::from)?;
        Ok(json!({ "key": key, "value": value, "timestamp": entry.timestamp.as_millis() }))
    }
}

fn describe(app: &App, name: &str) -> Result<Value, ApiError> {
    let Store { view, builder } = Store::open(app, name)?;
    let (types, (here, of)) = (builder.types(), view.coverage()?);
    let mut json = json!({
        "name": name,
        "kind": types.kind,
        "key_type": types.key,
        "value_type": types.value,
        "partitions": { "here": here, "of": of },
    });
    match (view.position(), view.approximate_num_entries()) {
        (Ok(position), Ok(entries)) => {
            json["position"] = position_to_json(&position);
            json["approximate_entries"] = entries.into();
        }
        (Err(error), _) | (_, Err(error)) => json["unreadable"] = error.to_string().into(),
    }
    Ok(json)
}

fn rows(store: &Store, request: &ScanRequest) -> Result<Value, ApiError> {
    of_all_partitions(store, request.limit, || match &request.keys {
        AskedKeys::Prefix(prefix) => {
            let prefix = store.key_bytes("parameter prefix", prefix)?;
            Ok(store.view.prefix_scan(&prefix, request.direction)?)
        }
        AskedKeys::Between { from, to } => {
            let bound = |place, text: &Option<String>| match text {
                Some(text) => store.key_bytes(place, text).map(Bound::Included),
                None => Ok(Bound::Unbounded),
            };
            let range = KeyRange::new(bound("parameter from", from)?, bound("parameter to", to)?);
            Ok(store.view.scan(&range, request.direction)?)
        }
    })
}

/// The rows of all keys in a span of time.
fn windows(store: &Store, timed: &TimedView, request: &TimesRequest) -> Result<Value, ApiError> {
    of_all_partitions(store, request.limit, || {
        let rows = timed.all(request.from, request.to, request.direction)?;
        Ok(rows.map(|row| row.map(TimedEntry::into_entry)))
    })
}

/// The rows of one key in a span of time.
fn windows_of_key(
    store: &Store,
    timed: &TimedView,
    key: &str,
    request: &TimesRequest,
) -> Result<Value, ApiError> {
    let bytes = store.key_bytes("the key", key)?;
    let position = store.view.position_for_key(&bytes)?;
    let rows = timed.of_key(&bytes, request.from, request.to, request.direction)?;
    first_rows(store, &position, rows.map(|row| row.map(TimedEntry::into_entry)), request.limit)
}

/// The first rows of a scan over the partitions that are here, and how many those are.
fn of_all_partitions<R>(
    store: &Store,
    limit: usize,
    scan: impl FnOnce() -> Result<R, ApiError>,
) -> Result<Value, ApiError>
where
    R: Iterator<Item = Result<StoreEntry, QueryError>>,
{
    // The position comes first: the rows then reflect at least that.
    let position = store.view.position()?;
    let (here, of) = store.view.coverage()?;
    let mut json = first_rows(store, &position, scan()?, limit)?;
    json["partitions"] = json!({ "here": here, "of": of });
    Ok(json)
}

/// The first rows of a scan, which reflect at least this position, and whether there are more.
fn first_rows(
    store: &Store,
    position: &Position,
    mut scan: impl Iterator<Item = Result<StoreEntry, QueryError>>,
    limit: usize,
) -> Result<Value, ApiError> {
    let rows = scan.by_ref().take(limit).map(|entry| store.entry_to_json(&entry?));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "store": store.view.name(),
        "rows": rows,
        "truncated": scan.next().transpose()?.is_some(),
        "position": position_to_json(position),
    }))
}

fn row(store: &Store, key: &str, RowRequest { as_of }: RowRequest) -> Result<Value, ApiError> {
    let bytes = store.key_bytes("the key", key)?;
    let position = position_to_json(&store.view.position_for_key(&bytes)?);
    let (found, when) = match as_of {
        None => (store.view.get(&bytes)?.map(|entry| (entry, None)), String::new()),
        Some(time) => (store.version(bytes, time)?, format!(" as of {time}")),
    };
    let Some((entry, valid_to)) = found else {
        let error = format!("store {} has no key {key:?}{when}", store.view.name());
        return Err(ApiError::not_found(error).with_position(position));
    };
    let mut json = store.entry_to_json(&entry)?;
    if as_of.is_some() {
        json["valid_to"] = valid_to.map(Timestamp::as_millis).into();
    }
    json["store"] = store.view.name().into();
    json["position"] = position;
    Ok(json)
}

/// `{"topic": {"partition": next offset}}`
fn position_to_json(position: &Position) -> Value {
    let mut topics = Map::new();
    for (topic, partition, next) in position.iter() {
        topics.entry(topic).or_insert_with(|| json!({}))[partition.to_string()] = next.get().into();
    }
    topics.into()
}
