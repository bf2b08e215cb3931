"""Weights out of other containers into safetensors, bit for bit, without running anything."""
