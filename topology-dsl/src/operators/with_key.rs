//! `with_key`: joins whose closures get the key of what they join, and what the closures of all joins may come to.

use millstream_processor::api::Failure;
use millstream_processor::{BoxError, RecordField};

use super::stream_global_join::StreamOn;
use super::stream_stream_join::StreamWithin;
use crate::stream::KStream;

/// What is joined by closures that get the key first, then the values (Kafka Streams' `ValueJoinerWithKey`). Made by [`KStream::with_key`],
/// [`StreamWithin::with_key`] and [`StreamOn::with_key`].
///
/// The key is that of the record that is joined. What the closure returns is the value alone: the key stays.
pub struct WithKey<S> {
    pub(super) joined: S,
}

impl<K: RecordField, V: RecordField> KStream<K, V> {
    /// Lets the closure of a join with a table get the key, before the values.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let prices = builder.table::<String, i64>("prices");
    /// let orders = builder.stream::<String, i64>("orders");
    /// orders.with_key().join(&prices, |sku, quantity, cents| format!("{quantity} {sku} at {cents}")).to("invoices");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("prices").pipe_input("apples", 30)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// let invoices = driver.output_topic::<String, String>("invoices");
    /// assert_eq!(invoices.read_key_value()?, Some(("apples".into(), "3 apples at 30".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "ValueJoinerWithKey")]
    pub fn with_key(&self) -> WithKey<KStream<K, V>> {
        WithKey { joined: self.clone() }
    }
}

impl<K: RecordField, V: RecordField> StreamWithin<K, V> {
    /// Lets the closure of a join with another stream get the key, before the values.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let orders = builder.stream::<String, i64>("orders");
    /// let payments = builder.stream::<String, i64>("payments");
    /// let open = orders.within(minutes(5)).with_key().join(&payments, |order, cents, paid| format!("{order}: {}", cents - paid));
    /// open.to("open-amounts");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("order-1", 500)?;
    /// driver.input_topic::<String, i64>("payments").pipe_input("order-1", 200)?;
    /// let open = driver.output_topic::<String, String>("open-amounts");
    /// assert_eq!(open.read_key_value()?, Some(("order-1".into(), "order-1: 300".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "ValueJoinerWithKey")]
    #[must_use]
    pub fn with_key(self) -> WithKey<Self> {
        WithKey { joined: self }
    }
}

impl<K: Clone + 'static, V: RecordField, F> StreamOn<K, V, F> {
    /// Lets the closure of a join with a global table get the key of the stream's record, before the values.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let products = builder.global_table::<String, String>("products", ());
    /// let orders = builder.stream::<u64, String>("orders");
    /// let named = orders.on(|_number, sku| sku.clone()).with_key();
    /// named.join(&products, |number, _sku, name| format!("order {number}: {name}")).to("ordered-products");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, String>("products").pipe_input("sku-1", "apples")?;
    /// driver.input_topic::<u64, String>("orders").pipe_input(7_u64, "sku-1")?;
    /// let ordered = driver.output_topic::<u64, String>("ordered-products");
    /// assert_eq!(ordered.read_key_value()?, Some((7, "order 7: apples".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "ValueJoinerWithKey")]
    #[must_use]
    pub fn with_key(self) -> WithKey<Self> {
        WithKey { joined: self }
    }
}

/// What a join makes of two values, if anything.
pub(super) type Joined<R> = Result<Option<R>, Failure>;

/// What the user's closure made. An error is one of the stage `process`.
#[inline]
pub(super) fn joined<R, E: Into<BoxError>>(made: Result<R, E>) -> Joined<R> {
    made.map(Some).map_err(|error| Failure::process(error.into()))
}
