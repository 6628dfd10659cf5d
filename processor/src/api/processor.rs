//! A processor: what a user writes, and the node that runs it.

use std::sync::Arc;

use millstream_state_stores::{
    CommittedStore, Custom, CustomStore, KeyValueStore, SessionStore, StoreTypes, TaskId, TaskStores,
    VersionedStore, WindowStore,
};

use super::context::{ProcessorContext, TaskContext};
use super::edge::{ErasedInput, Failure, Input, Lifecycle, Output, SharedInput};
use super::global::GlobalTables;
use super::record::Record;
use crate::error::{Error, Result};

/// A step of a topology. One instance per task, used by one thread; so plain fields are its memory, and a store its durable memory.
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

    /// Handles one record. An error goes to the handler of the stage `process`; then the record leaves no trace.
    fn process(
        &mut self,
        record: Record<Self::KeyIn, Self::ValueIn>,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure>;

    /// Called before each commit, in topological order: forwards what the processor holds back until then.
    fn prepare_commit(
        &mut self,
        context: &mut ProcessorContext<'_, Self::KeyOut, Self::ValueOut>,
    ) -> Result<(), Failure> {
        let _unused = context;
        Ok(())
    }
}

/// A processor in its place: named, with children.
pub(crate) struct ProcessorNode<P: Processor> {
    pub(crate) name: Arc<str>,
    pub(crate) processor: P,
    pub(crate) output: Output<P::KeyOut, P::ValueOut>,
}

impl<P: Processor> Input<P::KeyIn, P::ValueIn> for ProcessorNode<P> {
    #[inline]
    fn accept(
        &mut self,
        record: Record<P::KeyIn, P::ValueIn>,
        task: &mut TaskContext,
    ) -> Result<(), Failure> {
        self.processor
            .process(record, &mut ProcessorContext::new(&self.output, task))
            .map_err(|failure| failure.in_node(&self.name))
    }
}

impl<P: Processor> Lifecycle for ProcessorNode<P> {
    fn prepare_commit(&mut self, task: &mut TaskContext) -> Result<(), Failure> {
        self.processor
            .prepare_commit(&mut ProcessorContext::new(&self.output, task))
            .map_err(|failure| failure.in_node(&self.name))
    }
}

/// What a processor is given when its task is built: its stores, its task.
pub struct Wiring<'a> {
    pub(crate) task: TaskId,
    pub(crate) node: &'a Arc<str>,
    pub(crate) connected_stores: &'a [String],
    pub(crate) stores: &'a TaskStores,
    pub(crate) globals: &'a GlobalTables,
}

impl Wiring<'_> {
    /// The task being built.
    pub fn task_id(&self) -> TaskId {
        self.task
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
