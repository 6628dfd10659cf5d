//! `split`: each record goes one way of several.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};

use super::merge::PassOn;
use crate::logical::{Effect, Operation, OperationId, OperationKind, SharedGraph};
use crate::stream::KStream;

type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

impl<K: Clone + 'static, V: Clone + 'static> KStream<K, V> {
    /// Splits the stream: each record goes to the first branch whose predicate says `true`, else to the default branch; where there
    /// is none, it goes nowhere.
    ///
    /// ```
    /// use millstream::prelude::*;
    /// use millstream::testing::TopologyTestDriver;
    ///
    /// let builder = StreamsBuilder::new();
    /// let by_size = builder.stream::<String, i64>("orders").split();
    /// let bulk = by_size.branch(|_sku, quantity| *quantity > 100);
    /// let retail = by_size.default_branch();
    /// bulk.to("bulk-orders");
    /// retail.to("retail-orders");
    ///
    /// let driver = TopologyTestDriver::new(builder.build()?)?;
    /// let orders = driver.input_topic::<String, i64>("orders");
    /// orders.pipe_input("apples", 500)?;
    /// orders.pipe_input("pears", 5)?;
    /// let bulk = driver.output_topic::<String, i64>("bulk-orders");
    /// assert_eq!(bulk.read_key_values_to_list()?, [("apples".into(), 500)]);
    /// let retail = driver.output_topic::<String, i64>("retail-orders");
    /// assert_eq!(retail.read_key_values_to_list()?, [("pears".into(), 5)]);
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn split(&self) -> Split<K, V> {
        let predicates: Rc<RefCell<Vec<Predicate<K, V>>>> = Rc::default();
        let of_this_split = Rc::clone(&predicates);
        let id = self.graph.borrow_mut().declare(Operation {
            kind: OperationKind::Step { prefix: "KSTREAM-BRANCH-", effect: Effect::Passes },
            parents: vec![self.id],
            name: None,
            store: None,
            write: Box::new(move |place| {
                let predicates: Arc<[Predicate<K, V>]> = of_this_split.borrow().as_slice().into();
                place.add_processor(move |_| Ok(ChooseBranch { predicates: Arc::clone(&predicates) }))
            }),
        });
        Split { graph: Rc::clone(&self.graph), id, predicates }
    }
}

/// A stream being split (Kafka Streams' `BranchedKStream`). Branches are asked in the order in which they are made.
pub struct Split<K, V> {
    graph: SharedGraph,
    id: OperationId,
    predicates: Rc<RefCell<Vec<Predicate<K, V>>>>,
}

impl<K: Clone + 'static, V: Clone + 'static> Split<K, V> {
    /// Names the splitting node. The names of the branches begin with it.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let by_size = builder.stream::<String, i64>("orders").split().named("size-");
    /// by_size.branch(|_sku, quantity| *quantity > 100).named("bulk").to("bulk-orders");
    /// assert!(builder.build()?.describe().contains("Processor: size-bulk"));
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        self.graph.borrow_mut().operation_mut(self.id).name = Some(name.into());
        self
    }

    /// The records for which the closure says `true` and no earlier branch did.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let by_size = builder.stream::<String, i64>("orders").split();
    /// by_size.branch(|_sku, quantity| *quantity > 100).to("bulk-orders");
    /// by_size.branch(|_sku, quantity| *quantity > 10).to("box-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    pub fn branch(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        self.predicates.borrow_mut().push(Arc::new(predicate));
        self.way_out(self.predicates.borrow().len())
    }

    /// The records that no branch took. Nothing can be split off after it.
    ///
    /// ```
    /// # use millstream::prelude::*;
    /// let builder = StreamsBuilder::new();
    /// let by_size = builder.stream::<String, i64>("orders").split();
    /// by_size.branch(|_sku, quantity| *quantity > 100).to("bulk-orders");
    /// by_size.default_branch().to("retail-orders");
    /// # builder.build()?;
    /// # Ok::<(), millstream::Error>(())
    /// ```
    #[doc(alias = "defaultBranch")]
    pub fn default_branch(self) -> KStream<K, V> {
        self.way_out(0)
    }

    fn way_out(&self, number: usize) -> KStream<K, V> {
        KStream::declare(
            &self.graph,
            Operation {
                kind: OperationKind::Branch { number },
                parents: vec![self.id],
                name: None,
                store: None,
                write: Box::new(|place| place.add_processor(|_| Ok(PassOn::<K, V> { types: PhantomData }))),
            },
        )
    }
}

impl<K, V> fmt::Debug for Split<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Split({} branches)", self.predicates.borrow().len())
    }
}

/// Its children are the branches, in order; the default branch, if there is one, comes last.
struct ChooseBranch<K, V> {
    predicates: Arc<[Predicate<K, V>]>,
}

impl<K: Clone + 'static, V: Clone + 'static> Processor for ChooseBranch<K, V> {
    type KeyIn = K;
    type ValueIn = V;
    type KeyOut = K;
    type ValueOut = V;

    fn process(
        &mut self,
        record: Record<K, V>,
        context: &mut ProcessorContext<'_, K, V>,
    ) -> Result<(), Failure> {
        let chosen = self.predicates.iter().position(|predicate| predicate(&record.key, &record.value));
        context.forward_to(chosen.unwrap_or(self.predicates.len()), record)
    }
}

#[cfg(test)]
mod tests {
    use crate::operators::test_support::{driver, pipe_all, text, written};

    #[test]
    fn the_first_branch_that_matches_takes_the_record() {
        let driver = driver(|builder| {
            let by_size = builder.stream::<String, i64>("orders").split();
            by_size.branch(|_, quantity| *quantity > 100).to("bulk");
            by_size.branch(|_, quantity| *quantity > 10).to("box");
            by_size.default_branch().to("rest");
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("a", 500), ("b", 50), ("c", 5), ("d", 501)]);
        assert_eq!(written(&driver.output_topic("bulk")), [(text("a"), 500_i64), (text("d"), 501)]);
        assert_eq!(written(&driver.output_topic("box")), [(text("b"), 50_i64)]);
        assert_eq!(written(&driver.output_topic("rest")), [(text("c"), 5_i64)]);
    }

    #[test]
    fn a_record_of_no_branch_goes_nowhere() {
        let driver = driver(|builder| {
            let by_size = builder.stream::<String, i64>("orders").split();
            by_size.branch(|_, quantity| *quantity > 100).to("bulk");
        });
        pipe_all(&driver.input_topic::<String, i64>("orders"), [("a", 5)]);
        assert!(driver.produced_topic_names().is_empty());
    }
}
