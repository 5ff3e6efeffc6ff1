"""Compare the speed of deltaprop with other libraries: ``python -m benchmarks --help``.

The contestants run in float32 on two cores in one process. Those of a case take turns at the same
work, so that other load on the machine affects all of them, and the medians of the turns are
compared. Ratios are more reliable than times, because machines are noisy. ``--busy N`` adds such
load on purpose. ``python -m benchmarks.busy`` runs each contestant in many fresh processes, and
``python -m benchmarks.page`` writes the results of both to docs/benchmarks.md.
"""
