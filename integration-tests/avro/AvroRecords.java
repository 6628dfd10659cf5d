// Writes records as a Java producer does, with Apache Avro for Java behind Confluent's header, and prints them as hexadecimal lines: the
// id of the schema is its place among the arguments, which are the files of the schemas. Made the records in `records.hex`:
//
//   java -cp "$AVRO" AvroRecords.java order-1.avsc order-2.avsc order-3.avsc delivery.avsc > records.hex
//
// with a JDK 17, where $AVRO is the class path of org.apache.avro:avro:1.12.0, by mvn dependency:build-classpath.

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.EncoderFactory;

public class AvroRecords {
    public static void main(String[] arguments) throws Exception {
        Schema[] schemas = new Schema[arguments.length];
        for (int place = 0; place < schemas.length; place++) {
            schemas[place] = new Schema.Parser().parse(new File(arguments[place]));
        }
        print(1, record(schemas[0], "apples"));
        print(2, record(schemas[1], "pears", 2L));
        Schema line = schemas[2].getField("lines").schema().getElementType();
        print(3, record(schemas[2], List.of(record(line, "figs", 3L), record(line, "nuts", 4L))));
        for (int of = 0; of < 3; of++) {
            print(4, delivery(schemas[3], of));
        }
    }

    // One for each way to pay.
    private static GenericRecord delivery(Schema schema, int paid) {
        UUID id = UUID.fromString("67e55044-10b1-426f-9247-bb680e5fe0c8");
        byte[] idBytes =
            ByteBuffer.allocate(16).putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits()).array();
        Schema ways = schema.getField("paid").schema();
        Object[] by = {null, record(ways.getTypes().get(1), "4242"), record(ways.getTypes().get(2), 1995L)};
        return record(
            schema,
            new GenericData.Fixed(schema.getField("id").schema(), idBytes),
            1_700_000_000_000L,
            -2,
            12.5,
            0.25f,
            paid > 0,
            new GenericData.EnumSymbol(schema.getField("state").schema(), paid > 0 ? "Arrived" : "Sent"),
            paid > 1 ? "at the back" : null,
            Map.of("apples", 300L),
            by[paid]);
    }

    private static GenericRecord record(Schema schema, Object... values) {
        GenericRecord record = new GenericData.Record(schema);
        for (int place = 0; place < values.length; place++) {
            record.put(place, values[place]);
        }
        return record;
    }

    private static void print(int schemaId, GenericRecord record) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream header = new DataOutputStream(bytes);
        header.writeByte(0);
        header.writeInt(schemaId);
        var encoder = EncoderFactory.get().directBinaryEncoder(bytes, null);
        new GenericDatumWriter<GenericRecord>(record.getSchema()).write(record, encoder);
        System.out.println(HexFormat.of().formatHex(bytes.toByteArray()));
    }
}
