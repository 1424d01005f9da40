"""Pages of `tilth serve`: drawn on the server, usable without script, in a browser of any size.

`site.ROUTES` is the literal table of all pages. Needs the extra `web`; without a run no torch,
pyarrow or duckdb is imported.
"""
