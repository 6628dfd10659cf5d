import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.kstream.internals.Change;
import org.apache.kafka.streams.kstream.internals.ChangedDeserializer;
import org.apache.kafka.streams.kstream.internals.ChangedSerializer;

/**
 * Kafka Streams as the oracle of the Rust tests: what it does, said in lines on stdin and stdout. The first argument
 * names the subcommand; every subcommand ends when its stdin ends.
 */
public final class Interop {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] arguments) throws Exception {
        String[] rest = Arrays.copyOfRange(arguments, 1, arguments.length);
        switch (arguments[0]) {
            case "count-app" -> CountApps.run(CountApps::countByKey, rest);
            case "repartition-app" -> CountApps.run(CountApps::countByValue, rest);
            case "partition" -> partition(Integer.parseInt(rest[0]));
            case "topology" -> print("text", Topologies.named(rest[0]).describe().toString());
            case "changes" -> changes();
            default -> throw new IllegalArgumentException("no such subcommand: " + arguments[0]);
        }
    }

    /** A key in hex per line in, the partition the default partitioner sends it to out. */
    private static void partition(int partitions) throws IOException {
        for (String line = readLine(); line != null; line = readLine()) {
            byte[] key = HEX.parseHex(line);
            print("partition", BuiltInPartitioner.partitionForKey(key, partitions));
        }
    }

    /**
     * The values in the repartition topic of KTable.groupBy: {"old", "new", "latest"} in gives {"hex"} out, and
     * {"hex"} in gives the change out. "new" and "old" are strings or null.
     */
    private static void changes() throws IOException {
        ChangedSerializer<String> serializer = new ChangedSerializer<>(Serdes.String().serializer());
        ChangedDeserializer<String> deserializer = new ChangedDeserializer<>(Serdes.String().deserializer());
        for (String line = readLine(); line != null; line = readLine()) {
            JsonNode in = JSON.readTree(line);
            if (in.has("hex")) {
                byte[] bytes = HEX.parseHex(in.get("hex").asText());
                Change<String> change = deserializer.deserialize("topic", new RecordHeaders(), bytes);
                Map<String, Object> out = new LinkedHashMap<>();
                out.put("old", change.oldValue);
                out.put("new", change.newValue);
                out.put("latest", change.isLatest);
                print(out);
            } else {
                Change<String> change =
                        new Change<>(text(in, "new"), text(in, "old"), in.get("latest").asBoolean());
                print("hex", HEX.formatHex(serializer.serialize("topic", new RecordHeaders(), change)));
            }
        }
    }

    private static final BufferedReader STDIN =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    static String readLine() throws IOException {
        return STDIN.readLine();
    }

    static void print(String name, Object value) throws IOException {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put(name, value);
        print(line);
    }

    static synchronized void print(Map<String, Object> line) throws IOException {
        System.out.println(JSON.writeValueAsString(line));
        System.out.flush();
    }

    private static String text(JsonNode object, String field) {
        JsonNode value = object.get(field);
        return value == null || value.isNull() ? null : value.asText();
    }
}
