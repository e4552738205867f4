// SPDX-License-Identifier: Apache-2.0
//
// Kafka's own consumer: Consume.java SERVERS TOPIC COUNT SECONDS. Prints the first COUNT
// records of a topic, a line each: partition, key, headers (NAME=VALUE, with commas),
// value; tabs between, "-" for a key that is not there. Exit status 1: they do not come.
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Consume {
    static String text(byte[] bytes) {
        return bytes == null ? "-" : new String(bytes, StandardCharsets.UTF_8);
    }

    static String line(ConsumerRecord<byte[], byte[]> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers())
            headers.add(header.key() + "=" + text(header.value()));
        return record.partition() + "\t" + text(record.key()) + "\t"
            + String.join(",", headers) + "\t" + text(record.value());
    }

    public static void main(String[] args) {
        long end = System.nanoTime() + Long.parseLong(args[3]) * 1_000_000_000L;
        int left = Integer.parseInt(args[2]);
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(args[1]).forEach(
                p -> partitions.add(new TopicPartition(p.topic(), p.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (left > 0 && System.nanoTime() < end) {
                for (ConsumerRecord<byte[], byte[]> record
                        : consumer.poll(Duration.ofMillis(200))) {
                    if (left-- > 0)
                        System.out.println(line(record));
                }
            }
        }
        System.exit(left > 0 ? 1 : 0);
    }
}
