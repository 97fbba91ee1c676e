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

ONE_LAYER = dict(TEXT, num_hidden_layers=1)
CLIP = dict(SIGLIP, model_type="clip_vision_model", projection_dim=8)
TOWER = dict(SIGLIP, model_type="siglip_vision_model")
# heads of four by three and a share of the rotation for each of time, height and width
INTERLEAVED = dict(rope_type="default", mrope_section=[2, 2, 2], mrope_interleaved=True)
EXPERTS_3 = dict(moe_intermediate_size=8, num_experts=3, num_experts_per_tok=2)


def wrapped(model_type, text, hidden_states=False, **config):
    return Case(model_type, dict(config, text_config=text), wrapper=True, hidden_states=hidden_states)


def older(model_type, text, dtype, **config):
    """As an older version wrote it, with the dtype of the whole beside that of its text model."""
    text = dict(text, torch_dtype="float32")
    config = dict(config, text_config=text, model_type=model_type, torch_dtype=dtype)
    return Case(model_type, config, verbatim=True, dtype=dtype, wrapper=True, hidden_states=False)


WRAPPED |= {
    # the base of the frequencies is not that of the family of texts
    "qwen3_vl": wrapped(
        "qwen3_vl",
        dict(TEXT, head_dim=12, rope_parameters=INTERLEAVED),
        hidden_states=True,
        vision_config=dict(QWEN, num_position_embeddings=4, deepstack_visual_indexes=[0]),
        **IDS,
    ),
    "qwen3_vl_moe": wrapped(
        "qwen3_vl_moe",
        dict(ONE_LAYER, **EXPERTS_3, head_dim=12, rope_parameters=INTERLEAVED),
        vision_config=dict(QWEN, num_position_embeddings=4, deepstack_visual_indexes=[0]),
        **IDS,
    ),
    # which of the two says whether the output layer is tied: here either
    "llava_v4": older(
        "llava",
        dict(ONE_LAYER, model_type="llama", tie_word_embeddings=True),
        "float16",
        vision_config=CLIP,
        image_token_index=3,
        vision_feature_layer=-1,
    ),
    # here the whole, where it says so
    "internvl": wrapped(
        "internvl",
        dict(ONE_LAYER, model_type="qwen2", tie_word_embeddings=True),
        tie_word_embeddings=False,
        vision_config=dict(SIGLIP, model_type="internvl_vision", image_size=[8, 8], patch_size=[4, 4]),
        image_token_id=3,
    ),
    # and where it does not
    "lfm2_vl_v4": older(
        "lfm2_vl",
        dict(ONE_LAYER, model_type="lfm2", tie_word_embeddings=False, block_auto_adjust_ff_dim=False),
        "bfloat16",
        vision_config=dict(
            model_type="siglip2_vision_model",
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_patches=4,
            patch_size=4,
        ),
        image_token_id=3,
        projector_hidden_size=8,
    ),
    # the text model is tied by its config and not by its checkpoint, which is that of the whole
    "qwen3_5_untied": wrapped(
        "qwen3_5",
        dict(DENSE_NEXT, tie_word_embeddings=True),
        tie_word_embeddings=False,
        vision_config=dict(QWEN, num_position_embeddings=4),
        **IDS,
    ),
    # what the text model would do to its logits, and the whole does not
    "gemma3_softcap": wrapped(
        "gemma3",
        dict(GEMMA, hidden_size=16, num_hidden_layers=1, layer_types=["full_attention"], final_logit_softcapping=0.5),
        vision_config=SIGLIP,
        mm_tokens_per_image=1,
    ),
    "aya_vision": wrapped("aya_vision", dict(ONE_LAYER, model_type="cohere2"), vision_config=TOWER, image_token_index=3),
    "cohere2_vision": wrapped(
        "cohere2_vision",
        dict(ONE_LAYER, model_type="cohere2"),
        vision_config=TOWER,
        image_token_id=3,
        alignment_intermediate_size=8,
    ),
    # the one that does
    "paligemma_v4": older(
        "paligemma",
        dict(
            GEMMA,
            model_type="gemma2",
            hidden_size=16,
            num_hidden_layers=1,
            layer_types=["full_attention"],
            final_logit_softcapping=1.5,
        ),
        "float32",
        vision_config=TOWER,
        image_token_index=3,
        projection_dim=16,
    ),
}

# Others with a text model of a family that is here: each loads as the same model without its tower.
LLAMA = dict(ONE_LAYER, model_type="llama")
QWEN2 = dict(ONE_LAYER, model_type="qwen2")
QWEN3 = dict(ONE_LAYER, model_type="qwen3", head_dim=8)
HYBRID = dict(DENSE_NEXT, model_type="qwen3_5_text")
SAM = dict(
    hidden_size=8,
    output_channels=4,
    num_hidden_layers=1,
    num_attention_heads=2,
    image_size=8,
    patch_size=4,
    mlp_dim=8,
    window_size=2,
    global_attn_indexes=[0],
)
SOUND = dict(
    d_model=8,
    encoder_layers=1,
    encoder_attention_heads=2,
    encoder_ffn_dim=8,
    num_mel_bins=4,
    max_source_positions=8,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
)
CONFORMER = dict(
    input_dim=4,
    num_layers=1,
    hidden_dim=8,
    feedforward_mult=1,
    num_heads=2,
    dim_head=4,
    output_dim=4,
    context_size=4,
    max_pos_emb=8,
    conv_kernel_size=3,
    conv_expansion_factor=1,
)
Q_FORMER = dict(
    model_type="blip_2_qformer",
    hidden_size=8,
    intermediate_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    encoder_hidden_size=8,
    vocab_size=8,
    max_position_embeddings=8,
)
PERCEIVER = dict(
    hidden_size=16,
    resampler_n_latents=2,
    resampler_depth=1,
    resampler_n_heads=2,
    resampler_head_dim=4,
    num_key_value_heads=1,
)

WRAPPED |= {
    # a text model that is called `text_model`
    "idefics2": wrapped(
        "idefics2",
        dict(ONE_LAYER, model_type="mistral"),
        vision_config=SIGLIP,
        perceiver_config=PERCEIVER,
        image_token_id=3,
    ),
    "idefics3": wrapped("idefics3", LLAMA, vision_config=SIGLIP, image_token_id=3),
    "smolvlm": wrapped("smolvlm", LLAMA, vision_config=SIGLIP, image_token_id=3),
    # logits that the whole does not divide
    "granite_speech": wrapped(
        "granite_speech",
        dict(ONE_LAYER, model_type="granite", logits_scaling=3.0),
        encoder_config=CONFORMER,
        projector_config=Q_FORMER,
        audio_token_index=3,
        downsample_rate=2,
        window_size=4,
    ),
    "cosmos3_omni": wrapped(
        "cosmos3_omni",
        dict(ONE_LAYER, head_dim=12, rope_parameters=INTERLEAVED),
        vision_config=dict(QWEN, num_position_embeddings=4, deepstack_visual_indexes=[0]),
        **IDS,
    ),
    "deepseek_vl": wrapped("deepseek_vl", LLAMA, vision_config=TOWER, image_token_id=3),
    "exaone4_5": wrapped(
        "exaone4_5",
        dict(ONE_LAYER, model_type="exaone4", head_dim=8),
        vision_config=dict(QWEN, fullatt_block_indexes=[0], num_key_value_heads=2),
        image_token_id=3,
        video_token_id=4,
    ),
    "got_ocr2": wrapped("got_ocr2", QWEN2, vision_config=SAM, image_token_index=3),
    "llava_next_video": wrapped(
        "llava_next_video", LLAMA, vision_config=CLIP, image_token_index=3, video_token_index=4
    ),
    "minicpm_ocr": wrapped("minicpm_ocr", HYBRID, vision_config=SIGLIP, image_token_id=3),
    "minicpmv4_6": wrapped("minicpmv4_6", HYBRID, vision_config=SIGLIP, image_token_id=3),
    "ovis2": wrapped(
        "ovis2",
        QWEN2,
        vision_config=dict(
            SIGLIP, vocab_size=8, num_visual_indicator_tokens=2, hidden_stride=1, tokenizer_function="softmax"
        ),
        image_token_id=3,
        vocab_size=64,
        hidden_size=16,
    ),
    "pp_chart2table": wrapped("pp_chart2table", QWEN2, vision_config=SAM, image_token_index=3),
    "qianfan_ocr": wrapped(
        "qianfan_ocr", QWEN3, vision_config=dict(SIGLIP, image_size=[8, 8], patch_size=[4, 4]), image_token_id=3
    ),
    "video_llama_3": wrapped("video_llama_3", QWEN2, vision_config=SIGLIP, image_token_id=3, video_token_id=4),
    "glmasr": wrapped(
        "glmasr",
        dict(LLAMA, head_dim=8),
        audio_config=dict(SOUND, head_dim=4, num_key_value_heads=2),
        audio_token_id=3,
    ),
    "moss_transcribe_diarize": wrapped("moss_transcribe_diarize", QWEN3, audio_config=SOUND, audio_token_id=3),
    "qwen2_audio": wrapped("qwen2_audio", QWEN2, audio_config=SOUND, audio_token_index=3),
    "qwen3_asr": wrapped(
        "qwen3_asr",
        QWEN3,
        audio_config=dict(SOUND, downsample_hidden_size=8, output_dim=16, n_window=4, n_window_infer=8),
        audio_token_id=3,
    ),
    "voxtral": wrapped("voxtral", dict(LLAMA, head_dim=8), audio_config=SOUND, audio_token_id=3),
}
