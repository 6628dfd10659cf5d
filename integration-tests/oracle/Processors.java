import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.apache.kafka.streams.kstream.ValueTransformerWithKey;
import org.apache.kafka.streams.kstream.ValueTransformerWithKeySupplier;
import org.apache.kafka.streams.processor.ProcessorContext;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.TimestampedKeyValueStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;

/** The processors that cases name, with a store of counts where they have one. */
final class Processors {
    static ProcessorSupplier<Object, Object, String, String> processor(String name, String store) {
        return switch (name) {
            case "running_count" -> () -> new RunningCount(store);
            case "by_length" -> ByLength::new;
            case "tick_by_stream_time" -> () -> new Ticking(PunctuationType.STREAM_TIME);
            case "tick_by_wall_clock" -> () -> new Ticking(PunctuationType.WALL_CLOCK_TIME);
            default -> throw new IllegalArgumentException("no such processor: " + name);
        };
    }

    static FixedKeyProcessorSupplier<Object, Object, String> valueProcessor(String name, String store) {
        if (!name.equals("running_count")) {
            throw new IllegalArgumentException("no such processor of values: " + name);
        }
        return () -> new RunningCountOfValues(store);
    }

    static ValueTransformerWithKeySupplier<Object, Object, String> transformer(String name) {
        return () -> new ValueTransformerWithKey<>() {
            @Override
            public void init(ProcessorContext context) {
            }

            @Override
            public String transform(Object key, Object value) {
                return value == null ? null : Functions.valueMapper(name).apply(key, value);
            }

            @Override
            public void close() {
            }
        };
    }

    /** Puts the number of records with the same key, this one included, behind the value and into a header. */
    private static final class RunningCount implements Processor<Object, Object, String, String> {
        private final String storeName;
        private org.apache.kafka.streams.processor.api.ProcessorContext<String, String> context;
        private TimestampedKeyValueStore<String, Long> counts;

        RunningCount(String storeName) {
            this.storeName = storeName;
        }

        @Override
        public void init(org.apache.kafka.streams.processor.api.ProcessorContext<String, String> context) {
            this.context = context;
            counts = context.getStateStore(storeName);
        }

        @Override
        public void process(Record<Object, Object> record) {
            String key = Functions.text(record.key());
            long count = counted(counts, key, record.timestamp());
            Record<String, String> out = record.withKey(key).withValue(Functions.text(record.value()) + "#" + count);
            out.headers().add("count", String.valueOf(count).getBytes(StandardCharsets.UTF_8));
            context.forward(out);
        }
    }

    /** Forwards what has a long value to the child of this name, and all else to another one. */
    private static final class ByLength implements Processor<Object, Object, String, String> {
        private org.apache.kafka.streams.processor.api.ProcessorContext<String, String> context;

        @Override
        public void init(org.apache.kafka.streams.processor.api.ProcessorContext<String, String> context) {
            this.context = context;
        }

        @Override
        public void process(Record<Object, Object> record) {
            String key = Functions.text(record.key());
            String value = Functions.text(record.value());
            context.forward(record.withKey(key).withValue(value), Functions.isLong(value) ? "long" : "short");
        }
    }

    /** Keeps the newest key of each value in a global store. */
    static final class ByValue implements Processor<String, String, Void, Void> {
        private final String storeName;
        private TimestampedKeyValueStore<String, String> keys;

        ByValue(String storeName) {
            this.storeName = storeName;
        }

        @Override
        public void init(org.apache.kafka.streams.processor.api.ProcessorContext<Void, Void> context) {
            keys = context.getStateStore(storeName);
        }

        @Override
        public void process(Record<String, String> record) {
            keys.put(record.value(), ValueAndTimestamp.make(record.key(), record.timestamp()));
        }
    }

    private static final class RunningCountOfValues implements FixedKeyProcessor<Object, Object, String> {
        private final String storeName;
        private FixedKeyProcessorContext<Object, String> context;
        private TimestampedKeyValueStore<String, Long> counts;

        RunningCountOfValues(String storeName) {
            this.storeName = storeName;
        }

        @Override
        public void init(FixedKeyProcessorContext<Object, String> context) {
            this.context = context;
            counts = context.getStateStore(storeName);
        }

        @Override
        public void process(FixedKeyRecord<Object, Object> record) {
            long count = counted(counts, Functions.text(record.key()), record.timestamp());
            context.forward(record.withValue(Functions.text(record.value()) + "#" + count));
        }
    }

    private static long counted(TimestampedKeyValueStore<String, Long> counts, String key, long at) {
        String counted = String.valueOf(key);
        ValueAndTimestamp<Long> before = counts.get(counted);
        long count = before == null ? 1 : before.value() + 1;
        counts.put(counted, ValueAndTimestamp.make(count, at));
        return count;
    }

    /** Forwards, every ten milliseconds, how many records there were since. */
    private static final class Ticking implements Processor<Object, Object, String, String> {
        private final PunctuationType type;
        private int records;

        Ticking(PunctuationType type) {
            this.type = type;
        }

        @Override
        public void init(org.apache.kafka.streams.processor.api.ProcessorContext<String, String> context) {
            context.schedule(Duration.ofMillis(10), type, time -> {
                context.forward(new Record<>("tick", String.valueOf(records), time));
                records = 0;
            });
        }

        @Override
        public void process(Record<Object, Object> record) {
            records++;
        }
    }
}
