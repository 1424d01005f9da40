"""Checks that a method keeps its contract, hostile inputs, and faults; for plugins too.

    check_signal, check_transform      tilth.testing.signals, tilth.testing.transforms
    strategies                         hypothesis strategies for texts, documents, batches
    hostile                            texts that break careless code
    faults                             stop a process dead at any write

They raise AssertionError and need no test framework.
"""
