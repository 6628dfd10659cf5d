import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiFunction;
import java.util.regex.Pattern;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyConfig;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.BranchedKStream;
import org.apache.kafka.streams.kstream.CogroupedKStream;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KGroupedTable;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.KeyValueMapper;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.kstream.SessionWindowedCogroupedKStream;
import org.apache.kafka.streams.kstream.SessionWindowedKStream;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.kstream.TimeWindowedCogroupedKStream;
import org.apache.kafka.streams.kstream.TimeWindowedKStream;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.UnlimitedWindows;
import org.apache.kafka.streams.kstream.ValueJoinerWithKey;
import org.apache.kafka.streams.kstream.internals.AbstractStream;
import org.apache.kafka.streams.kstream.internals.NamedInternal;
import org.apache.kafka.streams.processor.TopicNameExtractor;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;
import org.apache.kafka.streams.state.Stores;

/** Makes the topology of a case's program: statement by statement, in order, as program.rs describes them. A new operator is one more case. */
@SuppressWarnings({"unchecked", "rawtypes"})
final class Programs {
    /** What these make has the values of what they are called on, whose serde Kafka Streams forgets as streams are merged. */
    private static final Set<String> KEEP_VALUES =
            Set.of("merge", "filter", "filter_not", "peek", "select_key", "repartition");

    private final StreamsBuilder builder;
    private final Map<String, Object> handles = new HashMap<>();
    private final Map<String, JsonNode> statements = new HashMap<>();

    private Programs(StreamsBuilder builder) {
        this.builder = builder;
    }

    static Topology build(JsonNode program, boolean isOptimized, Properties settings) {
        Programs programs = new Programs(new StreamsBuilder(new TopologyConfig(new StreamsConfig(settings))));
        for (JsonNode statement : program) {
            programs.statements.put(text(statement, "id"), statement);
            programs.handles.put(text(statement, "id"), programs.declare(statement));
        }
        Properties optimization = new Properties();
        optimization.put(
                StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG,
                isOptimized ? StreamsConfig.OPTIMIZE : StreamsConfig.NO_OPTIMIZATION);
        return programs.builder.build(optimization);
    }

    private Object declare(JsonNode s) {
        Named named = named(s);
        return switch (s.get("op").asText()) {
            case "stream" -> builder.stream(List.of(text(s, "topic").split(",")), consumed(s));
            case "stream_pattern" -> builder.stream(Pattern.compile(text(s, "topic")), consumed(s));
            case "table" -> s.has("store")
                    ? builder.table(text(s, "topic"), consumed(s), store(s))
                    : builder.table(text(s, "topic"), consumed(s));
            case "global_table" -> s.has("store")
                    ? builder.globalTable(text(s, "topic"), consumed(s), store(s))
                    : builder.globalTable(text(s, "topic"), consumed(s));
            case "global_store" -> {
                String store = text(s.get("store"), "name");
                var keys = Stores.timestampedKeyValueStoreBuilder(
                        Stores.persistentTimestampedKeyValueStore(store), Serdes.String(), Serdes.String());
                builder.addGlobalStore(
                        keys.withLoggingDisabled(), text(s, "topic"), consumed(s), () -> new Processors.ByValue(store));
                yield s;
            }
            case "filter" -> filter(s, named);
            case "filter_not" -> filterNot(s, named);
            case "map_values" -> mapValues(s, named);
            case "flat_map_values" -> {
                KeyValueMapper<Object, Object, Iterable<String>> mapper = Functions.flatValueMapper(by(s));
                yield stream(s).flatMapValues((key, value) -> mapper.apply(key, value), named);
            }
            case "map" -> stream(s).map(Functions.mapper(by(s)), named);
            case "flat_map" -> stream(s).flatMap(Functions.flatMapper(by(s)), named);
            case "select_key" -> stream(s).selectKey(Functions.keySelector(by(s)), named);
            case "peek" -> stream(s).peek((key, value) -> { }, named);
            case "for_each" -> {
                stream(s).foreach((key, value) -> { }, named);
                yield s;
            }
            case "merge" -> stream(s).merge((KStream) with(s), named);
            case "split" -> new Split(s.has("named") ? stream(s).split(named) : stream(s).split());
            case "branch" -> ((Split) of(s)).branch(s);
            case "default_branch" -> ((Split) of(s)).defaultBranch(s);
            case "repartition" -> stream(s).repartition(repartitioned(s));
            case "to" -> {
                stream(s).to(text(s, "topic"), produced(s));
                yield s;
            }
            case "to_chosen_topic" -> {
                KeyValueMapper<Object, Object, String> topic = Functions.keySelector(by(s));
                TopicNameExtractor<Object, Object> choose = (key, value, context) -> "out-" + topic.apply(key, value);
                stream(s).to(choose, produced(s));
                yield s;
            }
            case "to_table" -> stream(s)
                    .toTable(named, s.has("store") ? storeOfSame(s) : Materialized.with(keySerde(s), valueSerde(s)));
            case "to_stream" -> table(s).toStream(named);
            case "group_by_key" -> stream(s).groupByKey(grouped(s));
            case "group_by" -> groupBy(s);
            case "windowed_by" -> windowedBy(s);
            case "cogroup" -> cogroup(s);
            case "count" -> count(s, named);
            case "reduce" -> reduce(s, named);
            case "aggregate" -> aggregate(s, named);
            case "join" -> join(s, named);
            case "left_join" -> leftJoin(s, named);
            case "outer_join" -> outerJoin(s, named);
            case "suppress" -> table(s).suppress(suppressed(s));
            case "process" -> process(s, named);
            case "process_values" -> processValues(s, named);
            case "transform_values" -> s.has("store")
                    ? table(s).transformValues(Processors.transformer(by(s)), storeOfSameKeys(s), named)
                    : table(s).transformValues(Processors.transformer(by(s)), named);
            default -> throw new IllegalArgumentException("no such operator: " + s.get("op"));
        };
    }

    private Object filter(JsonNode s, Named named) {
        var predicate = Functions.predicate(by(s));
        if (of(s) instanceof KStream<?, ?>) {
            return stream(s).filter(predicate, named);
        }
        return s.has("store") ? table(s).filter(predicate, named, storeOfSame(s)) : table(s).filter(predicate, named);
    }

    private Object filterNot(JsonNode s, Named named) {
        var predicate = Functions.predicate(by(s));
        if (of(s) instanceof KStream<?, ?>) {
            return stream(s).filterNot(predicate, named);
        }
        return s.has("store") ? table(s).filterNot(predicate, named, storeOfSame(s)) : table(s).filterNot(predicate, named);
    }

    private Object mapValues(JsonNode s, Named named) {
        KeyValueMapper<Object, Object, String> mapper = Functions.valueMapper(by(s));
        if (of(s) instanceof KStream<?, ?>) {
            return stream(s).mapValues((key, value) -> mapper.apply(key, value), named);
        }
        return s.has("store")
                ? table(s).mapValues((key, value) -> mapper.apply(key, value), named, storeOfSameKeys(s))
                : table(s).mapValues((key, value) -> mapper.apply(key, value), named);
    }

    private Object groupBy(JsonNode s) {
        KeyValueMapper<Object, Object, String> selector = Functions.keySelector(by(s));
        if (of(s) instanceof KStream<?, ?>) {
            return stream(s).groupBy(selector, named(s, Grouped.with(Serdes.String(), valueSerde(s))));
        }
        KeyValueMapper<Object, Object, org.apache.kafka.streams.KeyValue<String, String>> pairs =
                (key, value) -> org.apache.kafka.streams.KeyValue.pair(
                        selector.apply(key, value), Functions.text(value));
        return table(s).groupBy(pairs, named(s, Grouped.with(Serdes.String(), Serdes.String())));
    }

    private Object windowedBy(JsonNode s) {
        JsonNode windows = s.get("windows");
        Duration grace = millis(windows, "grace");
        EmitStrategy emit = s.path("emit").asText().equals("on_window_close")
                ? EmitStrategy.onWindowClose()
                : EmitStrategy.onWindowUpdate();
        boolean cogrouped = of(s) instanceof CogroupedKStream<?, ?>;
        CogroupedKStream cogroup = cogrouped ? (CogroupedKStream) of(s) : null;
        KGroupedStream group = cogrouped ? null : (KGroupedStream) of(s);
        return switch (text(windows, "kind")) {
            case "time" -> {
                TimeWindows time = TimeWindows.ofSizeAndGrace(millis(windows, "size"), grace);
                time = windows.has("advance") ? time.advanceBy(millis(windows, "advance")) : time;
                yield cogrouped ? cogroup.windowedBy(time) : group.windowedBy(time).emitStrategy(emit);
            }
            case "sliding" -> {
                SlidingWindows sliding = SlidingWindows.ofTimeDifferenceAndGrace(millis(windows, "size"), grace);
                yield cogrouped ? cogroup.windowedBy(sliding) : group.windowedBy(sliding).emitStrategy(emit);
            }
            case "session" -> {
                SessionWindows session = SessionWindows.ofInactivityGapAndGrace(millis(windows, "size"), grace);
                yield cogrouped ? cogroup.windowedBy(session) : group.windowedBy(session).emitStrategy(emit);
            }
            case "unlimited" -> {
                UnlimitedWindows unlimited = UnlimitedWindows.of();
                yield cogrouped ? cogroup.windowedBy(unlimited) : group.windowedBy(unlimited).emitStrategy(emit);
            }
            default -> throw new IllegalArgumentException("no such windows: " + windows);
        };
    }

    private Object cogroup(JsonNode s) {
        var aggregator = Functions.aggregator(by(s));
        if (s.has("with")) {
            return ((CogroupedKStream) of(s)).cogroup((KGroupedStream) with(s), aggregator);
        }
        return ((KGroupedStream) of(s)).cogroup(aggregator);
    }

    private Object count(JsonNode s, Named named) {
        Materialized store = s.has("store") ? store(s) : null;
        Object of = of(s);
        if (of instanceof KGroupedStream grouped) {
            return store == null ? grouped.count(named) : grouped.count(named, store);
        } else if (of instanceof KGroupedTable grouped) {
            return store == null ? grouped.count(named) : grouped.count(named, store);
        } else if (of instanceof TimeWindowedKStream windowed) {
            return store == null ? windowed.count(named) : windowed.count(named, store);
        }
        SessionWindowedKStream sessions = (SessionWindowedKStream) of;
        return store == null ? sessions.count(named) : sessions.count(named, store);
    }

    private Object reduce(JsonNode s, Named named) {
        var reducer = Functions.reducer(by(s));
        Object of = of(s);
        if (of instanceof KGroupedStream grouped) {
            return grouped.reduce(reducer, named, store(s));
        } else if (of instanceof KGroupedTable grouped) {
            return grouped.reduce(reducer, Functions.subtractingReducer(by(s)), named, store(s));
        } else if (of instanceof TimeWindowedKStream windowed) {
            return windowed.reduce(reducer, named, store(s));
        }
        return ((SessionWindowedKStream) of).reduce(reducer, named, store(s));
    }

    private Object aggregate(JsonNode s, Named named) {
        String by = s.has("by") ? by(s) : "log";
        var aggregator = Functions.aggregator(by);
        var merger = Functions.merger(by);
        org.apache.kafka.streams.kstream.Initializer<String> initial = () -> Functions.initial(by);
        Object of = of(s);
        if (of instanceof KGroupedStream grouped) {
            return grouped.aggregate(initial, aggregator, named, store(s));
        } else if (of instanceof KGroupedTable grouped) {
            return grouped.aggregate(initial, aggregator, Functions.subtractor(by), named, store(s));
        } else if (of instanceof TimeWindowedKStream windowed) {
            return windowed.aggregate(initial, aggregator, named, store(s));
        } else if (of instanceof SessionWindowedKStream windowed) {
            return windowed.aggregate(initial, aggregator, merger, named, store(s));
        } else if (of instanceof CogroupedKStream cogrouped) {
            return cogrouped.aggregate(initial, named, store(s));
        } else if (of instanceof TimeWindowedCogroupedKStream windowed) {
            return windowed.aggregate(initial, named, store(s).withKeySerde(Serdes.String()));
        }
        return ((SessionWindowedCogroupedKStream) of)
                .aggregate(initial, merger, named, store(s).withKeySerde(Serdes.String()));
    }

    private Object join(JsonNode s, Named named) {
        if (of(s) instanceof KTable<?, ?>) {
            if (s.has("on")) {
                return table(s).join(
                        (KTable) with(s), foreignKey(s), Functions.joiner(), tableJoined(s), storeOfSameKeys(s));
            }
            return s.has("store")
                    ? table(s).join((KTable) with(s), Functions.joiner(), named, storeOfSameKeys(s))
                    : table(s).join((KTable) with(s), Functions.joiner(), named);
        } else if (with(s) instanceof GlobalKTable table) {
            return stream(s).join(table, Functions.keySelector(text(s, "on")), joiner(s), named);
        } else if (with(s) instanceof KTable table) {
            return stream(s).join(table, joiner(s), joined(s));
        }
        return stream(s).join((KStream) with(s), joiner(s), within(s), streamJoined(s));
    }

    private Object leftJoin(JsonNode s, Named named) {
        if (of(s) instanceof KTable<?, ?>) {
            if (s.has("on")) {
                return table(s).leftJoin(
                        (KTable) with(s), foreignKey(s), Functions.joiner(), tableJoined(s), storeOfSameKeys(s));
            }
            return s.has("store")
                    ? table(s).leftJoin((KTable) with(s), Functions.joiner(), named, storeOfSameKeys(s))
                    : table(s).leftJoin((KTable) with(s), Functions.joiner(), named);
        } else if (with(s) instanceof GlobalKTable table) {
            return stream(s).leftJoin(table, Functions.keySelector(text(s, "on")), joiner(s), named);
        } else if (with(s) instanceof KTable table) {
            return stream(s).leftJoin(table, joiner(s), joined(s));
        }
        return stream(s).leftJoin((KStream) with(s), joiner(s), within(s), streamJoined(s));
    }

    private Object outerJoin(JsonNode s, Named named) {
        if (of(s) instanceof KTable<?, ?>) {
            return s.has("store")
                    ? table(s).outerJoin((KTable) with(s), Functions.joiner(), named, storeOfSameKeys(s))
                    : table(s).outerJoin((KTable) with(s), Functions.joiner(), named);
        }
        return stream(s).outerJoin((KStream) with(s), joiner(s), within(s), streamJoined(s));
    }

    private BiFunction<Object, Object, String> foreignKey(JsonNode s) {
        KeyValueMapper<Object, Object, String> selector = Functions.keySelector(text(s, "on"));
        return selector::apply;
    }

    /** Of a stream. One that gets no key is made to be one that does, which is what Kafka Streams makes of it. */
    private static ValueJoinerWithKey<Object, Object, Object, String> joiner(JsonNode s) {
        var joiner = Functions.joiner();
        return s.has("by") ? Functions.joinerWithKey() : (key, left, right) -> joiner.apply(left, right);
    }

    private static JoinWindows within(JsonNode s) {
        JsonNode within = s.get("within");
        return JoinWindows.ofTimeDifferenceAndGrace(millis(within, "after"), millis(within, "grace"))
                .before(millis(within, "before"));
    }

    private static Suppressed suppressed(JsonNode s) {
        Suppressed.EagerBufferConfig most = Suppressed.BufferConfig.maxRecords(s.path("max_records").asLong(Long.MAX_VALUE))
                .withMaxBytes(s.path("max_bytes").asLong(Long.MAX_VALUE));
        boolean isLogged = s.path("store").path("logged").asBoolean(true);
        Suppressed.StrictBufferConfig strict = most.shutDownWhenFull();
        strict = isLogged ? strict : strict.withLoggingDisabled();
        Suppressed<?> suppressed;
        if (!s.has("time_limit")) {
            suppressed = Suppressed.untilWindowCloses(strict);
        } else if (s.path("when_full").asText().equals("shut_down")) {
            suppressed = Suppressed.untilTimeLimit(millis(s, "time_limit"), strict);
        } else {
            suppressed = Suppressed.untilTimeLimit(millis(s, "time_limit"), isLogged ? most : most.withLoggingDisabled());
        }
        return s.has("named") ? suppressed.withName(text(s, "named")) : suppressed;
    }

    private Object process(JsonNode s, Named named) {
        var processor = Processors.processor(by(s), countsOf(s));
        String[] stores = connected(s);
        return s.has("named") ? stream(s).process(processor, named, stores) : stream(s).process(processor, stores);
    }

    private Object processValues(JsonNode s, Named named) {
        var processor = Processors.valueProcessor(by(s), countsOf(s));
        String[] stores = connected(s);
        return s.has("named")
                ? stream(s).processValues(processor, named, stores)
                : stream(s).processValues(processor, stores);
    }

    /** The name of the store that is added for a processor. */
    private String countsOf(JsonNode s) {
        return s.has("store") ? text(s.get("store"), "name") : null;
    }

    private String[] connected(JsonNode s) {
        if (!s.has("store")) {
            return new String[0];
        }
        String name = text(s.get("store"), "name");
        var counts = Stores.timestampedKeyValueStoreBuilder(
                Stores.persistentTimestampedKeyValueStore(name), Serdes.String(), Serdes.Long());
        builder.addStateStore(s.get("store").path("cached").asBoolean(true)
                ? counts.withCachingEnabled()
                : counts.withCachingDisabled());
        if (!s.get("store").path("logged").asBoolean(true)) {
            counts.withLoggingDisabled();
        }
        return new String[] {name};
    }

    /** For rows of the same types as those of the table above, which Kafka Streams does not hand down. */
    private Materialized storeOfSame(JsonNode s) {
        return storeOfSameKeys(s).withValueSerde(valueSerde(s));
    }

    private Materialized storeOfSameKeys(JsonNode s) {
        return store(s).withKeySerde(serdesOf(s).keySerde());
    }

    private static Materialized store(JsonNode s) {
        JsonNode store = s.path("store");
        Materialized materialized;
        if (store.has("versioned")) {
            materialized = Materialized.as(
                    Stores.persistentVersionedKeyValueStore(text(store, "name"), millis(store, "versioned")));
        } else if (store.has("name")) {
            materialized = Materialized.as(text(store, "name"));
        } else {
            materialized = Materialized.with(null, null);
        }
        if (!store.path("cached").asBoolean(true)) {
            materialized = materialized.withCachingDisabled();
        }
        if (!store.path("logged").asBoolean(true)) {
            materialized = materialized.withLoggingDisabled();
        }
        if (store.has("retention")) {
            materialized = materialized.withRetention(millis(store, "retention"));
        }
        if (store.path("in_memory").asBoolean(false)) {
            materialized = materialized.withStoreType(BuiltInDslStoreSuppliers.IN_MEMORY);
        }
        return materialized;
    }

    private static Named named(JsonNode s) {
        return s.has("named") ? Named.as(text(s, "named")) : NamedInternal.empty();
    }

    private static Consumed consumed(JsonNode s) {
        Consumed consumed = Consumed.with(Serdes.String(), Serdes.String());
        return s.has("named") ? consumed.withName(text(s, "named")) : consumed;
    }

    private Produced produced(JsonNode s) {
        Produced produced = Produced.with(serdesOf(s).keySerde(), valueSerde(s));
        return s.has("named") ? produced.withName(text(s, "named")) : produced;
    }

    private static Repartitioned repartitioned(JsonNode s) {
        Repartitioned repartitioned = Repartitioned.with(null, null);
        return s.has("named") ? repartitioned.withName(text(s, "named")) : repartitioned;
    }

    private Grouped grouped(JsonNode s) {
        return named(s, Grouped.with(keySerde(s), valueSerde(s)));
    }

    private Serde valueSerde(JsonNode s) {
        Serde known = serdesOf(s).valueSerde();
        JsonNode of = statements.get(text(s, "of"));
        return known == null && KEEP_VALUES.contains(text(of, "op")) ? valueSerde(of) : known;
    }

    /** Keys that some function made are strings, which Kafka Streams cannot know. */
    private Serde keySerde(JsonNode s) {
        Serde known = serdesOf(s).keySerde();
        return known == null ? Serdes.String() : known;
    }

    private static Grouped named(JsonNode s, Grouped grouped) {
        return s.has("named") ? grouped.withName(text(s, "named")) : grouped;
    }

    private static Joined joined(JsonNode s) {
        Joined joined = Joined.with(null, null, null);
        joined = s.has("grace") ? joined.withGracePeriod(millis(s, "grace")) : joined;
        return s.has("named") ? joined.withName(text(s, "named")) : joined;
    }

    private static TableJoined tableJoined(JsonNode s) {
        return s.has("named") ? TableJoined.as(text(s, "named")) : TableJoined.with(null, null);
    }

    private StreamJoined streamJoined(JsonNode s) {
        Serde otherValues = ((AbstractStream) with(s)).valueSerde();
        StreamJoined joined = StreamJoined.with(keySerde(s), valueSerde(s), otherValues);
        JsonNode store = s.path("store");
        joined = store.has("name") ? joined.withStoreName(text(store, "name")) : joined;
        if (!store.path("logged").asBoolean(true)) {
            joined = joined.withLoggingDisabled();
        }
        if (store.path("in_memory").asBoolean(false)) {
            joined = joined.withDslStoreSuppliers(BuiltInDslStoreSuppliers.IN_MEMORY);
        }
        return s.has("named") ? joined.withName(text(s, "named")) : joined;
    }

    private AbstractStream serdesOf(JsonNode s) {
        return (AbstractStream) of(s);
    }

    private KStream stream(JsonNode s) {
        return (KStream) of(s);
    }

    private KTable table(JsonNode s) {
        return (KTable) of(s);
    }

    private Object of(JsonNode s) {
        return handles.get(text(s, "of"));
    }

    private Object with(JsonNode s) {
        return handles.get(text(s, "with"));
    }

    private static String by(JsonNode s) {
        return text(s, "by");
    }

    private static String text(JsonNode node, String field) {
        return node.get(field).asText();
    }

    private static Duration millis(JsonNode node, String field) {
        return Duration.ofMillis(node.path(field).asLong());
    }

    /** A stream being split; Kafka Streams hands a branch out at once only to a consumer. */
    private record Split(BranchedKStream branches) {
        KStream branch(JsonNode s) {
            AtomicReference<KStream> branch = new AtomicReference<>();
            branches.branch(Functions.predicate(by(s)), branched(s, branch));
            return branch.get();
        }

        KStream defaultBranch(JsonNode s) {
            AtomicReference<KStream> branch = new AtomicReference<>();
            branches.defaultBranch(branched(s, branch));
            return branch.get();
        }

        private static Branched branched(JsonNode s, AtomicReference<KStream> branch) {
            return s.has("named")
                    ? Branched.withConsumer(branch::set, text(s, "named"))
                    : Branched.withConsumer(branch::set);
        }
    }
}
