"""A batch job of Spark in one process and one thread, CSV to Kafka: ``spark_job.py SOURCE SERVERS TOPIC JARS``.

``JARS``: the Kafka connector's, with commas.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import lit, struct, to_json


def main() -> None:
    source, servers, topic, jars = sys.argv[1:]
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.jars", jars)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.jsonGenerator.ignoreNullFields", "false")
        .getOrCreate()
    )
    rows = spark.read.csv(source, header=True, multiLine=True, quote='"', escape='"')
    (
        rows.select(to_json(struct(*rows.columns)).alias("value"), lit(0).alias("partition"))
        .write.format("kafka")
        .option("kafka.bootstrap.servers", servers)
        .option("topic", topic)
        .option("kafka.acks", "all")
        .option("kafka.enable.idempotence", "true")
        .option("kafka.compression.type", "zstd")
        .option("kafka.linger.ms", "20")
        .option("kafka.batch.size", str(1 << 20))
        .save()
    )
    spark.stop()


if __name__ == "__main__":
    main()
