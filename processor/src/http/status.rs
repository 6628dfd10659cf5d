//! How the instance is: health, tasks, topology, metrics.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::TEXT_FORMAT;
use serde_json::{Value, json};

use super::error::ApiError;
use super::parameters::TopologyFormat;
use super::routes::{AllParameters, App};
use crate::runtime::{
    ClientState, PartitionSnapshot, RestoreProgress, TaskSnapshot, ThreadSnapshot, ThreadState,
};

type JsonWithStatus = (StatusCode, Json<Value>);

/// `GET /topology`
pub(super) async fn topology(
    State(app): State<App>,
    parameters: Result<AllParameters, QueryRejection>,
) -> Result<Response, ApiError> {
    let topology = &app.shared.topology;
    let as_type =
        |content_type: &'static str, text| ([(header::CONTENT_TYPE, content_type)], text).into_response();
    Ok(match TopologyFormat::parse(&parameters?)? {
        TopologyFormat::Text => topology.describe().into_response(),
        TopologyFormat::Mermaid => topology.to_mermaid().into_response(),
        TopologyFormat::Dot => as_type("text/vnd.graphviz; charset=utf-8", topology.to_dot()),
        TopologyFormat::Json => Json(topology.to_json()).into_response(),
    })
}

/// `GET /health/live`: whether the process is of any use. An orchestrator restarts it if not.
pub(super) async fn live(State(app): State<App>) -> JsonWithStatus {
    let state = app.shared.state();
    let has_ended = matches!(state, ClientState::Error | ClientState::NotRunning);
    let status = if has_ended { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(json!({ "state": state.name() })))
}

/// `GET /health/ready`: whether every store of this instance answers. While not, says how far the restores are.
pub(super) async fn ready(State(app): State<App>) -> JsonWithStatus {
    let state = app.shared.state();
    if state == ClientState::Running {
        return (StatusCode::OK, Json(json!({ "state": state.name() })));
    }
    let threads = app.shared.threads.snapshots();
    let global = app.shared.global_snapshot.load_full();
    let tasks = threads.iter().flat_map(|thread| &thread.tasks).chain(global.as_deref());
    let restores = tasks.flat_map(|task| &task.restores);
    let restoring = restores.filter(|restore| !restore.is_complete()).map(restore_to_json);
    let body = json!({ "state": state.name(), "restoring": restoring.collect::<Vec<_>>() });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body))
}

/// `GET /tasks`
pub(super) async fn tasks(State(app): State<App>) -> Json<Value> {
    let threads = app.shared.threads.places();
    let threads: Vec<Value> =
        threads.iter().map(|thread| thread_to_json(&thread.snapshot(), thread.state())).collect();
    let updater = app.shared.state_updater.snapshot();
    let standbys = updater.standbys.iter().map(|(task, stores)| {
        let stores = stores.iter().map(restore_to_json);
        json!({ "id": task.to_string(), "stores": stores.collect::<Vec<_>>() })
    });
    let mut json = json!({
        "state": app.shared.state().name(),
        "threads": threads,
        "standbys": standbys.collect::<Vec<_>>(),
        "promotions": updater.promotions,
    });
    if let Some(global) = app.shared.global_snapshot.load_full() {
        json["global_tables"] = task_to_json(&global);
    }
    Json(json)
}

/// `GET /metrics`
pub(super) async fn metrics(
    State(app): State<App>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let text = app.metrics.text().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text))
}

fn thread_to_json(thread: &ThreadSnapshot, state: ThreadState) -> Value {
    let tasks = thread.tasks.iter().map(task_to_json);
    json!({ "name": &*thread.name, "state": state.name(), "tasks": tasks.collect::<Vec<_>>() })
}

fn task_to_json(task: &TaskSnapshot) -> Value {
    json!({
        "id": task.id.to_string(),
        "state": task.state.name(),
        "records_processed": task.processed,
        "stream_time": task.stream_time.map(|time| time.as_millis()),
        "partitions": task.partitions.iter().map(partition_to_json).collect::<Vec<_>>(),
        "restores": task.restores.iter().map(restore_to_json).collect::<Vec<_>>(),
    })
}

fn partition_to_json(partition: &PartitionSnapshot) -> Value {
    json!({
        "topic": &*partition.topic,
        "partition": partition.partition,
        "next_offset": partition.processed_to.map(|next| next.get()),
        "lag": partition.lag,
        "buffered": partition.buffered,
    })
}

fn restore_to_json(restore: &RestoreProgress) -> Value {
    json!({
        "task": restore.task.to_string(),
        "store": &*restore.store,
        "from": restore.from.get(),
        "next": restore.next.get(),
        "end": restore.end.get(),
        "remaining": restore.remaining(),
        "records": restore.records,
    })
}
