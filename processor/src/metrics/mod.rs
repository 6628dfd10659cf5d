//! Metrics.
use std::sync::Arc;
use crate::error::Result;
use crate::runtime::Shared;
pub struct Metrics {}
impl Metrics {
    pub(crate) fn new(_shared: Arc<Shared>) -> Result<Self> { Ok(Metrics {}) }
    pub(crate) fn text(&self) -> Result<String> { Ok(String::new()) }
}
