"""Proves that a destination holds exactly the rows of the source, each once, in order.

    comparing  verify, prove: source and destination side by side, row by row; prove gives a receipt
    checking   check_proof: is everything still as a receipt says?
    partition  a partition's committed rows, read back; whose they are
    files      the same for a file of lines

Both sides are read as streams, at flat memory: the CSV through the same way as a run (reading/), Kafka with
read_committed, a file as bytes.
"""

from csv2kafka.verify.checking import check_proof
from csv2kafka.verify.comparing import prove, verify

__all__ = ["check_proof", "prove", "verify"]
