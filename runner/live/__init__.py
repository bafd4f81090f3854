"""A market as it happens: one venue's public streams through ccxt, read by the dialects that research uses.

``settings`` what is followed and how patiently; ``exchange`` all that knows ccxt; ``link`` one instrument's connection,
its breaks and its repairs; ``feed`` several links as one stream of records; ``pieces`` and ``recorder`` the same lines
on disk; ``adapter`` the stream as a session's feed.
"""
