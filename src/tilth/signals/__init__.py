"""What is measured on documents, each signal one module; a literal table names them.

A signal adds columns aligned row by row and never deletes; rules decide over the columns.
"""

SIGNALS = {
    "contamination": "tilth.signals.contamination:Contamination",
    "harm": "tilth.signals.harm:Harm",
    "language": "tilth.signals.language:Language",
    "length": "tilth.signals.length:Length",
    "licence": "tilth.signals.licence:Licence",
    "perplexity": "tilth.signals.perplexity:Perplexity",
    "personal_data": "tilth.signals.personal:PersonalData",
    "repetition": "tilth.signals.repetition:Repetition",
    "score": "tilth.signals.score:Score",
    "symbols": "tilth.signals.symbols:Symbols",
    "web_rules": "tilth.signals.web_rules:WebRules",
}
