//! Makes the nodes of a task. Types are known inside a factory and erased at its border.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use millstream_state_stores::{ApplicationSerdes, SerdeError, SerdeRef};

use super::serdes::serdes_of_sink;
use super::sink::{Sink, SinkNode, TaskSink};
use crate::api::{ErasedInput, Lifecycle, NodePlace, Processor, ProcessorNode, Wiring, typed_output};
use crate::error::Result;

/// A node that was built: how its parents reach it, and how the task does.
pub(crate) struct BuiltNode {
    pub(crate) input: ErasedInput,
    pub(crate) lifecycle: Option<Rc<RefCell<dyn Lifecycle>>>,
}

/// What every factory is given besides the node's own types.
pub(crate) struct Site<'a> {
    /// The node's number in the topology.
    pub(crate) index: usize,
    pub(crate) wiring: Wiring<'a>,
}

pub(crate) trait NodeFactory: Send + Sync {
    /// The factory with its serdes as they are in the topic it writes to, `None` if records name it; of nodes without serdes nothing.
    fn in_place(
        &self,
        _topic: Option<&str>,
        _serdes: &ApplicationSerdes,
    ) -> Result<Option<Arc<dyn NodeFactory>>, SerdeError> {
        Ok(None)
    }

    fn build(&self, name: &Arc<str>, site: Site<'_>) -> Result<BuiltNode>;
}

pub(crate) struct ProcessorFactory<F> {
    pub(crate) supplier: F,
}

impl<P, F> NodeFactory for ProcessorFactory<F>
where
    P: Processor,
    F: Fn(&Wiring<'_>) -> Result<P> + Send + Sync,
{
    fn build(&self, name: &Arc<str>, site: Site<'_>) -> Result<BuiltNode> {
        let output = typed_output(name, site.wiring.children)?;
        let place = NodePlace { name: Arc::clone(name), index: site.index, output };
        let processor = (self.supplier)(&site.wiring)?;
        let node = Rc::new(RefCell::new(ProcessorNode { place, processor }));
        Ok(BuiltNode { input: ErasedInput::new::<P::KeyIn, P::ValueIn>(node.clone()), lifecycle: Some(node) })
    }
}

pub(crate) struct SinkFactory<K, V> {
    pub(crate) sink: Sink<K, V>,
    pub(crate) key_serde: SerdeRef<K>,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K: Clone + 'static, V: Clone + 'static> NodeFactory for SinkFactory<K, V> {
    fn in_place(
        &self,
        topic: Option<&str>,
        serdes: &ApplicationSerdes,
    ) -> Result<Option<Arc<dyn NodeFactory>>, SerdeError> {
        let (key_serde, value_serde) = serdes_of_sink(topic, serdes, &self.key_serde, &self.value_serde)?;
        Ok(Some(Arc::new(SinkFactory { sink: self.sink.clone(), key_serde, value_serde })))
    }

    fn build(&self, name: &Arc<str>, site: Site<'_>) -> Result<BuiltNode> {
        let sink = TaskSink::new(&self.sink, self.key_serde.clone(), self.value_serde.clone(), &site.wiring);
        let node = Rc::new(RefCell::new(SinkNode { name: Arc::clone(name), sink }));
        Ok(BuiltNode { input: ErasedInput::new::<K, V>(node), lifecycle: None })
    }
}
