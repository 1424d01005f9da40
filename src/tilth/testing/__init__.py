"""Checks that a method keeps its contract, hostile inputs, and faults; for plugins too.

    check_signal, check_transform      tilth.testing.signals, tilth.testing.transforms
    check_retriever, check_objective   tilth.testing.retrievers, tilth.testing.objectives
    mixed                              a folder of mixed documents with known faults
    strategies                         hypothesis strategies for texts, documents, batches
    hostile, hostile_files             texts and files that break careless code
    faults                             stop a process dead at any write

They raise AssertionError and need no test framework.
"""
