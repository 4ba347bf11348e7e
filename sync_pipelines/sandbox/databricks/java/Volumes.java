package sync.sandbox;

import java.io.File;
import java.io.IOException;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;

/** The local file system, with /Volumes mounted from a folder that the configuration names. */
public class Volumes extends LocalFileSystem {
  public Volumes() {
    super(new Mounted());
  }

  private static class Mounted extends RawLocalFileSystem {
    private static boolean holds(Path path) {
      String asked = path.toUri().getPath();
      return asked != null && asked.startsWith("/Volumes/");
    }

    @Override
    public File pathToFile(Path path) {
      if (!holds(path)) {
        return super.pathToFile(path);
      }
      String inside = path.toUri().getPath().substring("/Volumes".length());
      return new File(getConf().get("sync.sandbox.volumes") + inside);
    }

    /** Spark looks its files up by the path it asked for: the answer must not name the real one. */
    @Override
    public FileStatus getFileStatus(Path path) throws IOException {
      FileStatus real = super.getFileStatus(path);
      if (!holds(path)) {
        return real;
      }
      return new FileStatus(
          real.getLen(), real.isDirectory(), 1, real.getBlockSize(), real.getModificationTime(), makeQualified(path));
    }

    @Override
    public FileStatus[] listStatus(Path path) throws IOException {
      boolean file = holds(path) && pathToFile(path).isFile();
      return file ? new FileStatus[] {getFileStatus(path)} : super.listStatus(path);
    }
  }
}
