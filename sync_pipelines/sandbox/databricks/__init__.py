"""A stand-in of Databricks on one machine: its HTTP front over a real Spark with Delta.

What the front answers has the shapes that databricks-sdk parses; the SQL itself runs on Spark, so a statement is
proven and not only sent. Never a place for anybody's data: it is for `make demo` and the tests.
"""
