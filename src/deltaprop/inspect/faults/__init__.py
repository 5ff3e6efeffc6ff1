"""The faults that :func:`deltaprop.diagnose` recognises, by where they are seen.

Losses are divided by that of the constant prediction: the best prediction that does not depend on
X. It is 1 on the scale of every threshold. The thresholds are set so that networks that learn stay
well below them; each has a comment that says why.
"""
