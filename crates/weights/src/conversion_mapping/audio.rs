//! Speech and audio.

use super::rules::Mapping;
use super::rules::Op::{Chunk, PermuteForRope, Transpose};
use super::rules::Rule::{Convert, Rename};

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &[
            "qwen2_audio",
            "voxtral",
            "voxtral_realtime",
            "audioflamingo3",
            "glmasr",
            "musicflamingo",
        ],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^audio_tower", "model.audio_tower"),
            Rename("^multi_modal_projector", "model.multi_modal_projector"),
        ],
    },
    Mapping {
        keys: &["granite_speech", "granite_speech_plus"],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^encoder", "model.encoder"),
            Rename("^projector", "model.projector"),
        ],
    },
    Mapping {
        keys: &["MimiEncoderModel"],
        rules: &[Rename(r"^encoder\.layers", "encoder_seanet.layers")],
    },
    Mapping {
        keys: &["MimiDecoderModel"],
        rules: &[Rename(r"^decoder\.layers", "decoder_seanet.layers")],
    },
    Mapping {
        keys: &["MimiModel"],
        rules: &[
            Rename(r"^encoder\.layers", "encoder.encoder.layers"),
            Rename(r"^encoder_transformer\.", "encoder.encoder_transformer."),
            Rename(r"^downsample\.", "encoder.downsample."),
            Rename(r"^upsample\.", "decoder.upsample."),
            Rename(r"^decoder_transformer\.", "decoder.decoder_transformer."),
            Rename(r"^decoder\.layers", "decoder.decoder.layers"),
        ],
    },
    Mapping {
        keys: &["vibevoice_asr"],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename(
                "^acoustic_tokenizer_encoder",
                "model.acoustic_tokenizer_encoder",
            ),
            Rename(
                "^semantic_tokenizer_encoder",
                "model.semantic_tokenizer_encoder",
            ),
            Rename("^multi_modal_projector", "model.multi_modal_projector"),
        ],
    },
    Mapping {
        keys: &["dots3_note_audio_encoder"],
        rules: &[
            Rename(r"^audio_adapter\.", "adapter."),
            Rename(r"^adapter\.proj\.0\.", "adapter.norm."),
            Rename(r"^adapter\.proj\.1\.", "adapter.fc1."),
            Rename(r"^adapter\.proj\.3\.", "adapter.fc2."),
            Rename(r"dots_encoder\.speech_encoder\.", "speech_encoder."),
            Rename(
                r"speech_encoder\.(conv2d[123]|conv_out)\.",
                r"speech_encoder.conv_stem.\1.",
            ),
            Rename(r"conv_stem\.conv2d1\.", "conv_stem.convs.0."),
            Rename(r"conv_stem\.conv2d2\.", "conv_stem.convs.1."),
            Rename(r"conv_stem\.conv2d3\.", "conv_stem.convs.2."),
            Rename(
                r"(speech_encoder\.layers\.\d+\.self_attn)\.out_proj\.",
                r"\1.o_proj.",
            ),
            Rename(r"\.self_attn_layer_norm\.", ".input_layernorm."),
            Rename(r"\.final_layer_norm\.", ".post_attention_layernorm."),
            Rename(
                r"(speech_encoder\.layers\.\d+)\.fc1\.",
                r"\1.mlp.gate_up_proj.",
            ),
            Rename(
                r"(speech_encoder\.layers\.\d+)\.fc2\.",
                r"\1.mlp.down_proj.",
            ),
            Rename(r"^speech_encoder\.(conv_stem|layers|layer_norm)\.", r"\1."),
        ],
    },
    Mapping {
        keys: &["cohere_asr"],
        rules: &[
            Rename(
                r"encoder\.pre_encode\.conv\.",
                "encoder.subsampling.layers.",
            ),
            Rename(r"encoder\.pre_encode\.out\.", "encoder.subsampling.linear."),
            Rename(
                r"transf_decoder\._embedding\.position_embedding\.pos_enc",
                "decoder.pos_emb.weight",
            ),
            Rename(
                r"transf_decoder\._embedding\.token_embedding",
                "decoder.embed_tokens",
            ),
            Rename(
                r"transf_decoder\._embedding\.layer_norm",
                "decoder.embedding_layernorm",
            ),
            Rename(
                r"transf_decoder\._decoder\.final_layer_norm",
                "decoder.norm",
            ),
            Rename(r"transf_decoder\._decoder\.layers", "decoder.layers"),
            Rename(r"encoder_decoder_proj\.", "decoder.proj."),
            Rename(
                r"encoder\.(.+)\.self_attn\.linear_q",
                r"encoder.\1.self_attn.q_proj",
            ),
            Rename(
                r"encoder\.(.+)\.self_attn\.linear_k",
                r"encoder.\1.self_attn.k_proj",
            ),
            Rename(
                r"encoder\.(.+)\.self_attn\.linear_v",
                r"encoder.\1.self_attn.v_proj",
            ),
            Rename(
                r"encoder\.(.+)\.self_attn\.linear_out",
                r"encoder.\1.self_attn.o_proj",
            ),
            Rename(
                r"encoder\.(.+)\.self_attn\.linear_pos",
                r"encoder.\1.self_attn.relative_k_proj",
            ),
            Rename(
                r"encoder\.(.+)\.self_attn\.pos_bias_u",
                r"encoder.\1.self_attn.bias_u",
            ),
            Rename(
                r"encoder\.(.+)\.self_attn\.pos_bias_v",
                r"encoder.\1.self_attn.bias_v",
            ),
            Rename(
                r"decoder\.(.+)\.first_sub_layer\.query_net",
                r"decoder.\1.self_attn.q_proj",
            ),
            Rename(
                r"decoder\.(.+)\.first_sub_layer\.key_net",
                r"decoder.\1.self_attn.k_proj",
            ),
            Rename(
                r"decoder\.(.+)\.first_sub_layer\.value_net",
                r"decoder.\1.self_attn.v_proj",
            ),
            Rename(
                r"decoder\.(.+)\.first_sub_layer\.out_projection",
                r"decoder.\1.self_attn.o_proj",
            ),
            Rename(r"\.second_sub_layer\.query_net", ".encoder_attn.q_proj"),
            Rename(r"\.second_sub_layer\.key_net", ".encoder_attn.k_proj"),
            Rename(r"\.second_sub_layer\.value_net", ".encoder_attn.v_proj"),
            Rename(
                r"\.second_sub_layer\.out_projection",
                ".encoder_attn.o_proj",
            ),
            Rename(r"\.third_sub_layer\.dense_in", ".mlp.fc1"),
            Rename(r"\.third_sub_layer\.dense_out", ".mlp.fc2"),
            Rename(r"\.layer_norm_1\.", ".input_layernorm."),
            Rename(r"\.layer_norm_2\.", ".post_attention_layernorm."),
            Rename(r"\.layer_norm_3\.", ".final_layernorm."),
            Rename(r"\.conv\.batch_norm", ".conv.norm"),
            Rename(r"log_softmax\.mlp\.layer0", "proj_out"),
        ],
    },
    Mapping {
        keys: &["gradium_phonon_tts"],
        rules: &[
            Rename(
                r"^flow_lm\.condition_provider\.conditioners\.transcript_in_segment\.embed\.",
                "model.embed_tokens.",
            ),
            Rename(
                r"^flow_lm\.condition_provider\.conditioners\.speaker_wavs\.output_proj\.",
                "model.audio_prompt_proj.",
            ),
            Rename(
                r"^flow_lm\.condition_provider\.conditioners\.num_speakers\.embed\.",
                "model.num_speakers_embed.",
            ),
            Rename(
                r"^flow_lm\.condition_provider\.conditioners\.num_speakers\.output_proj\.",
                "model.num_speakers_proj.",
            ),
            Rename(
                r"^flow_lm\.condition_provider\.conditioners\.duration_delta\.output_proj\.",
                "model.duration_delta_proj.",
            ),
            Rename(r"^flow_lm\.input_linear\.", "model.audio_latent_proj."),
            Rename(r"^flow_lm\.bos_emb", "model.bos_latent"),
            Rename(r"^flow_lm\.emb_mean", "latent_mean"),
            Rename(r"^flow_lm\.emb_std", "latent_std"),
            Rename(r"^flow_lm\.out_norm\.", "model.norm."),
            Rename(r"^flow_lm\.out_eos\.", "eos_head."),
            Rename(
                r"^flow_lm\.transformer\.layers\.(\d+)\.self_attn\.in_proj\.",
                r"model.layers.\1.self_attn.in_proj.",
            ),
            Rename(
                r"^flow_lm\.transformer\.layers\.(\d+)\.self_attn\.out_proj\.",
                r"model.layers.\1.self_attn.o_proj.",
            ),
            Rename(
                r"^flow_lm\.transformer\.layers\.(\d+)\.linear1\.",
                r"model.layers.\1.mlp.fc1.",
            ),
            Rename(
                r"^flow_lm\.transformer\.layers\.(\d+)\.linear2\.",
                r"model.layers.\1.mlp.fc2.",
            ),
            Rename(
                r"^flow_lm\.transformer\.layers\.(\d+)\.norm1\.",
                r"model.layers.\1.input_layernorm.",
            ),
            Rename(
                r"^flow_lm\.transformer\.layers\.(\d+)\.norm2\.",
                r"model.layers.\1.post_attention_layernorm.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.time_embed\.(\d+)\.freqs",
                r"flow_head.timestep_embeddings.\1.freqs",
            ),
            Rename(
                r"^flow_lm\.flow_net\.time_embed\.(\d+)\.mlp\.0\.",
                r"flow_head.timestep_embeddings.\1.fc1.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.time_embed\.(\d+)\.mlp\.2\.",
                r"flow_head.timestep_embeddings.\1.fc2.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.time_embed\.(\d+)\.mlp\.3\.alpha",
                r"flow_head.timestep_embeddings.\1.norm.weight",
            ),
            Rename(r"^flow_lm\.flow_net\.cond_embed\.", "flow_head.cond_proj."),
            Rename(r"^flow_lm\.flow_net\.input_proj\.", "flow_head.input_proj."),
            Rename(
                r"^flow_lm\.flow_net\.res_blocks\.(\d+)\.in_ln\.",
                r"flow_head.layers.\1.norm.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.res_blocks\.(\d+)\.mlp\.0\.",
                r"flow_head.layers.\1.fc1.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.res_blocks\.(\d+)\.mlp\.2\.",
                r"flow_head.layers.\1.fc2.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.res_blocks\.(\d+)\.adaLN_modulation\.1\.",
                r"flow_head.layers.\1.adaln_proj.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.final_layer\.linear\.",
                "flow_head.final_layer.proj.",
            ),
            Rename(
                r"^flow_lm\.flow_net\.final_layer\.adaLN_modulation\.1\.",
                "flow_head.final_layer.adaln_proj.",
            ),
            Convert {
                from: &[r"self_attn\.in_proj\.weight"],
                to: &[
                    "self_attn.q_proj.weight",
                    "self_attn.k_proj.weight",
                    "self_attn.v_proj.weight",
                ],
                by: &[
                    Chunk(0),
                    PermuteForRope {
                        heads_of: None,
                        only: Some(&["q_proj", "k_proj"]),
                    },
                ],
            },
        ],
    },
    Mapping {
        keys: &["nemo_speechlm"],
        rules: &[
            Rename(
                r"^perception\.encoder\.asr_encoder\.",
                r"^model\.audio_tower\.asr_encoder\.",
            ),
            Rename(
                r"^perception\.encoder\.diarization_model\.encoder\.",
                r"^model\.audio_tower\.diarization_model\.model\.audio_tower\.",
            ),
            Rename(
                r"^ctc_timestamp\.decoder\.transformer\.",
                r"^model\.word_timestamp_encoder\.",
            ),
            Rename(
                r"^ctc_timestamp\.decoder\.upsample\.",
                r"^model\.word_timestamp_encoder\.upsampler\.",
            ),
            Rename(
                r"^ctc_timestamp\.decoder\.decoder_layers\.0\.",
                r"^word_timestamp_head\.",
            ),
            Rename(
                r"^perception\.encoder\.diarization_model\.sortformer_modules\.encoder_proj\.",
                r"^model\.audio_tower\.diarization_model\.model\.proj\.",
            ),
            Rename(
                r"^perception\.encoder\.diarization_model\.sortformer_modules\.subpixel_upsample\.",
                r"^model\.audio_tower\.diarization_model\.model\.upsampler\.conv\.",
            ),
            Rename(
                r"^perception\.encoder\.diarization_model\.sortformer_modules\.first_hidden_to_hidden\.",
                r"^model\.audio_tower\.diarization_model\.classifier\.dense\.",
            ),
            Rename(
                r"^perception\.encoder\.diarization_model\.sortformer_modules\.single_hidden_to_spks\.",
                r"^model\.audio_tower\.diarization_model\.classifier\.out_proj\.",
            ),
            Rename(
                r"^perception\.encoder\.diarization_model\.sortformer_modules\.learnable_sil_emb",
                r"^model\.audio_tower\.diarization_model\.silence_embeds",
            ),
            Rename(
                r"^perception\.encoder\.asr_norm\.",
                r"^model\.audio_tower\.asr_norm\.",
            ),
            Rename(
                r"^perception\.encoder\.diar_norm\.",
                r"^model\.audio_tower\.speaker_norm\.",
            ),
            Rename(r"^perception\.proj\.", r"^model\.multi_modal_projector\."),
            Rename(
                r"^llm\.model\.embed_tokens\.",
                r"^model\.language_model\.embeddings\.",
            ),
            Rename(r"^llm\.model\.norm\.", r"^model\.language_model\.norm_f\."),
            Rename(
                r"^llm\.model\.layers\.",
                r"^model\.language_model\.layers\.",
            ),
            Rename(r"^llm\.lm_head\.", r"^lm_head\."),
            Rename(r"\.pre_encode\.proj\.", r"\.embedder\.projection\."),
            Rename(r"\.embed_norm\.", r"\.input_layer_norm\."),
            Rename(r"\.final_norm\.", r"\.layer_norm\."),
            Rename(r"\.norm1\.", r"\.layer_norm1\."),
            Rename(r"\.norm2\.", r"\.layer_norm2\."),
            Rename(r"\.attn\.out_proj\.", r"\.self_attn\.o_proj\."),
            Rename(r"\.attn\.q_norm\.", r"\.self_attn\.q_norm\."),
            Rename(r"\.attn\.k_norm\.", r"\.self_attn\.k_norm\."),
            Rename(r"\.ffn\.net\.0\.", r"\.mlp\.fc1\."),
            Rename(r"\.ffn\.net\.3\.", r"\.mlp\.fc2\."),
            Rename(r"\.mixer\._fp32_params\.A_log", r"\.mixer\.A_log"),
            Rename(r"\.mixer\._fp32_params\.D", r"\.mixer\.D"),
            Rename(r"\.mixer\._fp32_params\.dt_bias", r"\.mixer\.dt_bias"),
            Convert {
                from: &[r"\.attn\.w_qkv\.weight"],
                to: &[
                    r"\.self_attn\.q_proj\.weight",
                    r"\.self_attn\.k_proj\.weight",
                    r"\.self_attn\.v_proj\.weight",
                ],
                by: &[Chunk(0)],
            },
            Convert {
                from: &[r"\.mixer\.experts\.gate_and_up_projs"],
                to: &[r"\.mixer\.experts\.up_proj"],
                by: &[Transpose(1, 2)],
            },
            Convert {
                from: &[r"\.mixer\.experts\.down_projs"],
                to: &[r"\.mixer\.experts\.down_proj"],
                by: &[Transpose(1, 2)],
            },
        ],
    },
];
