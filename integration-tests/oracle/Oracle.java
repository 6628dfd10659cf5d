import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.ReadOnlySessionStore;
import org.apache.kafka.streams.state.ReadOnlyWindowStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;
import org.apache.kafka.streams.state.VersionedKeyValueStore;
import org.apache.kafka.streams.state.VersionedRecord;
import org.apache.kafka.streams.test.TestRecord;

/**
 * Kafka Streams as the oracle: a case a line in, as case.rs writes it; a line out for each that says what Kafka Streams does with it, as
 * observation.rs reads it. The only argument is a folder for state.
 */
public final class Oracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] arguments) throws Exception {
        BufferedReader cases = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int number = 0;
        for (String line = cases.readLine(); line != null; line = cases.readLine()) {
            // A driver that failed may keep its stores open: each case has a folder of its own.
            Properties settings = settings(arguments[0] + "/" + number++);
            System.out.println(JSON.writeValueAsString(answer(JSON.readTree(line), settings)));
        }
    }

    private static Map<String, Object> answer(JsonNode test, Properties settings) {
        try {
            return observe(test, settings);
        } catch (Exception mistake) {
            mistake.printStackTrace();
            return Map.of("mistake", mistake + ", because of " + rootCause(mistake));
        }
    }

    private static Properties settings(String stateFolder) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "oracle");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
        settings.put(StreamsConfig.STATE_DIR_CONFIG, stateFolder);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        // By event time alone: windows that close, and records without a match, are emitted at once, not once in a second of wall clock.
        settings.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_WINDOWED_AGGREGATION, 0L);
        settings.put(StreamsConfig.InternalConfig.EMIT_INTERVAL_MS_KSTREAMS_OUTER_JOIN_SPURIOUS_RESULTS_FIX, 0L);
        settings.put(StreamsConfig.PROCESSOR_WRAPPER_CLASS_CONFIG, PromptJoins.class);
        return settings;
    }

    private static Map<String, Object> observe(JsonNode test, Properties settings) throws Exception {
        Map<String, Object> observation = new LinkedHashMap<>();
        Driver taken;
        try {
            Topology topology = Programs.build(test.get("program"), test.path("optimized").asBoolean(false), settings);
            observation.put("describe", topology.describe().toString());
            taken = new Driver(topology, settings, test.path("commits_by_hand").asBoolean(false));
        } catch (RuntimeException refused) {
            throwUnlessOfKafka(refused);
            return Map.of("refused", refused + ", because of " + rootCause(refused));
        }
        Map<String, List<Object>> topics = new TreeMap<>();
        observation.put("topics", topics);
        observation.put("stores", Map.of());
        observation.put("dropped", 0);
        try (Driver driver = taken) {
            int step = 0;
            try {
                for (JsonNode next : test.get("steps")) {
                    driver.step(next);
                    take(driver.driver, step++, topics);
                }
                driver.commit();
            } catch (Exception failed) {
                throwUnlessOfKafka(failed);
                observation.put("failed", Map.of("step", step, "error", rootCause(failed).toString()));
                return observation;
            }
            take(driver.driver, step, topics);
            observation.put("stores", stores(driver.driver, test.get("steps")));
            observation.put("dropped", dropped(driver.driver));
        }
        return observation;
    }

    /** A mistake of these files says nothing about Kafka Streams. */
    private static void throwUnlessOfKafka(Exception thrown) throws Exception {
        for (StackTraceElement frame : rootCause(thrown).getStackTrace()) {
            if (frame.getClassName().startsWith("org.apache.kafka.")) {
                return;
            } else if (!frame.getClassName().startsWith("java.")) {
                break;
            }
        }
        throw thrown;
    }

    private static Throwable rootCause(Throwable thrown) {
        return thrown.getCause() == null ? thrown : rootCause(thrown.getCause());
    }

    /** Adds what a step has written to what those before have. */
    private static void take(TopologyTestDriver driver, int step, Map<String, List<Object>> topics) {
        for (String name : driver.producedTopicNames()) {
            var topic = driver.createOutputTopic(name, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            List<Object> records = topics.computeIfAbsent(name, none -> new ArrayList<>());
            for (TestRecord<byte[], byte[]> record : topic.readRecordsToList()) {
                Map<String, Object> fields = new LinkedHashMap<>();
                fields.put("step", step);
                fields.put("key", hex(record.key()));
                fields.put("value", hex(record.value()));
                fields.put("at", record.timestamp());
                List<Object> headers = new ArrayList<>();
                for (Header header : record.headers()) {
                    headers.add(new String[] {header.key(), hex(header.value())});
                }
                fields.put("headers", headers);
                records.add(fields);
            }
        }
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HEX.formatHex(bytes);
    }

    /** Key, value and event time of each row; a session has no time of its own. What joins and buffers keep for themselves is left out: its changelog tells enough. */
    private static Map<String, Object> stores(TopologyTestDriver driver, JsonNode steps) {
        Map<String, Object> stores = new TreeMap<>();
        for (Map.Entry<String, StateStore> store : driver.getAllStateStores().entrySet()) {
            List<Object> rows = new ArrayList<>();
            if (store.getValue() instanceof VersionedKeyValueStore<?, ?> versions) {
                stores.put(store.getKey(), versions((VersionedKeyValueStore<String, ?>) versions, steps));
                continue;
            }
            try (KeyValueIterator<?, ?> all = all(store.getValue())) {
                if (all == null) {
                    continue;
                }
                all.forEachRemaining(row -> rows.add(row(row.key, row.value)));
            }
            stores.put(store.getKey(), rows);
        }
        return stores;
    }

    /** What a store that remembers says of the keys of the inputs, as of their times and as of now. */
    private static List<Object> versions(VersionedKeyValueStore<String, ?> store, JsonNode steps) {
        TreeSet<String> keys = new TreeSet<>();
        TreeSet<Long> times = new TreeSet<>();
        for (JsonNode step : steps) {
            if (step.has("pipe")) {
                times.add(step.get("pipe").get("at").asLong());
            }
            if (step.path("pipe").hasNonNull("key")) {
                keys.add(step.get("pipe").get("key").asText());
            }
        }
        List<Object> rows = new ArrayList<>();
        for (String key : keys) {
            for (long time : times) {
                addVersion(key + " as of " + time, store.get(key, time), rows);
            }
            addVersion(key, store.get(key), rows);
        }
        return rows;
    }

    private static void addVersion(String key, VersionedRecord<?> version, List<Object> rows) {
        if (version != null) {
            rows.add(row(key, ValueAndTimestamp.make(version.value(), version.timestamp())));
        }
    }

    private static KeyValueIterator<?, ?> all(StateStore store) {
        boolean isOfAJoin = store.name().matches("KSTREAM-(JOIN|OUTER).*|.*-join-store|.*SUBSCRIPTION-STATE-STORE.*|.*-subscription-store");
        if (isOfAJoin) {
            return null;
        } else if (store instanceof ReadOnlyKeyValueStore<?, ?> rows) {
            return rows.all();
        } else if (store instanceof ReadOnlyWindowStore<?, ?> windows) {
            return windows.all();
        } else if (store instanceof ReadOnlySessionStore<?, ?> sessions) {
            return sessions.fetch(null, null);
        }
        return null;
    }

    private static Map<String, Object> row(Object key, Object value) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("key", Functions.text(key));
        if (value instanceof ValueAndTimestamp<?> timed) {
            row.put("value", Functions.text(timed.value()));
            row.put("at", timed.timestamp());
        } else {
            row.put("value", Functions.text(value));
            row.put("at", null);
        }
        return row;
    }

    private static long dropped(TopologyTestDriver driver) {
        double dropped = 0;
        for (var metric : driver.metrics().entrySet()) {
            if (metric.getKey().name().equals("dropped-records-total")) {
                dropped += (Double) metric.getValue().metricValue();
            }
        }
        return Math.round(dropped);
    }
}
