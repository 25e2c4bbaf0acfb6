import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from fb_jax.banks import open_banks

ROOT = Path(__file__).parents[2]


def test_the_encoder_of_the_page_on_encoders_works_as_it_says(media, tmp_path):
    page = (ROOT / "docs/encoders.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (command,) = re.findall(
        r"^python (-m encoders_torch.export .*my_encoder:Colours.*)$", page, re.M
    )
    (tmp_path / "my_encoder.py").write_text(code)
    args = command.replace("photos/", str(media / "image")).split()
    done = subprocess.run(
        [sys.executable, *args],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = open_banks(tmp_path / "BANKS", spaces=["colours"])["colours", "image"][:]
    assert rows.shape == (5, 3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-3)
    assert len([line for line in code.splitlines() if line]) <= 15
