//! Which address is answered by what, and the counting of requests around it.

use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::ApiError;
use super::{status, stores};
use crate::metrics::Metrics;
use crate::runtime::Shared;

/// What requests are answered from.
#[derive(Clone)]
pub(super) struct App {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<Metrics>,
}

/// All query parameters of a request.
pub(super) type AllParameters = Query<Vec<(String, String)>>;

/// The routes with a line on each, for `GET /`.
const ROUTES: [(&str, &str); 8] = [
    ("/stores", "the stores: types, partitions here, approximate number of entries, position"),
    (
        "/stores/{name}",
        "rows of a store in the order of their key bytes: ?from=&to=&prefix=&reverse=true&limit=100; of a window or session store, from and to \
         are times",
    ),
    (
        "/stores/{name}/{key}",
        "one row; of a window or session store, the rows of the key: ?from=&to=&reverse=true&limit=100; of a versioned store, as it was: ?as_of=; \
         percent-encode the key",
    ),
    ("/topology", "the program: ?format=text|dot|mermaid|json"),
    ("/tasks", "threads, tasks, their partitions with lag, restores; standbys with lag"),
    ("/health/live", "200 unless the application has ended"),
    ("/health/ready", "200 while the application is running, else 503 with the restores in progress"),
    ("/metrics", "metrics for Prometheus"),
];

pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/stores", get(stores::list))
        .route("/stores/{name}", get(stores::scan))
        .route("/stores/{name}/{key}", get(stores::get))
        .route("/topology", get(status::topology))
        .route("/tasks", get(status::tasks))
        .route("/health/live", get(status::live))
        .route("/health/ready", get(status::ready))
        .route("/metrics", get(status::metrics))
        .fallback(unknown_route)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn_with_state(app.clone(), count_requests))
        .with_state(app)
}

async fn index(State(app): State<App>) -> Json<Value> {
    let routes = ROUTES.map(|(path, answer)| json!({ "path": path, "answer": answer }));
    Json(json!({
        "application_id": &*app.shared.application_id,
        "state": app.shared.state().name(),
        "routes": routes,
    }))
}

async fn unknown_route() -> ApiError {
    ApiError::not_found("nothing is served at this address").with_remedy("GET / lists what is served")
}

/// Counts each request under the pattern of its route: under its path, every key would become a series of its own.
async fn count_requests(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let start = app.shared.clock.monotonic();
    let response = next.run(request).await;
    let duration = app.shared.clock.monotonic().saturating_sub(start);
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    app.metrics.count_http_request(route, response.status().as_u16(), duration);
    response
}
