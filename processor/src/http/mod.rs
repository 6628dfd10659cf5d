//! HTTP.
use crate::error::Result;
use crate::metrics::Metrics;
use crate::runtime::Shared;
use std::net::SocketAddr;
use std::sync::Arc;
pub(crate) struct HttpServer {
    address: SocketAddr,
}
impl HttpServer {
    pub(crate) fn start(address: &str, _shared: Arc<Shared>, _metrics: Arc<Metrics>) -> Result<Self> {
        Ok(HttpServer { address: address.parse().unwrap() })
    }
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
