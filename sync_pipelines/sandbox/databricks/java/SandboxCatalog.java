package sync.sandbox;

import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.delta.catalog.DeltaCatalog;
import org.apache.spark.sql.execution.datasources.v2.V2SessionCatalog;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/** The session's own catalog under another name: what makes the three-level name main.schema.table work. */
public class SandboxCatalog extends DeltaCatalog {
  private String name;

  public SandboxCatalog() {
    setDelegateCatalog(new V2SessionCatalog(SparkSession.active().sessionState().catalog()));
  }

  @Override
  public void initialize(String name, CaseInsensitiveStringMap options) {
    super.initialize(name, options);
    this.name = name;
  }

  @Override
  public String name() {
    return name;
  }
}
