"""The command line, run as a reader runs it."""

import io
import json
import os
import subprocess
import sys

import pytest

from gpt4lib import ledger
from gpt4lib.__main__ import main

LLAMA = """
name = "Llama-2-7B"
layers = 32
d_model = 4096
n_heads = 32
n_kv_heads = 32
d_head = 128
d_ff = 11008
mlp_matrices = 3
vocab = 32000
tied_embeddings = false
positions = "rotary"
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "gpt4lib", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_claims_as_json_and_as_a_table(capsys):
    assert main(["claims", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [r["id"] for r in records] == [c.id for c in ledger.load().claims]
    assert all(
        list(r) == ["id", "chapter", "claim", "stated", "unit", "derived", "verdict", "why"] for r in records
    )
    assert main(["claims"]) == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) == len(records) + 2 and all(r["verdict"] in table for r in records)


def test_check_exits_1_on_an_unexpected_verdict(monkeypatch, capsys):
    assert main(["claims", "--check"]) == 0
    book = ledger.load()
    wrong = ledger.Claim(
        **{
            **{f: getattr(book.claims[0], f) for f in ledger.Claim.__dataclass_fields__},
            "expect": "wrong unit",
        }
    )
    monkeypatch.setattr(ledger, "load", lambda: ledger.Ledger((wrong, *book.claims[1:])))
    assert main(["claims", "--check"]) == 1
    assert f"{wrong.id}: expected 'wrong unit', computed {wrong.verdict!r}" in capsys.readouterr().out


def test_params(tmp_path, capsys):
    file = tmp_path / "llama.toml"
    file.write_text(LLAMA)
    assert main(["params", str(file), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert set(counted) == {"total", "active", "parts"}
    assert counted["total"] == counted["active"] == sum(counted["parts"].values())
    assert (
        counted["total"] == 6738417664 - 32 * 64
    )  # the published file also holds 64 rotary frequencies a layer
    assert "6,738,415,616" in run("params", file).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "required"),
        (("guess",), "invalid choice"),
        (("claims", "--json", "--check"), "not allowed"),
        (("claims", "extra"), "extra"),
        (("params",), "required"),
        (("params", "missing.toml"), "missing.toml"),
        (("report",), "required"),
        (("report", "missing.toml"), "missing.toml"),
        (("report", "gpt4"), "nearest known: gpt-4"),
    ],
)
def test_a_mistake_exits_2_with_one_line(arguments, words):
    done = run(*arguments)
    assert (
        done.returncode == 2
        and done.stdout == ""
        and words in done.stderr
        and len(done.stderr.strip().splitlines()) == 1
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("layers = 32", "layers = -1"), "layers"),
        (("layers = 32", "layers = 'many'"), "layers"),
        (("layers = 32", "layers = "), "line"),
        (("vocab = 32000", ""), "vocab"),
        (("name", "nom"), "nom"),
        (('"rotary"', '"spiral"'), "positions"),
    ],
)
def test_a_broken_shape_names_file_and_entry(tmp_path, capsys, change, words):
    file = tmp_path / "broken.toml"
    file.write_text(LLAMA.replace(*change))
    assert main(["params", str(file)]) == 2
    said = capsys.readouterr()
    head, *lines = said.err.strip().splitlines()
    assert said.out == "" and "broken.toml" in head
    assert any(words in line for line in lines or [head])


def test_report_of_an_example_and_of_a_file(tmp_path, capsys):
    from gpt4lib.facts.files import data_file

    assert main(["report", "mixtral-8x7b"]) == 0
    text = capsys.readouterr().out
    assert (
        text.startswith("Mixtral 8x7B\n====")
        and "46.7 billion parameters" in text
        and "has no [training]" in text
    )
    file = tmp_path / "mine.toml"
    file.write_text(data_file("workbench/mixtral-8x7b.toml").read_text("utf-8"))
    done = run("report", file)
    assert done.returncode == 0 and done.stdout == text and done.stderr == ""
    assert main(["report", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["model"]["parameters"] == 46702792704 and found["serving"]["kv_cache_bytes_per_token"] == 131072
    )
    assert {"model", "serving", "published", "left_out"} <= set(found)


def test_report_lists_every_mistake_and_exits_2(tmp_path, capsys):
    file = tmp_path / "broken.toml"
    file.write_text('[model]\nshape = "Mixtral"\n[serving]\ngpu = "A100"\ntensr = 2\n')
    assert main(["report", str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "broken.toml: 4 mistakes" in said.err
    assert all(words in said.err for words in ("Mixtral-8x7B", "A100-SXM 80GB", "tensor", "context"))


BROKEN = {  # a file's bytes, and what both commands say of it
    "missing": (None, "there is no such file"),
    "folder": ("folder", "it is a folder"),
    "toml": (b'name = "x"\nlayers = \n', "is not valid TOML: line 2, 'layers =': "),
    "utf8": (b'name = "Zo\xeb"', "is not UTF-8 text (byte 0xeb in line 1)"),
    "json": (b'\xef\xbb\xbf{"name": "x"}', "is JSON, and a TOML file is taken"),
    "empty": (b"", "got nothing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_params_and_report_answer_alike(tmp_path, capsys, name):
    raw, words = BROKEN[name]
    file = tmp_path / "mine.toml"
    if raw == "folder":
        file.mkdir()
    elif raw is not None:
        file.write_bytes(raw)
    said = []
    for command in ("params", "report"):
        assert main([command, str(file)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and str(file) in err and words in err
        said.append(err)
    assert name == "empty" or said[0] == said[1]


def test_the_same_keys_make_the_same_lines(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    keys = LLAMA.replace("layers = 32", "layers = 3.2e1\nlayres = 3").replace('"rotary"', '"spiral"')
    lines = []
    for command, text in (("params", keys), ("report", "[model]" + keys)):
        file.write_text("\ufeff" + text, "utf-8")  # as a Windows editor saves it
        assert main([command, str(file)]) == 2
        head, *rest = capsys.readouterr().err.splitlines()
        assert head.endswith("mine.toml: 3 mistakes")
        lines.append([line.replace("[model] ", "") for line in rest])
    assert lines[0] == lines[1]


def test_schema_says_what_it_prints():
    done = run("schema", "--help")
    words = " ".join(done.stdout.split())
    assert done.returncode == 0 and all(x in words for x in ("JSON Schema", "Taplo", "workbench", "#:schema"))
    done = run("schema", "models")
    assert done.returncode == 2 and done.stdout == "" and "invalid choice: 'models'" in done.stderr


def test_a_reader_that_stops_early_is_no_error(tmp_path, monkeypatch, capsys):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def fileno(self):
            return spare

    file = tmp_path / "llama.toml"
    file.write_text(LLAMA)
    spare = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["params", str(file)]) == 0
    os.close(spare)
    assert capsys.readouterr().err == ""


def test_params_say_what_works_on_a_token(tmp_path, capsys):
    """Two of four experts: the table's columns and the JSON add up alike."""
    file = tmp_path / "mixture.toml"
    routed = "expert_matrices = 3\nn_experts = 4\ntop_k = 2\nd_ff_expert = 11008"
    file.write_text(LLAMA.replace("d_ff = 11008\nmlp_matrices = 3", routed))
    assert main(["params", str(file), "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    expert = 32 * 3 * 4096 * 11008  # gate, up and down in each layer
    assert counted["parts"]["experts"] == 4 * expert and counted["total"] - counted["active"] == 2 * expert
    assert main(["params", str(file)]) == 0
    rows = {line.split()[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines()[2:]}
    assert rows["total"] == [f"{counted['total']:,}", f"{counted['active']:,}"]
    assert rows["experts"] == [f"{4 * expert:,}", f"{2 * expert:,}"]


def test_a_mistake_in_this_process_is_one_line_and_2(capsys):
    assert main(["params", "missing.toml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        main(["guess"])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1
