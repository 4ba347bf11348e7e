package sync.sandbox;

import java.io.BufferedOutputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Iterator;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.classic.Dataset;

/** A query's rows as Arrow record batches in files, one file for each partition: never whole in any memory. */
public class Answers {
  public static void write(Dataset<Row> rows, String folder) {
    JavaRDD<byte[]> batches = rows.toArrowBatchRdd().toJavaRDD();
    batches.mapPartitionsWithIndex((number, part) -> save(part, Path.of(folder, String.format("%06d", number))), false)
        .collect();
  }

  private static Iterator<Integer> save(Iterator<byte[]> batches, Path file) throws Exception {
    try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(file))) {
      while (batches.hasNext()) {
        out.write(batches.next());
      }
    }
    return Collections.emptyIterator();
  }
}
