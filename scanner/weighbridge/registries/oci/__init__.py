"""OCI registries: models kept as artifacts or images beside a project's containers.

Our own client of the distribution specification, because the common one for Python verifies no digest.
"""
