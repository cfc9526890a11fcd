"""The hook that .pre-commit-hooks.yaml offers runs the gate, and the workflow files are what their readers take."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ci"

GATE = """
models = ["digits"]
data = '{data}'
select = {{ indices = [0] }}
norms = ["linf"]

[[require]]
min_distortion = {least}
"""


def test_the_workflow_and_the_action_are_right_for_actionlint() -> None:
    """By its fork jactionlint, which also reads composite actions, and of which PyPI has a wheel."""
    linter = shutil.which("jactionlint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("jactionlint has a wheel for Linux only")
    files = [str(EXAMPLE / ".github" / "workflows" / "robustness.yml"), str(ROOT / "action.yml")]
    done = subprocess.run(
        [linter, "--strict-exit", "--shellcheck=", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose hooks are those of this project's manifest; they run here instead of being installed."""
    yaml = pytest.importorskip("yaml", reason="comes with pre-commit")
    pytest.importorskip("pre_commit")
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"] == "verifier gate"
    hook |= {"language": "system", "entry": f'"{sys.executable}" -m verifier gate'}
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    return tmp_path


@pytest.mark.parametrize(("least", "code", "said"), [(0.001, 0, "Passed"), (0.5, 1, "Failed")])
def test_the_hook_runs_the_gate(repository: Path, least: float, code: int, said: str) -> None:
    data = ROOT / "verifier" / "models" / "digits_inputs.npz"
    (repository / "robustness.toml").write_text(GATE.format(data=data, least=least), encoding="utf-8")
    subprocess.run(["git", "add", "--all"], check=True)
    call = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout


def test_the_manifest_is_one() -> None:
    pytest.importorskip("pre_commit")
    call = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    subprocess.run(call, check=True)
