"""Training on many machines with Ray: independent models in parallel, or one model on all."""

from deltaprop.cluster.many import cross_validate, fit_many
from deltaprop.cluster.training import fit

__all__ = ["cross_validate", "fit", "fit_many"]
