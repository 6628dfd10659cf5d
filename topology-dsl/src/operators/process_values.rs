//! `process_values`: a processor of the program's own that cannot change keys.

use millstream_processor::Result;
use millstream_processor::api::{FixedKey, FixedKeyProcessor, Wiring};

use crate::logical::Effect;
use crate::options::ConnectedStores;
use crate::stream::KStream;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Passes the stream through a [`FixedKeyProcessor`], as [`process`](Self::process) does. Keys stay what they are, so that nothing below
    /// needs to be repartitioned for it.
    ///
    /// ```
    /// use millstream::api::{Failure, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord};
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// /// Says where in Kafka each order is.
    /// struct Located;
    ///
    /// impl FixedKeyProcessor for Located {
    ///     type Key = String;
    ///     type ValueIn = i64;
    ///     type ValueOut = String;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: FixedKeyRecord<String, i64>,
    ///         context: &mut FixedKeyProcessorContext<'_, String, String>,
    ///     ) -> Result<(), Failure> {
    ///         let place = context.task().location().map(ToString::to_string).unwrap_or_default();
    ///         context.forward(order.map_value(|quantity| format!("{quantity} at {place}")))
    ///     }
    /// }
    ///
    /// let builder = StreamsBuilder::new();
    /// builder.stream::<String, i64>("orders").process_values((), |_wiring| Ok(Located)).to("located-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// let located = driver.output_topic::<String, String>("located-orders");
    /// assert_eq!(located.read_key_value()?, Some(("apples".into(), "3 at orders-0@0".into())));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "processValues")]
    #[doc(alias = "FixedKeyProcessorSupplier")]
    pub fn process_values<P>(
        &self,
        stores: impl Into<ConnectedStores>,
        supplier: impl Fn(&Wiring<'_>) -> Result<P> + Send + Sync + 'static,
    ) -> KStream<K, P::ValueOut>
    where
        P: FixedKeyProcessor<Key = K, ValueIn = V>,
    {
        self.declare_process("KSTREAM-PROCESSVALUES-", Effect::ChangesValues, stores.into(), move |wiring| {
            Ok(FixedKey(supplier(wiring)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use millstream_processor::api::{
        Failure, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, Headers, Punctuation,
        PunctuationType, Record, Schedule,
    };

    use crate::StreamsBuilder;
    use crate::operators::test_support::{at, driver, driver_without_commits, pipe_all, text, written};

    /// Holds each order back until the next tick of the clock, unless it is negative: then it forgets what it has.
    #[derive(Default)]
    struct Delay {
        held: Vec<FixedKeyRecord<String, i64>>,
        schedule: Option<Schedule>,
    }

    type Context<'a> = FixedKeyProcessorContext<'a, String, i64>;

    impl FixedKeyProcessor for Delay {
        type Key = String;
        type ValueIn = i64;
        type ValueOut = i64;

        fn init(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
            let second = Duration::from_secs(1);
            self.schedule = Some(context.schedule(second, PunctuationType::WallClockTime)?);
            Ok(())
        }

        fn process(
            &mut self,
            order: FixedKeyRecord<String, i64>,
            context: &mut Context<'_>,
        ) -> Result<(), Failure> {
            if order.value < 0 {
                self.held.clear();
                self.schedule.take().into_iter().for_each(|schedule| context.cancel(schedule));
                return context.forward_to(0, order.map_value(|value| value * 10));
            }
            self.held.push(order);
            Ok(())
        }

        fn punctuate(&mut self, punctuation: Punctuation, context: &mut Context<'_>) -> Result<(), Failure> {
            assert_eq!(Some(punctuation.schedule), self.schedule);
            self.held.drain(..).try_for_each(|order| context.forward(order))
        }
    }

    #[test]
    fn records_that_were_kept_may_be_forwarded_later() {
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.process_values((), |_| Ok(Delay::default())).to("delayed");
        });
        let tick = || driver.advance_wall_clock_time(Duration::from_secs(1)).expect("it is punctuated");
        let orders = driver.input_topic::<String, i64>("orders");
        pipe_all(&orders, [("apples", 3), ("pears", 4)]);
        assert!(written::<String, i64>(&driver.output_topic("delayed")).is_empty());
        tick();
        assert_eq!(written(&driver.output_topic("delayed")), [(text("apples"), 3_i64), (text("pears"), 4)]);
        pipe_all(&orders, [("apples", 5), ("pears", -1), ("pears", 6)]);
        tick();
        assert_eq!(written(&driver.output_topic("delayed")), [(text("pears"), -10_i64)]);
    }

    #[test]
    fn a_processor_of_fixed_keys_lives_from_init_to_close_and_sees_all_of_a_record() {
        struct Noting(mpsc::Sender<String>);

        impl Noting {
            fn note(&self, what: String) {
                self.0.send(what).expect("the test reads its notes");
            }
        }

        impl FixedKeyProcessor for Noting {
            type Key = String;
            type ValueIn = i64;
            type ValueOut = String;

            fn init(
                &mut self,
                context: &mut FixedKeyProcessorContext<'_, String, String>,
            ) -> Result<(), Failure> {
                self.note(format!("init of {}", context.task().task_id()));
                Ok(())
            }

            fn process(
                &mut self,
                order: FixedKeyRecord<String, i64>,
                context: &mut FixedKeyProcessorContext<'_, String, String>,
            ) -> Result<(), Failure> {
                let (key, source) = (order.key(), order.headers.last("source").flatten());
                self.note(format!("{key} {} {} {source:?}", order.value, order.timestamp));
                let doubled = order.map_value(|quantity| quantity * 2);
                let line = format!("{} pieces", doubled.value);
                context.forward(doubled.with_value(line))
            }

            fn close(&mut self) {
                self.note(text("close"));
            }
        }

        let (notes, noted) = mpsc::channel();
        let driver = driver(|builder| {
            let orders = builder.stream::<String, i64>("orders");
            orders.process_values((), move |_| Ok(Noting(notes.clone()))).to("lines");
        });
        let mut headers = Headers::default();
        headers.push("source", Some("web".into()));
        let order = Record::new(text("apples"), 3, at(70)).with_headers(headers.clone());
        driver.input_topic::<String, i64>("orders").pipe_record(order).expect("the record is processed");
        let line = driver.output_topic::<String, String>("lines").read_record().expect("it decodes");
        assert_eq!(line, Some(Record::new(text("apples"), text("6 pieces"), at(70)).with_headers(headers)));
        drop(driver);
        let noted: Vec<String> = noted.try_iter().collect();
        assert_eq!(noted, ["init of 0_0", "apples 3 70 Some(b\"web\")", "close"]);
    }

    #[test]
    fn a_commit_comes_when_a_processor_asks_for_it() {
        struct Urgent;

        impl FixedKeyProcessor for Urgent {
            type Key = String;
            type ValueIn = i64;
            type ValueOut = i64;

            fn process(
                &mut self,
                order: FixedKeyRecord<String, i64>,
                context: &mut Context<'_>,
            ) -> Result<(), Failure> {
                if order.value > 100 {
                    context.task().request_commit();
                }
                context.forward(order)
            }
        }

        let driver = driver_without_commits(|builder| {
            let orders = builder.stream::<String, i64>("orders").process_values((), |_| Ok(Urgent));
            orders.group_by_key().count(()).to_stream().to("counts");
        });
        let (orders, counts) = (driver.input_topic::<String, i64>("orders"), driver.output_topic("counts"));
        pipe_all(&orders, [("apples", 3), ("apples", 4)]);
        assert!(counts.is_empty(), "nothing was committed yet");
        pipe_all(&orders, [("apples", 101), ("apples", 5)]);
        assert_eq!(written(&counts), [(text("apples"), 3_u64)], "it asked once");
    }

    #[test]
    fn nothing_is_repartitioned_for_it_but_what_was_due_before_still_is() {
        let count_topics = |select: bool| {
            let builder = StreamsBuilder::new();
            let orders = builder.stream::<String, i64>("orders");
            let orders = if select { orders.select_key(|sku, _| sku.clone()) } else { orders };
            orders.process_values((), |_| Ok(Delay::default())).group_by_key().count(());
            builder.build().expect("the program is right").repartition_topics().len()
        };
        assert_eq!((count_topics(false), count_topics(true)), (0, 1));
    }
}
