"""The loader: nothing is loaded that was not approved, byte for byte."""
