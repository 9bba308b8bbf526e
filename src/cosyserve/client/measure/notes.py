"""How the figures are to be read: said in every report."""

NOTES = (
    (
        "First audio: from the last byte of the request, handed to the kernel, to the first byte of PCM received; "
        "opening the connection is not in it. The service's own clock begins at the admission and ends before the "
        "answer is sent, so its figure is a little smaller."
    ),
    (
        "An underrun is a piece of sound that came later than the sound before it lasted. A listener who ran dry "
        "goes on at once. Silence is what such a listener waited, all together."
    ),
    "p50 and p95 are values that were measured (nearest rank); of fewer than 20 requests, p95 is the worst.",
    (
        "The clients are a closed loop: each asks again when it has heard its answer to the end. A service that "
        "stalls is asked less while it stalls (coordinated omission), so p95 is kinder than what callers meet who "
        "come when they like. Compare such figures with others of the same number of clients, and size by the share "
        "of runs without an underrun."
    ),
    (
        "Audio seconds per second are those of the whole stage, its end included, when fewer clients are left than "
        "the stage has."
    ),
    (
        "503 and 429 are counted as refused: the service had no room. A client that was refused comes again half a "
        "second later."
    ),
)
