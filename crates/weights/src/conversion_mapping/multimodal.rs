//! Models that see or hear and speak: mostly the towers' places, which older checkpoints give without `model.`.

use super::rules::Mapping;
use super::rules::Op::TransposeIfShapesDiffer;
use super::rules::Rule::{AddPrefix, Convert, RemovePrefix, Rename};

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &["gemma4_unified"],
        rules: &[
            Rename(r"vision_embedder\.patch_ln1", "embed_vision.patch_ln1"),
            Rename(r"vision_embedder\.patch_dense", "embed_vision.patch_dense"),
            Rename(r"vision_embedder\.patch_ln2", "embed_vision.patch_ln2"),
            Rename(
                r"vision_embedder\.pos_embedding",
                "embed_vision.pos_embedding",
            ),
            Rename(r"vision_embedder\.pos_norm", "embed_vision.pos_norm"),
            Rename(
                r"embed_vision\.embedding_projection",
                "embed_vision.multimodal_embedder.embedding_projection",
            ),
        ],
    },
    Mapping {
        keys: &["NemotronH_Omni_Reasoning_V3"],
        rules: &[
            Rename(r"^mlp1\.0\.", r"multi_modal_projector\.layer_norm\."),
            Rename(r"^mlp1\.1\.", r"multi_modal_projector\.linear_1\."),
            Rename(r"^mlp1\.3\.", r"multi_modal_projector\.linear_2\."),
            Rename(r"^sound_encoder\.encoder\.", r"audio_tower\."),
            Rename(r"^sound_projection\.norm\.", r"embed_audio\.layer_norm\."),
            Rename(r"^sound_projection\.linear1\.", r"embed_audio\.linear_1\."),
            Rename(r"^sound_projection\.linear2\.", r"embed_audio\.linear_2\."),
        ],
    },
    Mapping {
        keys: &[
            "LlavaModel",
            "Qwen2AudioModel",
            "GraniteSpeechModel",
            "VibeVoiceAsrModel",
            "VideoLlavaModel",
            "AriaModel",
            "PaliGemmaModel",
            "AyaVisionModel",
            "GotOcr2Model",
            "Gemma3Model",
            "InternVLModel",
            "VipLlavaModel",
            "Mistral3Model",
            "PPChart2TableModel",
            "LlavaNextModel",
            "LlavaNextVideoModel",
            "LlavaOnevisionModel",
            "FuyuModel",
            "MllamaModel",
            "VoxtralModel",
            "VoxtralRealtimeModel",
            "AudioFlamingo3Model",
            "GlmAsrModel",
            "MusicFlamingoModel",
            "GraniteSpeechPlusModel",
        ],
        rules: &[Rename("^language_model.model", "language_model")],
    },
    Mapping {
        keys: &[
            "llava",
            "aria",
            "paligemma",
            "aya_vision",
            "got_ocr2",
            "gemma3",
            "internvl",
            "vipllava",
            "mistral3",
            "pp_chart2table",
        ],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^vision_tower", "model.vision_tower"),
            Rename("^multi_modal_projector", "model.multi_modal_projector"),
        ],
    },
    Mapping {
        keys: &["llava_next", "llava_next_video", "llava_onevision"],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^vision_tower", "model.vision_tower"),
            Rename("^multi_modal_projector", "model.multi_modal_projector"),
            Rename("^image_newline", "model.image_newline"),
        ],
    },
    Mapping {
        keys: &["video_llava"],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^image_tower", "model.image_tower"),
            Rename("^video_tower", "model.video_tower"),
            Rename("^multi_modal_projector", "model.multi_modal_projector"),
        ],
    },
    Mapping {
        keys: &["fuyu"],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^vision_embed_tokens", "model.vision_embed_tokens"),
        ],
    },
    Mapping {
        keys: &["mllama"],
        rules: &[
            Rename("^language_model.lm_head", "lm_head"),
            Rename("^language_model", "model.language_model"),
            Rename("^vision_model", "model.vision_model"),
            Rename("^multi_modal_projector", "model.multi_modal_projector"),
        ],
    },
    Mapping {
        keys: &["Emu3Model"],
        rules: &[Rename("^text_model.model", "text_model")],
    },
    Mapping {
        keys: &["emu3"],
        rules: &[
            Rename("^text_model.lm_head", "lm_head"),
            Rename("^text_model", "model.text_model"),
            Rename("^vqmodel", "model.vqmodel"),
        ],
    },
    Mapping {
        keys: &["paddleocr_vl"],
        rules: &[
            Rename("^mlp_AR", "model.projector"),
            Rename("^visual", "model.visual"),
            Rename(
                r"^model(?!(\.visual|\.projector|\.language_model))",
                "model.language_model",
            ),
        ],
    },
    Mapping {
        keys: &["Qwen2VLModel", "Qwen2_5_VLModel"],
        rules: &[AddPrefix {
            prefix: "language_model",
            after: "model",
        }],
    },
    Mapping {
        keys: &[
            "Qwen2VLForConditionalGeneration",
            "Qwen2_5_VLForConditionalGeneration",
        ],
        rules: &[
            Rename("^visual", "model.visual"),
            Rename(
                r"^model(?!\.(language_model|visual))",
                "model.language_model",
            ),
        ],
    },
    Mapping {
        keys: &["Qwen2_5OmniThinkerModel", "Qwen3OmniMoeThinkerModel"],
        rules: &[
            RemovePrefix {
                prefix: "thinker",
                after: "",
            },
            AddPrefix {
                prefix: "language_model",
                after: "model",
            },
        ],
    },
    Mapping {
        keys: &[
            "Qwen2_5OmniThinkerForConditionalGeneration",
            "qwen2_5_omni_thinker",
            "Qwen3OmniMoeThinkerForConditionalGeneration",
        ],
        rules: &[
            RemovePrefix {
                prefix: "thinker",
                after: "",
            },
            Rename("^audio_tower", "model.audio_tower"),
            Rename("^visual", "model.visual"),
            Rename(
                r"^model(?!\.(language_model|visual|audio_tower))",
                "model.language_model",
            ),
        ],
    },
    Mapping {
        keys: &["colqwen2"],
        rules: &[RemovePrefix {
            prefix: "model",
            after: "vlm",
        }],
    },
    Mapping {
        keys: &["shieldgemma2"],
        rules: &[AddPrefix {
            prefix: "model",
            after: "model",
        }],
    },
    Mapping {
        keys: &["pi0"],
        rules: &[
            RemovePrefix {
                prefix: "model",
                after: "",
            },
            Rename("state_proj", "embed_action_time.state_proj"),
            Rename("action_in_proj", "embed_action_time.action_in_proj"),
            Rename("action_time_mlp_in", "embed_action_time.action_time_mlp_in"),
            Rename(
                "action_time_mlp_out",
                "embed_action_time.action_time_mlp_out",
            ),
            Rename("^paligemma_with_expert.paligemma.model", "model.vlm"),
            Rename("^paligemma_with_expert.gemma_expert.model", "model.dit"),
            Rename(
                "^paligemma_with_expert.gemma_expert.lm_head",
                "model.dit.embed_tokens",
            ),
            Rename(
                "^paligemma_with_expert.paligemma.lm_head",
                "model.vlm.language_model.embed_tokens",
            ),
        ],
    },
    Mapping {
        keys: &["Dots3NoteForConditionalGeneration"],
        rules: &[
            Rename(r"^audio_encoder\.audio_adapter\.", "audio_adapter."),
            Rename(
                r"^(vision_encoder|audio_encoder|audio_adapter)\.",
                r"model.\1.",
            ),
        ],
    },
    Mapping {
        keys: &["Dots3NoteModel"],
        rules: &[
            RemovePrefix {
                prefix: "model",
                after: "",
            },
            Rename(r"^(embed_tokens|layers|norm)\.", r"language_model.\1."),
            Rename(r"^vision_encoder\.", "vision_tower."),
            Rename(r"^audio_encoder\.", "audio_tower."),
            Rename(r"^audio_adapter\.", "audio_tower.audio_adapter."),
        ],
    },
    Mapping {
        keys: &["qwen3_vl_moe"],
        rules: &[
            Convert {
                from: &["mlp.experts.gate_up_proj"],
                to: &["mlp.experts.gate_up_proj"],
                by: &[TransposeIfShapesDiffer(1, 2)],
            },
            Convert {
                from: &["mlp.experts.down_proj"],
                to: &["mlp.experts.down_proj"],
                by: &[TransposeIfShapesDiffer(1, 2)],
            },
        ],
    },
    Mapping {
        keys: &["lfm3_vl_vision"],
        rules: &[
            Rename("patchifier", "patch_embed"),
            Rename("q_layernorm", "q_norm"),
            Rename("k_layernorm", "k_norm"),
        ],
    },
    Mapping {
        keys: &["hyperclovax_vision_v2"],
        rules: &[
            Rename("^model.language_model.lm_head", "lm_head"),
            Rename("^model.vision_projector", "model.projector"),
            RemovePrefix {
                prefix: "model",
                after: "model.language_model",
            },
        ],
    },
];
