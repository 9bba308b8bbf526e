"""Import all that the engine `cosyvoice` will: `python -m cosyserve_workers.trial MODEL_DIR [SOURCE_DIR]`.

Not for use by hand: `cosyserve check` runs it in a process of its own, and reads the last line of its output, which is
JSON: `{"problem": "..."}`, one line with the remedy, empty where there is none.
"""

import json
import sys
from pathlib import Path

from cosyserve.check.model_folder import model_in
from cosyserve_workers.engine import LoadError, import_factory


def problem(model_dir: Path, source_dir: str) -> str:
    """What the engine would say if it could not import what it needs; empty where it can."""
    try:
        import_factory("cosyvoice")
        _import_library(model_dir, source_dir)
    except LoadError as error:
        return str(error)
    return ""


def _import_library(model_dir: Path, source_dir: str) -> None:
    from cosyserve_workers.cosyvoice.library import open_for, open_library

    model = model_in(model_dir)
    if model is None:
        open_library(source_dir)
    else:
        open_for(model, model_dir, source_dir)


if __name__ == "__main__":
    _, folder, *source = sys.argv
    answer = json.dumps({"problem": problem(Path(folder), "".join(source))})
    # A line of its own, whatever the library has printed.
    print(f"\n{answer}")  # noqa: T201 - printing is what it is for
