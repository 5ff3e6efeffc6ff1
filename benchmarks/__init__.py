"""How fast deltaprop is beside its peers: ``python -m benchmarks --help``.

Everything is float32 on two threads in one process. The contestants of a case take turns, each with
the same work, so that what else the machine does falls on all of them; the median of the turns is
compared. Machines are noisy: read the ratios, not the microseconds.
"""
