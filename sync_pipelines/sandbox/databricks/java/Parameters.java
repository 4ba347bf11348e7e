package sync.sandbox;

import org.apache.spark.sql.Column;
import org.apache.spark.sql.catalyst.expressions.Cast;
import org.apache.spark.sql.catalyst.expressions.EvalMode;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.Literal;
import org.apache.spark.sql.classic.ExpressionUtils;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.unsafe.types.UTF8String;
import scala.Option;

/** A statement's parameter: text cast to its type, as a literal, because Spark binds nothing else. */
public class Parameters {
  public static Column literal(String value, String type) {
    DataType wanted = DataType.fromDDL(type);
    Expression text = Literal.create(value == null ? null : UTF8String.fromString(value), DataTypes.StringType);
    Object held = new Cast(text, wanted, Option.apply("UTC"), EvalMode.ANSI()).eval(null);
    return ExpressionUtils.column(Literal.create(held, wanted));
  }
}
