//! Processors and transformers, the stores that they are connected with, and global stores.

use millstream::ValueTransformer;
use millstream::api::{
    Failure, FixedKeyProcessor, FixedKeyProcessorContext, FixedKeyRecord, Processor, ProcessorContext, Record,
};
use millstream::prelude::*;

use super::{first, same_as_kafka_streams, stream, table};

const C: StoreName<String, u64> = StoreName::new("c");
const NAMES: StoreName<String, String> = StoreName::new("names");
const P: StoreName<String, String> = StoreName::new("p");
const SEEN: StoreName<String, String> = StoreName::new("seen");
const BY_NAME: StoreName<String, String> = StoreName::new("by-name");

/// Does nothing; in a topology's description that makes no difference.
pub(super) struct Silent;

impl Processor for Silent {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(
        &mut self,
        _record: Record<String, String>,
        _context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

impl FixedKeyProcessor for Silent {
    type Key = String;
    type ValueIn = String;
    type ValueOut = String;

    fn process(
        &mut self,
        _record: FixedKeyRecord<String, String>,
        _context: &mut FixedKeyProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

impl ValueTransformer for Silent {
    type Key = String;
    type ValueIn = String;
    type ValueOut = String;

    fn transform(&mut self, _key: &String, value: Option<String>) -> Result<Option<String>, Failure> {
        Ok(value)
    }
}

#[test]
fn processors() {
    same_as_kafka_streams("process", |builder| {
        stream(builder, "orders").process((), |_| Ok(Silent)).to("out");
    });
    same_as_kafka_streams("process_with_store", |builder| {
        builder.add_store(SEEN);
        stream(builder, "orders").process(SEEN, |_| Ok(Silent)).to("out");
    });
    same_as_kafka_streams("process_named", |builder| {
        builder.add_store(SEEN);
        stream(builder, "orders").process(SEEN, |_| Ok(Silent)).named("check").to("out");
    });
    same_as_kafka_streams("process_with_its_own_store", |builder| {
        stream(builder, "orders").process(ConnectedStores::bringing(SEEN), |_| Ok(Silent)).to("out");
    });
    same_as_kafka_streams("process_then_count", |builder| {
        let processed = stream(builder, "orders").process((), |_| Ok(Silent));
        processed.group_by_key().count(C).to_stream().to("out");
    });
    same_as_kafka_streams("process_values_then_count", |builder| {
        let processed = stream(builder, "orders").process_values((), |_| Ok(Silent));
        processed.group_by_key().count(C).to_stream().to("out");
    });
    same_as_kafka_streams("processors_that_share_a_store", |builder| {
        builder.add_store(SEEN);
        stream(builder, "orders").process(SEEN, |_| Ok(Silent)).to("a");
        stream(builder, "returns").process_values(SEEN, |_| Ok(Silent)).to("b");
    });
    same_as_kafka_streams("process_with_a_tables_store", |builder| {
        table(builder, "products").materialized(P);
        stream(builder, "orders").process(P, |_| Ok(Silent)).to("out");
    });
    same_as_kafka_streams("global_store", |builder| {
        builder.add_global_store(BY_NAME, "products", |_| Ok::<Silent, _>(Silent));
        stream(builder, "orders").to("out");
    });
}

#[test]
fn transformed_tables() {
    same_as_kafka_streams("transform_values", |builder| {
        builder.add_store(SEEN);
        table(builder, "products").transform_values(SEEN, |_| Ok(Silent)).to_stream().to("out");
    });
    same_as_kafka_streams("transform_values_materialized", |builder| {
        builder.add_store(SEEN);
        let names = table(builder, "products").transform_values(SEEN, |_| Ok(Silent));
        let names = names.named("rename").materialized(NAMES);
        stream(builder, "orders").join(&names, first).to("out");
    });
    same_as_kafka_streams("transform_values_looked_up", |builder| {
        let products = table(builder, "products").transform_values((), |_| Ok(Silent)).filter(|_, _| true);
        stream(builder, "orders").join(&products, first).to("out");
    });
}
