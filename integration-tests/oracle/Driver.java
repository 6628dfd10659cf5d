import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.processor.internals.StreamTask;
import org.apache.kafka.streams.test.TestRecord;

/**
 * Kafka Streams' TopologyTestDriver carrying out the steps of a case. It commits after each record, which hides what emission caches do;
 * where a case commits by hand, its private parts are driven from here in the same order, but for the commits.
 */
final class Driver implements AutoCloseable {
    final TopologyTestDriver driver;
    private final boolean commitsByHand;

    Driver(Topology topology, Properties settings, boolean commitsByHand) {
        this.driver = new TopologyTestDriver(topology, settings, Instant.ofEpochMilli(0));
        this.commitsByHand = commitsByHand;
    }

    void step(JsonNode step) throws Exception {
        if (step.isTextual() && step.asText().equals("commit")) {
            commit();
        } else if (step.has("advance")) {
            advance(Duration.ofMillis(step.get("advance").asLong()));
        } else {
            pipe(step.get("pipe"));
        }
    }

    private void pipe(JsonNode record) throws Exception {
        String topic = record.get("topic").asText();
        String key = record.hasNonNull("key") ? record.get("key").asText() : null;
        String value = record.hasNonNull("value") ? record.get("value").asText() : null;
        Headers headers = new RecordHeaders();
        for (JsonNode header : record.path("headers")) {
            headers.add(header.get(0).asText(), bytes(header.get(1).asText()));
        }
        long at = record.get("at").asLong();
        Object partition = commitsByHand ? call("getInputTopicOrPatternPartition", topic) : null;
        if (partition == null) {
            driver.createInputTopic(topic, new StringSerializer(), new StringSerializer())
                    .pipeInput(new TestRecord<>(key, value, headers, at));
        } else {
            call("enqueueTaskRecord", topic, partition, at, bytes(key), bytes(value), headers);
            processAll();
        }
    }

    private void advance(Duration by) throws Exception {
        if (!commitsByHand) {
            driver.advanceWallClockTime(by);
            return;
        }
        ((Time) read("mockWallClockTime")).sleep(by.toMillis());
        if (task() != null) {
            task().maybePunctuateSystemTime();
            processAll();
        }
    }

    /** Caches emit, and what they emit goes through and is committed, until nothing more comes. */
    void commit() throws Exception {
        while (task() != null) {
            call("commit", task().prepareCommit(true));
            task().postCommit(true);
            call("captureOutputsAndReEnqueueInternalResults");
            if (!task().hasRecordsQueued()) {
                return;
            }
            processAll();
        }
    }

    private void processAll() throws Exception {
        call("captureOutputsAndReEnqueueInternalResults");
        long now = ((Time) read("mockWallClockTime")).milliseconds();
        task().resumePollingForPartitionsWithAvailableSpace();
        task().updateLags();
        while (task().hasRecordsQueued() && task().isProcessable(now)) {
            task().process(now);
            task().maybePunctuateStreamTime();
            call("captureOutputsAndReEnqueueInternalResults");
        }
    }

    private StreamTask task() throws Exception {
        return (StreamTask) read("task");
    }

    private Object read(String name) throws Exception {
        Field field = TopologyTestDriver.class.getDeclaredField(name);
        field.setAccessible(true);
        return field.get(driver);
    }

    private Object call(String name, Object... arguments) throws Exception {
        Method method = switch (name) {
            case "getInputTopicOrPatternPartition" -> method(name, String.class);
            case "enqueueTaskRecord" ->
                    method(name, String.class, TopicPartition.class, long.class, byte[].class, byte[].class, Headers.class);
            case "commit" -> method(name, Map.class);
            default -> method(name);
        };
        try {
            return method.invoke(driver, arguments);
        } catch (InvocationTargetException thrown) {
            throw (Exception) thrown.getCause();
        }
    }

    private static Method method(String name, Class<?>... types) throws Exception {
        Method method = TopologyTestDriver.class.getDeclaredMethod(name, types);
        method.setAccessible(true);
        return method;
    }

    private static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    /** What a step failed with is told already; closing such a driver only fails again. */
    @Override
    public void close() {
        try {
            driver.close();
        } catch (RuntimeException afterFailure) {
            System.err.println("closing: " + afterFailure);
        }
    }
}
