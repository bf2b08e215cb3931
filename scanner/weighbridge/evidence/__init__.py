"""Evidence: verified claims about digests. Who signed a model, and whether it is whole.

A module here turns bytes (a bundle, a tree of files) and what is trusted into values of `base`, or raises the refusal
that says which of the two is wrong. Nothing here fetches anything; `keyless` alone imports sigstore.
"""
