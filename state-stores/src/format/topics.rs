//! The names of the topics that belong to an application, as Kafka Streams builds them.

/// The topic that the changes of a store are written to.
///
/// ```
/// # use millstream_state_stores::changelog_topic;
/// assert_eq!(changelog_topic("shop", "stock"), "shop-stock-changelog");
/// ```
pub fn changelog_topic(application_id: &str, store: &str) -> String {
    format!("{application_id}-{store}-changelog")
}

/// The topic through which records get to the task of their new key.
///
/// ```
/// # use millstream_state_stores::repartition_topic;
/// assert_eq!(repartition_topic("shop", "by-sku"), "shop-by-sku-repartition");
/// ```
pub fn repartition_topic(application_id: &str, name: &str) -> String {
    format!("{application_id}-{name}-repartition")
}
