"""The conformance cases of text models within larger ones: see `cases.py`."""

from cases import EXPERTS, GEMMA, Case
from cases_sparse import DENSE_NEXT

TEXT = {name: value for name, value in EXPERTS.items() if name not in ("head_dim", "num_experts_per_tok")}
SIGLIP = dict(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
)
PIXTRAL = dict(SIGLIP, model_type="pixtral", head_dim=4)
# What stands on the towers of the Qwens has the width of the text model.
QWEN = dict(depth=1, hidden_size=8, intermediate_size=8, num_heads=2, out_hidden_size=16, patch_size=2)
IDS = dict(image_token_id=3, video_token_id=4, vision_start_token_id=5, vision_end_token_id=6)

WRAPPED = {
    "gemma3": Case(
        "gemma3",
        dict(
            text_config=dict(GEMMA, hidden_size=16, num_hidden_layers=2, layer_types=GEMMA["layer_types"][1:]),
            vision_config=SIGLIP,
            mm_tokens_per_image=1,
        ),
        wrapper=True,
    ),
    "mistral3": Case(
        "mistral3",
        dict(text_config=dict(TEXT, model_type="mistral"), vision_config=PIXTRAL, image_token_index=3),
        wrapper=True,
    ),
    "mistral3_ministral3": Case(
        "mistral3",
        dict(
            text_config=dict(TEXT, model_type="ministral3", head_dim=8, num_hidden_layers=1, tie_word_embeddings=True),
            vision_config=PIXTRAL,
            image_token_index=3,
            tie_word_embeddings=True,
        ),
        wrapper=True,
        hidden_states=False,
    ),
    "qwen2_vl": Case(
        "qwen2_vl",
        dict(
            IDS,
            text_config=dict(
                TEXT, num_hidden_layers=1, rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[1, 1, 2])
            ),
            vision_config=dict(
                depth=1, embed_dim=8, hidden_size=16, num_heads=2, mlp_ratio=1, patch_size=2, spatial_merge_size=1
            ),
        ),
        wrapper=True,
        hidden_states=False,
    ),
    "qwen2_5_vl": Case(
        "qwen2_5_vl",
        dict(
            IDS,
            text_config=dict(
                TEXT, rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[2, 1, 1])
            ),
            vision_config=dict(QWEN, fullatt_block_indexes=[0]),
        ),
        wrapper=True,
    ),
    "qwen3_5": Case(
        "qwen3_5",
        dict(IDS, text_config=DENSE_NEXT, vision_config=dict(QWEN, num_position_embeddings=4)),
        wrapper=True,
    ),
    # every feature of a head rotates, in turns by time, height and width
    "qwen3_5_rotary": Case(
        "qwen3_5",
        dict(
            IDS,
            text_config=dict(
                DENSE_NEXT,
                rope_parameters=dict(
                    rope_type="default", rope_theta=10000.0, partial_rotary_factor=1.0, mrope_section=[3, 2, 1]
                ),
            ),
            vision_config=dict(QWEN, num_position_embeddings=4),
        ),
        wrapper=True,
        hidden_states=False,
    ),
}
