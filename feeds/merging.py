"""Several instruments' records as one stream in the order in which they became known."""

from collections.abc import Iterator, Sequence

import numpy as np


def by_time(streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """All records in the order of ts_known, instruments of one instant in their order, chunk by chunk.

    Each stream yields arrays of any one record dtype, none empty, in the order of its ts_known. How the streams are cut
    does not change the records that come out, only where these are cut.
    """
    heads = [next(stream, None) for stream in streams]
    while open_heads := [head for head in heads if head is not None]:
        until = min(int(head["ts_known"][-1]) for head in open_heads)
        taken = []
        for index in range(len(heads)):
            while (head := heads[index]) is not None:
                count = int(np.searchsorted(head["ts_known"], until, side="right"))
                taken.append(head[:count])
                if count < len(head):
                    heads[index] = head[count:]
                    break
                heads[index] = next(streams[index], None)  # an instant may go on in the next chunk
        chunk = np.concatenate(taken)
        yield chunk[np.lexsort((chunk["instrument"], chunk["ts_known"]))]
