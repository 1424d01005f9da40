"""The papers feed by e-mail: daily or weekly, confirmed by its reader, ended by one click.

    addresses, tokens, limits    who may ask for what; links that cannot be guessed or turned round
    subscriptions, outbox        what is written down, in the library's own file (tables)
    choose, messages             what a digest holds, and how it looks as text and as HTML
    smtp, delivery               each message handed over once, whatever crashes
    mailing                      all of it as one object, `Digest`

Nothing is sent but by `tilth papers digest --send`, or by a server that was told to ask for
confirmation at once.
"""

from tilth.papers.digest.mailing import Digest

__all__ = ["Digest"]
