//! What a request that has no answer gets: a status, the reason, and where there is one the remedy, as JSON.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::query::QueryError;

/// Seconds after which a client may ask again for what is restoring or moving.
const RETRY_AFTER: &str = "1";

/// The answer to a request that failed.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: String,
    remedy: Option<&'static str>,
    position: Option<Value>,
}

impl ApiError {
    fn new(status: StatusCode, error: impl ToString) -> Self {
        ApiError { status, error: error.to_string(), remedy: None, position: None }
    }

    /// The request itself is wrong.
    pub(super) fn bad_request(error: impl ToString) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, error)
    }

    /// There is no such thing.
    pub(super) fn not_found(error: impl ToString) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, error)
    }

    /// The address exists, but not for this method.
    pub(super) fn method_not_allowed() -> Self {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this server only answers GET and HEAD")
    }

    /// Something that should work does not.
    pub(super) fn internal(error: impl ToString) -> Self {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    /// Adds what the client can do.
    pub(super) fn with_remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// Adds the input offsets that the answer reflects.
    pub(super) fn with_position(mut self, position: Value) -> Self {
        self.position = Some(position);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error });
        if let Some(remedy) = self.remedy {
            body["remedy"] = remedy.into();
        }
        if let Some(position) = self.position {
            body["position"] = position;
        }
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match &error {
            QueryError::UnknownStore { .. } => {
                ApiError::not_found(error).with_remedy("GET /stores lists the stores")
            }
            QueryError::Restoring { .. } => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)
                .with_remedy("GET /health/ready shows the progress of the restore"),
            _ if error.may_pass() => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error).with_remedy(
                "ask the other instances of the application, or this one again once it is running",
            ),
            _ => ApiError::internal(error),
        }
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        ApiError::bad_request(rejection.body_text())
            .with_remedy("percent-encode the UTF-8 bytes of store name and key, a slash as %2F")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        ApiError::bad_request(rejection.body_text())
    }
}
