"""A Kafka cluster in memory, behind ``csv2kafka.kafka.port``, on a clock that jumps: a minute's time-out takes no time."""
