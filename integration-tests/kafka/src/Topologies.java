import java.util.List;
import java.util.Locale;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;

/** Reference topologies: the text Kafka Streams prints for each is what ours must print for the same program. */
final class Topologies {
    private static final Consumed<String, String> STRINGS = Consumed.with(Serdes.String(), Serdes.String());
    private static final Produced<String, String> STRINGS_OUT = Produced.with(Serdes.String(), Serdes.String());
    private static final Produced<String, Long> COUNTS_OUT = Produced.with(Serdes.String(), Serdes.Long());
    private static final Grouped<String, String> GROUPED = Grouped.with(Serdes.String(), Serdes.String());

    static Topology named(String name) {
        StreamsBuilder builder = new StreamsBuilder();
        switch (name) {
            case "wordcount" -> wordcount(builder);
            case "filter-count" -> filterCount(builder);
            case "stream-table-join" -> streamTableJoin(builder);
            case "select-key-count" -> selectKeyCount(builder);
            case "table-aggregate" -> tableAggregate(builder);
            case "branch-merge" -> branchMerge(builder);
            case "to-table" -> toTable(builder);
            default -> throw new IllegalArgumentException("no such topology: " + name);
        }
        return builder.build();
    }

    private static void wordcount(StreamsBuilder builder) {
        builder.stream("lines", STRINGS)
                .flatMapValues(line -> List.of(line.toLowerCase(Locale.ROOT).split("\\W+")))
                .groupBy((key, word) -> word, GROUPED)
                .count(Materialized.as("counts"))
                .toStream()
                .to("word-counts", COUNTS_OUT);
    }

    private static void filterCount(StreamsBuilder builder) {
        builder.stream("orders", STRINGS)
                .filter((sku, order) -> !order.isEmpty())
                .groupByKey()
                .count()
                .toStream()
                .to("order-counts", COUNTS_OUT);
    }

    private static void streamTableJoin(StreamsBuilder builder) {
        KTable<String, String> stock = builder.table("stock", STRINGS);
        builder.stream("orders", STRINGS)
                .selectKey((id, sku) -> sku)
                .leftJoin(stock, (sku, onHand) -> sku + "=" + onHand,
                        Joined.with(Serdes.String(), Serdes.String(), Serdes.String()))
                .to("availability", STRINGS_OUT);
    }

    private static void selectKeyCount(StreamsBuilder builder) {
        builder.stream("orders", STRINGS)
                .selectKey((id, sku) -> sku)
                .groupByKey(Grouped.<String, String>as("by-sku")
                        .withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.String()))
                .count(Materialized.as("counts"))
                .toStream()
                .to("orders-by-sku", COUNTS_OUT);
    }

    private static void tableAggregate(StreamsBuilder builder) {
        builder.table("warehouse-of-sku", STRINGS)
                .groupBy((sku, warehouse) -> KeyValue.pair(warehouse, sku), GROUPED)
                .aggregate(() -> 0L, (warehouse, sku, count) -> count + 1, (warehouse, sku, count) -> count - 1,
                        Materialized.as("skus-by-warehouse"))
                .toStream()
                .to("skus-by-warehouse", COUNTS_OUT);
    }

    private static void branchMerge(StreamsBuilder builder) {
        var branches = builder.stream("orders", STRINGS)
                .split(Named.as("size-"))
                .branch((sku, order) -> order.length() > 10, Branched.as("large"))
                .defaultBranch(Branched.as("small"));
        KStream<String, String> large = branches.get("size-large");
        KStream<String, String> small = branches.get("size-small");
        large.mapValues(order -> order + "!").merge(small).to("all-orders", STRINGS_OUT);
    }

    private static void toTable(StreamsBuilder builder) {
        builder.stream("orders", STRINGS)
                .mapValues(order -> order.trim())
                .toTable(Materialized.as("orders-by-id"))
                .filter((id, order) -> !order.isEmpty())
                .toStream()
                .to("open-orders", STRINGS_OUT);
    }
}
