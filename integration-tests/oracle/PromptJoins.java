import java.lang.reflect.Field;
import java.util.Set;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.ProcessorWrapper;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.WrappedFixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.WrappedProcessorSupplier;
import org.apache.kafka.streams.state.StoreBuilder;

/**
 * Makes joins of streams look for records that found no match whenever stream time moves on. By themselves they guess when there may be
 * some again by the last record they looked at, and so may be late by as much as the join's windows.
 */
public final class PromptJoins implements ProcessorWrapper {
    /** Before all times of records, and far enough from the smallest number to be added to. */
    private static final long LONG_AGO = Long.MIN_VALUE / 2;

    @Override
    public <KIn, VIn, KOut, VOut> WrappedProcessorSupplier<KIn, VIn, KOut, VOut> wrapProcessorSupplier(
            String name, ProcessorSupplier<KIn, VIn, KOut, VOut> supplier) {
        if (fieldOf(supplier.getClass(), "sharedTimeTrackerSupplier") == null) {
            return ProcessorWrapper.asWrapped(supplier);
        }
        return new WrappedProcessorSupplier<>() {
            @Override
            public Processor<KIn, VIn, KOut, VOut> get() {
                return new Prompt<>(supplier.get());
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return supplier.stores();
            }
        };
    }

    @Override
    public <KIn, VIn, VOut> WrappedFixedKeyProcessorSupplier<KIn, VIn, VOut> wrapFixedKeyProcessorSupplier(
            String name, FixedKeyProcessorSupplier<KIn, VIn, VOut> supplier) {
        return ProcessorWrapper.asWrappedFixedKey(supplier);
    }

    private record Prompt<KIn, VIn, KOut, VOut>(Processor<KIn, VIn, KOut, VOut> join)
            implements Processor<KIn, VIn, KOut, VOut> {
        @Override
        public void init(ProcessorContext<KOut, VOut> context) {
            join.init(context);
        }

        @Override
        public void process(Record<KIn, VIn> record) {
            forgetMinTime();
            join.process(record);
        }

        @Override
        public void close() {
            join.close();
        }

        private void forgetMinTime() {
            try {
                Object tracker = fieldOf(join.getClass(), "sharedTimeTracker").get(join);
                fieldOf(tracker.getClass(), "minTime").setLong(tracker, LONG_AGO);
            } catch (IllegalAccessException impossible) {
                throw new IllegalStateException(impossible);
            }
        }
    }

    /** A field of the class or of what it extends, or null. */
    private static Field fieldOf(Class<?> type, String name) {
        for (Class<?> in = type; in != null; in = in.getSuperclass()) {
            try {
                Field field = in.getDeclaredField(name);
                field.setAccessible(true);
                return field;
            } catch (NoSuchFieldException elsewhere) {
                // In what it extends, perhaps.
            }
        }
        return null;
    }
}
