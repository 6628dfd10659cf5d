//! Makes the nodes of a task. Types are known inside a factory and erased at its border.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::sink::{SinkNode, SinkTopic, TaskTopic};
use crate::api::{ErasedInput, Lifecycle, OutputBuffer, Processor, ProcessorNode, Wiring, typed_output};
use crate::error::Result;
use millstream_state_stores::SerdeRef;

/// A node that was built: how parents reach it, and how the task reaches it before a commit.
pub(crate) struct BuiltNode {
    pub(crate) input: ErasedInput,
    pub(crate) lifecycle: Option<Rc<RefCell<dyn Lifecycle>>>,
}

/// What every factory is given besides the node's own types.
pub(crate) struct Site<'a> {
    pub(crate) application_id: &'a str,
    pub(crate) wiring: Wiring<'a>,
    pub(crate) children: &'a [(&'a Arc<str>, &'a ErasedInput)],
    pub(crate) outputs: &'a mut OutputBuffer,
}

pub(crate) trait NodeFactory: Send + Sync {
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
        let output = typed_output(name, site.children)?;
        let processor = (self.supplier)(&site.wiring)?;
        let node = Rc::new(RefCell::new(ProcessorNode { name: Arc::clone(name), processor, output }));
        Ok(BuiltNode { input: ErasedInput::new::<P::KeyIn, P::ValueIn>(node.clone()), lifecycle: Some(node) })
    }
}

pub(crate) struct SinkFactory<K, V> {
    pub(crate) topic: SinkTopic<K, V>,
    pub(crate) key_serde: SerdeRef<K>,
    pub(crate) value_serde: SerdeRef<V>,
}

impl<K: Clone + 'static, V: Clone + 'static> NodeFactory for SinkFactory<K, V> {
    fn build(&self, name: &Arc<str>, site: Site<'_>) -> Result<BuiltNode> {
        let topic = match &self.topic {
            SinkTopic::Fixed(topic) => {
                TaskTopic::Fixed(site.outputs.topic(&topic.in_application(site.application_id)))
            }
            SinkTopic::PerRecord(choose) => TaskTopic::PerRecord(Arc::clone(choose)),
        };
        let node = SinkNode {
            name: Arc::clone(name),
            topic,
            key_serde: self.key_serde.clone(),
            unhashed_key_bytes: self.key_serde.unhashed_key_bytes(),
            value_serde: self.value_serde.clone(),
        };
        Ok(BuiltNode { input: ErasedInput::new::<K, V>(Rc::new(RefCell::new(node))), lifecycle: None })
    }
}
