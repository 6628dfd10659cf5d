//! A processor: what a user writes, and the node that runs it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use millstream_state_stores::{
    ApplicationSerdes, CommittedStore, Custom, CustomStore, KeyValueStore, SerdeRef, SessionStore, StoreName,
    StoreTypes, TaskId, TaskStores, Timestamp, VersionedStore, WindowStore,
};

use super::context::{ProcessorContext, TaskContext, TopicIndex};
use super::edge::{Child, ErasedInput, Failure, Input, Lifecycle, Output, SharedInput};
use super::global::GlobalTables;
use super::punctuation::Punctuation;
use super::record::Record;
use crate::error::{Error, Result};
use crate::topology::{PartitionCount, Sink, TaskSink};

/// A step of a topology. One instance per task, used by one thread; so plain fields are its memory, and a store its durable memory.
///
/// It is made anew for each task by a supplier, which takes its stores from the [`Wiring`]. Its life is [`init`](Self::init), then records,
/// punctuations and commits in any order, then [`close`](Self::close). After an aborted transaction the task goes on with another instance.
///
/// ```
/// use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
///
/// /// Lets only orders of some size pass.
/// struct LargeOrders { at_least: i64 }
///
/// impl Processor for LargeOrders {
///     type KeyIn = String;
///     type ValueIn = i64;
///     type KeyOut = String;
///     type ValueOut = i64;
///
///     fn process(
///         &mut self,
///         order: Record<String, i64>,
///         context: &mut ProcessorContext<'_, String, i64>,
///     ) -> Result<(), Failure> {
///         if order.value >= self.at_least { context.forward(order) } else { Ok(()) }
///     }
/// }
/// ```
pub trait Processor: 'static {
    /// Key of the records it receives.
    type KeyIn: Clone + 'static;
    /// Value of the records it receives.
    type ValueIn: Clone + 'static;
    /// Key of the records it forwards.
    type KeyOut: Clone + 'static;
    /// Value of the records it forwards.
    type ValueOut: Clone + 'static;

    /// Called once, when the task begins to run: its stores are complete, no record has been processed yet. The place to schedule
    /// punctuations, and to make of a store what is kept in fields.
    ///
    /// # Errors
    /// They end the thread.
    fn init(
        &mut self,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = context;
        Ok(())
    }

    /// Handles one record. An error goes to the handler of the stage `process`; then the record leaves no trace.
    fn process(
        &mut self,
        record: Record<Self::KeyIn, Self::ValueIn>,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure>;

    /// Called between records when something is due that was scheduled by [`ProcessorContext::schedule`]. It may do all that
    /// [`process`](Self::process) may. There is no input record meanwhile; what is forwarded has the time and the headers it is given.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millstream_processor::HasSerde;
    /// use millstream_processor::api::{Failure, Processor, ProcessorContext, Punctuation, PunctuationType, Record};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, Topology};
    ///
    /// /// Says every minute how many orders there were.
    /// struct OrdersPerMinute { orders: i64 }
    ///
    /// impl Processor for OrdersPerMinute {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn init(&mut self, context: &mut ProcessorContext<'_, String, i64>) -> Result<(), Failure> {
    ///         context.schedule(Duration::from_secs(60), PunctuationType::WallClockTime)?;
    ///         Ok(())
    ///     }
    ///
    ///     fn process(
    ///         &mut self,
    ///         _order: Record<String, i64>,
    ///         _context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         self.orders += 1;
    ///         Ok(())
    ///     }
    ///
    ///     fn punctuate(
    ///         &mut self,
    ///         punctuation: Punctuation,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         let orders = std::mem::take(&mut self.orders);
    ///         context.forward(Record::new("orders".to_string(), orders, punctuation.time))
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    /// topology.add_processor("count", &["orders"], &[], |_wiring| Ok(OrdersPerMinute { orders: 0 }))?;
    /// topology.add_sink("counts", &["count"], "orders-per-minute", String::serde(), i64::serde())?;
    ///
    /// let driver = TopologyTestDriver::new(topology)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// driver.advance_wall_clock_time(Duration::from_secs(60))?;
    /// let counts = driver.output_topic::<String, i64>("orders-per-minute");
    /// assert_eq!(counts.read_key_value()?, Some(("orders".to_string(), 1)));
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    ///
    /// # Errors
    /// They go to the handler of the stage `process`, without a record; then the call leaves no trace.
    #[doc(alias = "Punctuator")]
    fn punctuate(
        &mut self,
        punctuation: Punctuation,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = (punctuation, context);
        Ok(())
    }

    /// Called when a heartbeat has moved stream time on although no record came ([`Consumed::with_heartbeats`](crate::topology::Consumed::with_heartbeats)):
    /// forwards what was only waiting for time to pass. It comes right before [`prepare_commit`](Self::prepare_commit), after everything that
    /// the processors above emit because of it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, Topology};
    /// use millstream_processor::{HasSerde, Timestamp};
    ///
    /// /// Lets the newest order pass once a minute of event time has gone by without another one.
    /// struct LastOfMany { order: Option<Record<String, i64>> }
    ///
    /// impl Processor for LastOfMany {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         self.advance_stream_time(order.timestamp, context)?;
    ///         self.order = Some(order);
    ///         Ok(())
    ///     }
    ///
    ///     fn advance_stream_time(
    ///         &mut self,
    ///         time: Timestamp,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         let is_over = |order: &mut Record<String, i64>| order.timestamp.as_millis() + 60_000 <= time.as_millis();
    ///         self.order.take_if(is_over).map_or(Ok(()), |order| context.forward(order))
    ///     }
    ///
    ///     fn passes_stream_time(&self) -> bool {
    ///         false
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// let consumed = Consumed::with(String::serde(), i64::serde()).with_heartbeats(Duration::from_secs(30));
    /// topology.add_source("orders", ["orders"], consumed)?;
    /// topology.add_processor("last", &["orders"], &[], |_wiring| Ok(LastOfMany { order: None }))?;
    /// topology.add_sink("out", &["last"], "last-orders", String::serde(), i64::serde())?;
    ///
    /// let driver = TopologyTestDriver::new(topology)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", 3)?;
    /// driver.advance_wall_clock_time(Duration::from_secs(90))?;
    /// assert_eq!(driver.output_topic::<String, i64>("last-orders").len(), 1);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    ///
    /// # Errors
    /// They go to the handler of the stage `process`, without a record; then the call leaves no trace.
    fn advance_stream_time(
        &mut self,
        time: Timestamp,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = (time, context);
        Ok(())
    }

    /// Whether time that a heartbeat has moved on here moves on for the processors below, too. It does not below one that holds records
    /// back by their time: what it lets go is older, and would be late. There time moves on by the records it forwards, as it does without
    /// heartbeats. Asked once, when the task is built.
    fn passes_stream_time(&self) -> bool {
        true
    }

    /// Called before each commit, in topological order: forwards what the processor holds back until then.
    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = context;
        Ok(())
    }

    /// Called once, when the task ends or before another instance takes over. What the processor owns is closed by itself when it is
    /// dropped, right after.
    fn close(&mut self) {}
}

/// A processor in its place.
pub(crate) struct ProcessorNode<P: Processor> {
    pub(crate) place: NodePlace<P::KeyOut, P::ValueOut>,
    pub(crate) processor: P,
}

/// What there is around a processor: its name, its children.
pub(crate) struct NodePlace<K, V> {
    pub(crate) name: Arc<str>,
    /// Its number among the nodes of the topology.
    pub(crate) index: usize,
    pub(crate) output: Output<K, V>,
}

impl<P: Processor> ProcessorNode<P> {
    /// Lets the processor do something in its place.
    #[inline]
    fn run(
        &mut self,
        task: &mut TaskContext,
        act: impl FnOnce(&mut P, &mut ProcessorContext<'_, P::KeyOut, P::ValueOut>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut context = ProcessorContext::new(&self.place, task);
        act(&mut self.processor, &mut context).map_err(|failure| failure.in_node(&self.place.name))
    }
}

impl<P: Processor> Input<P::KeyIn, P::ValueIn> for ProcessorNode<P> {
    #[inline]
    fn accept(
        &mut self,
        record: Record<P::KeyIn, P::ValueIn>,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        self.run(task, |processor, context| processor.process(record, context))
    }
}

impl<P: Processor> Lifecycle for ProcessorNode<P> {
    fn init(&mut self, task: &mut TaskContext) -> Result<(), Failure> {
        self.run(task, P::init)
    }

    fn punctuate(&mut self, punctuation: Punctuation, task: &mut TaskContext) -> Result<(), Failure> {
        self.run(task, |processor, context| processor.punctuate(punctuation, context))
    }

    fn advance_stream_time(&mut self, time: Timestamp, task: &mut TaskContext) -> Result<(), Failure> {
        self.run(task, |processor, context| processor.advance_stream_time(time, context))
    }

    fn passes_stream_time(&self) -> bool {
        self.processor.passes_stream_time()
    }

    fn prepare_commit(&mut self, task: &mut TaskContext) -> Result<(), Failure> {
        self.run(task, P::prepare_commit)
    }

    fn close(&mut self) {
        self.processor.close();
    }
}

/// What a processor is given when its task is built: its stores, its children, its task.
pub struct Wiring<'a> {
    pub(crate) application_id: &'a str,
    pub(crate) task: TaskId,
    pub(crate) node: &'a Arc<str>,
    pub(crate) children: &'a [(&'a Arc<str>, &'a ErasedInput)],
    pub(crate) connected_stores: &'a [String],
    pub(crate) stores: &'a TaskStores,
    pub(crate) globals: &'a GlobalTables,
    /// The number of an output topic, by its name in Kafka.
    pub(crate) topic_index: &'a dyn Fn(&str) -> TopicIndex,
    pub(crate) partition_count: &'a PartitionCount,
    /// What the application settles for its serdes.
    pub(crate) serdes: &'a ApplicationSerdes,
    /// What the nodes of the task share, by the names they share it under.
    pub(crate) shared: &'a RefCell<BTreeMap<String, Rc<dyn Any>>>,
}

impl Wiring<'_> {
    /// The application.
    pub fn application_id(&self) -> &str {
        self.application_id
    }

    /// The task being built.
    pub fn task_id(&self) -> TaskId {
        self.task
    }

    /// The child of this node with this name, for [`ProcessorContext::forward_to`].
    ///
    /// # Errors
    /// `Invalid` if the node has no such child.
    pub fn child(&self, name: &str) -> Result<Child> {
        let position = self.children.iter().position(|(child, _)| ***child == *name);
        position.map(Child::from).ok_or_else(|| {
            let names: Vec<&str> = self.children.iter().map(|(child, _)| &***child).collect();
            let has = if names.is_empty() { "no child".to_string() } else { names.join(", ") };
            let node = self.node;
            Error::invalid(format!(
                "node {node} forwards to its child {name}, but has {has}: name one of its children so"
            ))
        })
    }

    /// The store connected to this node, typed by its name.
    ///
    /// # Errors
    /// As [`key_value_store`](Self::key_value_store).
    #[doc(alias = "getStateStore")]
    pub fn store<K: 'static, V: 'static>(&self, store: StoreName<K, V>) -> Result<KeyValueStore<K, V>> {
        self.key_value_store(store.name())
    }

    /// A key-value store connected to this node.
    ///
    /// # Errors
    /// `Invalid` if the store is not connected to the node, or holds other types.
    pub fn key_value_store<K: 'static, V: 'static>(&self, name: &str) -> Result<KeyValueStore<K, V>> {
        self.check_connected(name)?;
        Ok(self.stores.key_value(name)?)
    }

    /// A window store connected to this node.
    ///
    /// # Errors
    /// As [`Wiring::key_value_store`].
    pub fn window_store<K: 'static, V: 'static>(&self, name: &str) -> Result<WindowStore<K, V>> {
        self.check_connected(name)?;
        Ok(self.stores.window(name)?)
    }

    /// A session store connected to this node.
    ///
    /// # Errors
    /// As [`Wiring::key_value_store`].
    pub fn session_store<K: 'static, V: 'static>(&self, name: &str) -> Result<SessionStore<K, V>> {
        self.check_connected(name)?;
        Ok(self.stores.session(name)?)
    }

    /// A versioned store connected to this node.
    ///
    /// # Errors
    /// As [`Wiring::key_value_store`].
    pub fn versioned_store<K: 'static, V: Clone + 'static>(
        &self,
        name: &str,
    ) -> Result<VersionedStore<K, V>> {
        self.check_connected(name)?;
        Ok(self.stores.versioned(name)?)
    }

    /// A store of your own kind, connected to this node.
    ///
    /// # Errors
    /// As [`Wiring::key_value_store`].
    pub fn custom_store<S: CustomStore>(&self, name: &str) -> Result<Custom<S>> {
        self.check_connected(name)?;
        Ok(self.stores.custom(name)?)
    }

    /// The kind of a store of this task and the names of its types.
    pub fn store_types(&self, name: &str) -> Option<StoreTypes> {
        self.stores.types(name)
    }

    fn check_connected(&self, store: &str) -> Result<()> {
        if self.connected_stores.iter().any(|connected| connected == store) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "node {} uses store {store}, which is not connected to it: name the store when the node is added",
            self.node
        )))
    }

    /// A global store, complete as of the start of the application and kept up since. Any node may read it; it sees changes soon after they
    /// are written to the topic, in no order with the node's own records.
    ///
    /// # Errors
    /// `Invalid` if there is no such global store, or it holds other types.
    pub fn global_store<K: 'static, V: 'static>(&self, name: &str) -> Result<CommittedStore<K, V>> {
        self.globals.store(name)
    }

    /// What several nodes of one task share beside their stores: made by the first of them that asks for this name, and gone with the task.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// use millstream_processor::HasSerde;
    /// use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, Topology};
    ///
    /// /// Lets a number of records pass, whichever of its instances they come through.
    /// struct First { left: Rc<Cell<u32>> }
    ///
    /// impl Processor for First {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         let Some(left) = self.left.get().checked_sub(1) else { return Ok(()) };
    ///         self.left.set(left);
    ///         context.forward(order)
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// for source in ["web-orders", "shop-orders"] {
    ///     topology.add_source(source, [source], Consumed::with(String::serde(), i64::serde()))?;
    ///     let first = format!("first-{source}");
    ///     topology.add_processor(&first, &[source], &[], |wiring| {
    ///         Ok(First { left: wiring.shared("first-orders", || Cell::new(1))? })
    ///     })?;
    /// }
    /// let first = ["first-web-orders", "first-shop-orders"];
    /// topology.add_sink("first", &first, "first-orders", String::serde(), i64::serde())?;
    ///
    /// let driver = TopologyTestDriver::new(topology)?;
    /// driver.input_topic::<String, i64>("shop-orders").pipe_input("apples", 3)?;
    /// driver.input_topic::<String, i64>("web-orders").pipe_input("pears", 5)?;
    /// let first = driver.output_topic::<String, i64>("first-orders");
    /// assert_eq!(first.read_key_values_to_list()?, [("apples".to_string(), 3)]);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if another node shares something of another type under this name.
    pub fn shared<T: 'static>(&self, name: &str, make: impl FnOnce() -> T) -> Result<Rc<T>> {
        let mut shared = self.shared.borrow_mut();
        if let Some(shared) = shared.get(name) {
            return Rc::clone(shared).downcast().map_err(|_| {
                let (node, wanted) = (self.node, std::any::type_name::<T>());
                Error::invalid(format!(
                    "node {node} shares a {wanted} as {name}, under which another node shares something else"
                ))
            });
        }
        let made = Rc::new(make());
        shared.insert(name.to_string(), Rc::clone(&made) as Rc<dyn Any>);
        Ok(made)
    }

    /// A sink that this processor writes to by itself, beside what it forwards: records it sets aside, say. It is no node of the topology, so its
    /// serdes are settled when the task is built.
    ///
    /// # Errors
    /// `Retry` if the schema registry does not answer; `Invalid` if a serde cannot be used there.
    ///
    /// ```
    /// use millstream_processor::HasSerde;
    /// use millstream_processor::api::{Failure, Processor, ProcessorContext, Record};
    /// use millstream_processor::testing::TopologyTestDriver;
    /// use millstream_processor::topology::{Consumed, Sink, TaskSink, Topology};
    ///
    /// struct Check { refused: TaskSink<String, i64> }
    ///
    /// impl Processor for Check {
    ///     type KeyIn = String;
    ///     type ValueIn = i64;
    ///     type KeyOut = String;
    ///     type ValueOut = i64;
    ///
    ///     fn process(
    ///         &mut self,
    ///         order: Record<String, i64>,
    ///         context: &mut ProcessorContext<'_, String, i64>,
    ///     ) -> Result<(), Failure> {
    ///         if order.value > 0 { context.forward(order) } else { self.refused.write(&order, context.task()) }
    ///     }
    /// }
    ///
    /// let mut topology = Topology::new();
    /// topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    /// topology.add_processor("check", &["orders"], &[], |wiring| {
    ///     let refused = Sink::topic("refused-orders");
    ///     Ok(Check { refused: wiring.sink(&refused, String::serde(), i64::serde())? })
    /// })?;
    ///
    /// let driver = TopologyTestDriver::new(topology)?;
    /// driver.input_topic::<String, i64>("orders").pipe_input("apples", -3)?;
    /// assert_eq!(driver.output_topic::<String, i64>("refused-orders").len(), 1);
    /// # Ok::<(), millstream_processor::Error>(())
    /// ```
    pub fn sink<K, V>(
        &self,
        sink: &Sink<K, V>,
        key_serde: SerdeRef<K>,
        value_serde: SerdeRef<V>,
    ) -> Result<TaskSink<K, V>> {
        TaskSink::in_place(sink, &key_serde, &value_serde, self)
    }
}

/// Children of a node under construction, typed for what the node sends.
pub(crate) fn typed_output<K: Clone + 'static, V: Clone + 'static>(
    node: &Arc<str>,
    children: &[(&Arc<str>, &ErasedInput)],
) -> Result<Output<K, V>> {
    let typed: Result<Vec<SharedInput<K, V>>> = children
        .iter()
        .map(|(child, input)| {
            input.typed().map_err(|accepts| {
                Error::invalid(format!(
                    "node {node} sends {} but its child {child} accepts {accepts}",
                    std::any::type_name::<Record<K, V>>()
                ))
            })
        })
        .collect();
    Ok(Output::to(typed?))
}
