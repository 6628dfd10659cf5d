import java.io.File;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;

/**
 * What Kafka Streams offers: a line `Type.method` for each public method of the DSL, the Processor API and its stores that is not
 * deprecated, whatever its arguments, and a line for each configuration. The types are those that are public in the packages below.
 */
public final class PublicApi {
    private static final String STREAMS = "org.apache.kafka.streams.";

    private static final Set<String> PACKAGES = Set.of("kstream", "processor", "processor.api", "state");

    /** The types that have no lines, by the reason. */
    private static final Map<String, List<String>> LEFT_OUT = Map.of(
        "a function, whose line is that of the operator it is given to",
        List.of(
            "kstream.Aggregator", "kstream.ForeachAction", "kstream.Initializer", "kstream.KeyValueMapper", "kstream.Merger",
            "kstream.Predicate", "kstream.Reducer", "kstream.ValueJoiner", "kstream.ValueJoinerWithKey", "kstream.ValueMapper",
            "kstream.ValueMapperWithKey"),
        "a part of what WindowedSerdes makes",
        List.of(
            "kstream.SessionWindowedDeserializer", "kstream.SessionWindowedSerializer", "kstream.TimeWindowedDeserializer",
            "kstream.TimeWindowedSerializer", "kstream.WindowedSerdes$SessionWindowedSerde",
            "kstream.WindowedSerdes$TimeWindowedSerde"),
        "what TimeWindows, UnlimitedWindows and JoinWindows have in common, which have lines",
        List.of("kstream.Windows"),
        "an enumeration, whose values are arguments",
        List.of("kstream.EmitStrategy$StrategyType", "processor.PunctuationType", "processor.StandbyUpdateListener$SuspendReason"),
        "of the Processor API before processor.api",
        List.of("processor.ProcessorContext", "processor.To"),
        "not for users, as its name says",
        List.of("processor.api.InternalFixedKeyRecordFactory"),
        "of the bytes below a store, and of who supplies them; their line is that of the method of Stores, or of the configuration",
        List.of(
            "kstream.Materialized$StoreType", "state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers",
            "state.BuiltInDslStoreSuppliers$RocksDBDslStoreSuppliers", "state.DslKeyValueParams", "state.DslSessionParams",
            "state.DslStoreSuppliers", "state.DslWindowParams", "state.HeadersBytesStore", "state.RocksDBConfigSetter",
            "state.SessionBytesStoreSupplier", "state.StateSerdes", "state.StoreSupplier", "state.TimestampedBytesStore",
            "state.VersionedBytesStore", "state.VersionedBytesStoreSupplier", "state.WindowBytesStoreSupplier"),
        "a row of a store with headers, of which Stores has lines",
        List.of("state.AggregationWithHeaders", "state.ValueTimestampHeaders"),
        "of queries from outside, which are not of the DSL or the Processor API",
        List.of(
            "state.HostInfo", "state.QueryableStoreType", "state.QueryableStoreTypes",
            "state.QueryableStoreTypes$KeyValueStoreType", "state.QueryableStoreTypes$SessionStoreType",
            "state.QueryableStoreTypes$TimestampedKeyValueStoreType", "state.QueryableStoreTypes$TimestampedWindowStoreType",
            "state.QueryableStoreTypes$WindowStoreType"));

    private static final Set<String> OF_EVERY_OBJECT = Set.of("equals", "hashCode", "toString");

    public static void main(String[] arguments) throws Exception {
        Map<String, Class<?>> types = new TreeMap<>(Map.of("StreamsBuilder", StreamsBuilder.class, "Topology", Topology.class));
        Set<String> leftOut = new TreeSet<>();
        LEFT_OUT.values().forEach(leftOut::addAll);
        for (Class<?> type : publicTypes()) {
            boolean isLeftOut = leftOut.remove(type.getName().substring(STREAMS.length()));
            if (!isLeftOut && types.put(type.getSimpleName(), type) != null) {
                throw new IllegalStateException("there are two types named " + type.getSimpleName());
            }
        }
        if (!leftOut.isEmpty()) {
            throw new IllegalStateException("left out, and not there: " + leftOut);
        }
        types.forEach(PublicApi::print);
        new TreeSet<>(StreamsConfig.configDef().names()).forEach(System.out::println);
    }

    private static List<Class<?>> publicTypes() throws Exception {
        File jar = new File(StreamsBuilder.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        List<Class<?>> types = new ArrayList<>();
        try (JarFile entries = new JarFile(jar)) {
            for (JarEntry entry : Collections.list(entries.entries())) {
                String name = entry.getName().replace('/', '.');
                if (name.endsWith(".class") && name.startsWith(STREAMS) && PACKAGES.contains(packageOf(name))) {
                    Class<?> type = Class.forName(name.substring(0, name.length() - ".class".length()));
                    if (isOffered(type)) {
                        types.add(type);
                    }
                }
            }
        }
        return types;
    }

    /** The package of a file such as `org.apache.kafka.streams.kstream.KStream.class`, below that of Kafka Streams. */
    private static String packageOf(String name) {
        String type = name.substring(0, name.length() - ".class".length());
        return type.substring(Math.min(STREAMS.length(), type.lastIndexOf('.')), type.lastIndexOf('.'));
    }

    private static boolean isOffered(Class<?> type) {
        boolean hasName = !type.isAnonymousClass() && !type.isLocalClass() && !type.isSynthetic();
        return hasName && Modifier.isPublic(type.getModifiers()) && !type.isAnnotationPresent(Deprecated.class);
    }

    private static void print(String name, Class<?> type) {
        Set<String> methods = new TreeSet<>();
        for (Method method : type.getDeclaredMethods()) {
            boolean isPublic = Modifier.isPublic(method.getModifiers()) && !method.isSynthetic();
            if (isPublic && !method.isAnnotationPresent(Deprecated.class) && !OF_EVERY_OBJECT.contains(method.getName())) {
                methods.add(method.getName());
            }
        }
        methods.forEach(method -> System.out.println(name + "." + method));
    }
}
