"""Activations, losses, initial weights, dropout masks and the array helpers that they use."""
