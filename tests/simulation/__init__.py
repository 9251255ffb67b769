"""A Kafka cluster in memory, behind ``csv2kafka.kafka.port``, on a clock that jumps: a minute takes no time."""
