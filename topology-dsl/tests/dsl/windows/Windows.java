// Prints what Kafka Streams' windowed aggregations of windows.rs make of the records that are listed here, in the format of kafka-streams.txt.
// Run it with the class path of org.apache.kafka:kafka-streams-test-utils:4.3.1 as a single-file program: java -cp .. Windows.java
//
// A record that ends with ~ comes to the second of two streams. After each record come the outputs: key@window=value, and t with the event time. Where Kafka Streams loses rows that its store has
// dropped too early (sessions within the gap, closed windows after a leap in time), the store is given a longer retention.
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.*;
import org.apache.kafka.streams.test.*;
import java.time.Duration;
import java.util.*;
import java.util.function.*;

public class Windows {
  static final Serde<Windowed<String>> TIMES = WindowedSerdes.timeWindowedSerdeFrom(String.class, 10);
  static final Serde<Windowed<String>> SESSIONS = WindowedSerdes.sessionWindowedSerdeFrom(String.class);

  static void show(String name, boolean cached, Serde<Windowed<String>> keys, Function<KGroupedStream<String, String>, KTable<Windowed<String>, String>> program, String records) {
    showCogroup(name, cached, keys, (stream, other) -> program.apply(stream), records);
  }

  /** Each record is key@time, with the value v<time>, or with none if a ! follows. */
  static void showCogroup(String name, boolean cached, Serde<Windowed<String>> keys, BiFunction<KGroupedStream<String, String>, KGroupedStream<String, String>, KTable<Windowed<String>, String>> program, String records) {
    StreamsBuilder builder = new StreamsBuilder();
    KGroupedStream<String, String> stream = builder.stream("in", Consumed.with(Serdes.String(), Serdes.String())).groupByKey();
    KGroupedStream<String, String> other = builder.stream("other", Consumed.with(Serdes.String(), Serdes.String())).groupByKey();
    program.apply(stream, other).toStream().to("out", Produced.with(keys, Serdes.String()));
    Properties settings = new Properties();
    settings.put("application.id", "app");
    settings.put("bootstrap.servers", "none:1");
    settings.put("default.key.serde", Serdes.StringSerde.class);
    settings.put("default.value.serde", Serdes.StringSerde.class);
    settings.put("__emit.interval.ms.kstreams.windowed.aggregation__", 0L);
    if (!cached) settings.put("statestore.cache.max.bytes", 0L);
    System.out.println("### " + name);
    try (TopologyTestDriver driver = new TopologyTestDriver(builder.build(), settings)) {
      TestInputTopic<String, String> in = driver.createInputTopic("in", new StringSerializer(), new StringSerializer());
      TestInputTopic<String, String> toOther = driver.createInputTopic("other", new StringSerializer(), new StringSerializer());
      TestOutputTopic<Windowed<String>, String> out = driver.createOutputTopic("out", keys.deserializer(), new StringDeserializer());
      for (String record : records.split(" ")) {
        String[] parts = record.replace("!", "").replace("~", "").split("@");
        (record.endsWith("~") ? toOther : in).pipeInput(parts[0], record.endsWith("!") ? null : "v" + parts[1], Long.parseLong(parts[1]));
        StringBuilder line = new StringBuilder(record + " ->");
        for (TestRecord<Windowed<String>, String> output : out.readRecordsToList())
          line.append(" " + output.key().key() + "@" + output.key().window().start() + "/" + output.key().window().end() + "=" + output.value() + " t" + output.timestamp());
        System.out.println(line);
      }
      double dropped = 0;
      for (var metric : driver.metrics().values())
        if (metric.metricName().name().equals("dropped-records-total")) dropped += (Double) metric.metricValue();
      System.out.println("dropped " + (long) dropped);
    }
    System.out.println("###END");
  }

  static Duration ms(long millis) { return Duration.ofMillis(millis); }

  static Materialized<String, String, WindowStore<Bytes, byte[]>> windows() { return Materialized.<String, String, WindowStore<Bytes, byte[]>>with(Serdes.String(), Serdes.String()); }
  static Materialized<String, String, SessionStore<Bytes, byte[]>> sessions() { return Materialized.<String, String, SessionStore<Bytes, byte[]>>with(Serdes.String(), Serdes.String()).withRetention(ms(1000)); }

  public static void main(String[] arguments) {
    Initializer<String> init = () -> "";
    Aggregator<String, String, String> join = (key, value, row) -> row + "+" + value;
    Merger<String, String> merge = (key, one, other) -> "(" + one + "|" + other + ")";
    Aggregator<String, String, String> joinOrDelete = (key, value, row) -> value.endsWith("3") ? null : row + "+" + value;

    show("tumbling", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeWithNoGrace(ms(10))).aggregate(init, join),
        "a@25 a@9 a@20 a@19 b@30 a@29 a@31! a@0");
    show("tumbling_with_grace", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(5))).aggregate(init, join),
        "a@1 a@11 a@9 b@14 a@8 b@15 a@7 a@30 a@15 a@24 a@25");
    show("tumbling_cached", true, TIMES, g -> g.windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(5))).aggregate(init, join),
        "a@1 a@11 a@9 b@14 a@8 b@15 a@7 a@30 a@15 a@24 a@25");
    show("tumbling_reduce", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(100))).reduce((x, y) -> x + "*" + y),
        "a@1 a@11 a@9 b@5 a@30 a@2");
    show("tumbling_with_deletions", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(100))).aggregate(init, joinOrDelete),
        "a@1 a@2 a@3 a@4 b@3 a@13 a@5");
    show("hopping", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeWithNoGrace(ms(10)).advanceBy(ms(5))).aggregate(init, join),
        "a@12 a@6 a@3 a@14 b@2 b@22 a@16 a@11");
    show("hopping_unaligned", true, TIMES, g -> g.windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(3)).advanceBy(ms(4))).aggregate(init, join),
        "a@1 a@7 a@9 b@13 a@5 a@8 a@21 a@10 a@13 a@12");
    String sliding = "a@3 a@5 a@4 a@12 a@12 a@20 a@15 a@31 a@25 a@16 a@15 a@14 b@40 a@24 a@23! a@35 a@30 b@41 b@41 b@39 b@60 b@51 b@50 b@46 b@45";
    show("sliding", false, TIMES, g -> g.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(ms(10), ms(5))).aggregate(init, join), sliding);
    show("sliding_cached", true, TIMES, g -> g.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(ms(10), ms(5))).aggregate(init, join), sliding);
    show("sliding_reduce", false, TIMES, g -> g.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(ms(10), ms(50))).reduce((x, y) -> x + "*" + y),
        "a@0 a@10 a@5 a@11 a@21 a@1 a@9 a@9 a@32 a@43 a@33 a@22");
    String sessions = "a@1 a@3 a@12 a@7 a@7 b@20 b@20 a@13 a@21 a@15 a@14 c@25 a@26 b@30 a@31 a@28! b@19 b@36 a@30 a@25";
    show("sessions", false, SESSIONS, g -> g.windowedBy(SessionWindows.ofInactivityGapWithNoGrace(ms(5))).aggregate(init, join, merge, sessions()), sessions);
    show("sessions_cached", true, SESSIONS, g -> g.windowedBy(SessionWindows.ofInactivityGapWithNoGrace(ms(5))).aggregate(init, join, merge, sessions()), sessions);
    show("sessions_with_grace", false, SESSIONS, g -> g.windowedBy(SessionWindows.ofInactivityGapAndGrace(ms(5), ms(7))).aggregate(init, join, merge, sessions()),
        "a@1 b@10 a@2 b@13 a@3 b@14 a@1 a@9 b@22 a@9 b@40 a@27 a@28 a@20");
    show("sessions_reduce", false, SESSIONS, g -> g.windowedBy(SessionWindows.ofInactivityGapAndGrace(ms(5), ms(100))).reduce((x, y) -> x + "*" + y, sessions()),
        "a@1 a@10 a@20 a@15 a@5 a@2 a@50 b@50 a@45 a@44");
    Materialized<String, String, WindowStore<Bytes, byte[]>> kept = windows().withRetention(ms(1000));
    show("tumbling_final", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(2))).emitStrategy(EmitStrategy.onWindowClose()).aggregate(init, join, kept),
        "a@1 b@5 a@11 a@9 b@12 a@3 a@22 b@21 c@100 c@200 c@212 a@150");
    show("hopping_final", false, TIMES, g -> g.windowedBy(TimeWindows.ofSizeWithNoGrace(ms(10)).advanceBy(ms(5))).emitStrategy(EmitStrategy.onWindowClose()).aggregate(init, join, kept),
        "a@1 b@7 a@10 a@16 a@40 a@41 a@44 b@45 a@49 a@50");
    show("sliding_final", false, TIMES, g -> g.windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(ms(10))).emitStrategy(EmitStrategy.onWindowClose()).aggregate(init, join, kept),
        "a@11 a@13 b@14 a@22 a@23 a@24 a@25 c@60 c@61 a@55 c@71 c@72");
    show("sessions_final", false, SESSIONS, g -> g.windowedBy(SessionWindows.ofInactivityGapWithNoGrace(ms(5))).emitStrategy(EmitStrategy.onWindowClose()).aggregate(init, join, merge, sessions()),
        "a@1 b@2 a@6 b@8 a@9 c@14 c@15 c@16 a@60 c@61 a@55 b@70 b@71");
    Aggregator<String, String, String> subtract = (key, value, row) -> row + "-" + value;
    String two = "a@1 a@2~ b@3~ a@11 a@9~ a@8 b@13~ b@9~ a@9~ a@12~ b@30 b@12~ a@33~ a@21";
    showCogroup("cogroup_tumbling", false, TIMES, (g, h) -> g.cogroup(join).cogroup(h, subtract).windowedBy(TimeWindows.ofSizeWithNoGrace(ms(10))).aggregate(init, kept), two);
    showCogroup("cogroup_tumbling_cached", true, TIMES, (g, h) -> g.cogroup(join).cogroup(h, subtract).windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(5))).aggregate(init, kept), two);
    showCogroup("cogroup_hopping", false, TIMES, (g, h) -> g.cogroup(join).cogroup(h, subtract).windowedBy(TimeWindows.ofSizeAndGrace(ms(10), ms(5)).advanceBy(ms(5))).aggregate(init, kept), two);
    showCogroup("cogroup_sliding", false, TIMES, (g, h) -> g.cogroup(join).cogroup(h, subtract).windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(ms(10), ms(5))).aggregate(init, kept), two);
    showCogroup("cogroup_sessions", false, SESSIONS, (g, h) -> g.cogroup(join).cogroup(h, subtract).windowedBy(SessionWindows.ofInactivityGapAndGrace(ms(5), ms(7))).aggregate(init, merge, sessions()), two);
    showCogroup("cogroup_sessions_cached", true, SESSIONS, (g, h) -> g.cogroup(join).cogroup(h, subtract).windowedBy(SessionWindows.ofInactivityGapAndGrace(ms(5), ms(7))).aggregate(init, merge, sessions()), two);
  }
}
