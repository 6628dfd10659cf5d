//! A program gives the same when it is optimized, from fewer topics and stores.

use millstream::api::{Failure, Processor, ProcessorContext, Record};
use millstream::prelude::*;
use millstream::testing::TopologyTestDriver;
use millstream::topology::Consumed;

const COUNTS: StoreName<String, u64> = StoreName::new("counts");
const NEWEST: StoreName<String, String> = StoreName::new("newest");
const PRODUCTS: StoreName<String, String> = StoreName::new("products");

/// The program as it was declared, and with all that can be done for it.
fn both(declare: impl Fn(&StreamsBuilder)) -> [Topology; 2] {
    [TopologyOptimization::NONE, TopologyOptimization::ALL].map(|optimization| {
        let builder = StreamsBuilder::new().optimized(optimization);
        declare(&builder);
        builder.build().expect("the program is right")
    })
}

type Output = (Option<String>, Option<String>, i64);

/// Everything that is written to a topic, with its time.
fn output(driver: &TopologyTestDriver, topic: &str) -> Vec<Output> {
    let records = driver.output_topic::<Option<String>, Option<String>>(topic).read_records_to_list();
    let records = records.expect("outputs decode");
    records.into_iter().map(|record| (record.key, record.value, record.timestamp.as_millis())).collect()
}

fn number_of_repartition_topics(topology: &Topology) -> usize {
    topology.repartition_topics().len()
}

#[test]
fn counts_and_joins_of_one_change_of_keys_are_the_same_from_one_topic() {
    let topologies = both(|builder| {
        let products = builder.table::<String, String>("products");
        let orders = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone());
        orders
            .group_by_key()
            .count(COUNTS)
            .to_stream()
            .map_values(|_, n| n.map(|n| n.to_string()))
            .to("counts");
        orders.filter(|sku, _| sku != "nuts").join(&products, |_, product| product.clone()).to("ordered");
    });
    assert_eq!(topologies.each_ref().map(number_of_repartition_topics), [2, 1]);
    let [as_declared, optimized] = topologies.map(|topology| {
        let driver = TopologyTestDriver::new(topology).expect("it can be run");
        let products = driver.input_topic::<String, String>("products");
        products.pipe_input("apples", "red").expect("it is processed");
        products.pipe_input("nuts", "brown").expect("it is processed");
        let orders = driver.input_topic::<String, String>("orders");
        for (number, sku) in [("1", "apples"), ("2", "nuts"), ("3", "apples"), ("4", "pears")] {
            orders.pipe_input(number, sku).expect("it is processed");
        }
        let keys_and_values = |topic: &str| -> Vec<_> {
            output(&driver, topic).into_iter().map(|(key, value, _)| (key, value)).collect()
        };
        (keys_and_values("counts"), keys_and_values("ordered"))
    });
    assert_eq!(optimized, as_declared);
    assert_eq!((optimized.0.len(), optimized.1.len()), (4, 2));
}

#[test]
fn what_others_read_below_the_topic_has_records_without_a_key_as_before() {
    let topologies = both(|builder| {
        let orders = builder.stream::<Option<String>, Option<String>>("orders");
        let by_sku = orders.select_key(|_, sku| sku.clone()).peek(|_, _| {});
        by_sku.to("all");
        by_sku.group_by_key().count(COUNTS);
    });
    assert!(topologies[1].describe().contains("Source: counts-repartition-source"));
    let [as_declared, optimized] = topologies.map(|topology| {
        let driver = TopologyTestDriver::new(topology).expect("it can be run");
        let orders = driver.input_topic::<Option<String>, Option<String>>("orders");
        for sku in [Some("apples"), None, Some("nuts")] {
            orders.pipe_input(Some("order".to_string()), sku.map(str::to_string)).expect("it is processed");
        }
        output(&driver, "all").into_iter().map(|(key, value, _)| (key, value)).collect::<Vec<_>>()
    });
    assert_eq!(optimized, as_declared);
    assert!(optimized.contains(&(None, None)), "{optimized:?}");
}

#[test]
fn a_topic_that_heartbeats_would_not_pass_stays_below_what_others_read() {
    let are_the_same = |has_heartbeats: bool, is_read_by_others: bool| {
        let topologies = both(|builder| {
            let orders = Source::<String, String>::topic("orders");
            let orders = if has_heartbeats { orders.with_heartbeats(seconds(30)) } else { orders };
            let by_sku =
                builder.stream::<String, String>(orders).select_key(|_, sku| sku.clone()).peek(|_, _| {});
            by_sku.group_by_key().count(COUNTS);
            if is_read_by_others {
                by_sku.to("all");
            }
        });
        let [as_declared, optimized] = topologies.map(|topology| topology.describe());
        as_declared == optimized
    };
    assert!(are_the_same(true, true), "time would stand still for what is written to `all`");
    assert!(!are_the_same(true, false), "nobody else reads");
    assert!(!are_the_same(false, true), "there are no heartbeats");
}

#[test]
fn a_stream_that_is_merged_in_is_repartitioned_as_well() {
    let topologies = both(|builder| {
        let orders = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone());
        let returns = builder.stream::<String, String>("returns").select_key(|_, sku| sku.clone());
        orders.merge(&returns).group_by_key().count(COUNTS);
        orders.group_by_key().reduce(NEWEST, |_, newer| newer);
    });
    for topology in topologies {
        let writers = topology.describe().matches("-repartition-sink (topic: ").count();
        assert_eq!(writers, 2, "the merge is counted behind a topic of its own: {}", topology.describe());
        let driver = TopologyTestDriver::new(topology).expect("it can be run");
        for topic in ["orders", "returns"] {
            driver.input_topic::<String, String>(topic).pipe_input("1", "apples").expect("it is processed");
        }
        let row = driver.key_value_store(COUNTS).and_then(|counts| Ok(counts.get(&"apples".into())?));
        assert_eq!(row.expect("it can be read").map(|row| row.value), Some(2));
    }
}

/// Gives words the keys that they begin with.
struct Initials;

impl Processor for Initials {
    type KeyIn = String;
    type ValueIn = String;
    type KeyOut = String;
    type ValueOut = String;

    fn process(
        &mut self,
        word: Record<String, String>,
        context: &mut ProcessorContext<'_, String, String>,
    ) -> Result<(), Failure> {
        context.forward(Record { key: word.value[..1].to_string(), ..word })
    }
}

#[test]
fn what_a_processor_or_a_mapper_changes_goes_through_a_topic_of_its_own() {
    let [_, optimized] = both(|builder| {
        let orders = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone());
        orders.map_values(|_, sku| sku.len() as i64).group_by_key().count(());
        orders.process((), |_| Ok(Initials)).group_by_key().count(());
        orders.group_by_key().reduce(NEWEST, |_, newer| newer);
    });
    assert_eq!(number_of_repartition_topics(&optimized), 3);
    let described = optimized.describe();
    let of_processor = "KSTREAM-PROCESSOR-0000000008 (stores: [])\n      --> KSTREAM-FILTER-0000000012";
    assert!(described.contains(of_processor), "{described}");
}

#[test]
fn two_topics_below_one_node_of_the_change_are_merged() {
    let [_, optimized] = both(|builder| {
        let split = builder.stream::<String, String>("orders").select_key(|_, sku| sku.clone()).split();
        split.branch(|sku, _| sku.len() > 5).group_by_key().count(COUNTS);
        split.default_branch().group_by_key().reduce(NEWEST, |_, newer| newer);
    });
    let names: Vec<&str> = optimized.repartition_topics().iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["counts-repartition"]);
}

#[test]
fn a_table_has_no_changelog_but_its_topic() {
    let is_logged = |topology: &Topology| topology.store("products").map(|store| store.is_logged());
    let topologies = both(|builder| drop(builder.table::<String, String>("products").materialized(PRODUCTS)));
    assert_eq!(topologies.each_ref().map(is_logged), [Some(true), Some(false)]);
    let [_, versioned] = both(|builder| {
        builder.table::<String, String>("products").materialized(PRODUCTS.versioned(hours(1)));
    });
    assert_eq!(is_logged(&versioned), Some(true), "older versions may be compacted away");
    let [_, expiring] = both(|builder| {
        builder.table::<String, String>("products").materialized(PRODUCTS.with_ttl(hours(1)));
    });
    assert_eq!(is_logged(&expiring), Some(true), "the topic does not say what has expired");
    let [_, of_stream] = both(|builder| {
        builder.stream::<String, String>("products").to_table().materialized(PRODUCTS);
    });
    assert_eq!(is_logged(&of_stream), Some(true), "a stream has no rows");
}

#[test]
fn a_table_that_is_not_logged_is_restored_from_its_topic_as_well() {
    let topologies = both(|builder| {
        builder.table::<String, String>("products").materialized(PRODUCTS.without_logging());
    });
    let is_connected = topologies.map(|mut topology| {
        let field = Option::<String>::field_serde;
        let again = Consumed::with(field(), field());
        topology
            .connect_source_store_and_topic("products", "products", again)
            .is_err_and(|refused| refused.to_string().contains("it is restored from topic products already"))
    });
    assert_eq!(is_connected, [false, true]);
}

#[test]
fn a_table_without_a_changelog_passes_changes_on_as_before() {
    let topologies = both(|builder| {
        builder.table::<String, String>("products").materialized(PRODUCTS).to_stream().to("changes");
    });
    let [as_declared, optimized] = topologies.map(|topology| {
        let driver = TopologyTestDriver::new(topology).expect("it can be run");
        let products = driver.input_topic::<String, Option<String>>("products");
        for name in [Some("apples"), Some("pears"), None] {
            products.pipe_input("1", name.map(str::to_string)).expect("it is processed");
        }
        let changes = output(&driver, "changes").into_iter().map(|(key, value, _)| (key, value));
        (changes.collect::<Vec<_>>(), driver.output_topic::<String, String>("test-products-changelog").len())
    });
    assert_eq!((as_declared.0.len(), as_declared.1), (3, 3));
    assert_eq!(optimized, (as_declared.0, 0));
}

#[test]
fn a_self_join_gives_the_same_pairs_in_the_same_order_from_one_store() {
    let all_windows = [
        JoinWindows::from(millis(10)),
        JoinWindows::of_time_difference_and_grace(millis(0), millis(50)),
        JoinWindows::from(millis(0)).after(millis(10)),
        JoinWindows::from(millis(10)).beginning_after(millis(2)),
        JoinWindows::of_time_difference_and_grace(millis(5), millis(20)),
    ];
    for windows in all_windows {
        let topologies = both(|builder| {
            let orders = builder.stream::<String, String>("orders");
            orders.within(windows).join(&orders, |one, other| format!("{one}{other}")).to("pairs");
        });
        assert_eq!(topologies.each_ref().map(|topology| topology.stores().count()), [2, 1]);
        let [as_declared, optimized] = topologies.map(|topology| {
            let driver = TopologyTestDriver::new(topology).expect("it can be run");
            let orders = driver.input_topic::<String, String>("orders");
            let times = [100, 105, 95, 105, 110, 101, 105, 200, 190, 100, 201];
            for (order, time) in ('a'..).zip(times) {
                let at = Timestamp::from_millis(time);
                orders.pipe_input_at("k", order.to_string(), at).expect("it is processed");
            }
            orders.pipe_input_at("other", "x", Timestamp::from_millis(200)).expect("it is processed");
            output(&driver, "pairs")
        });
        assert_eq!(optimized, as_declared, "{windows:?}");
        assert!(!optimized.is_empty(), "{windows:?}");
    }
}

/// Chance that follows from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides
    }
}

const OUTPUTS: [&str; 6] = ["out-0", "out-1", "out-2", "out-3", "out-4", "out-5"];

/// A few steps below two streams, with changes of keys and values, filters, branches and merges, and what needs repartitioning at their ends.
fn declare_at_random(builder: &StreamsBuilder, seed: u64) {
    let mut dice = Dice(seed);
    let products = builder.table::<String, String>("products");
    let mut streams: Vec<KStream<String, String>> =
        ["orders", "returns"].map(|topic| builder.stream(topic)).into();
    for _ in 0..2 + dice.below(6) {
        let stream = streams[dice.below(streams.len())].clone();
        streams.push(match dice.below(8) {
            0 => stream.filter(|_, value| value.len() % 2 == 0),
            1 => stream.peek(|_, _| {}),
            2 | 3 => stream.select_key(|_, value| value[..1].to_string()),
            4 => stream.map(|key, value| (format!("{key}!"), value)),
            5 => stream.map_values(|_, value| value + "x"),
            6 => stream.split().branch(|key, _| key.len() > 1),
            _ => stream.merge(&streams[dice.below(streams.len())]),
        });
    }
    for output in OUTPUTS {
        let stream = &streams[dice.below(streams.len())];
        match dice.below(5) {
            0 | 1 => {
                let each = Materialized::<String, u64>::from(()).without_caching();
                stream.group_by_key().count(each).to_stream().to(output);
            }
            2 => drop(stream.join(&products, |value, product| value + product).to(output)),
            3 => drop(stream.within(hours(1)).join(stream, |one, other| format!("{one}{other}")).to(output)),
            _ => drop(stream.to(output)),
        }
    }
}

#[test]
fn any_program_gives_the_same_for_each_key() {
    let mut fewer = 0;
    for seed in 0..400 {
        let topologies = both(|builder| declare_at_random(builder, seed));
        let internal = topologies
            .each_ref()
            .map(|topology| number_of_repartition_topics(topology) + topology.stores().count());
        fewer += usize::from(internal[1] < internal[0]);
        let [as_declared, optimized] = topologies.map(|topology| {
            let described = topology.describe();
            let driver = TopologyTestDriver::new(topology).expect("it can be run");
            let products = driver.input_topic::<String, String>("products");
            for key in ["a", "b", "aa", "b!"] {
                products.pipe_input(key, "-product").expect("it is processed");
            }
            for (number, value) in ["aa", "b", "ab", "b", "a", "bb"].into_iter().enumerate() {
                let topic = ["orders", "returns"][number % 2];
                let at = Timestamp::from_millis(1_000 + number as i64);
                let input = driver.input_topic::<String, String>(topic);
                input.pipe_input_at(["a", "b", "aa"][number % 3], value, at).expect("it is processed");
            }
            let outputs = OUTPUTS.map(|topic| {
                let records = driver.output_topic::<Vec<u8>, Vec<u8>>(topic).read_records_to_list();
                let records = records.expect("bytes decode").into_iter();
                let mut records: Vec<_> =
                    records.map(|record| (record.key, record.value, record.timestamp.as_millis())).collect();
                records.sort();
                records
            });
            (outputs, described)
        });
        assert_eq!(optimized.0, as_declared.0, "seed {seed}\n{}\n{}", as_declared.1, optimized.1);
    }
    assert!(fewer > 100, "only {fewer} programs have been optimized");
}
