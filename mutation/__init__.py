"""Mutation testing of the mathematics: ``python -m mutation --help``.

A mutant is the package with one small change, such as + for -. A mutant that no test notices shows
an assertion that is missing, or is equivalent: no input tells it from the original.

Other programs do not fit here: mutmut leaves decorated functions and module-level code unchanged,
which is where activations and losses are defined, and Cosmic Ray starts a process per mutant, each
of which would import PyTorch and JAX. This one forks after these imports, so that a mutant takes
about a second.
"""
