"""Which model a folder holds."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from cosyserve_workers.engine import LoadError
from cosyserve_workers.native.models import COSYVOICE2, COSYVOICE3, model_in


def test_the_yaml_tells_the_model(small_checkpoint: Path, small_checkpoint_3: Path, tmp_path: Path) -> None:
    assert model_in(small_checkpoint) is COSYVOICE2
    assert model_in(small_checkpoint_3) is COSYVOICE3
    with pytest.raises(LoadError, match=r"has no cosyvoice2.yaml and no cosyvoice3.yaml"):
        model_in(tmp_path)
    for model in (COSYVOICE2, COSYVOICE3):
        (tmp_path / model.yaml).write_text("sample_rate: 24000\n")
    with pytest.raises(LoadError, match="mixed"):
        model_in(tmp_path)
    with pytest.raises(LoadError, match="there is no model folder"):
        model_in(tmp_path / "missing")
