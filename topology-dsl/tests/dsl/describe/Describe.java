// Prints what Kafka Streams' Topology.describe() says about the programs of describe.rs, in the format of kafka-streams.txt; with the argument
// `optimized`, about those of describe/optimized.rs, as optimized.txt has it, with topology.optimization=all.
// Run it with the class path of org.apache.kafka:kafka-streams:4.3.1 as a single-file program: java -cp .. Describe.java
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.*;
import java.time.Duration;
import java.util.*;
import java.util.function.*;

public class Describe {
  static final Properties properties = new Properties();
  static void show(String name, Consumer<StreamsBuilder> f) {
    StreamsBuilder b = new StreamsBuilder();
    f.accept(b);
    System.out.println("### " + name);
    System.out.print(b.build(properties).describe());
    System.out.println("###END");
  }
  static Materialized<String, Long, KeyValueStore<Bytes, byte[]>> store(String n) { return Materialized.as(n); }
  static Materialized<String, String, KeyValueStore<Bytes, byte[]>> sstore(String n) { return Materialized.as(n); }
  static StoreBuilder<?> kv(String n) { return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(n), Serdes.String(), Serdes.String()); }
  static class Pass<KO, VO> implements Processor<String, String, KO, VO> { public void process(Record<String, String> r) {} }
  static class PassValues implements FixedKeyProcessor<String, String, String> { public void process(FixedKeyRecord<String, String> r) {} }
  static ProcessorSupplier<String, String, String, String> pass() { return Pass::new; }
  static ProcessorSupplier<String, String, String, String> passWith(StoreBuilder<?>... stores) {
    return new ProcessorSupplier<>() {
      public Processor<String, String, String, String> get() { return new Pass<>(); }
      public Set<StoreBuilder<?>> stores() { return new LinkedHashSet<>(List.of(stores)); }
    };
  }
  static FixedKeyProcessorSupplier<String, String, String> passValues() { return PassValues::new; }
  static ValueTransformerWithKeySupplier<String, String, String> transform() {
    return () -> new ValueTransformerWithKey<>() {
      public void init(org.apache.kafka.streams.processor.ProcessorContext c) {}
      public String transform(String k, String v) { return v; }
      public void close() {}
    };
  }
  static ValueJoiner<String, String, String> first() { return (left, right) -> left; }
  static JoinWindows minutes(long n) { return JoinWindows.ofTimeDifferenceWithNoGrace(Duration.ofMinutes(n)); }
  static StreamJoined<String, String, String> joined() { return StreamJoined.with(null, null, null); }
  static Aggregator<String, String, String> last() { return (k, v, a) -> v; }
  public static void main(String[] a) {
    if (List.of(a).contains("optimized")) {
      properties.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
      optimized();
    } else {
      asDeclared();
    }
  }
  static KStream<String,String> byValue(StreamsBuilder b, String topic) { return b.<String,String>stream(topic).selectKey((k, v) -> v); }
  static void optimized() {
    show("count_and_join", b -> { KStream<String,String> s = byValue(b, "orders"); KTable<String,String> t = b.table("products"); s.groupByKey().count(store("c")); s.join(t, (o, p) -> o).to("out"); });
    show("one_topic_moves_too", b -> byValue(b, "orders").filter((k, v) -> true).groupByKey().count().toStream().to("out"));
    show("values_change_on_the_way", b -> { KStream<String,String> s = byValue(b, "orders"); s.mapValues(v -> v).groupByKey().count(store("c")); s.peek((k, v) -> {}).groupByKey().reduce((x, y) -> y, sstore("r")); });
    show("given_names", b -> { KStream<String,String> s = byValue(b, "orders"); KTable<String,String> t = b.table("products"); s.groupByKey(Grouped.as("by-sku")).count(store("c")); s.filter((k, v) -> true, Named.as("some")).join(t, (o, p) -> o, Joined.as("enrich")).to("out"); });
    show("a_group_used_twice", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupBy((k, v) -> v, Grouped.as("by-sku")); g.count(store("a")); g.reduce((x, y) -> y, sstore("b")); });
    show("an_unnamed_group_used_twice", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupBy((k, v) -> v); g.count(); g.reduce((x, y) -> y); g.aggregate(() -> "", (k, v, x) -> x); });
    show("others_read_on_the_way", b -> { KStream<String,String> s = byValue(b, "orders").filter((k, v) -> true); s.to("out"); s.groupByKey().count(store("c")); });
    show("merged_streams", b -> { KStream<String,String> s = b.<String,String>stream("orders").merge(byValue(b, "returns")); s.groupByKey().count(store("c")); s.filter((k, v) -> true).groupByKey().reduce((x, y) -> y, sstore("r")); });
    show("merged_streams_of_changed_keys", b -> { KStream<String,String> s = byValue(b, "orders").merge(byValue(b, "returns")); s.groupByKey().count(store("c")); s.groupByKey().reduce((x, y) -> y, sstore("r")); });
    show("to_table_and_count", b -> { KStream<String,String> s = byValue(b, "orders"); s.toTable(sstore("latest")); s.groupByKey().count(store("c")); });
    show("asked_for_repartition", b -> { KStream<String,String> s = byValue(b, "orders"); s.repartition(Repartitioned.as("spread")).to("out"); s.groupByKey().count(store("c")); });
    show("cogrouped", b -> { KStream<String,String> s = byValue(b, "orders"); KGroupedStream<String,String> g = b.<String,String>stream("returns").groupByKey(); s.groupByKey().cogroup(last()).cogroup(g, last()).aggregate(() -> "", sstore("latest")); s.groupByKey().count(store("c")); });
    show("two_changes_of_keys", b -> { KStream<String,String> s = byValue(b, "orders"); s.groupByKey().count(store("c")).toStream().selectKey((k, n) -> k).groupByKey().count(store("d")); s.groupByKey().reduce((x, y) -> y, sstore("r")); });
    show("left_join_of_null_keys", b -> { KStream<String,String> s = byValue(b, "orders"); KTable<String,String> t = b.table("products"); s.leftJoin(t, (o, p) -> o).to("out"); s.groupByKey().count(store("c")); });
    show("tables", b -> { KTable<String,String> t = b.table("products", sstore("p")); KTable<String,String> u = b.table("prices"); t.join(u, (x, y) -> x).toStream().to("out"); });
    show("table_groups", b -> { KGroupedTable<String,String> g = b.<String,String>table("orders").groupBy((k, v) -> KeyValue.pair(v, v)); g.reduce((x, y) -> x, (x, y) -> x); g.count(); });
    show("self_join", b -> { KStream<String,String> o = b.stream("orders"); o.join(o, first(), minutes(5)).to("out"); });
    show("self_join_all_named", b -> { KStream<String,String> o = b.stream("orders"); o.join(o, first(), minutes(5), joined().withName("pair").withStoreName("pairs")).to("out"); });
    show("self_join_of_two_sources", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("orders"); o.join(p, first(), minutes(5)).to("out"); });
    show("self_join_of_changed_keys", b -> { KStream<String,String> o = byValue(b, "orders"); o.join(o, first(), minutes(5)).to("out"); o.groupByKey().count(store("c")); });
    show("self_join_of_changed_keys_named", b -> { KStream<String,String> o = byValue(b, "orders"); o.join(o, first(), minutes(5), joined().withName("pair")).to("out"); });
    show("self_join_twice", b -> { KStream<String,String> o = b.stream("orders"); o.join(o, first(), minutes(5)).join(o, first(), minutes(5)).to("out"); });
    show("no_self_join_of_a_filtered_stream", b -> { KStream<String,String> o = b.stream("orders"); o.join(o.filter((k, v) -> true), first(), minutes(5)).to("out"); });
    show("stream_joins_of_one_change", b -> { KStream<String,String> o = byValue(b, "orders"); KStream<String,String> p = b.stream("payments"); o.join(p, first(), minutes(5)).to("a"); o.filter((k, v) -> true).join(p, first(), minutes(5), joined().withName("pay")).to("b"); });
  }
  static void asDeclared() {
    show("word_count", b -> b.<String,String>stream("lines").flatMapValues(v -> List.of(v.split(" "))).groupBy((k, v) -> v).count(store("counts")).toStream().to("word-counts"));
    show("word_count_unnamed", b -> b.<String,String>stream("lines").flatMapValues(v -> List.of(v.split(" "))).groupBy((k, v) -> v).count().toStream().to("word-counts"));
    show("filter_count", b -> b.<String,String>stream("orders").filter((k, v) -> true).groupByKey().count().toStream().to("counts"));
    show("filter_count_named_store", b -> b.<String,String>stream("orders").filter((k, v) -> true).groupByKey().count(store("per-sku")).toStream().to("counts"));
    show("count_options_unnamed", b -> b.<String,String>stream("orders").groupByKey().count(Materialized.<String,Long,KeyValueStore<Bytes,byte[]>>with(null,null).withCachingDisabled()).toStream().to("counts"));
    show("filter_count_all_named", b -> b.<String,String>stream("orders", Consumed.as("read-orders")).filter((k, v) -> true, Named.as("keep-large")).groupByKey(Grouped.as("by-sku")).count(Named.as("count-orders"), store("per-sku")).toStream(Named.as("changes")).to("counts", Produced.as("publish")));
    show("stream_table_join", b -> { KTable<String,String> t = b.table("products"); b.<String,String>stream("orders").join(t, (o, p) -> o).to("enriched"); });
    show("stream_table_join_named_store", b -> { KTable<String,String> t = b.table("products", sstore("products-store")); b.<String,String>stream("orders").leftJoin(t, (o, p) -> o).to("enriched"); });
    show("stream_table_join_repartition", b -> { KTable<String,String> t = b.table("products"); b.<String,String>stream("orders").selectKey((k, v) -> v).join(t, (o, p) -> o).to("enriched"); });
    show("stream_table_left_join_repartition_named", b -> { KTable<String,String> t = b.table("products"); b.<String,String>stream("orders").selectKey((k, v) -> v).leftJoin(t, (o, p) -> o, Joined.as("enrich")).to("enriched"); });
    show("two_joins_one_repartition", b -> { KTable<String,String> t = b.table("products"); KTable<String,String> u = b.table("prices"); KStream<String,String> s = b.<String,String>stream("orders").selectKey((k, v) -> v); s.join(t, (o, p) -> o).to("x"); s.join(u, (o, p) -> o).to("y"); });
    show("select_key_group_count", b -> b.<String,String>stream("orders").selectKey((k, v) -> v).groupByKey().count().toStream().to("counts"));
    show("select_key_group_count_named_group", b -> b.<String,String>stream("orders").selectKey((k, v) -> v).groupByKey(Grouped.as("by-customer")).count(store("per-customer")).toStream().to("counts"));
    show("group_by_named_twice", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupBy((k, v) -> v, Grouped.as("by-customer")); g.count(store("a")); g.reduce((x, y) -> y, sstore("b")); });
    show("group_by_unnamed_twice", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupBy((k, v) -> v); g.count(); g.reduce((x, y) -> y); g.aggregate(() -> "", (k, v, x) -> x); });
    show("table_group_by_aggregate", b -> b.<String,String>table("orders").groupBy((k, v) -> KeyValue.pair(v, v)).aggregate(() -> 0L, (k, v, x) -> x + 1, (k, v, x) -> x - 1).toStream().to("totals"));
    show("table_group_by_named", b -> b.<String,String>table("orders", sstore("orders-store")).groupBy((k, v) -> KeyValue.pair(v, v), Grouped.as("by-customer")).count(Named.as("count-them"), store("per-customer")).toStream().to("totals"));
    show("table_group_by_reduce_and_count", b -> { KGroupedTable<String,String> g = b.<String,String>table("orders").groupBy((k, v) -> KeyValue.pair(v, v)); g.reduce((x, y) -> x, (x, y) -> x); g.count(); });
    show("table_group_by_named_twice", b -> { KGroupedTable<String,String> g = b.<String,String>table("orders").groupBy((k, v) -> KeyValue.pair(v, v), Grouped.as("by-customer")); g.reduce((x, y) -> x, (x, y) -> x); g.count(); });
    show("branch_merge", b -> { Map<String, KStream<String,String>> m = b.<String,String>stream("orders").split().branch((k, v) -> true).branch((k, v) -> true).defaultBranch(); Iterator<KStream<String,String>> i = new TreeMap<>(m).values().iterator(); KStream<String,String> d = i.next(), x = i.next(), y = i.next(); x.merge(y).to("some"); d.to("rest"); });
    show("branch_named", b -> { Map<String, KStream<String,String>> m = b.<String,String>stream("orders").split(Named.as("size-")).branch((k, v) -> true, Branched.as("large")).branch((k, v) -> true).defaultBranch(Branched.as("other")); for (var s : new TreeMap<>(m).entrySet()) s.getValue().to("to-" + s.getKey()); });
    show("to_table", b -> b.<String,String>stream("orders").toTable().toStream().to("out"));
    show("to_table_repartition", b -> b.<String,String>stream("orders").selectKey((k, v) -> v).toTable(sstore("latest")).toStream().to("out"));
    show("to_table_named", b -> b.<String,String>stream("orders").selectKey((k, v) -> v).toTable(Named.as("make-table"), sstore("latest")).toStream().to("out"));
    show("to_table_unnamed_repartition", b -> b.<String,String>stream("orders").selectKey((k, v) -> v).toTable().toStream().to("out"));
    show("repartition", b -> b.<String,String>stream("orders").repartition().groupByKey().count().toStream().to("out"));
    show("repartition_named", b -> b.<String,String>stream("orders").repartition(Repartitioned.<String,String>as("spread").withNumberOfPartitions(6)).to("out"));
    show("table_views", b -> { KTable<String,String> t = b.<String,String>table("products").filter((k, v) -> true).mapValues(v -> v).filterNot((k, v) -> false); b.<String,String>stream("orders").join(t, (o, p) -> o).to("out"); });
    show("table_views_materialized", b -> { KTable<String,String> t = b.<String,String>table("products").filter((k, v) -> true, sstore("dear")).mapValues(v -> v, sstore("names")); b.<String,String>stream("orders").join(t, (o, p) -> o).to("out"); });
    show("table_views_unnamed_stores", b -> { Materialized<String, String, KeyValueStore<Bytes, byte[]>> m = Materialized.<String, String, KeyValueStore<Bytes, byte[]>>with(null, null).withCachingDisabled(); KTable<String,String> t = b.<String,String>table("products").filter((k, v) -> true, m).mapValues(v -> v, m).transformValues(transform(), m); b.<String,String>stream("orders").join(t, (o, p) -> o).to("out"); });
    show("table_named", b -> b.<String,String>table("products", Consumed.as("read-products"), sstore("p")).toStream().to("out"));
    show("same_topic_twice", b -> { b.<String,String>stream("orders").filter((k, v) -> true).to("a"); b.<String,String>stream("orders").mapValues(v -> v).to("b"); });
    show("every_step", b -> { KStream<String,String> s = b.<String,String>stream(List.of("orders", "returns")); s.filterNot((k, v) -> true).peek((k, v) -> {}).map((k, v) -> KeyValue.pair(k, v)).flatMap((k, v) -> List.of(KeyValue.pair(k, v))).foreach((k, v) -> {}); });
    show("process", b -> b.<String,String>stream("orders").process(pass()).to("out"));
    show("process_with_store", b -> { b.addStateStore(kv("seen")); b.<String,String>stream("orders").process(pass(), "seen").to("out"); });
    show("process_named", b -> { b.addStateStore(kv("seen")); b.<String,String>stream("orders").process(pass(), Named.as("check"), "seen").to("out"); });
    show("process_with_its_own_store", b -> b.<String,String>stream("orders").process(passWith(kv("seen"))).to("out"));
    show("process_then_count", b -> b.<String,String>stream("orders").process(pass()).groupByKey().count(store("c")).toStream().to("out"));
    show("process_values_then_count", b -> b.<String,String>stream("orders").processValues(passValues()).groupByKey().count(store("c")).toStream().to("out"));
    show("processors_that_share_a_store", b -> { b.addStateStore(kv("seen")); b.<String,String>stream("orders").process(pass(), "seen").to("a"); b.<String,String>stream("returns").processValues(passValues(), "seen").to("b"); });
    show("process_with_a_tables_store", b -> { b.<String,String>table("products", sstore("p")); b.<String,String>stream("orders").process(pass(), "p").to("out"); });
    show("transform_values", b -> { b.addStateStore(kv("seen")); b.<String,String>table("products").transformValues(transform(), "seen").toStream().to("out"); });
    show("transform_values_materialized", b -> { b.addStateStore(kv("seen")); KTable<String,String> t = b.<String,String>table("products").transformValues(transform(), sstore("names"), Named.as("rename"), "seen"); b.<String,String>stream("orders").join(t, (o, p) -> o).to("out"); });
    show("transform_values_looked_up", b -> { KTable<String,String> t = b.<String,String>table("products").transformValues(transform()).filter((k, v) -> true); b.<String,String>stream("orders").join(t, (o, p) -> o).to("out"); });
    show("global_store", b -> { b.addGlobalStore(kv("by-name"), "products", Consumed.<String,String>with(Serdes.String(), Serdes.String()), (ProcessorSupplier<String, String, Void, Void>) Pass::new); b.<String,String>stream("orders").to("out"); });
    show("cogroup", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupByKey(); KGroupedStream<String,String> h = b.<String,String>stream("returns").groupByKey(); g.cogroup(last()).cogroup(h, last()).aggregate(() -> "", sstore("latest")).toStream().to("out"); });
    show("cogroup_unnamed", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupByKey(); KGroupedStream<String,String> h = b.<String,String>stream("returns").groupByKey(); g.cogroup(last()).cogroup(h, last()).aggregate(() -> "").toStream().to("out"); });
    show("cogroup_named", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupByKey(); KGroupedStream<String,String> h = b.<String,String>stream("returns").groupByKey(); g.cogroup(last()).cogroup(h, last()).aggregate(() -> "", Named.as("newest"), sstore("latest")).toStream().to("out"); });
    show("cogroup_of_one", b -> b.<String,String>stream("orders").groupByKey().cogroup(last()).aggregate(() -> "", sstore("latest")).toStream().to("out"));
    show("cogroup_repartition", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupByKey(); KGroupedStream<String,String> h = b.<String,String>stream("returns").selectKey((k, v) -> v).groupByKey(); g.cogroup(last()).cogroup(h, last()).aggregate(() -> "", sstore("latest")).toStream().to("out"); });
    show("cogroup_repartition_unnamed", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").selectKey((k, v) -> v).groupByKey(); KGroupedStream<String,String> h = b.<String,String>stream("returns").groupByKey(); g.cogroup(last()).cogroup(h, last()).aggregate(() -> "").toStream().to("out"); });
    show("cogroup_two_repartitions", b -> { KGroupedStream<String,String> g = b.<String,String>stream("orders").groupBy((k, v) -> v, Grouped.as("orders-by-customer")); KGroupedStream<String,String> h = b.<String,String>stream("returns").groupBy((k, v) -> v, Grouped.as("returns-by-customer")); g.cogroup(last()).cogroup(h, last()).aggregate(() -> "").groupBy((k, v) -> KeyValue.pair(v, v)).count().toStream().to("out"); });
    show("cogroup_time_windows", b -> { KGroupedStream<String,String> o = b.<String,String>stream("orders").groupByKey(); KGroupedStream<String,String> r = b.<String,String>stream("returns").groupByKey(); o.cogroup(last()).cogroup(r, last()).windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).aggregate(() -> "").toStream().to("out"); });
    show("cogroup_sliding_windows", b -> { KGroupedStream<String,String> o = b.<String,String>stream("orders").selectKey((k, v) -> v).groupByKey(); KGroupedStream<String,String> r = b.<String,String>stream("returns").groupByKey(); o.cogroup(last()).cogroup(r, last()).windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(Duration.ofMinutes(1))).aggregate(() -> "", Materialized.<String, String, WindowStore<Bytes, byte[]>>as("latest")).toStream().to("out"); });
    show("cogroup_sessions", b -> { KGroupedStream<String,String> o = b.<String,String>stream("orders").groupByKey(); KGroupedStream<String,String> r = b.<String,String>stream("returns").groupByKey(); o.cogroup(last()).cogroup(r, last()).windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofMinutes(1))).aggregate(() -> "", (k, x, y) -> x, Named.as("newest"), Materialized.<String, String, SessionStore<Bytes, byte[]>>as("latest")).toStream().to("out"); });
    show("merge_repartition", b -> { KStream<String,String> s = b.stream("orders"); KStream<String,String> r = b.<String,String>stream("returns").selectKey((k, v) -> v); s.merge(r).groupByKey().count(store("c")); });
    show("aggregate_joined_with_stream", b -> { KTable<String, Long> t = b.<String,String>stream("moves").groupByKey().aggregate(() -> 0L, (k, v, x) -> x, store("stock")); b.<String,String>stream("orders").selectKey((k, v) -> v).leftJoin(t, (o, p) -> o).to("availability"); });
    show("left_join_after_group", b -> { KTable<String,String> t = b.table("products"); KStream<String,String> s = b.<String,String>stream("orders").selectKey((k, v) -> v); s.groupByKey().count(store("c")); s.leftJoin(t, (o, p) -> o).to("out"); });
    show("repartition_suffix_in_name", b -> b.<String,String>stream("orders").repartition(Repartitioned.<String,String>as("spread-repartition")).to("out"));
    show("named_join_then_unnamed", b -> { KTable<String,String> t = b.table("products"); KTable<String,String> u = b.table("prices"); KStream<String,String> s = b.<String,String>stream("orders").selectKey((k, v) -> v, Named.as("by-sku")); s.join(u, (o, p) -> o).to("y"); s.join(t, (o, p) -> o, Joined.as("with-product")).to("x"); });
    show("group_of_repartition", b -> { KStream<String,String> s = b.<String,String>stream("orders").selectKey((k, v) -> v).repartition(); KTable<String,String> t = b.table("products"); s.groupByKey().count(store("c")); s.join(t, (o, p) -> o).to("x"); });
    show("branch_of_changed_keys", b -> { Map<String, KStream<String,String>> m = b.<String,String>stream("orders").selectKey((k, v) -> v).split().branch((k, v) -> true).noDefaultBranch(); m.values().iterator().next().groupByKey().count(); });
    show("two_subtopologies_and_three", b -> { b.<String,String>stream("a").to("b"); b.<String,String>stream("c").to("d"); b.<String,String>stream("e").to("f"); });
    show("global_table_join", b -> { GlobalKTable<String,String> t = b.globalTable("products"); b.<String,String>stream("orders").join(t, (k, v) -> v, (o, p) -> o).to("enriched"); });
    show("global_table_left_join_named", b -> { KStream<String,String> s = b.stream("orders"); GlobalKTable<String,String> t = b.globalTable("products", Consumed.as("read-products"), sstore("products-store")); s.leftJoin(t, (k, v) -> v, (o, p) -> o, Named.as("enrich")).to("enriched"); });
    show("global_table_after_changed_keys", b -> { GlobalKTable<String,String> t = b.globalTable("products"); KStream<String,String> s = b.<String,String>stream("orders").selectKey((k, v) -> v).join(t, (k, v) -> v, (o, p) -> o); s.groupByKey().count(store("c")).toStream().to("counts"); });
    show("two_global_tables_between_subtopologies", b -> { b.<String,String>stream("a").to("b"); GlobalKTable<String,String> t = b.globalTable("products"); GlobalKTable<String,String> u = b.globalTable("prices", sstore("p")); KStream<String,String> s = b.<String,String>stream("c"); s.join(t, (k, v) -> v, (o, p) -> o).leftJoin(u, (k, v) -> v, (o, p) -> o).to("d"); });
    show("table_join", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> p = b.table("prices"); o.join(p, (x, y) -> x).toStream().to("priced"); });
    show("table_left_join_named", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> p = b.table("prices"); o.leftJoin(p, (x, y) -> x, Named.as("price"), sstore("priced-orders")).toStream().to("priced"); });
    show("table_outer_join_unnamed_store", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> p = b.table("prices"); o.outerJoin(p, (x, y) -> x, Materialized.with(null, null)).toStream().to("priced"); });
    show("table_join_of_joins", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> p = b.table("prices"); KTable<String,String> q = b.table("stock"); o.join(p, (x, y) -> x).leftJoin(q, (x, y) -> x).outerJoin(p, (x, y) -> x).toStream().to("out"); });
    show("table_self_join", b -> { KTable<String,String> o = b.table("orders"); o.join(o, (x, y) -> x).toStream().to("out"); });
    show("table_join_of_views", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> p = b.table("prices"); KTable<String,String> f = o.filter((k, v) -> true); KTable<String,String> m = p.mapValues(v -> v, sstore("names")); f.join(m, (x, y) -> x).filter((k, v) -> true).mapValues(v -> v).toStream().to("out"); });
    show("table_join_of_aggregates", b -> { KTable<String,Long> c = b.<String,String>stream("orders").groupBy((k, v) -> v).count(); KTable<String,String> t = b.<String,String>stream("prices").selectKey((k, v) -> v).toTable(); c.outerJoin(t, (x, y) -> y).toStream().to("out"); });
    show("table_join_grouped", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> p = b.table("prices"); o.join(p, (x, y) -> x).groupBy((k, v) -> KeyValue.pair(v, v)).count(store("counts")); });
    show("stream_joined_with_table_join", b -> { KTable<String,String> o = b.table("products"); KTable<String,String> p = b.table("prices"); KTable<String,String> j = o.leftJoin(p, (x, y) -> x).mapValues(v -> v); b.<String,String>stream("orders").join(j, (x, y) -> x).to("out"); });
    show("foreign_key_join", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> c = b.table("customers"); o.join(c, v -> v, (x, y) -> x).toStream().to("out"); });
    show("foreign_key_left_join_named", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> c = b.table("customers"); o.leftJoin(c, v -> v, (x, y) -> x, TableJoined.<String,String>as("with-customer"), sstore("enriched")).toStream().to("out"); });
    show("foreign_key_join_unnamed_store", b -> { KTable<String,String> c = b.table("customers"); KTable<String,String> o = b.table("orders"); o.join(c, v -> v, (x, y) -> x, Materialized.with(null, null)).toStream().to("out"); });
    show("foreign_key_self_join", b -> { KTable<String,String> o = b.table("employees"); o.leftJoin(o, v -> v, (x, y) -> x).toStream().to("out"); });
    show("foreign_key_join_of_joins", b -> { KTable<String,String> o = b.table("orders"); KTable<String,String> c = b.table("customers"); KTable<String,String> r = b.table("regions"); KTable<String,String> oc = o.join(c, v -> v, (x, y) -> y); KTable<String,String> ocr = oc.leftJoin(r, v -> v, (x, y) -> x); ocr.join(o, (x, y) -> x).groupBy((k, v) -> KeyValue.pair(v, v)).count(store("counts")); });
    show("foreign_key_join_of_views", b -> { KTable<String,String> o = b.<String,String>table("orders").filter((k, v) -> true); KTable<String,String> c = b.<String,String>table("customers").mapValues(v -> v); o.join(c, v -> v, (x, y) -> x).filter((k, v) -> true).toStream().to("out"); });
    show("foreign_key_join_of_aggregates", b -> { KTable<String,String> o = b.<String,String>stream("orders").groupByKey().reduce((x, y) -> y); KTable<String,Long> c = b.<String,String>stream("visits").groupBy((k, v) -> v).count(store("visits-per-customer")); o.leftJoin(c, v -> v, (x, y) -> x).toStream().to("out"); });
    show("stream_stream_join", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); o.join(p, first(), minutes(5)).to("out"); });
    show("stream_stream_left_join", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); o.leftJoin(p, first(), minutes(5)).to("out"); });
    show("stream_stream_outer_join", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); o.outerJoin(p, first(), minutes(5)).to("out"); });
    show("stream_stream_join_named", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); o.join(p, first(), minutes(5), joined().withName("pay")).to("out"); });
    show("stream_stream_left_join_named_store", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); o.leftJoin(p, first(), minutes(5), joined().withStoreName("paid")).to("out"); });
    show("stream_stream_outer_join_all_named", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); o.outerJoin(p, first(), minutes(5), joined().withName("pay").withStoreName("paid")).to("out"); });
    show("stream_stream_join_repartition", b -> { KStream<String,String> o = b.<String,String>stream("orders").selectKey((k, v) -> v); KStream<String,String> p = b.<String,String>stream("payments").selectKey((k, v) -> v); o.join(p, first(), minutes(5)).to("out"); });
    show("stream_stream_left_join_repartition_named", b -> { KStream<String,String> o = b.<String,String>stream("orders").selectKey((k, v) -> v); KStream<String,String> p = b.<String,String>stream("payments").selectKey((k, v) -> v); o.leftJoin(p, first(), minutes(5), joined().withName("pay")).to("out"); });
    show("stream_stream_joins_share_repartition", b -> { KStream<String,String> o = b.<String,String>stream("orders").selectKey((k, v) -> v); KStream<String,String> p = b.stream("payments"); KTable<String,String> t = b.table("prices"); o.join(p, first(), minutes(5)).to("x"); p.outerJoin(o, first(), minutes(5)).to("y"); o.join(t, (x, y) -> x).to("z"); });
    show("stream_self_join", b -> { KStream<String,String> o = b.stream("orders"); o.join(o, first(), minutes(5)).to("out"); });
    show("stream_self_join_repartition", b -> { KStream<String,String> o = b.<String,String>stream("orders").selectKey((k, v) -> v); o.leftJoin(o, first(), minutes(5)).to("out"); });
    show("stream_stream_join_of_joins", b -> { KStream<String,String> o = b.stream("orders"); KStream<String,String> p = b.stream("payments"); KStream<String,String> d = b.stream("deliveries"); o.join(p, first(), minutes(5)).leftJoin(d, first(), minutes(60)).groupByKey().count(store("counts")); });
    show("windowed_count", b -> b.<String,String>stream("orders").groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).count().toStream().to("counts"));
    show("windowed_count_named", b -> b.<String,String>stream("orders").selectKey((k, v) -> v).groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("per-minute")).toStream().to("counts"));
    show("windowed_count_options_unnamed", b -> b.<String,String>stream("orders").groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>with(null, null).withCachingDisabled()).toStream().to("counts"));
    show("windowed_aggregations_of_one_group", b -> { TimeWindowedKStream<String,String> w = b.<String,String>stream("orders").groupBy((k, v) -> v).windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))); w.count(); w.reduce((x, y) -> y); w.aggregate(() -> "", (k, v, x) -> x); });
    show("sliding_aggregations", b -> { TimeWindowedKStream<String,String> w = b.<String,String>stream("orders").groupByKey().windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(Duration.ofMinutes(1))); w.count(Named.as("count-them")); w.reduce((x, y) -> y); w.aggregate(() -> "", (k, v, x) -> x); });
    show("session_aggregations", b -> { SessionWindowedKStream<String,String> w = b.<String,String>stream("orders").groupByKey().windowedBy(SessionWindows.ofInactivityGapWithNoGrace(Duration.ofMinutes(1))); w.count(); w.reduce((x, y) -> y); w.aggregate(() -> "", (k, v, x) -> x, (k, x, y) -> x); });
    show("windowed_final_counts", b -> b.<String,String>stream("orders").groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).emitStrategy(EmitStrategy.onWindowClose()).count().toStream((k, v) -> k.key()).groupByKey().count().toStream().to("counts"));
    show("views_of_windowed_tables", b -> { KTable<Windowed<String>, Long> t = b.<String,String>stream("orders").groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).count(); t.filter((k, v) -> v > 1).mapValues(v -> v).groupBy((k, v) -> KeyValue.pair(k.key(), v)).count(store("per-customer")); });
    show("suppressed_table", b -> { KTable<String,String> t = b.<String,String>table("products").suppress(Suppressed.untilTimeLimit(Duration.ofMinutes(1), Suppressed.BufferConfig.maxRecords(10))); t.filter((k, v) -> true).toStream().to("out"); });
    show("suppressed_table_named", b -> b.<String,String>table("products").filter((k, v) -> true).suppress(Suppressed.<String>untilTimeLimit(Duration.ofMinutes(1), Suppressed.BufferConfig.unbounded()).withName("held")).mapValues(v -> v).toStream().to("out"));
    show("suppressed_windows", b -> b.<String,String>stream("orders").groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMinutes(1))).count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("per-minute")).suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded())).toStream().to("counts"));
    show("suppressed_then_joined_and_grouped", b -> { KTable<String,String> t = b.<String,String>table("products").suppress(Suppressed.untilTimeLimit(Duration.ofMinutes(1), Suppressed.BufferConfig.unbounded())); b.<String,String>stream("orders").join(t, (o, p) -> o).to("enriched"); t.groupBy((k, v) -> KeyValue.pair(v, v)).count(store("per-product")); });
    show("versioned_table_join", b -> { KTable<String,String> t = b.<String,String>table("products", Materialized.as(Stores.persistentVersionedKeyValueStore("p", Duration.ofHours(1)))); b.<String,String>stream("orders").join(t, (o, p) -> o).to("enriched"); });
    show("versioned_table_join_with_grace", b -> { KTable<String,String> t = b.<String,String>table("products", Materialized.as(Stores.persistentVersionedKeyValueStore("p", Duration.ofHours(1)))); b.<String,String>stream("orders").join(t, (o, p) -> o, Joined.<String,String,String>with(Serdes.String(), Serdes.String(), Serdes.String()).withGracePeriod(Duration.ofMinutes(1))).to("enriched"); });
    show("versioned_table_join_with_grace_named", b -> { KTable<String,String> t = b.<String,String>table("products", Materialized.as(Stores.persistentVersionedKeyValueStore("p", Duration.ofHours(1)))); b.<String,String>stream("orders").leftJoin(t, (o, p) -> o, Joined.<String,String,String>with(Serdes.String(), Serdes.String(), Serdes.String(), "enrich", Duration.ofMinutes(1))).to("enriched"); });
  }
}
