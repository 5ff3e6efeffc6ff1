"""The faults that :func:`deltaprop.diagnose` recognises, by where they are seen.

Losses are divided by that of the constant prediction: the best prediction that does not depend on
X. On this scale, which all thresholds use, the constant prediction has a loss of 1. Networks that
learn stay well below the thresholds; a comment at each gives the reason.
"""
