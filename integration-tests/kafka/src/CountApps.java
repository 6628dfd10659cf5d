import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.function.BiFunction;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;

/** Real Kafka Streams applications which share their topics with ours: strings in, counts (eight bytes) out. */
final class CountApps {
    private static final String STORE = "counts";

    /** Its changelog is {@code <application id>-counts-changelog}. */
    static Topology countByKey(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(input, Consumed.with(Serdes.String(), Serdes.String()))
                .groupByKey()
                .count(counts())
                .toStream()
                .to(output, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    /** As above, and its repartition topic is {@code <application id>-by-value-repartition}. */
    static Topology countByValue(String input, String output) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(input, Consumed.with(Serdes.String(), Serdes.String()))
                .selectKey((key, value) -> value)
                .groupByKey(Grouped.<String, String>as("by-value")
                        .withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.String()))
                .count(counts())
                .toStream()
                .to(output, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    /**
     * Arguments: input topic, output topic, then {@code name=value} settings of Kafka Streams. Prints a line per state
     * of the application, and answers {@code get <key>} on stdin with the key and its count, or null.
     */
    static void run(BiFunction<String, String, Topology> topology, String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        // The tests read repartition topics.
        settings.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, "3600000");
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        settings.put("auto.offset.reset", "earliest");
        for (int i = 2; i < arguments.length; i++) {
            String[] setting = arguments[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        KafkaStreams streams = new KafkaStreams(topology.apply(arguments[0], arguments[1]), settings);
        streams.setStateListener((state, before) -> printState(state));
        streams.start();
        for (String line = Interop.readLine(); line != null; line = Interop.readLine()) {
            answer(streams, line);
        }
        // Leaves the group, so that the next one under this application id need not wait for the session to end.
        streams.close(CloseOptions.timeout(Duration.ofSeconds(20))
                .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    }

    private static void answer(KafkaStreams streams, String request) throws Exception {
        if (!request.startsWith("get ")) {
            throw new IllegalArgumentException("expected 'get <key>', got: " + request);
        }
        String key = request.substring("get ".length());
        ReadOnlyKeyValueStore<String, Long> store =
                streams.store(StoreQueryParameters.fromNameAndType(STORE, QueryableStoreTypes.keyValueStore()));
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("key", key);
        answer.put("count", store.get(key));
        Interop.print(answer);
    }

    private static void printState(KafkaStreams.State state) {
        try {
            Interop.print("state", state.name());
        } catch (java.io.IOException unprintable) {
            throw new java.io.UncheckedIOException(unprintable);
        }
    }

    private static Materialized<String, Long, KeyValueStore<Bytes, byte[]>> counts() {
        return Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as(STORE)
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long());
    }
}
