import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def test_imports_keep_the_contracts_of_pyproject():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 kept, 0 broken" in done.stdout


def test_every_package_has_its_layer():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = {
        name.strip()
        for contract in settings["contracts"]
        if "containers" not in contract
        for layer in contract.get("layers", [])
        for name in layer.split("|")
    }
    modules = (REPOSITORY / "fb_jax").glob("[!_]*")
    code = [path for path in modules if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert layers == {f"fb_jax.{path.stem}" for path in code}
