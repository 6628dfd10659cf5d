// Writes orders with Apache Avro for Java in Confluent's format, as hexadecimal lines: the records that the tests of the registry read.

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.util.HexFormat;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.EncoderFactory;

public class AvroRecords {
    public static void main(String[] arguments) throws Exception {
        Schema first = new Schema.Parser().parse(arguments[0]);
        GenericRecord apples = new GenericData.Record(first);
        apples.put("sku", "apples");
        print(1, apples);
        Schema today = new Schema.Parser().parse(arguments[1]);
        Schema line = today.getField("lines").schema().getElementType();
        GenericRecord order = new GenericData.Record(today);
        order.put("lines", List.of(line(line, "figs", 3), line(line, "nuts", 4)));
        print(2, order);
    }

    private static GenericRecord line(Schema schema, String sku, long quantity) {
        GenericRecord line = new GenericData.Record(schema);
        line.put("sku", sku);
        line.put("quantity", quantity);
        return line;
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
