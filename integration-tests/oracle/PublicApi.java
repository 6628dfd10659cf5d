import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
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
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Printed;
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
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.Cancellable;
import org.apache.kafka.streams.processor.ConnectedStoreProvider;
import org.apache.kafka.streams.processor.Punctuator;
import org.apache.kafka.streams.processor.RecordContext;
import org.apache.kafka.streams.processor.StreamPartitioner;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.processor.TopicNameExtractor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.processor.api.ProcessingContext;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.ReadOnlySessionStore;
import org.apache.kafka.streams.state.ReadOnlyWindowStore;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * What Kafka Streams offers: a line `Class.method` for each public method of the DSL, the Processor API and its stores that is not
 * deprecated, whatever its arguments, and a line for each configuration.
 */
public final class PublicApi {
    private static final Class<?>[] DSL = {
        StreamsBuilder.class, KStream.class, BranchedKStream.class, KTable.class, GlobalKTable.class, KGroupedStream.class,
        KGroupedTable.class, CogroupedKStream.class, TimeWindowedKStream.class, SessionWindowedKStream.class,
        TimeWindowedCogroupedKStream.class, SessionWindowedCogroupedKStream.class, Consumed.class, Produced.class, Grouped.class,
        Joined.class, StreamJoined.class, TableJoined.class, Repartitioned.class, Materialized.class, Named.class, Branched.class,
        Printed.class, Suppressed.class, Suppressed.BufferConfig.class, TimeWindows.class, SlidingWindows.class, SessionWindows.class,
        UnlimitedWindows.class, JoinWindows.class, EmitStrategy.class, WindowedSerdes.class,
    };

    private static final Class<?>[] PROCESSOR_API = {
        Topology.class, ProcessorSupplier.class, ConnectedStoreProvider.class, Processor.class, FixedKeyProcessor.class,
        ProcessingContext.class, ProcessorContext.class, FixedKeyProcessorContext.class, Record.class, FixedKeyRecord.class,
        RecordMetadata.class, RecordContext.class, Punctuator.class, Cancellable.class, StreamPartitioner.class,
        TopicNameExtractor.class, TimestampExtractor.class, Stores.class, ReadOnlyKeyValueStore.class, KeyValueStore.class,
        ReadOnlyWindowStore.class, WindowStore.class, ReadOnlySessionStore.class, SessionStore.class,
    };

    private static final Set<String> OF_EVERY_OBJECT = Set.of("equals", "hashCode", "toString");

    public static void main(String[] arguments) {
        print(DSL);
        print(PROCESSOR_API);
        new TreeSet<>(StreamsConfig.configDef().names()).forEach(System.out::println);
    }

    private static void print(Class<?>[] classes) {
        for (Class<?> offered : classes) {
            Set<String> methods = new TreeSet<>();
            for (Method method : offered.getDeclaredMethods()) {
                boolean isPublic = Modifier.isPublic(method.getModifiers()) && !method.isSynthetic();
                if (isPublic && !method.isAnnotationPresent(Deprecated.class) && !OF_EVERY_OBJECT.contains(method.getName())) {
                    methods.add(method.getName());
                }
            }
            methods.forEach(method -> System.out.println(offered.getSimpleName() + "." + method));
        }
    }
}
