"""Servers for tests, on 127.0.0.1 and a free port, each with faults that a test can switch on."""
