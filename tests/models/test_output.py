"""A stage's output: whole or not there, and every change to it afterwards is found and named."""

import hashlib
from pathlib import Path

import pytest

from core.errors import BadInput
from models.output import SUMS, output_folder, verify_output


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A sealed output with a file in a folder of its own."""
    folder = tmp_path / "features"
    with output_folder(folder) as out:
        (out / "fold_0").mkdir()
        (out / "fold_0" / "label.npy").write_bytes(b"labels")
        (out / "spec.json").write_bytes(b"{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sums_are_those_of_sha256sum(made: Path) -> None:
    lines = (made / SUMS).read_text().splitlines()
    assert lines == [f"{hashlib.sha256(b'labels').hexdigest()}  fold_0/label.npy",
                     f"{hashlib.sha256(b'{}').hexdigest()}  spec.json"]  # fmt: skip
    assert verify_output(made, stage="featurize") == hashlib.sha256((made / SUMS).read_bytes()).hexdigest()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_the_output_before(made: Path, error: BaseException) -> None:
    before = contents(made)
    with pytest.raises(type(error)) as caught, output_folder(made) as out:
        (out / "spec.json").write_bytes(b"half")
        raise error
    assert contents(made) == before
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(made)


def test_a_new_output_replaces_the_old_and_what_a_killed_one_left(made: Path) -> None:
    left = made.with_name(f".{made.name}.partial")
    left.mkdir()
    (left / "junk").touch()
    with output_folder(made) as out:
        (out / "other.json").touch()
    assert set(contents(made)) == {"other.json", SUMS}
    assert not left.exists()


def test_every_change_is_named_with_its_remedy(made: Path) -> None:
    label = made / "fold_0" / "label.npy"
    remedy = "make it anew with `dvc repro featurize`"
    for alter, words in (
        (lambda: label.write_bytes(b"labelt"), "label.npy: altered"),
        (lambda: label.write_bytes(b"label"), "label.npy: altered"),
        (label.unlink, "label.npy: missing"),
        (lambda: (made / "fold_9.npy").touch(), "fold_9.npy: not written by stage featurize"),
        (lambda: (made / SUMS).write_bytes(b"\xff\xfe"), "missing"),
        ((made / SUMS).unlink, "SHA256SUMS: No such file or directory"),
    ):
        before = contents(made)
        alter()
        with pytest.raises(BadInput, match=words) as caught:
            verify_output(made, stage="featurize")
        assert remedy in str(caught.value)
        for name in contents(made).keys() - before.keys():
            (made / name).unlink()
        for name, data in before.items():
            (made / name).write_bytes(data)
    verify_output(made, stage="featurize")


def test_an_output_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"features/SHA256SUMS: No such file.*`dvc repro featurize`"):
        verify_output(tmp_path / "features", stage="featurize")
