import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import org.HdrHistogram.Histogram;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.Serde;
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
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.apache.kafka.streams.state.WindowStore;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.Cache;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.WriteBufferManager;

/**
 * The workloads of the benchmarks on Kafka Streams, one run after the other in a JVM that stays warm. A line on stdin, the flags of
 * the Rust side (see {@code child.rs}) with tabs between them, begins a run, the line {@code end} ends it: the group is left and
 * {@code ended} printed. In between it prints the lines of the Rust side: {@code restoring}, {@code restored N},
 * {@code restored-from-zero N}, {@code running}, and, asked with an empty line, the query times and the partitions it owns. It
 * ends when stdin ends.
 */
public final class Bench {
    private static final String STORE = "counts";
    private static final TimeWindows TUMBLING =
            TimeWindows.ofSizeAndGrace(Duration.ofSeconds(1), Duration.ofSeconds(1));
    private static final Produced<Windowed<byte[]>, Long> WINDOWED_COUNTS = Produced.with(
            WindowedSerdes.timeWindowedSerdeFrom(byte[].class, TUMBLING.sizeMs), Serdes.Long());

    public static void main(String[] none) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            run(line.split("\t"), lines);
            System.out.println("ended");
        }
        System.exit(0);
    }

    private static void run(String[] arguments, BufferedReader lines) throws Exception {
        Map<String, String> flags = new HashMap<>();
        Properties settings = new Properties();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            if (arguments[i].equals("--property")) {
                String[] property = arguments[i + 1].split("=", 2);
                settings.put(property[0], property[1]);
            } else {
                flags.put(arguments[i].substring(2), arguments[i + 1]);
            }
        }
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, flags.get("id"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, flags.get("bootstrap-servers"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, flags.get("state-dir"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, flags.getOrDefault("threads", "1"));
        settings.put("auto.offset.reset", "earliest");

        configureGroup(settings);
        KafkaStreams streams = new KafkaStreams(topology(flags), settings);
        streams.setGlobalStateRestoreListener(new Restores());
        CountDownLatch running = new CountDownLatch(1);
        streams.setStateListener((state, before) -> {
            if (state == KafkaStreams.State.RUNNING && running.getCount() > 0) {
                System.out.println("running");
                running.countDown();
            }
            if (state == KafkaStreams.State.ERROR) {
                System.err.println("Kafka Streams is in state ERROR");
                Runtime.getRuntime().halt(1);
            }
        });
        streams.start();

        Queries queries = null;
        int queryThreads = Integer.parseInt(flags.getOrDefault("query-threads", "0"));
        if (queryThreads > 0) {
            running.await();
            queries = new Queries(streams, queryThreads, Long.parseLong(flags.get("keys")));
        }
        for (String line = lines.readLine(); line != null && !line.equals("end"); line = lines.readLine()) {
            if (queries != null) {
                System.out.println(queries.report());
            }
            System.out.println("assigned " + assigned(streams, flags.get("input")));
        }
        // Leaves the group, so that the next run need not wait for the session to end.
        streams.close(CloseOptions.timeout(Duration.ofSeconds(60))
                .withGroupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    }

    /** Gives the group the settings that the broker keeps for it: the properties {@code bench.group.NAME}. */
    private static void configureGroup(Properties settings) throws Exception {
        String prefix = "bench.group.";
        List<AlterConfigOp> changes = settings.stringPropertyNames().stream()
                .filter(name -> name.startsWith(prefix))
                .map(name -> new ConfigEntry(name.substring(prefix.length()), settings.getProperty(name)))
                .map(entry -> new AlterConfigOp(entry, AlterConfigOp.OpType.SET))
                .toList();
        if (changes.isEmpty()) {
            return;
        }
        ConfigResource group = new ConfigResource(
                ConfigResource.Type.GROUP, settings.getProperty(StreamsConfig.APPLICATION_ID_CONFIG));
        Properties client = new Properties();
        client.put(
                StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, settings.getProperty(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG));
        try (Admin admin = Admin.create(client)) {
            admin.incrementalAlterConfigs(Map.of(group, changes)).all().get();
        }
    }

    /** The partitions of the input whose tasks run here; none while a thread restores. */
    private static List<Integer> assigned(KafkaStreams streams, String input) {
        return streams.metadataForLocalThreads().stream()
                .flatMap(thread -> thread.activeTasks().stream())
                .flatMap(task -> task.topicPartitions().stream())
                .filter(partition -> partition.topic().equals(input))
                .map(TopicPartition::partition)
                .sorted()
                .toList();
    }

    private static Topology topology(Map<String, String> flags) {
        StreamsBuilder builder = new StreamsBuilder();
        String output = flags.get("output");
        Consumed<byte[], byte[]> consumed = Consumed.with(Serdes.ByteArray(), Serdes.ByteArray());
        Supplier<KStream<byte[], byte[]>> input = () -> builder.stream(flags.get("input"), consumed);
        Produced<byte[], byte[]> bytes = Produced.with(Serdes.ByteArray(), Serdes.ByteArray());
        switch (flags.get("workload")) {
            case "pass", "start" -> input.get().to(output, bytes);
            case "filter-map" -> input.get()
                    .filter((key, value) -> (key[key.length - 1] & 1) == 0)
                    .mapValues(Bench::reversed)
                    .to(output, bytes);
            case "count", "restore", "group" -> count(input.get(), Serdes.ByteArray(), output);
            case "decode-json", "decode-json-borrowed", "decode-avro", "decode-protobuf" -> count(
                    Bids.prices(builder, flags.get("input"), flags.get("workload")),
                    Serdes.Long(),
                    output);
            case "repartition" -> count(
                    input.get().selectKey((key, value) -> reversed(key)),
                    Serdes.ByteArray(),
                    output);
            case "join" -> input.get().join(builder.table(flags.get("other-input"), consumed), Bench::joined)
                    .to(output, bytes);
            case "windowed-count" -> windowedCount(input.get(), TUMBLING).toStream().to(output, WINDOWED_COUNTS);
            case "hopping-count" -> windowedCount(input.get(), TUMBLING.advanceBy(Duration.ofMillis(100)))
                    .toStream()
                    .to(output, WINDOWED_COUNTS);
            case "final-count" -> windowedCount(input.get(), TUMBLING)
                    .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
                    .toStream()
                    .to(output, WINDOWED_COUNTS);
            case "stream-join" -> input.get().join(
                            builder.stream(flags.get("other-input"), consumed),
                            Bench::joined,
                            JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMillis(50), Duration.ofSeconds(1)),
                            StreamJoined.with(Serdes.ByteArray(), Serdes.ByteArray(), Serdes.ByteArray()))
                    .to(output, bytes);
            case "foreign-key-join" -> builder.table(flags.get("input"), consumed)
                    .join(
                            builder.table(flags.get("other-input"), consumed),
                            value -> Arrays.copyOf(value, Long.BYTES),
                            Bench::joined)
                    .toStream()
                    .to(output, bytes);
            default -> Nexmark.query(flags.get("workload"), builder, flags.get("input"), output);
        }
        return builder.build();
    }

    private static <V> void count(KStream<byte[], V> stream, Serde<V> values, String output) {
        stream.groupByKey(Grouped.with(Serdes.ByteArray(), values))
                .count(Materialized.<byte[], Long, KeyValueStore<Bytes, byte[]>>as(STORE)
                        .withKeySerde(Serdes.ByteArray())
                        .withValueSerde(Serdes.Long()))
                .toStream()
                .to(output, Produced.with(Serdes.ByteArray(), Serdes.Long()));
    }

    private static KTable<Windowed<byte[]>, Long> windowedCount(KStream<byte[], byte[]> stream, TimeWindows windows) {
        return stream.groupByKey(Grouped.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .windowedBy(windows)
                .count(Materialized.<byte[], Long, WindowStore<Bytes, byte[]>>as(STORE)
                        .withKeySerde(Serdes.ByteArray())
                        .withValueSerde(Serdes.Long()));
    }

    /** The left value, its beginning replaced by the right one. */
    private static byte[] joined(byte[] left, byte[] right) {
        byte[] joined = left.clone();
        System.arraycopy(right, 0, joined, 0, right.length);
        return joined;
    }

    private static byte[] reversed(byte[] bytes) {
        byte[] reversed = new byte[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            reversed[i] = bytes[bytes.length - 1 - i];
        }
        return reversed;
    }

    /** Says when the first restore begins and when the last one has ended. */
    private static final class Restores implements StateRestoreListener {
        private final AtomicInteger open = new AtomicInteger();
        private final AtomicLong records = new AtomicLong();
        private final Set<TopicPartition> fromZero = new HashSet<>();
        private int restoredFromZero;
        private boolean began;

        @Override
        public synchronized void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            if (!began) {
                began = true;
                System.out.println("restoring");
            }
            open.incrementAndGet();
            if (from == 0) {
                fromZero.add(partition);
            }
        }

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long offset, long count) {}

        @Override
        public synchronized void onRestoreEnd(TopicPartition partition, String store, long total) {
            records.addAndGet(total);
            if (fromZero.remove(partition) && total > 0) {
                restoredFromZero++;
                System.out.println("restored-from-zero " + restoredFromZero);
            }
            if (open.decrementAndGet() == 0) {
                System.out.println("restored " + records.get());
            }
        }

        /** The task went elsewhere before it was restored. */
        @Override
        public synchronized void onRestoreSuspended(TopicPartition partition, String store, long total) {
            onRestoreEnd(partition, store, total);
        }
    }

    /** Threads that ask for random keys, with a pause between two questions, and remember how long each answer took. */
    private static final class Queries {
        private static final long PAUSE_NANOS = 1_000_000;
        private final List<Histogram> histograms = new ArrayList<>();
        private final List<Thread> threads = new ArrayList<>();
        private volatile boolean done;

        Queries(KafkaStreams streams, int count, long keys) {
            for (int i = 0; i < count; i++) {
                Histogram nanos = new Histogram(3);
                histograms.add(nanos);
                Thread thread = new Thread(() -> ask(streams, keys, nanos));
                threads.add(thread);
                thread.start();
            }
        }

        private void ask(KafkaStreams streams, long keys, Histogram nanos) {
            ReadOnlyKeyValueStore<byte[], Long> store = null;
            while (!done) {
                try {
                    if (store == null) {
                        store = streams.store(StoreQueryParameters.fromNameAndType(
                                STORE, QueryableStoreTypes.keyValueStore()));
                    }
                    byte[] key = ByteBuffer.allocate(8).putLong(ThreadLocalRandom.current().nextLong(keys)).array();
                    long start = System.nanoTime();
                    store.get(key);
                    nanos.recordValue(System.nanoTime() - start);
                    java.util.concurrent.locks.LockSupport.parkNanos(PAUSE_NANOS);
                } catch (org.apache.kafka.streams.errors.InvalidStateStoreException notNow) {
                    store = null;
                }
            }
        }

        String report() throws InterruptedException {
            done = true;
            Histogram all = new Histogram(3);
            for (int i = 0; i < threads.size(); i++) {
                threads.get(i).join();
                all.add(histograms.get(i));
            }
            return String.format("queries {\"count\":%d,\"p50_us\":%.3f,\"p99_us\":%.3f}",
                    all.getTotalCount(), all.getValueAtPercentile(50) / 1e3, all.getValueAtPercentile(99) / 1e3);
        }
    }

    /**
     * One budget for the RocksDB of all tasks, the property {@code bench.state.memory} in bytes, half of it for write buffers: as Kafka
     * Streams' memory management guide shows it.
     */
    public static final class BoundedMemory implements RocksDBConfigSetter {
        private static Cache cache;
        private static WriteBufferManager writeBuffers;

        @Override
        public void setConfig(String store, Options options, Map<String, Object> configs) {
            synchronized (BoundedMemory.class) {
                if (cache == null) {
                    long bytes = Long.parseLong(configs.get("bench.state.memory").toString());
                    cache = new LRUCache(bytes);
                    writeBuffers = new WriteBufferManager(bytes / 2, cache);
                }
            }
            BlockBasedTableConfig blocks = (BlockBasedTableConfig) options.tableFormatConfig();
            blocks.setBlockCache(cache);
            blocks.setCacheIndexAndFilterBlocks(true);
            blocks.setPinL0FilterAndIndexBlocksInCache(true);
            options.setTableFormatConfig(blocks);
            options.setWriteBufferManager(writeBuffers);
        }

        /** They serve all stores, as long as the JVM lives. */
        @Override
        public void close(String store, Options options) {}
    }
}
