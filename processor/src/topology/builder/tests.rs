//! Topologies made by hand: what is refused, and what is said about it.

use std::sync::Arc;

use millstream_state_stores::{HasSerde, KeyValueStoreBuilder, StoreBuilder, StoreName};

use crate::error::Result;
use crate::testing::TopologyTestDriver;
use crate::testing::one_task::AddUp;
use crate::testing::pass_on::PassOn;
use crate::topology::{Consumed, RepartitionTopic, Sink, TopicName, Topology};

fn store(name: &str) -> Arc<dyn StoreBuilder> {
    Arc::new(KeyValueStoreBuilder::new(name, String::serde(), i64::serde()))
}

/// A source, a store, and a processor that is connected with it.
fn topology() -> Result<Topology> {
    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_state_store(store("stock"))?;
    topology.add_processor("check", &["orders"], &["stock"], |_| Ok(PassOn))?;
    Ok(topology)
}

/// What is said of a change to the topology, or of the whole after it.
#[track_caller]
fn says(change: impl FnOnce(&mut Topology) -> Result<()>, expected: &str) {
    let mut topology = topology().expect("the topology is right");
    let refusal = change(&mut topology).and_then(|()| topology.validate()).expect_err("it is wrong");
    assert!(refusal.to_string().contains(expected), "`{expected}` is not in: {refusal}");
}

#[test]
fn records_go_through_a_topology_made_by_hand() -> Result<()> {
    const TOTALS: StoreName<String, i64> = StoreName::new("totals");

    let mut topology = Topology::new();
    topology.add_source("orders", ["orders"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_processor("total", &["orders"], &[], |wiring| Ok(AddUp { sums: wiring.store(TOTALS)? }))?;
    topology.add_state_store(store(TOTALS.name()))?;
    topology.connect("total", &[TOTALS.name()])?;
    topology.add_sink("out", &["total"], "totals", String::serde(), i64::serde())?;
    let driver = TopologyTestDriver::new(topology)?;
    for quantity in [3, 4] {
        driver.input_topic::<String, i64>("orders").pipe_input("apples", quantity)?;
    }
    let totals = driver.output_topic::<String, i64>("totals").read_key_values_to_list()?;
    assert_eq!(totals, [("apples".to_owned(), 3), ("apples".to_owned(), 7)]);
    Ok(())
}

#[test]
fn nodes_that_do_not_fit_in() {
    let add = |topology: &mut Topology, name: &str, parents: &[&str]| {
        topology.add_processor(name, parents, &[], |_| Ok(PassOn))
    };
    says(|it| add(it, "check", &["orders"]), "there are two nodes named check: give one another name");
    says(|it| add(it, "new", &["odrers"]), "node new names parent odrers, which the topology does not have");
    says(|it| add(it, "new", &[]), "node new has no parent");
    says(|it| add(it, "loop", &["loop"]), "node loop is its own parent");
    says(|it| add(it, "a name", &["orders"]), "\"a name\" has characters other than");
    let sink_above = |it: &mut Topology| {
        it.add_sink("out", &["check"], "out", String::serde(), i64::serde())?;
        add(it, "new", &["out"])
    };
    says(sink_above, "node new has the sink out as its parent");
    let other_types = |it: &mut Topology| it.add_sink("out", &["check"], "out", i64::serde(), i64::serde());
    says(other_types, "node out accepts (i64, i64) but its parent check sends (alloc::string::String, i64)");
}

#[test]
fn sources_without_topics_or_with_those_of_others() {
    let add = |it: &mut Topology, topics: &[&str]| {
        it.add_source("more", topics.iter().copied(), Consumed::with(String::serde(), i64::serde()))
    };
    says(|it| add(it, &[]), "source more reads no topic");
    says(|it| add(it, &["returns", "orders"]), "topic orders is read by source orders already");
}

#[test]
fn stores_that_are_unknown_unused_or_there_twice() {
    let connect = |it: &mut Topology| it.add_processor("new", &["check"], &["stokc"], |_| Ok(PassOn));
    says(connect, "processor new names store stokc, which the topology does not have: add the store first");
    says(|it| it.connect("check", &["stokc"]), "processor check names store stokc");
    says(|it| it.connect("orders", &["stock"]), "orders is to be connected to a store, but is no processor");
    says(|it| it.connect("chekc", &["stock"]), "chekc is to be connected to a store, but is no processor");
    says(|it| it.add_state_store(store("stock")), "there are two stores named stock");
    says(|it| it.add_state_store(store("unused")), "store unused is connected to no processor");
}

#[test]
fn repartition_topics_that_are_not_read_not_written_or_fed_by_themselves() {
    let write = |it: &mut Topology, parent: &str| {
        it.add_repartition_topic(RepartitionTopic { name: "again".to_string(), partitions: None })?;
        let topic = Sink::topic(TopicName::Internal("again".to_string()));
        it.add_sink("write", &[parent], topic, String::serde(), i64::serde())
    };
    let read = |it: &mut Topology| {
        let topic = TopicName::Internal("again".to_string());
        it.add_source("read", [topic], Consumed::with(String::serde(), i64::serde()))
    };
    says(
        |it| write(it, "check"),
        "repartition topic again needs both a sink and a source (written: true, read: false)",
    );
    let by_itself = |it: &mut Topology| {
        read(it)?;
        it.add_processor("pass", &["read"], &[], |_| Ok(PassOn))?;
        write(it, "pass")
    };
    says(by_itself, "repartition topic again is fed from nothing but itself");
}

#[test]
fn one_builder_may_be_added_by_all_who_bring_it() -> Result<()> {
    let mut topology = topology()?;
    let seen = store("seen");
    topology.add_state_store(Arc::clone(&seen))?;
    topology.add_state_store(seen)?;
    topology.connect("check", &["seen", "stock"])?;
    topology.connect("check", &["seen"])?;
    topology.validate()?;
    assert!(topology.describe().contains("Processor: check (stores: [stock, seen])"));
    Ok(())
}

#[test]
fn a_store_joins_the_parts_that_use_it() -> Result<()> {
    let mut topology = topology()?;
    topology.add_source("returns", ["returns"], Consumed::with(String::serde(), i64::serde()))?;
    topology.add_processor("count", &["returns"], &[], |_| Ok(PassOn))?;
    assert_eq!(topology.subtopologies().len(), 2);
    topology.connect("count", &["stock"])?;
    assert_eq!(topology.subtopologies().len(), 1);
    Ok(())
}

#[test]
fn what_a_supplier_takes_must_be_there() -> Result<()> {
    let refusal = |stores: &[&str], child: Option<&'static str>| -> Result<String> {
        let mut topology = topology()?;
        topology.add_processor("new", &["orders"], stores, move |wiring| {
            child.map(|child| wiring.child(child)).transpose()?;
            wiring.key_value_store::<String, i64>("stock")?;
            Ok(PassOn)
        })?;
        topology.add_sink("bulk", &["new"], "bulk-orders", String::serde(), i64::serde())?;
        Ok(TopologyTestDriver::new(topology).err().map(|error| error.to_string()).unwrap_or_default())
    };
    assert_eq!(refusal(&["stock"], Some("bulk"))?, "");
    assert!(refusal(&[], None)?.contains("node new uses store stock, which is not connected to it"));
    let unknown = refusal(&["stock"], Some("blulk"))?;
    assert!(unknown.contains("node new forwards to its child blulk, but has bulk"), "{unknown}");
    Ok(())
}
