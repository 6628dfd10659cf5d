import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.Aggregator;
import org.apache.kafka.streams.kstream.KeyValueMapper;
import org.apache.kafka.streams.kstream.Merger;
import org.apache.kafka.streams.kstream.Predicate;
import org.apache.kafka.streams.kstream.Reducer;
import org.apache.kafka.streams.kstream.ValueJoiner;
import org.apache.kafka.streams.kstream.ValueJoinerWithKey;
import org.apache.kafka.streams.kstream.Windowed;

/**
 * The functions that cases name. Each is the function of the same name in functions.rs: what one of them does, both do. They take keys
 * and values of any type as text.
 */
final class Functions {
    /** Rows that only grow would soon be all that a case is about. */
    private static final int LONGEST = 40;

    /** How people, and functions, read a key or a value. */
    static String text(Object any) {
        if (any instanceof Windowed<?> windowed) {
            return windowed.key() + "@" + windowed.window().start() + "/" + windowed.window().end();
        }
        return any == null ? null : any.toString();
    }

    static Predicate<Object, Object> predicate(String name) {
        return (key, value) -> switch (name) {
            case "all" -> true;
            case "none" -> false;
            case "even_length" -> length(value) % 2 == 0;
            case "long" -> isLong(value);
            case "has_value" -> value != null;
            case "key_after_a" -> key != null && text(key).compareTo("a") > 0;
            default -> throw unknown("predicate", name);
        };
    }

    static KeyValueMapper<Object, Object, String> valueMapper(String name) {
        return (key, value) -> switch (name) {
            case "upper" -> value == null ? null : text(value).toUpperCase(Locale.ROOT);
            case "append" -> text(value) + "!";
            case "with_key" -> text(key) + "=" + text(value);
            case "half" -> value == null ? null : text(value).substring(0, length(value) / 2);
            case "null_if_long" -> isLong(value) ? null : text(value);
            default -> throw unknown("value mapper", name);
        };
    }

    static KeyValueMapper<Object, Object, Iterable<String>> flatValueMapper(String name) {
        return (key, value) -> switch (name) {
            case "letters" -> letters(value);
            case "twice" -> {
                List<String> twice = new ArrayList<>();
                twice.add(text(value));
                twice.add(text(value));
                yield twice;
            }
            case "none_if_long" -> isLong(value) ? List.of() : oneOf(text(value));
            default -> throw unknown("flat value mapper", name);
        };
    }

    /** For keys, foreign keys, keys of groups and of global tables. */
    static KeyValueMapper<Object, Object, String> keySelector(String name) {
        return (key, value) -> switch (name) {
            case "key" -> text(key);
            case "value" -> text(value);
            case "first_letter" -> length(value) == 0 ? null : text(value).substring(0, 1);
            case "length" -> String.valueOf(length(value));
            case "same" -> "same";
            default -> throw unknown("key selector", name);
        };
    }

    static KeyValueMapper<Object, Object, KeyValue<String, String>> mapper(String name) {
        return (key, value) -> switch (name) {
            case "swap" -> KeyValue.pair(text(value), text(key));
            case "by_first_letter" -> KeyValue.pair(keySelector("first_letter").apply(key, value), text(value));
            default -> throw unknown("mapper", name);
        };
    }

    static KeyValueMapper<Object, Object, Iterable<KeyValue<String, String>>> flatMapper(String name) {
        return (key, value) -> {
            List<KeyValue<String, String>> pairs = new ArrayList<>();
            switch (name) {
                case "by_letter" -> letters(value).forEach(letter -> pairs.add(KeyValue.pair(letter, text(value))));
                case "and_swapped" -> {
                    pairs.add(KeyValue.pair(text(key), text(value)));
                    pairs.add(KeyValue.pair(text(value), text(key)));
                }
                default -> throw unknown("flat mapper", name);
            }
            return pairs;
        };
    }

    /** A value as the whole of a row, of a group's row, or of a session's: what each aggregation begins with. */
    static String initial(String name) {
        return switch (name) {
            case "log", "until_long" -> "";
            case "total_length" -> "0";
            default -> throw unknown("aggregator", name);
        };
    }

    static Aggregator<Object, Object, String> aggregator(String name) {
        return (key, value, row) -> switch (name) {
            case "log" -> newest(row + "+" + text(value));
            case "total_length" -> sum(row, length(value));
            case "until_long" -> isLong(value) ? null : newest(row + text(value));
            default -> throw unknown("aggregator", name);
        };
    }

    static Aggregator<Object, Object, String> subtractor(String name) {
        return (key, value, row) -> switch (name) {
            case "log" -> newest(row + "-" + text(value));
            case "total_length" -> sum(row, -length(value));
            case "until_long" -> isLong(value) ? newest(row + "-" + text(value)) : null;
            default -> throw unknown("subtractor", name);
        };
    }

    static Merger<Object, String> merger(String name) {
        return (key, one, other) -> switch (name) {
            case "log", "until_long" -> newest(one + "|" + other);
            case "total_length" -> sum(one, number(other));
            default -> throw unknown("merger", name);
        };
    }

    static Reducer<Object> reducer(String name) {
        return (row, value) -> switch (name) {
            case "concat" -> row instanceof Long number ? (Object) (number + (Long) value) : newest(text(row) + text(value));
            case "last" -> value;
            case "max" -> isAfter(row, value) ? row : value;
            default -> throw unknown("reducer", name);
        };
    }

    static Reducer<Object> subtractingReducer(String name) {
        return (row, value) -> newest(text(row) + "-" + text(value));
    }

    static ValueJoiner<Object, Object, String> joiner() {
        return (left, right) -> newest(text(left) + "/" + text(right));
    }

    /** Of a stream: gets the key, too. */
    static ValueJoinerWithKey<Object, Object, Object, String> joinerWithKey() {
        return (key, left, right) -> newest(text(key) + ":" + newest(text(left) + "/" + text(right)));
    }

    static int length(Object value) {
        return value == null ? 0 : text(value).length();
    }

    static String newest(String text) {
        return text.substring(Math.max(0, text.length() - LONGEST));
    }

    static boolean isLong(Object value) {
        return length(value) > 2;
    }

    private static String sum(String row, long more) {
        return String.valueOf(number(row) + more);
    }

    /** A row may be one of another aggregator of a cogroup. */
    private static long number(String row) {
        try {
            return Long.parseLong(row);
        } catch (NumberFormatException isText) {
            return 0;
        }
    }

    private static boolean isAfter(Object one, Object other) {
        return one instanceof Long number ? number > (Long) other : text(one).compareTo(text(other)) > 0;
    }

    /** Of a long value only the first three, so that cases stay small. */
    private static List<String> letters(Object value) {
        return value == null ? List.of() : text(value).chars().limit(3).mapToObj(Character::toString).toList();
    }

    private static List<String> oneOf(String value) {
        List<String> one = new ArrayList<>();
        one.add(value);
        return one;
    }

    private static IllegalArgumentException unknown(String what, String name) {
        return new IllegalArgumentException("no such " + what + ": " + name);
    }
}
