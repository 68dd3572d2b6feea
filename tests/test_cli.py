"""The command line, run as a reader runs it."""

import gzip
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
    assert {"name", "total", "active", "parts", "without_mtp", "notes"} <= set(counted)
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
    "folder": ("folder", "is a folder that holds no config.json"),
    "toml": (b'name = "x"\nlayers = \n', "is not valid TOML: line 2, 'layers =': "),
    "utf8": (b'name = "Zo\xeb"', "is not UTF-8 text (byte 0xeb in line 1)"),
    "json": (b'\xef\xbb\xbf{"name": "x"}', "is JSON, and a TOML file is taken"),
    "empty": (b"", "got nothing"),
}


QWEN = {  # the shape of Qwen3-8B in the words of its config.json
    "model_type": "qwen3",
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "use_sliding_window": False,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
}
QWEN_TOTAL = 2 * 151936 * 4096 + 36 * (2 * 40 * 128 * 4096 + 2 * 4096 + 2 * 128 + 3 * 4096 * 12288) + 4096
TOML = """
layers = 36
d_model = 4096
n_heads = 32
n_kv_heads = 8
d_head = 128
d_ff = 12288
mlp_matrices = 3
vocab = 151936
tied_embeddings = false
positions = "rotary"
qk_norm = "head"
"""
GIVEN = {  # what params takes for one and the same model: a file's name and text, or a name alone
    "config": ("config.json", json.dumps(QWEN)),
    "folder": ("mine/config.json", json.dumps(QWEN)),
    "nested": ("config.json", json.dumps({"model_type": "around", "text_config": QWEN, "vision_config": {}})),
    "byte-order mark": ("other.json", "\ufeff" + json.dumps(QWEN)),
    "capitals": ("CONFIG.JSON", json.dumps(QWEN)),
    "no suffix": ("mine", "\ufeff\n" + json.dumps(QWEN)),
    "model file": ("mine.toml", 'name = "mine"' + TOML),
    "workbench file": ("mine.toml", 'name = "mine"\n[model]' + TOML),
    "workbench file by name": ("mine.toml", '[model]\nshape = "Qwen/Qwen3-8B"'),
    "tail of a name": ("qwen3-8b", None),
    "whole name": ("Qwen/Qwen3-8B", None),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_params_take_a_model_in_every_form(tmp_path, capsys, kind):
    name, text = GIVEN[kind]
    if text is not None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        name = path.parent if kind == "folder" else path
    assert main(["params", str(name), "--json", "--context", "4096"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["total"] == found["active"] == found["without_mtp"] == sum(found["parts"].values())
    assert found["total"] == QWEN_TOTAL and said.err == ""
    assert found["active_without_input_table"] == QWEN_TOTAL - 151936 * 4096
    assert found["weight_bytes"] == 2 * QWEN_TOTAL
    assert found["kv_cache_bytes_per_token"] == 36 * 2 * 8 * 128 * 2
    assert found["kv_cache_bytes"] == found["sequence_bytes"] == 4096 * 36 * 2 * 8 * 128 * 2
    assert main(["params", str(name)]) == 0
    assert f"{QWEN_TOTAL:,}" in capsys.readouterr().out


def test_params_of_a_name_that_stands_for_an_example_or_a_row(capsys):
    """The example gpt-4; a row of the table, which says what the whole configuration has more."""
    assert main(["params", "gpt-4"]) == 0
    assert "Note" not in capsys.readouterr().out
    said = {}
    for name in ("gpt-oss-20b", "openai/gpt-oss-20b", "DeepSeek-V3", "deepseek-ai/DeepSeek-V3"):
        assert main(["params", name, "--json", "--context", "131072"]) == 0
        said[name] = json.loads(capsys.readouterr().out)
    for name in ("gpt-oss-20b", "DeepSeek-V3"):
        row, whole = said[name], next(said[each] for each in said if each.endswith(f"/{name}"))
        assert row["total"] == whole["without_mtp"] and row["kv_cache_bytes"] == whole["kv_cache_bytes"]
    assert said["gpt-oss-20b"]["notes"] == []
    assert "which deepseek-ai/DeepSeek-V3 has" in said["DeepSeek-V3"]["notes"][0]


def test_params_say_what_blocks_beside_the_layers_hold(capsys):
    assert main(["params", "Qwen3-Next-80B-A3B-Thinking", "--context", "1000"]) == 0
    text = capsys.readouterr().out
    assert "without blocks that predict further tokens: " in text and "those blocks left out" in text
    assert "KV cache of 1,000 tokens" in text and "states" in text and "131,072" not in text
    assert "Note: one block that predicts a further token is counted" in text
    assert main(["params", "Qwen3-8B"]) == 0
    text = capsys.readouterr().out
    assert (
        "blocks" not in text and "KV cache of 8,192 tokens" in text and "KV cache of 131,072 tokens" in text
    )


REFUSED = {  # a file's name and bytes, and what params says
    "gzip": ("config.json", gzip.compress(b"{}", mtime=0), "is packed with gzip, and a JSON file is taken"),
    "index": ("model.json", b'{"weight_map": {}}', "is the index of a model's weights; a config.json with"),
    "tokenizer": ("a.json", b'{"added_tokens_decoder": {}}', "is a tokenizer's configuration; a config.json"),
    "array": ("config.json", b"[]", "is JSON that holds an array"),
    "broken": ("config.json", b'{"hidden_size": ', "is not valid JSON: line 1"),
    "missing": ("config.json", None, "there is no such file"),
    "structure": (
        "config.json",
        json.dumps(QWEN | {"n_wings": 2}).encode(),
        "n_wings takes no value in the family qwen3, got 2",
    ),
    "value": (
        "config.json",
        json.dumps(QWEN | {"head_dim": "x"}).encode(),
        "head_dim takes a positive whole number, got 'x'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_params_refuse_in_one_message(tmp_path, capsys, kind):
    name, raw, words = REFUSED[kind]
    path = tmp_path / name
    if raw is not None:
        path.write_bytes(raw)
    assert main(["params", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err and len(err.splitlines()) <= 2 and err.startswith("python -m gpt4lib: ")


def test_params_of_a_name_or_a_context_that_is_none(capsys):
    assert main(["params", "Qwen3-8C"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "is neither a file nor an example nor a model; nearest known: Qwen/Qwen3-8B" in err
    assert main(["params", ""]) == 2
    assert len(capsys.readouterr().err) < 600
    for tokens in ("0", "-1", "1.5", "many"):
        with pytest.raises(SystemExit) as ended:
            main(["params", "Qwen3-8B", f"--context={tokens}"])
        out, err = capsys.readouterr()
        assert ended.value.code == 2 and out == ""
        assert f"--context: takes a positive whole number, got '{tokens}'" in err


def test_a_key_in_another_spelling_is_one_line(tmp_path, capsys):
    """`hidden_size` is said to be d_model; that d_model is missing is not said again."""
    file = tmp_path / "mine.toml"
    file.write_text(LLAMA.replace("d_model", "hidden_size").replace("layers = 32", "num_hidden_layers = 32"))
    assert main(["params", str(file)]) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  unknown key 'num_hidden_layers'; it is layers here; its value is 32",
        "  unknown key 'hidden_size'; it is d_model here; its value is 4096",
    ]


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
    table = capsys.readouterr().out.partition("\n\n")[0]
    rows = {line.split()[0]: line.split()[-2:] for line in table.splitlines()[2:]}
    assert rows["total"] == [f"{counted['total']:,}", f"{counted['active']:,}"]
    assert rows["experts"] == [f"{4 * expert:,}", f"{2 * expert:,}"]


def test_a_mistake_in_this_process_is_one_line_and_2(capsys):
    assert main(["params", "missing.toml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as ended:
        main(["guess"])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1
