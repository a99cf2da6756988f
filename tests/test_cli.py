"""The command line: spelling, configuration files, recipes, messages, exit codes."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genas import __version__, cli, configuration_files
from genas.cli import Verb, main

EXAMPLE = r'''
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from genas.errors import UnreadSettingError


@final
@dataclass(frozen=True)
class Rate:
    """A schedule.

    Args:
        start: First value.
        steps: How many.
    """

    start: float = 0.5
    steps: int | None = None


@final
@dataclass(frozen=True)
class Training:
    """How to train.

    Args:
        epochs: Passes over the images.
        rate: The schedule.
        flip: Whether images are mirrored.
        steps: Another number of steps.
    """

    epochs: int = 3
    rate: Rate = field(default_factory=lambda: Rate(steps=7))
    flip: bool | None = None
    steps: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, but got {self.epochs}.")


seen = {}


def work(
    run: Path,
    training: Training = Training(epochs=4),
    max_macs: int | None = None,
    kind: Literal["quick", "slow"] = "quick",
    stds: tuple[float, ...] = (0.1, 0.2),
    quiet: bool = False,
) -> None:
    r"""Do some work.

    It takes a while.

    Args:
        run: The ``run`` folder.
        training: How it is trained.
        max_macs: Limit.
        kind: Which kind.
        stds: Noise levels :math:`\sigma`, see :class:`~torch.Tensor`.
        quiet: Print nothing.
    """
    seen.clear()
    seen.update(locals())
    if run.name == "bug":
        {}["missing"]
    if run.name == "noted":
        error = ValueError("A rule was broken.")
        error.add_note("while breaking it")
        raise error
    if run.name == "foreign":
        int("x")
    if run.name == "key":
        raise KeyError("There is no metric named 'x'. Known: y.")
    if run.name == "value":
        raise ValueError(
            "A rule was broken."
        )
    if run.name == "stop":
        raise KeyboardInterrupt
    if run.name == "nofile":
        run.read_text()
    if run.name == "unread" and (training.rate.start != 0.5 or max_macs is not None):
        raise UnreadSettingError("nothing is trained here", "training.rate.start", "max_macs")
'''


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """A verb ``work-hard``; yields what its function was called with."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "genas_example.py").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.VERBS, "work-hard", Verb("genas_example", "work", "Work."))
    monkeypatch.delenv("GENAS_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    import genas_example  # type: ignore[import-not-found]

    # The module stands for one of genas: errors that it raises on purpose are messages.
    monkeypatch.setattr(genas_example, "__name__", "genas.example")
    yield genas_example.seen
    del sys.modules["genas_example"]


# --- the program ---


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in ("inspect", "train-supernet", "evolve"))
    assert main([]) == 2
    assert capsys.readouterr().err == out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"genas {__version__}\n"


def test_unknown_verbs_suggest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspct"]) == 2
    assert "genas: error: there is no verb 'inspct'. Did you mean 'inspect'? Verbs: inspect," in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect", "--help"], ["inspect", "1462", "--json"]])
def test_light_verbs_import_nothing_heavy(words: list[str]) -> None:
    heavy = ("torch", "torchvision", "sklearn", "matplotlib", "deap", "scipy")
    code = f"import sys; from genas.cli import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not set(heavy) & set(done.stderr.split())
    assert "genas.cli" in done.stderr.split()


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: genas {verb} ")
    assert not re.search(r"--[a-z.-]*[_+]", out)


def test_inspect(capsys: pytest.CaptureFixture[str]) -> None:
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    assert main(["inspect", text, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["index"], facts["params"], facts["macs"]) == (1462, 1_531_546, 220_119_690)


def test_an_error_of_the_library_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "99999"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("genas inspect: error: ")
    assert "Traceback" not in err
    assert main(["inspect", "3", "--space", "dart"]) == 1
    assert "There is no search space named 'dart'. Did you mean 'darts" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="pipes close otherwise elsewhere")
@pytest.mark.parametrize("words", [["inspect", "3"], ["--help"], ["inspect", "3", "--print-config"]])
def test_a_broken_pipe_is_quiet(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = f"from genas.cli import main; raise SystemExit(main({words}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_without_an_output_the_work_is_done_all_the_same(
    work: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["work-hard", "a"]) == 0
    assert work


# --- how options are spelled ---


def test_defaults(work: dict[str, object]) -> None:
    assert main(["work-hard", "runs/a"]) == 0
    assert work["run"] == Path("runs/a")
    assert repr(work["training"]) == "Training(epochs=4, rate=Rate(start=0.5, steps=7), flip=None, steps=1)"
    assert (work["max_macs"], work["kind"], work["stds"], work["quiet"]) == (None, "quick", (0.1, 0.2), False)


@pytest.mark.parametrize(
    "words",
    [
        ["--max-macs", "9"],
        ["--max_macs", "9"],
        ["--max-macs=9"],
        ["--max_macs=9"],
    ],
)
def test_dashes_and_underscores(words: list[str], work: dict[str, object]) -> None:
    assert main(["work_hard", "a", *words]) == 0
    assert work["max_macs"] == 9
    assert main(["work-hard", *words, "a"]) == 0
    assert (work["max_macs"], work["run"]) == (9, Path("a"))


@pytest.mark.parametrize("name", ["--training.rate.start", "--rate.start", "--start"])
def test_last_names(name: str, work: dict[str, object]) -> None:
    assert main(["work-hard", "a", name, "0.25"]) == 0
    assert work["training"].rate.start == 0.25  # type: ignore[attr-defined]
    assert work["training"].rate.steps == 7  # type: ignore[attr-defined]
    assert work["training"].epochs == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], False),
        (["--quiet"], True),
        (["--quiet", "true"], True),
        (["--quiet", "no"], False),
        (["--quiet=false"], False),
        (["--no-quiet"], False),
        (["--quiet", "--no-quiet"], False),
    ],
)
def test_flags(words: list[str], value: bool, work: dict[str, object]) -> None:
    assert main(["work-hard", *words, "a"]) == 0
    assert work["quiet"] is value
    assert work["run"] == Path("a")


@pytest.mark.parametrize(("words", "value"), [(["--flip"], True), (["--no-flip"], False), (["--flip", "null"], None)])
def test_optional_flags(words: list[str], value: bool | None, work: dict[str, object]) -> None:
    assert main(["work-hard", "a", *words]) == 0
    assert work["training"].flip is value  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["0.5,0.25", "[0.5, 0.25]", "0.5, 0.25"])
def test_sequences(text: str, work: dict[str, object]) -> None:
    assert main(["work-hard", "a", "--stds", text]) == 0
    assert work["stds"] == (0.5, 0.25)


def test_words_after_two_dashes_are_arguments(work: dict[str, object]) -> None:
    assert main(["work-hard", "--epochs", "2", "--", "--run"]) == 0
    assert work["run"] == Path("--run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: run"),
        (["a", "b"], "unrecognized arguments: b"),
        (["a", "--max-mac=3"], r"there is no option --max-mac\. Did you mean --max-macs\?"),
        (["a", "--epoch=3"], r"there is no option --epoch\. Did you mean --training\.epochs\?"),
        (["a", "--zzz"], r"there is no option --zzz\.\n"),
        (["a", "--steps=3"], r"--steps is ambiguous; give one of --training\.rate\.steps, --training\.steps\."),
        (
            ["a", "--rate=3"],
            r"--rate is a group of options; set one of --training\.rate\.start, --training\.rate\.steps\.",
        ),
        (["a", "--no-epochs"], r"there is no option --no-epochs\."),
        (["a", "--no-quiet=true"], r"--no-quiet takes no value, but got 'true'; use --quiet=true\."),
        (["a", "--max-macs"], "expected one argument"),
        (["a", "--max-macs=x"], r"--max-macs must be int or null, but got 'x'\."),
        (["a", "--epochs", "x"], r"--training\.epochs must be int, but got 'x'\."),
        (["a", "--rate.start", "nan"], r"--training\.rate\.start must be a finite number, but got 'nan'\."),
        (["a", "--kind=qick"], r"--kind must be one of quick, slow, but got 'qick'\."),
        (["a", "--stds=[1,x]"], r"--stds must be a list of float, separated by commas, but got 'x'\."),
        (["a", "--quiet=perhaps"], r"--quiet must be bool, but got 'perhaps'\."),
        (["a", "--epochs=0"], r"epochs must be at least 1, but got 0\."),
    ],
)
def test_wrong_command_lines(
    words: list[str], message: str, work: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["work-hard", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("genas work-hard: error: ")
    assert re.search(message, err)
    assert err.endswith("See genas work-hard --help.\n")
    assert not work


def test_help_of_a_verb(work: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: genas work-hard RUN [options]\n\nDo some work.\n\nIt takes a while.\n")
    for line in (
        "\n  RUN ",
        "The run folder. (required, type: Path)",
        "\n  --max-macs MAX_MACS  ",
        "\n  --training.rate.start START\n",
        "\n  --quiet, --no-quiet ",
        "\n  --training.flip, --no-training.flip\n",
        "(type: float, default: 0.5)",
        "Noise levels sigma, see torch.Tensor.",
        "\n  --config FILE ",
        "\n  --print-config ",
    ):
        assert line in out
    assert "--training CONFIG" not in out
    assert not work


# --- configuration files ---


def write(text: str, name: str = "settings.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def test_options_win_over_the_file_in_any_order(work: dict[str, object]) -> None:
    file = write("training:\n  epochs: 9\n  rate:\n    start: 0.125\nmax_macs: 5\nrun: other\n")
    for words in (
        ["--config", file, "--epochs=2"],
        ["--epochs=2", "--config", file],
        ["--epochs=2", f"--config={file}"],
    ):
        assert main(["work-hard", "a", *words]) == 0
        assert repr(work["training"]) == "Training(epochs=2, rate=Rate(start=0.125, steps=7), flip=None, steps=1)"
        assert (work["max_macs"], work["run"]) == (5, Path("a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: 3}", "in the configuration file there is no option --training.epoch. Did you mean --tra"),
        ("training:", "in the configuration file training must be a mapping of epochs, rate.start, rate.steps, "),
        ("", "the configuration file must be a mapping of options to values, but is ''"),
        (
            "quiet: true\ntraining:",
            "in the configuration file training must be a mapping of epochs, rate.start, rate.steps, ",
        ),
        ("training: 5", "but got 5; leave it out for the defaults."),
        ("max-macs: 5", "in a configuration file --max-macs is called max_macs, with underscores."),
        ("training: {rate: 0.1}", "training.rate must be a mapping of start, steps, but got 0.1; leave it out"),
        ("trainig: 3", "in the configuration file there is no option --trainig."),
        ("training: {epochs: [}", "the configuration file is not valid YAML: while parsing a flow node"),
        (
            "max_macs: 5\ntraining:\n  epochs: 3\n  epochs: 4\n",
            "the configuration file is not valid YAML: epochs is set twice, in lines 3 and 4; keep one of them",
        ),
        ("training: {epochs: 3}\ntraining.epochs: 3", "training is set twice, in lines 1 and 2; keep one of them"),
        ("quiet: &a {b: *a}", "the configuration file is not valid YAML: *a is a part of &a"),
        ("max_macs: !!int x", "the configuration file is not valid YAML: a value cannot be read: invalid literal"),
        ("quiet: !!bool x", "the configuration file is not valid YAML: a value cannot be read: 'x'"),
        ("training: {rate: {start: .inf}}", "--training.rate.start must be a finite number, but got inf."),
        ("training: {rate: {start: 1e400}}", "--training.rate.start must be a finite number, but got inf."),
        ("quiet: null", "in the configuration file quiet must be bool, but got null; leave it out for the default."),
        ("training: {epochs: null}", "training.epochs must be int, but got null; leave it out for the default."),
        ("max_macs: 5\nkind: quick\nmax_macs: 6\n", "max_macs is set twice, in lines 1 and 3;"),
        ("? [a, b]\n: 3\n", "the configuration file is not valid YAML: while constructing a mapping"),
    ],
)
def test_a_wrong_configuration_is_a_message(
    work: dict[str, object], capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert main(["work-hard", "a", "--config", write(text)]) == 2
    assert message in capsys.readouterr().err
    assert not work


def test_a_configuration_is_utf8_whatever_the_machine_prefers(
    work: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.yaml").write_text("kind: quick\nquiet: true  # ü\n", encoding="utf-8-sig")
    assert main(["work-hard", "a", "--config", "~/a.yaml"]) == 0
    assert work["kind"] == "quick"
    (tmp_path / "a.yaml").write_text("kind: quick  # ü\n", encoding="utf-16")
    assert main(["work-hard", "a", "--config", "~/a.yaml"]) == 2
    assert "~/a.yaml must be text in UTF-8, but is not ('utf-8' codec can't decode byte" in capsys.readouterr().err


def test_a_home_folder_of_nobody_is_a_message(work: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "~nobody-of-that-name/a"]) == 2
    assert "begins with the home folder of a user, but there is none; write ./~nobody" in capsys.readouterr().err
    assert not work


def test_the_record_of_a_run_is_no_configuration(
    work: dict[str, object], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = tmp_path / "config.yaml"
    record.write_text("command: work-hard\nmax_macs: 5\n")
    (tmp_path / "environment.json").write_text("{}")
    assert main(["work-hard", "a", "--config", str(record)]) == 2
    message = capsys.readouterr().err
    assert f"{record} is the record of a run" in message
    assert f"The command of that run is in {tmp_path / 'environment.json'}, as argv" in message
    (tmp_path / "environment.json").unlink()
    record.write_text("max_macs: 5\n")
    assert main(["work-hard", "a", "--config", str(record)]) == 0
    assert work["max_macs"] == 5


def test_numbers_mean_the_same_in_a_file_and_on_the_command_line(work: dict[str, object]) -> None:
    """In YAML 1.1, 010 is eight, 1e-3 a text and the third a date, or no date."""
    for start, macs, run in (("1e-3", "010", "2026-11-27"), (".5", "1_000", "2026-31-12")):
        assert main(["work-hard", run, "--start", start, "--max-macs", macs]) == 0
        expected = repr(work["training"]), work["max_macs"], work["run"]
        file = write(f"training:\n  rate:\n    start: {start}\nmax_macs: {macs}\n")
        assert main(["work-hard", run, "--config", file]) == 0
        assert (repr(work["training"]), work["max_macs"], work["run"]) == expected
    assert main(["work-hard", "a", "--config", write("max_macs: null\n")]) == 0
    assert work["max_macs"] is None


def test_the_home_folder_is_found_in_files_and_after_the_equals_sign(
    work: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    monkeypatch.setenv("USERPROFILE", str(Path.cwd()))
    assert main(["work-hard", "~/a", "--config", write("kind: quick\n", "b.yaml")]) == 0
    assert work["run"] == Path.cwd() / "a"


def test_the_printed_configuration_is_one(work: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "a", "--start=0.75", "--no-flip", "--print-config"]) == 0
    assert not work
    file = write(capsys.readouterr().out)
    assert main(["work-hard", "b", "--config", file]) == 0
    assert repr(work["training"]) == "Training(epochs=4, rate=Rate(start=0.75, steps=7), flip=False, steps=1)"
    assert work["run"] == Path("b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  epochz: 3\n", "epochz"),
        ("max_mac: 3\n", "max_mac"),
        ("training:\n  epochs: many\n", r"--training\.epochs must be int, but got 'many'\."),
        ("training: [\n", "line 2"),
        ("- 3\n", "config"),
    ],
)
def test_wrong_files(text: str, message: str, work: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "a", "--config", write(text)]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not work


def test_files_cannot_run_code(work: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "a", "--config", write("kind: !!python/object/apply:os.getcwd []\n")]) == 2
    assert "python/object" in capsys.readouterr().err
    assert not work


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "modules" / "genas_recipes"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    for name, verb, epochs in (("quick", "work-hard", 1), ("thorough", "work-hard", 100), ("other", "rest", 9)):
        text = f"# genas {verb} RUN --config {name}\ntraining:\n  epochs: {epochs}\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(configuration_files, "_RECIPES", "genas_recipes")


def test_recipes_by_name(work: dict[str, object], recipes: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "a", "--config", "thorough"]) == 0
    assert work["training"].epochs == 100  # type: ignore[attr-defined]
    write("training:\n  epochs: 8\n", "thorough")  # a file of that name goes first
    assert main(["work-hard", "a", "--config", "thorough"]) == 0
    assert work["training"].epochs == 8  # type: ignore[attr-defined]
    work.clear()
    assert main(["work-hard", "a", "--config", "slow"]) == 2
    err = capsys.readouterr().err
    assert "--config takes a YAML file or the name of a recipe, but 'slow' is neither. Recipes: quick, thorough." in err
    assert main(["work-hard", "a", "--config", "other"]) == 2
    assert "other is a recipe of genas rest, not of genas work-hard." in capsys.readouterr().err
    assert not work


def test_what_nothing_reads_is_left_out_of_a_file_but_refused_as_an_option(
    work: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("training:\n  epochs: 9\n  rate:\n    start: 0.125\n    steps: 3\nmax_macs: 5\n")
    assert main(["work-hard", "unread", "--config", file]) == 0
    training = work["training"]
    assert (training.epochs, training.rate.start, training.rate.steps) == (9, 0.5, 3)  # type: ignore[attr-defined]
    assert work["max_macs"] is None
    assert capsys.readouterr().err == "note: left out of the configuration file: nothing is trained here.\n"
    for words in (["--start", "0.25"], ["--start", "0.25", "--config", file], ["--max-macs", "5", "--config", file]):
        assert main(["work-hard", "unread", *words]) == 1
        err = capsys.readouterr().err
        assert err == "genas work-hard: error: nothing is trained here; leave out training.rate.start, max_macs.\n"


# --- errors ---


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("value", "A rule was broken."),
        ("key", "There is no metric named 'x'. Known: y."),
        ("noted", "A rule was broken.\nwhile breaking it"),
        ("nofile", "No such file or directory: 'nofile'"),
    ],
)
def test_errors_raised_on_purpose_are_messages(
    run: str, message: str, work: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["work-hard", run]) == 1
    err = capsys.readouterr().err
    assert err.startswith("genas work-hard: error: ")
    assert err.endswith(f"{message}\n")


@pytest.mark.parametrize(("run", "error"), [("bug", KeyError), ("foreign", ValueError)])
def test_bugs_keep_their_traceback(run: str, error: type[Exception], work: dict[str, object]) -> None:
    with pytest.raises(error):
        main(["work-hard", run])


def test_a_traceback_can_be_asked_for(work: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAS_TRACEBACK", "1")
    with pytest.raises(ValueError, match="A rule was broken"):
        main(["work-hard", "value"])


def test_an_interruption_says_how_to_go_on(work: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["work-hard", "stop"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted; run the same command again to continue."


# --- the tools ---


@pytest.mark.parametrize(("tool", "verb"), [("train_supernet", "train-supernet"), ("evolve", "evolve")])
def test_tools_are_the_verbs(
    tool: str, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(Path(__file__).resolve().parents[1] / "tools" / f"{tool}.py")
    monkeypatch.setattr(sys, "argv", [script, "--helpp"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(script, run_name="__main__")
    assert stop.value.code == 2
    assert f"genas {verb}: error: there is no option --helpp. Did you mean --help?" in capsys.readouterr().err
