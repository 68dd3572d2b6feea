"""Configurations: counts known from elsewhere, the modelling code of transformers, and what is refused."""

import contextlib
import csv
import gzip
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4lib.facts.configs import model_of_config, read_config, shipped_model, shipped_models
from gpt4lib.facts.files import data_file, data_names, read_csv, read_json, sources
from gpt4lib.facts.models import Model, config_table, model_mistakes, other_spellings, published_models
from gpt4lib.spine.errors import BadInput
from gpt4lib.systems.count import cache_of, parameters, state_numbers
from gpt4lib.workbench.file import check

HERE = Path(__file__).parent
EXPECTED = list(csv.DictReader((HERE / "configs_expected.csv").open(encoding="utf-8")))
WITNESS = [json.loads(line) for line in (HERE / "configs_witness.jsonl").read_text("utf-8").splitlines()]
PUBLISHED = [json.loads(line) for line in (HERE / "configs_published.jsonl").read_text("utf-8").splitlines()]
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 100,
}
MIXTRAL = {key: value for key, value in LLAMA.items() if key != "architectures"}
MIXTRAL |= {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}


def stored(name):
    """The mapping of a shipped configuration."""
    row = next(row for row in read_csv("configs.csv") if row["name"] == name)
    return read_json(data_file(f"configs/{row['file']}"))


def refused(config):
    """What is said of a configuration that is refused."""
    with pytest.raises(BadInput) as error:
        read_config(config)
    return str(error.value)


# ---- right counts --------------------------------------------------------------------------------
@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row["name"])
def test_counts_are_those_known_from_elsewhere(row):
    found = shipped_model(row["name"])
    count, cache = parameters(found.model), cache_of(found.model, 131_072)
    assert (count.total, count.without_mtp) == (int(row["total"]), int(row["without_mtp"]))
    assert count.active == int(row["active"])
    assert cache.token_bytes == int(row["token_bytes"])
    assert cache.kept_bytes == int(row["bytes_at_131072"])
    assert sum(state_numbers(found.model).values()) == int(row["state_numbers"])
    assert found.known_family and not found.unknown


def test_every_shipped_configuration_has_a_row_a_count_and_a_source():
    rows = read_csv("configs.csv")
    assert [row["name"] for row in rows] == [row["name"] for row in EXPECTED] == shipped_models()
    assert sorted(row["file"] for row in rows) == [f"{name}.json" for name in data_names("configs", ".json")]
    assert all(row["source"] in sources() and row["place"] for row in rows)
    assert all(bool(row["published_total"]) == bool(row["published_source"]) for row in rows)


def test_published_totals_are_the_counts_that_they_are_said_to_be():
    for row in read_csv("configs.csv"):
        count = parameters(shipped_model(row["name"]).model)
        ours = {"parameters": count.total, "parameters_without_mtp": count.without_mtp}
        if row["published_equals"] in ours:
            assert int(row["published_total"]) == ours[row["published_equals"]], row["name"]


@pytest.mark.parametrize("line", PUBLISHED, ids=lambda line: line["name"])
def test_totals_that_others_publish_come_out(line):
    model = read_config(line["config"]).model
    copies = 2 * model.vocab * model.d_model if line["equals"] == "with copies of both tables" else 0
    assert parameters(model).total + copies == line["published"]
    assert line["source"] in sources()


@pytest.mark.parametrize("line", WITNESS, ids=lambda line: line["config"]["model_type"])
def test_small_models_count_as_the_modelling_code_makes_them(line):
    """`benchmarks/config_witness.py` counted them with transformers itself, which knows no law of ours."""
    model = read_config(line["config"]).model
    assert parameters(model).without_mtp == line["parameters"]
    words = {"full_attention": "full", "sliding_attention": "window", "chunked_attention": "chunk"}
    state = {"minimax": "lightning"}.get(line["config"]["model_type"], "delta")
    words |= {"linear_attention": state, "attention": "full", "mamba": "mamba2"}
    if line["layer_types"] and "hybrid_override_pattern" not in line["config"]:
        repeated = [model.layer_kinds[i % len(model.layer_kinds)] for i in range(model.layers)]
        hybrid = line["config"]["model_type"] in ("granitemoehybrid", "bamba", "jamba")
        got = ["full" if kind == "full" else "other" for kind in repeated] if hybrid else repeated
        kinds = [words[kind] for kind in line["layer_types"]]
        assert got == (["full" if kind == "full" else "other" for kind in kinds] if hybrid else kinds)


def test_every_family_is_read_somewhere_and_says_where_its_structure_stands():
    read = {line["config"]["model_type"] for line in WITNESS}
    for name in shipped_models():
        config = stored(name)
        read |= {config["model_type"], config.get("text_config", {}).get("model_type")}
    read |= {line["config"]["model_type"] for line in PUBLISHED}
    by_hand = {
        "baichuan",
        "chatglm",
        "internlm",
        "internlm2",
        "minicpm",
        "qwen",
    }  # from the models' own repositories
    for name, family in config_table()["families"].items():
        if family["types"] and name != "unknown":
            assert family["source"]
            assert read & set(family["types"]) or name in by_hand, name


# ---- how it was read ----------------------------------------------------------------------------
def test_a_configuration_is_taken_from_a_mapping_a_file_and_a_folder(tmp_path):
    (tmp_path / "tiny").mkdir()
    path = tmp_path / "tiny" / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(LLAMA).encode())
    from_file, from_folder, from_mapping = (read_config(x) for x in (path, str(path.parent), LLAMA))
    assert from_file == from_folder and from_file.model.name == "tiny"
    assert from_mapping.model.name == "llama"
    assert Model.from_config(path) == from_file.model
    assert read_config(LLAMA | {"_name_or_path": "a/b"}).model.name == "a/b"
    assert read_config(LLAMA | {"_name_or_path": "/srv/b"}).model.name == "llama"


def test_what_was_taken_assumed_and_left_out_is_said():
    found = shipped_model("gemma-3-4b-it")
    assert found.taken["num_hidden_layers"] == "layers" and found.taken["sliding_window"] == "window"
    assert any("without vision_config" in note for note in found.notes)
    assert any("tie_word_embeddings = true" in note and "head_dim = 256" in note for note in found.notes)
    assert any("no key says" in note for note in shipped_model("qwen3-next-80b-a3b-thinking").notes)
    assert read_config(LLAMA | {"zebra": 1}).unknown == ("zebra",)


def test_an_unknown_family_is_read_by_the_common_keys_and_said():
    config = {key: value for key, value in LLAMA.items() if key != "model_type"}
    for given_ in (config, LLAMA | {"model_type": "somethingnew"}):
        with pytest.warns(UserWarning, match="family is unknown.*taken: num_hidden_layers"):
            model = model_of_config(given_)
        assert parameters(model) == parameters(read_config(LLAMA).model)
        assert not read_config(given_).known_family
    assert "num_experts" in refused(config | {"num_experts": 4})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_of_config(LLAMA)
    with pytest.warns(UserWarning, match="not understood: zebra"):
        model_of_config(LLAMA | {"zebra": 1})


def test_names_are_found_in_any_case_and_near_ones_are_given():
    assert shipped_model("meta-llama/llama-3.1-8b") == shipped_model("LLAMA-3.1-8B")
    with pytest.raises(BadInput, match=r"unknown model 'llama-3.1-9b'; nearest known: .*Llama-3.1-8B"):
        shipped_model("llama-3.1-9b")
    with pytest.raises(BadInput, match="unknown model None"):
        shipped_model(None)


def test_null_means_no_window_whatever_the_family_has():
    config = stored("google/gemma-2-9b") | {"sliding_window": None, "sliding_window_size": None}
    assert read_config(config).model.layer_kinds == ("full",)


def test_a_number_of_the_family_stands_for_auto_and_for_widths_that_no_layer_has():
    jamba, moe = stored("ai21labs/Jamba-v0.1"), stored("Qwen/Qwen3-30B-A3B")
    assert (
        read_config(jamba | {"mamba_dt_rank": "auto"}).model == read_config(jamba).model
    )  # hidden_size / 16
    without = {key: value for key, value in moe.items() if key != "intermediate_size"}
    assert read_config(without).model == read_config(moe).model


def test_one_expert_in_jamba_is_a_dense_mlp_and_attention_alone_keeps_no_state():
    jamba = read_config(stored("ai21labs/Jamba-v0.1") | {"num_experts": 1, "num_experts_per_tok": 1}).model
    assert (jamba.n_experts, jamba.expert_layers, jamba.dense_layers) == (0, 0, 32)
    hybrid = read_config(
        stored("ibm-granite/granite-4.0-h-small") | {"layer_types": ["attention"] * 40}
    ).model
    assert hybrid.layer_kinds == ("full",) and hybrid.n_state_heads == 0


def test_a_wrong_size_is_one_mistake_and_untied_tables_are_assumed_aloud():
    assert "1 mistake\n" in refused(LLAMA | {"hidden_size": "64"})
    untied = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    assert any("tie_word_embeddings = false" in note for note in read_config(untied).notes)


def test_no_window_is_assumed_aloud_and_no_number_of_heads_at_all():
    mistral = LLAMA | {"model_type": "mistral"}
    assert any("sliding_window = none" in note for note in read_config(mistral).notes)
    del mistral["num_key_value_heads"]
    assert "num_key_value_heads takes a positive whole number, got nothing" in refused(mistral)


def test_a_model_around_a_text_model_is_read_by_its_text_model():
    around = {
        "model_type": "internvl_chat",
        "architectures": ["InternVLChatModel"],
        "vision_config": {"a": 1},
    }
    found = read_config(around | {"llm_config": LLAMA, "tie_word_embeddings": False})
    assert parameters(found.model) == parameters(read_config(LLAMA).model) and found.known_family
    assert "num_memory_layers takes no value in a model around" in refused(
        around | {"llm_config": LLAMA, "num_memory_layers": 3}
    )


def test_a_size_that_stands_inside_and_outside_says_one_thing():
    config = stored("databricks/dbrx-instruct")
    assert "kv_n_heads takes one value, got 4 and 8 in attn_config" in refused(config | {"kv_n_heads": 4})
    acts = config["ffn_config"] | {"ffn_act_fn": {"name": "silu"}}
    assert read_config(config | {"ffn_config": acts}).model == read_config(config).model
    assert "attn_config takes a mapping, got 3" in refused(config | {"attn_config": 3})


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("Qwen/Qwen3-30B-A3B", {"mlp_only_layers": ["3"]}, "mlp_only_layers takes a list of places"),
        ("Qwen/Qwen3-30B-A3B", {"mlp_only_layers": [48]}, "mlp_only_layers takes places below 48, got [48]"),
        (
            "ai21labs/Jamba-v0.1",
            {"attn_layer_offset": 8},
            "attn_layer_offset takes less than attn_layer_period = 8",
        ),
        ("MiniMaxAI/MiniMax-Text-01", {"attn_type_list": [0, 2] * 40}, "takes a list of 80 entries of 0, 1"),
        ("zai-org/GLM-4.5-Air", {"mlp_layer_types": ["sparse"] * 45 + ["x"]}, "entries of dense, sparse"),
        ("deepseek-ai/DeepSeek-V3", {"moe_layer_freq": 2}, "moe_layer_freq takes 1 (deepseek_v3), got 2"),
        (
            "deepseek-ai/DeepSeek-V3",
            {"moe_layer_freq": True},
            "moe_layer_freq takes 1 (deepseek_v3), got True",
        ),
        ("deepseek-ai/DeepSeek-V3", {"topk_method": "new"}, "topk_method takes 'noaux_tc'"),
        (
            "deepseek-ai/DeepSeek-V3",
            {"head_dim": "abc"},
            "head_dim takes a whole number of at least 0, got 'abc'",
        ),
        ("Qwen/Qwen3-30B-A3B", {"intermediate_size": "abc"}, "intermediate_size takes a whole number"),
        ("mistralai/Mistral-7B-v0.1", {"sliding_window": 0}, "sliding_window takes a positive whole number"),
        ("microsoft/Phi-3-mini-4k-instruct", {"full_attn_mod": 2}, "full_attn_mod takes 1 (phi3), got 2"),
    ],
)
def test_places_of_kinds_of_layers_are_checked(name, changed, said):
    assert said in refused(stored(name) | changed)


# ---- bytes as released ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("quantised", "matrices", "experts"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 1 + 4 / 128**2, 1 + 4 / 128**2),
        ({"quant_method": "fp8"}, 1, 1),
        ({"quant_method": "mxfp4"}, 2, (32 / 2 + 1) / 32),  # 32 numbers of four bits and a byte of scale
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, (64 + 2 + 0.5) / 128, (64 + 2 + 0.5) / 128),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 1, 1),
        ({"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": False}, 34 / 64, 34 / 64),
        ({"load_in_4bit": True, "load_in_8bit": False}, (32 + 4) / 64, (32 + 4) / 64),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 1, 1),
        ({"quant_method": "fbgemm_fp8"}, 1, 1),
    ],
)
def test_bytes_of_quantised_weights(quantised, matrices, experts):
    model = read_config(MIXTRAL | {"quantization_config": quantised}).model
    assert (model.matrix_bytes, model.expert_bytes, model.other_bytes) == (matrices, experts, 2)


def test_experts_alone_are_quantised_where_attention_is_left_out():
    weights = {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": True}
    told = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    model = read_config(MIXTRAL | {"quantization_config": told | {"ignore": ["re:.*self_attn.*"]}}).model
    assert (model.matrix_bytes, model.expert_bytes) == (2, (16 + 2) / 32)
    model = read_config(MIXTRAL | {"quantization_config": told | {"ignore": ["lm_head"]}}).model
    assert model.matrix_bytes == model.expert_bytes


def test_matrices_that_are_left_unquantised_are_said():
    for names, said in (
        (["lm_head", "model.layers.0.mlp.gate"], False),
        (["model.layers.0.self_attn"], True),
    ):
        told = {"quant_method": "fp8", "modules_to_not_convert": names}
        notes = read_config(MIXTRAL | {"quantization_config": told}).notes
        assert any("as if every matrix were quantised" in note for note in notes) == said


def test_mlx_packs_a_scale_and_a_bias_of_16_bits_with_each_group():
    packed = {"group_size": 64, "bits": 4}
    for way in ({"quantization": packed}, {"quantization_config": packed}):
        found = read_config(LLAMA | way)
        bytes_ = (64 / 2 + 2 + 2) / 64
        assert (found.model.matrix_bytes, found.model.other_bytes) == (bytes_, bytes_)
        assert any("as if norms were packed" in note for note in found.notes)


@pytest.mark.parametrize(
    "told",
    [
        {"quant_method": "aqlm"},
        {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False},
        {"quant_method": "modelopt", "ignore": 3},
        {"bits": 4, "group_size": 128, "desc_act": False},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"strategy": "block"}}}},
    ],
)
def test_bytes_that_are_not_known_are_said_and_counts_stay(told):
    found, plain = read_config(LLAMA | {"quantization_config": told}), read_config(LLAMA)
    assert found.model == plain.model and found.taken == plain.taken
    assert any("its bytes are not known here" in note for note in found.notes)


def test_bytes_follow_the_dtype():
    assert read_config(LLAMA | {"torch_dtype": "float32"}).model.matrix_bytes == 4
    plain = read_config({key: value for key, value in LLAMA.items() if key != "torch_dtype"})
    assert plain.model.matrix_bytes == 2 and any("no dtype" in note for note in plain.notes)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"quant_method": "gptq", "bits": 7, "group_size": 1}, "bits takes 2, 3, 4, 5, 6 or 8, got 7"),
        ({"quant_method": "gptq"}, "quantization_config: bits takes 2, 3, 4, 5, 6 or 8, got None"),
        ({"quant_method": "awq", "w_bit": 4}, "group_size takes -1 or a positive whole number, got None"),
        (
            {"quant_method": "awq", "bits": 4, "group_size": 0},
            "group_size takes -1 or a positive whole number, got 0",
        ),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size takes two positive whole"),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 0]},
            "weight_block_size takes two positive whole",
        ),
        ({"bits": 4, "group_size": "x"}, "group_size takes -1 or a positive whole number, got 'x'"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"a": {"weights": {"num_bits": 99, "strategy": "channel"}}},
            },
            "num_bits takes 2, 3, 4, 5, 6 or 8, got 99",
        ),
        ("int8", "quantization_config takes a mapping, got 'int8'"),
    ],
)
def test_unknown_ways_of_quantising_are_refused(told, said):
    with pytest.raises(BadInput, match=said):
        read_config(LLAMA | {"quantization_config": told})


# ---- what is refused --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hidden_size": "64"}, "hidden_size takes a positive whole number, got '64'"),
        ({"hidden_size": 64.0}, "hidden_size takes a positive whole number, got 64.0"),
        ({"hidden_size": -64}, "hidden_size takes a positive whole number, got -64"),
        ({"num_hidden_layers": True}, "num_hidden_layers takes a whole number from 1 to 10,000, got True"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers takes a whole number from 1 to 10,000"),
        ({"vocab_size": 10**30}, "vocab_size takes at most 1e"),
        ({"vocab_size": None}, "vocab_size takes a positive whole number, got None"),
        ({"hidden_size": 66}, "hidden_size / num_attention_heads takes numbers that divide, got 66 / 4"),
        (
            {"num_key_value_heads": 3},
            "n_kv_heads takes a divisor of n_heads = 4, got 3 (num_key_value_heads)",
        ),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings takes true or false, got 1"),
        ({"hidden_act": "xielu"}, "hidden_act takes one of silu, "),
        ({"torch_dtype": "int3"}, "dtype takes one of float32, bfloat16, float16, got 'int3'"),
        ({"layer_types": ["full_attention"]}, "layer_types takes a list of 3 entries of full_attention"),
        ({"layer_types": ["sliding_attention"] * 3}, "layer_types takes a list of 3 entries"),
        ({"n_layer": 4}, "n_layer takes the value of num_hidden_layers = 3, got 4"),
        ({"model_type": 3}, "model_type takes a text, got 3"),
        ({"model_type": "t5"}, "got 't5': an encoder and cross-attention: count and cache would be wrong"),
        ({"model_type": "rwkv6"}, "every layer keeps a state of a kind that is not counted here"),
        ({"model_type": "gemma3n_text"}, "layers that share one cache"),
        ({"model_type": "deepseek_v32"}, "indexers of sparse attention"),
        ({"model_type": "openelm"}, "widths that differ from layer to layer"),
        ({"is_encoder_decoder": True}, "an encoder's weights and cache would be missing"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "the count would differ"),
        (
            {"num_kv_shared_layers": 2},
            "num_kv_shared_layers takes no value in the family llama, got 2: passed over, the cache",
        ),
        ({"cla_share_factor": 2}, "cla_share_factor takes no value in the family llama"),
        (
            {"index_n_heads": 4},
            "index_n_heads takes no value in the family llama, got 4: passed over, the cache",
        ),
        ({"lora_rank": 8}, "lora_rank takes no value in the family llama"),
        ({"block_configs": [{}]}, "block_configs takes no value in the family llama"),
        ({"sliding_window": 8}, "sliding_window takes no value in the family llama"),
        ({"num_memory_tokens": 3}, "num_memory_tokens takes no value in the family llama"),
        ({"keep_tokens": 3}, "keep_tokens takes no value in the family llama"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads takes no value in the family llama"),
        ({"numExperts": 4}, "numExperts takes no value in the family llama"),
        ({"NGRAM": 4}, "NGRAM takes no value in the family llama"),
        ({"value_residual": True}, "value_residual takes no value in the family llama"),
        ({"hc_mult": 4}, "hc_mult takes no value in the family llama"),
        ({"embedding_size": 32}, "embedding_size takes no value in the family llama, got 32"),
        ({"norm_type": "layer_norm"}, "norm_type takes no value in the family llama, got 'layer_norm'"),
        ({"final_norm": False}, "final_norm takes no value in the family llama, got False"),
        ({"use_parallel_residual": True}, "use_parallel_residual takes no value in the family llama"),
        ({"architectures": ["T5ForConditionalGeneration"]}, "got 'T5ForConditionalGeneration': an encoder"),
        ({"architectures": ["GPT2LMHeadModel"]}, "class of llama, got 'GPT2LMHeadModel': it is that of gpt2"),
        ({"architectures": ["FalconMambaForCausalLM"]}, "every layer keeps a state"),
        ({"quantization": 3}, "quantization takes a mapping, got 3"),
        ({"text_config": 3}, "text_config takes the mapping of a text model, got 3"),
        ({"text_config": LLAMA | {"tie_word_embeddings": True}}, "tie_word_embeddings takes one value"),
    ],
)
def test_wrong_values_and_unknown_structure_are_refused_by_name(changed, said):
    assert said in refused(LLAMA | changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hidden_act": "relu2"}, "hidden_act takes one of silu, .*, got 'relu2'"),
        ({"activation_function": "gelu"}, "activation_function takes one of silu, .*, got 'gelu'"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps takes null"),
        ({"model_type": "bert-generation"}, "got 'bert-generation': no decoder"),
        ({"model_type": "bitnet"}, "blocks of a kind"),
        ({"architectures": ["GPT2LMHeadModel"]}, "it is that of gpt2"),
    ],
)
def test_an_unknown_family_is_refused_where_something_speaks_against_llama(changed, said):
    plain = {key: value for key, value in LLAMA.items() if key != "architectures"}
    with pytest.raises(BadInput, match=said):
        read_config(plain | {"model_type": "somethingnew"} | changed)


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        (
            "deepseek-ai/DeepSeek-V3",
            "q_lora_rank",
            "q_lora_rank takes a whole number of at least 0, got nothing",
        ),
        ("zai-org/GLM-4.5-Air", "n_routed_experts", "num_experts takes a whole number"),
        ("zai-org/GLM-4.5-Air", "n_shared_experts", "n_shared_experts takes a whole number"),
        (
            "ibm-granite/granite-4.0-h-small",
            "shared_intermediate_size",
            "shared_expert_intermediate_size takes",
        ),
        (
            "tiiuae/falcon-40b",
            "new_decoder_architecture",
            "takes 1 or num_attention_heads without new_decoder_",
        ),
    ],
)
def test_keys_that_the_library_fills_with_another_number_than_none_are_asked_for(name, key, said):
    config = stored(name)
    del config[key]
    assert said in refused(config)


def test_null_means_none_where_the_family_says_so():
    model = read_config(
        stored("deepseek-ai/DeepSeek-V3") | {"q_lora_rank": None, "n_shared_experts": None}
    ).model
    assert (model.mla_q_rank, model.n_shared_experts) == (0, 0)
    assert "n_embd takes a positive whole number, got None" in refused(
        {key: value for key, value in LLAMA.items() if key != "hidden_size"} | {"n_embd": None}
    )
    assert "got 0 (sliding_window)" in refused(stored("openai/gpt-oss-20b") | {"sliding_window": None})


def test_what_a_flag_says_in_other_words_is_passed_over_where_the_family_does_so():
    said = {"final_norm": True, "glu": True, "rms_norm": True, "no_bias": True, "parallel_attn": False}
    said |= {"norm_type": "rms_norm", "position_embedding_type": "rope", "embedding_size": 64}
    found = read_config(LLAMA | said)
    assert found.model == read_config(LLAMA).model and not found.unknown


def test_no_places_of_experts_mean_none():
    scout = stored("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    model = read_config(scout | {"text_config": scout["text_config"] | {"moe_layers": []}}).model
    assert (model.expert_layers, model.dense_layers) == (0, 48)


def test_minicpm_is_llama_with_tied_tables_and_the_class_of_minimax_m2_is_no_minimax():
    given_ = {
        key: value for key, value in LLAMA.items() if key not in ("tie_word_embeddings", "architectures")
    }
    scaled = given_ | {"model_type": "minicpm", "scale_emb": 12, "dim_model_base": 256, "scale_depth": 1.4}
    tied = read_config(LLAMA | {"tie_word_embeddings": True}).model
    assert parameters(read_config(scaled).model) == parameters(tied)
    config = stored("MiniMaxAI/MiniMax-Text-01") | {"architectures": ["MiniMaxM2ForCausalLM"]}
    assert "it is that of minimax_m2" in refused(config)


def test_keys_that_are_off_or_neutral_are_passed_over():
    off = {"num_kv_shared_layers": 0, "cla_share_factor": None, "index_n_heads": [], "use_lora": False}
    neutral = {"rope_scaling": {"type": "x"}, "pad_token_id": 3, "initializer_range": 0.02, "use_cache": True}
    found = read_config(LLAMA | off | neutral)
    assert found.model == read_config(LLAMA).model and not found.unknown


def test_every_mistake_is_listed_at_once():
    said = refused(LLAMA | {"hidden_size": 0, "vocab_size": "x", "hidden_act": "no", "num_ssm_heads": 3})
    assert "4 mistakes" in said
    assert all(key in said for key in ("hidden_size", "vocab_size", "hidden_act", "num_ssm_heads"))


# keys that no count and no cache depends on, and those whose absence a family fills with what they say
LOOSE = {"architectures", "model_type", "_name_or_path", "torch_dtype", "quantization_config"}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_key_of_structure_under_another_name_is_refused(data):
    config = stored(data.draw(st.sampled_from(shipped_models())))
    text = config.get("text_config", config)
    taken = read_config(config).taken.keys() - LOOSE
    key = data.draw(st.sampled_from(sorted(key for key in text if key in taken and text[key])))
    text[f"{key}_x"] = text.pop(key)
    assert f"{key}_x" in refused(config) or " takes " in refused(config)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_value_of_structure_of_another_type_is_refused(data):
    config = stored(data.draw(st.sampled_from(shipped_models())))
    text = config.get("text_config", config)
    taken = read_config(config).taken.keys() - LOOSE
    key = data.draw(st.sampled_from(sorted(key for key in text if key in taken)))
    text[key] = data.draw(st.sampled_from(["other", -1, 2.5, [[]], {"a": 1}, float("nan")]))
    assert key in refused(config)


@settings(max_examples=200, deadline=None)
@given(
    config=st.sampled_from([line["config"] for line in WITNESS]),
    changes=st.dictionaries(
        st.sampled_from(sorted({key for line in WITNESS for key in line["config"]})),
        st.one_of(
            st.none(), st.booleans(), st.integers(-1, 9), st.text(max_size=3), st.lists(st.integers(0, 3))
        ),
        max_size=3,
    ),
)
def test_no_configuration_ends_in_another_error(config, changes):
    with contextlib.suppress(BadInput):
        parameters(read_config(config | changes).model)


# ---- files that are none ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (gzip.compress(b"{}", mtime=0), "is packed with gzip, and a JSON file is taken"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"a":1}', "is a file of weights (safetensors)"),
        (b"GGUF\x03", "is a file of weights (GGUF)"),
        (b"[1]", "is JSON that holds an array; an object is taken"),
        (b"3", "is JSON that holds a bare value"),
        (b'{"a": 1,\n oops}', "is not valid JSON: line 2: "),
        (b'{"hidden_size": 1, "hidden_size": 2}', "hidden_size is given twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "holds too long a number"),
        (b"\xff\xfe{", "is not UTF-8 text"),
        (b'{"weight_map": {}}', "is the index of a model's weights"),
        (b'{"tokenizer_class": "x"}', "is a tokenizer's configuration"),
        (b'{"_from_model_config": true}', "is a configuration of generation"),
        (b'{"peft_type": "LORA"}', "is an adapter's configuration"),
        (b"{}", "is no configuration of a model; a config.json with hidden_size"),
    ],
)
def test_a_file_that_is_none_is_told_what_it_is(tmp_path, raw, said):
    path = tmp_path / "config.json"
    path.write_bytes(raw)
    assert said in refused(path)
    assert str(path) in refused(path)


def test_a_place_that_holds_nothing_is_said(tmp_path):
    assert "is a folder that holds no config.json" in refused(tmp_path)
    assert "there is no such file" in refused(tmp_path / "config.json")
    for nothing in (None, 3, "", []):
        assert "a config.json, its folder or its mapping is taken" in refused(nothing)


# ---- their spelling in our files --------------------------------------------------------------------
def test_keys_of_configurations_in_a_model_file_are_told_our_name():
    assert other_spellings()["sliding_window"] == "window"
    assert other_spellings()["hidden_size"] == other_spellings()["n_embd"] == "d_model"
    lines = model_mistakes({"hidden_size": 64, "tie_word_embeddings": True, "num_experts_per_tok": 2})
    for line in ("'hidden_size'; it is d_model here", "'tie_word_embeddings'; it is tied_embeddings here"):
        assert any(line in each for each in lines)
    with pytest.raises(BadInput, match="unknown key 'num_hidden_layers'; it is layers here"):
        check({"model": {"num_hidden_layers": 3}})


def test_rows_of_two_tables_with_one_name_are_one_model():
    """A row of models.csv and the shipped configuration of that name differ in further blocks at most."""
    tails = {name.split("/")[-1]: name for name in shipped_models()}
    both = [name for name in published_models() if name in tails]
    assert len(both) >= 7
    for name in both:
        row, shipped = published_models()[name].shape, shipped_model(tails[name]).model
        assert parameters(row).total == parameters(shipped).without_mtp, name
        assert parameters(row).active == parameters(shipped).active, name
        assert cache_of(row, 131_072) == cache_of(shipped, 131_072), name
