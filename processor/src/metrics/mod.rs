//! Metrics.
use crate::error::Result;
use crate::runtime::Shared;
use std::sync::Arc;
pub struct Metrics {}
impl Metrics {
    pub(crate) fn new(_shared: Arc<Shared>) -> Result<Self> {
        Ok(Metrics {})
    }
    pub(crate) fn text(&self) -> Result<String> {
        Ok(String::new())
    }
}
