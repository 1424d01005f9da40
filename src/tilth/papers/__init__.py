"""Papers: a library of them in one SQLite file, its feed, its search and what goes out by e-mail.

tilth brings 98 papers, summarised in its own words; whatever else a user imports lies beside them.
What was measured of a paper comes from below as an argument (`measured.Measured`).
"""
