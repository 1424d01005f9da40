"""Archives, tables and web archives: files that are walked through in a child process.

A child opens the file, walks through it with limits, and hands over frames: a header and some
bytes. In the child run `walk` (what comes next), `budget` (the limits), `zip_members`,
`tar_members`, `warc_records` and `csv_rows`. In the reading process `walking` asks for more frames,
and `members` turns the members of an archive into documents by their own formats. No frame is
larger than one document may be, and nothing is ever written to disk.

Frames, by `kind`:

- `open`: a member begins: its `source`, its `name`, and its `format` where frames go on to tell of
  its rows or records, else "": then `data` follows.
- `data`: bytes of the member. `columns`, `rows`: of a table. `record`: of a web archive.
- `problem`: what could not be read: `source`, `reason`, `detail`, `position`.
- `close`: the member ends; with a `reason` where it could not be read to its end.
- `refused`: the walk ends here, for a reason. `error`: it ends for what the system says.
"""
