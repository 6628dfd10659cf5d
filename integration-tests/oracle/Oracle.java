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
            System.out.println(JSON.writeValueAsString(observe(JSON.readTree(line), settings)));
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

    private static Map<String, Object> observe(JsonNode test, Properties settings) {
        Map<String, Object> observation = new LinkedHashMap<>();
        Driver taken;
        try {
            Topology topology = Programs.build(test.get("program"), settings);
            observation.put("describe", topology.describe().toString());
            taken = new Driver(topology, settings, test.path("commits_by_hand").asBoolean(false));
        } catch (RuntimeException refused) {
            return Map.of("refused", refused + ", because of " + rootCause(refused));
        }
        try (Driver driver = taken) {
            int step = 0;
            try {
                for (JsonNode next : test.get("steps")) {
                    driver.step(next);
                    step++;
                }
                driver.commit();
            } catch (Exception failed) {
                observation.put("failed", Map.of("step", step, "error", rootCause(failed)));
                return observation;
            }
            observation.put("topics", topics(driver.driver));
            observation.put("stores", stores(driver.driver));
            observation.put("dropped", dropped(driver.driver));
        }
        return observation;
    }

    private static String rootCause(Throwable thrown) {
        return thrown.getCause() == null ? thrown.toString() : rootCause(thrown.getCause());
    }

    private static Map<String, Object> topics(TopologyTestDriver driver) {
        Map<String, Object> topics = new TreeMap<>();
        for (String name : driver.producedTopicNames()) {
            var topic = driver.createOutputTopic(name, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            List<Object> records = new ArrayList<>();
            for (TestRecord<byte[], byte[]> record : topic.readRecordsToList()) {
                Map<String, Object> fields = new LinkedHashMap<>();
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
            topics.put(name, records);
        }
        return topics;
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? null : HEX.formatHex(bytes);
    }

    /** Key, value and event time of each row; a session has no time of its own. What joins and buffers keep for themselves is left out: its changelog tells enough. */
    private static Map<String, Object> stores(TopologyTestDriver driver) {
        Map<String, Object> stores = new TreeMap<>();
        for (Map.Entry<String, StateStore> store : driver.getAllStateStores().entrySet()) {
            List<Object> rows = new ArrayList<>();
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
