"""The fused engine: many steps in one compiled call, threads sharing the work of each step."""
