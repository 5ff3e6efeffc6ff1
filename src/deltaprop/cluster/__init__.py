"""Many machines, through Ray: independent models side by side, or one model on all of them."""

from deltaprop.cluster.many import cross_validate, fit_many
from deltaprop.cluster.training import fit

__all__ = ["cross_validate", "fit", "fit_many"]
