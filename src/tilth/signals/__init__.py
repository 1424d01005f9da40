"""What is measured on documents, each signal one module; a literal table names them.

A signal adds columns aligned row by row and never deletes; rules decide over the columns.
"""

SIGNALS = {
    "language": "tilth.signals.language:Language",
    "length": "tilth.signals.length:Length",
    "repetition": "tilth.signals.repetition:Repetition",
    "symbols": "tilth.signals.symbols:Symbols",
}
