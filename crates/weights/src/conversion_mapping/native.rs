//! Multimodal models that are released under names of their own.

use super::rules::Op::{
    Chunk, Concatenate, FuseAndSplitTextVisionExperts, Interleave, MergeModulelist, PermuteForRope,
    Split, Transpose,
};
use super::rules::Rule::{Convert, Rename, RenameGroup};
use super::rules::{DOT_W1_W3_GATE_UP, DOT_W2_DOWN, EXPERTS_DOWN, EXPERTS_GATE_UP, Mapping};

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &["cosmos3_edge"],
        rules: &[
            Rename(r"^embed_tokens\.", "model.language_model.embed_tokens."),
            Rename(r"^norm\.", "model.language_model.norm."),
            Rename(r"^layers\.", "model.language_model.layers."),
            Rename(r"\.self_attn\.to_q\.", ".self_attn.q_proj."),
            Rename(r"\.self_attn\.to_k\.", ".self_attn.k_proj."),
            Rename(r"\.self_attn\.to_v\.", ".self_attn.v_proj."),
            Rename(r"\.self_attn\.to_out\.", ".self_attn.o_proj."),
            Rename(r"\.mlp\.up_proj\.", ".mlp.fc1."),
            Rename(r"\.mlp\.down_proj\.", ".mlp.fc2."),
        ],
    },
    Mapping {
        keys: &["inkling_mm_model"],
        rules: &[
            Rename(r"model\.llm\.layers", "model.language_model.layers"),
            Rename(
                r"model\.llm\.embed_norm\.weight",
                "model.language_model.embed_tokens.embed_norm.weight",
            ),
            Rename(
                r"model\.llm\.embed\.weight",
                "model.language_model.embed_tokens.weight",
            ),
            Rename(
                r"model\.llm\.norm\.weight",
                "model.language_model.norm.weight",
            ),
            Rename(r"model\.llm\.unembed\.weight", "lm_head.weight"),
            Rename(r"model\.audio\.", "model.audio_tower."),
            Rename(r"model\.visual", "model.vision_tower"),
            Rename(
                r"vision_tower.layers.linear_(\d+)",
                r"vision_tower.encoder_layers.\1.projection",
            ),
            Rename(
                r"vision_tower.layers.norm_(\d+)",
                r"vision_tower.encoder_layers.\1.layer_norm",
            ),
            Rename(
                "audio_tower.encoder.weight",
                "audio_tower.embed_audio_tokens.embed_audio_tokens.weight",
            ),
            Rename("audio_tower.final_norm.weight", "audio_tower.norm.weight"),
            Convert {
                from: &["shared_w13_weight"],
                to: &["gate_proj", "up_proj"],
                by: &[Interleave(1), Chunk(1)],
            },
            Rename("shared_w2_weight", "down_proj"),
            Convert {
                from: &["mlp.experts.w13_weight"],
                to: &["mlp.experts.gate_up_proj"],
                by: &[Interleave(1)],
            },
            Rename("mlp.experts.w2_weight", "mlp.experts.down_proj"),
            Convert {
                from: &["mlp.w13_dn.weight"],
                to: &["mlp.gate_proj.weight", "mlp.up_proj.weight"],
                by: &[Interleave(0), Chunk(0)],
            },
            Rename("mlp.w2_md.weight", "mlp.down_proj.weight"),
            Rename("mlp.gate.bias", "mlp.gate.e_score_correction_bias"),
            Rename(r"attn\.wq_du", "self_attn.q_proj"),
            Rename(r"attn\.wk_dv", "self_attn.k_proj"),
            Rename(r"attn\.wv_dv", "self_attn.v_proj"),
            Rename(r"attn\.wr_du", "self_attn.r_proj"),
            Rename(r"attn\.wo_ud", "self_attn.o_proj"),
            Rename(r"\.attn\.q_norm", ".self_attn.q_norm"),
            Rename(r"\.attn\.k_norm", ".self_attn.k_norm"),
            Rename(r"\.attn\.k_sconv", ".self_attn.k_sconv.conv1d"),
            Rename(r"\.attn\.v_sconv", ".self_attn.v_sconv.conv1d"),
            Rename(r"\.attn\.rel_logits_proj", ".self_attn.rel_logits_proj"),
            Rename(r"attn_sconv\.weight", "attn_sconv.conv1d.weight"),
            Rename(r"mlp_sconv\.weight", "mlp_sconv.conv1d.weight"),
            Rename("mlp_norm", "post_attention_layernorm"),
            Rename("attn_norm", "input_layernorm"),
        ],
    },
    Mapping {
        keys: &["inkling2"],
        rules: &[
            Rename(r"model\.llm\.unembed\.weight", "lm_head.weight"),
            Rename(r"model\.llm\.", "model.language_model."),
            Rename(
                r"model\.visual\.backbone\.embeddings\.",
                "model.vision_tower.embeddings.",
            ),
            Rename(
                r"vision_tower\.embeddings\.position_embedding",
                "vision_tower.embeddings.position_embedding.weight",
            ),
            Rename(
                r"model\.visual\.backbone\.ln_pre\.",
                "model.vision_tower.pre_layernorm.",
            ),
            Rename(
                r"model\.visual\.backbone\.layers\.",
                "model.vision_tower.layers.",
            ),
            Rename(
                r"model\.visual\.proj_in\.",
                "model.vision_tower.merger.linear_1.",
            ),
            Rename(
                r"model\.visual\.proj_out\.",
                "model.vision_tower.merger.linear_2.",
            ),
            Rename(
                r"(vision_tower\.layers\.\d+)\.ln_1\.",
                r"\1.layernorm_before.",
            ),
            Rename(
                r"(vision_tower\.layers\.\d+)\.ln_2\.",
                r"\1.layernorm_after.",
            ),
            Rename(r"(vision_tower\.layers\.\d+)\.mlp\.c_fc\.", r"\1.mlp.fc1."),
            Rename(
                r"(vision_tower\.layers\.\d+)\.mlp\.c_proj\.",
                r"\1.mlp.fc2.",
            ),
            Rename(r"(vision_tower\.layers\.\d+)\.ls_1\.gamma", r"\1.lambda_1"),
            Rename(r"(vision_tower\.layers\.\d+)\.ls_2\.gamma", r"\1.lambda_2"),
        ],
    },
    Mapping {
        keys: &["hunyuan_vl"],
        rules: &[
            Rename("mlp.dense_h_to_4h", "mlp.fc1"),
            Rename("mlp.dense_4h_to_h", "mlp.fc2"),
            Rename(
                r"^vit\.layers\.(\d+)\.input_layernorm\.",
                r"vit.layers.\1.layer_norm1.",
            ),
            Rename(
                r"^vit\.layers\.(\d+)\.post_attention_layernorm\.",
                r"vit.layers.\1.layer_norm2.",
            ),
            Rename(r"perceive\.proj\.0\.", "perceive.proj_conv."),
            Rename(r"perceive\.proj\.2\.", "perceive.proj_out."),
            Rename(r"perceive\.", "patch_merger."),
            Rename(
                r"^model(?!\.(language_model|vit|vision_tower))",
                "model.language_model",
            ),
            Rename(r"^model\.vit", "model.vision_tower"),
            Rename("^vit", "model.vision_tower"),
        ],
    },
    Mapping {
        keys: &["kimi_k25"],
        rules: &[
            Rename("language_model.model", "model.language_model"),
            Rename("language_model.lm_head", "lm_head"),
            RenameGroup(&[
                (
                    r"vision_tower.encoder.blocks.(\d+).norm0",
                    r"vision_tower.encoder.blocks.\1.norm1",
                ),
                (
                    r"vision_tower.encoder.blocks.(\d+).norm1",
                    r"vision_tower.encoder.blocks.\1.norm2",
                ),
            ]),
            RenameGroup(&[
                (
                    r"vision_tower.encoder.blocks.(\d+).mlp.fc0",
                    r"vision_tower.encoder.blocks.\1.mlp.fc1",
                ),
                (
                    r"vision_tower.encoder.blocks.(\d+).mlp.fc1",
                    r"vision_tower.encoder.blocks.\1.mlp.fc2",
                ),
            ]),
            Rename(
                r"vision_tower.encoder.blocks.(\d+).wo",
                r"vision_tower.encoder.blocks.\1.attn.proj",
            ),
            Rename("vision_tower.encoder", "model.vision_tower"),
            Rename("mm_projector.proj.0", "model.mm_projector.in_proj"),
            Rename("mm_projector.proj.2", "model.mm_projector.out_proj"),
            Rename("blocks", "layers"),
            Rename(
                "vision_tower.patch_embed.pos_emb.weight",
                "model.vision_tower.patch_embed.pos_emb.position_embeddings",
            ),
            Convert {
                from: &["wqkv"],
                to: &["attn.q_proj", "attn.k_proj", "attn.v_proj"],
                by: &[
                    Chunk(0),
                    PermuteForRope {
                        heads_of: Some("vision_config"),
                        only: Some(&["q_proj", "k_proj"]),
                    },
                ],
            },
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
        ],
    },
    Mapping {
        keys: &["minimax_m3_vl"],
        rules: &[
            Rename(r"^language_model\.lm_head", "lm_head"),
            Rename(r"^language_model\.model\.", "model.language_model."),
            Rename(
                r"^vision_tower\.vision_model\.embeddings\.patch_embedding\.",
                "model.vision_tower.embeddings.proj.",
            ),
            Rename(
                r"^vision_tower\.vision_model\.encoder\.layers\.",
                "model.vision_tower.layers.",
            ),
            Rename(
                r"^vision_tower\.vision_model\.pre_layrnorm\.",
                "model.vision_tower.pre_layrnorm.",
            ),
            Rename(
                r"^multi_modal_projector\.linear_1\.",
                "model.multi_modal_projector.linear_1.",
            ),
            Rename(
                r"^multi_modal_projector\.linear_2\.",
                "model.multi_modal_projector.linear_2.",
            ),
            Rename(
                r"^patch_merge_mlp\.linear_1\.",
                "model.multi_modal_projector.merge_linear_1.",
            ),
            Rename(
                r"^patch_merge_mlp\.linear_2\.",
                "model.multi_modal_projector.merge_linear_2.",
            ),
            Rename(
                r"\.block_sparse_moe\.(experts|gate|shared_experts)\.",
                r"\.mlp\.\1\.",
            ),
            Rename(
                r"\.block_sparse_moe\.e_score_correction_bias",
                r"\.mlp\.gate\.e_score_correction_bias",
            ),
            Rename(r"\.self_attn\.index_q_proj\.", ".self_attn.indexer.q_proj."),
            Rename(r"\.self_attn\.index_k_proj\.", ".self_attn.indexer.k_proj."),
            Rename(r"\.self_attn\.index_q_norm\.", ".self_attn.indexer.q_norm."),
            Rename(r"\.self_attn\.index_k_norm\.", ".self_attn.indexer.k_norm."),
            DOT_W1_W3_GATE_UP,
            DOT_W2_DOWN,
            Convert {
                from: &[r"\.gate_proj.weight", r"\.up_proj.weight"],
                to: &[r"\.gate_up_proj.weight"],
                by: &[Concatenate(0)],
            },
        ],
    },
    Mapping {
        keys: &["molmo2"],
        rules: &[
            Rename(
                r"(?<!image_vit\.)transformer\.(?!ln_f\.|blocks\.)",
                "language_model.",
            ),
            Rename(
                r"(?<!image_vit\.)transformer\.ln_f\.",
                "language_model.norm.",
            ),
            Rename(
                r"(?<!image_vit\.)transformer\.blocks\.",
                "language_model.layers.",
            ),
            Rename(
                r"vision_backbone\.image_vit\.(?!transformer\.resblocks\.)",
                "vision_tower.",
            ),
            Rename(
                r"vision_backbone\.image_vit\.transformer\.resblocks\.",
                "vision_tower.layers.",
            ),
            Rename(
                r"vision_backbone\.image_pooling_2d\.",
                "multi_modal_projector.image_pooling_2d.",
            ),
            Rename(
                r"vision_backbone\.image_projector\.",
                "multi_modal_projector.image_projector.",
            ),
            Rename(r"\.attention\.wq", ".self_attn.q_proj"),
            Rename(r"\.attention\.wk", ".self_attn.k_proj"),
            Rename(r"\.attention\.wv", ".self_attn.v_proj"),
            Rename(r"\.attention\.wo", ".self_attn.o_proj"),
            Rename(r"\.feed_forward\.w1", ".mlp.fc1"),
            Rename(r"\.feed_forward\.w2", ".mlp.fc2"),
            Rename(r"\.attention_norm", ".layer_norm1"),
            Rename(r"\.ffn_norm", ".layer_norm2"),
            Rename(r"image_pooling_2d\.wq", "image_pooling_2d.q_proj"),
            Rename(r"image_pooling_2d\.wk", "image_pooling_2d.k_proj"),
            Rename(r"image_pooling_2d\.wv", "image_pooling_2d.v_proj"),
            Rename(r"image_pooling_2d\.wo", "image_pooling_2d.o_proj"),
            Rename(r"image_projector\.w1", "image_projector.gate_proj"),
            Rename(r"image_projector\.w2", "image_projector.down_proj"),
            Rename(r"image_projector\.w3", "image_projector.up_proj"),
        ],
    },
    Mapping {
        keys: &["Molmo2TextModel"],
        rules: &[
            Rename(r"\.attn_norm\.", ".input_layernorm."),
            Rename(r"\.ff_norm\.", ".post_attention_layernorm."),
            Convert {
                from: &["self_attn.att_proj"],
                to: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                by: &[Split(0)],
            },
            Rename(r"self_attn\.attn_out", "self_attn.o_proj"),
            Rename(r"mlp\.ff_out", "mlp.down_proj"),
            Convert {
                from: &["mlp.ff_proj.weight"],
                to: &["mlp.up_proj.weight", "mlp.gate_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["wte.embedding", "wte.new_embedding"],
                to: &["embed_tokens.weight"],
                by: &[Concatenate(0)],
            },
        ],
    },
    Mapping {
        keys: &["deepseek_ocr2"],
        rules: &[
            Rename(
                r"sam_model\.blocks\.(\d+)\.norm1\.",
                r"vision_tower.sam_encoder.layers.\1.layer_norm1.",
            ),
            Rename(
                r"sam_model\.blocks\.(\d+)\.norm2\.",
                r"vision_tower.sam_encoder.layers.\1.layer_norm2.",
            ),
            Rename(
                r"sam_model\.blocks\.(\d+)\.attn\.",
                r"vision_tower.sam_encoder.layers.\1.attn.",
            ),
            Rename(
                r"sam_model\.blocks\.(\d+)\.mlp\.",
                r"vision_tower.sam_encoder.layers.\1.mlp.",
            ),
            Rename(
                r"sam_model\.patch_embed\.proj\.",
                "vision_tower.sam_encoder.patch_embed.projection.",
            ),
            Rename(
                r"sam_model\.pos_embed",
                "vision_tower.sam_encoder.pos_embed",
            ),
            Rename(
                r"sam_model\.neck\.0\.",
                "vision_tower.sam_encoder.neck.conv1.",
            ),
            Rename(
                r"sam_model\.neck\.1\.",
                "vision_tower.sam_encoder.neck.layer_norm1.",
            ),
            Rename(
                r"sam_model\.neck\.2\.",
                "vision_tower.sam_encoder.neck.conv2.",
            ),
            Rename(
                r"sam_model\.neck\.3\.",
                "vision_tower.sam_encoder.neck.layer_norm2.",
            ),
            Rename(
                r"sam_model\.net_2\.",
                "vision_tower.sam_encoder.proj.conv1.",
            ),
            Rename(
                r"sam_model\.net_3\.",
                "vision_tower.sam_encoder.proj.conv2.",
            ),
            Rename(
                r"qwen2_model\.model\.model\.layers\.",
                "vision_tower.vision_encoder.layers.",
            ),
            Rename(
                r"qwen2_model\.model\.model\.norm\.",
                "vision_tower.vision_encoder.norm.",
            ),
            Rename(
                r"qwen2_model\.query_768\.",
                "vision_tower.query_768_resolution.",
            ),
            Rename(
                r"qwen2_model\.query_1024\.",
                "vision_tower.query_1024_resolution.",
            ),
            Rename(r"projector\.layers\.", "multi_modal_projector."),
            Rename("view_seperator", "view_separator"),
            Rename(
                r"(^|model\.)embed_tokens\.",
                r"\1language_model.embed_tokens.",
            ),
            Rename(r"(^|model\.)layers\.", r"\1language_model.layers."),
            Rename(r"(^|model\.)norm\.", r"\1language_model.norm."),
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
        ],
    },
    Mapping {
        keys: &["step3p7"],
        rules: &[
            Rename(r"^vision_model\.", "model.vision_model."),
            Rename(r"^vit_large_projector\.", "model.multi_modal_projector."),
            Rename(
                r"^model\.embed_tokens\.",
                "model.language_model.embed_tokens.",
            ),
            Rename(r"^model\.layers\.", "model.language_model.layers."),
            Rename(r"^model\.norm\.", "model.language_model.norm."),
            Rename(r"\.moe\.gate\.weight", ".mlp.gate.weight"),
            Rename(r"\.moe\.router_bias", ".mlp.gate.e_score_correction_bias"),
            Rename(r"\.moe\.down_proj\.weight", ".mlp.experts.down_proj"),
            Rename(
                r"\.moe\.down_proj\.weight_scale_inv",
                ".mlp.experts.down_proj_scale_inv",
            ),
            Rename(r"\.share_expert\.", ".mlp.shared_experts."),
            Convert {
                from: &["moe.gate_proj.weight", "moe.up_proj.weight"],
                to: &["mlp.experts.gate_up_proj"],
                by: &[Concatenate(1)],
            },
        ],
    },
    Mapping {
        keys: &["step3p5_vision"],
        rules: &[
            Rename(r"^conv1\.weight", "embeddings.patch_embedding.weight"),
            Rename(
                "^positional_embedding",
                "embeddings.position_embedding.weight",
            ),
            Rename(r"^transformer\.resblocks\.", "layers."),
            Rename(r"^ln_pre\.", "pre_layernorm."),
            Rename(r"^vit_downsampler1\.", "downsampler1."),
            Rename(r"^vit_downsampler2\.", "downsampler2."),
            Rename(r"\.ls_1\.gamma", ".lambda_1"),
            Rename(r"\.ls_2\.gamma", ".lambda_2"),
            Rename(r"\.mlp\.c_fc\.", ".mlp.fc1."),
            Rename(r"\.mlp\.c_proj\.", ".mlp.fc2."),
            Rename(r"\.attn\.", ".self_attn."),
            Rename(r"\.ln_1\.", ".layernorm_before."),
            Rename(r"\.ln_2\.", ".layernorm_after."),
            Convert {
                from: &[r"attn\.in_proj_weight"],
                to: &[
                    "attn.q_proj.weight",
                    "attn.k_proj.weight",
                    "attn.v_proj.weight",
                ],
                by: &[
                    Chunk(0),
                    PermuteForRope {
                        heads_of: Some("vision_config"),
                        only: Some(&["q_proj", "k_proj"]),
                    },
                ],
            },
            Convert {
                from: &[r"attn\.in_proj_bias"],
                to: &["attn.q_proj.bias", "attn.k_proj.bias", "attn.v_proj.bias"],
                by: &[
                    Chunk(0),
                    PermuteForRope {
                        heads_of: Some("vision_config"),
                        only: Some(&["q_proj", "k_proj"]),
                    },
                ],
            },
        ],
    },
    Mapping {
        keys: &["dots3_note_vision_encoder"],
        rules: &[
            Rename(r"^post_trunk_norm\.", "norm."),
            Rename(r"^adapter\.", "merger."),
            Rename(r"(blocks\.\d+)\.norm_1\.", r"\1.norm1."),
            Rename(r"(blocks\.\d+)\.norm_2\.", r"\1.norm2."),
            Rename(r"(blocks\.\d+\.mlp)\.fc1\.", r"\1.gate_proj."),
            Rename(r"(blocks\.\d+\.mlp)\.fc2\.", r"\1.down_proj."),
            Rename(r"(blocks\.\d+\.mlp)\.fc3\.", r"\1.up_proj."),
            Rename(r"\.mlp\.gate_weight", ".mlp.gate.weight"),
            Rename(r"\.mlp\.router_bias", ".mlp.e_score_correction_bias"),
            Convert {
                from: &[".mlp.experts.*.fc1.weight", ".mlp.experts.*.fc3.weight"],
                to: &[".mlp.experts.gate_up_proj"],
                by: &[MergeModulelist(0), Concatenate(1)],
            },
            Convert {
                from: &[".mlp.experts.*.fc2.weight"],
                to: &[".mlp.experts.down_proj"],
                by: &[MergeModulelist(0)],
            },
        ],
    },
    Mapping {
        keys: &["cosmos3_omni"],
        rules: &[
            Rename(
                r"^(layers\.|embed_tokens\.|norm\.)",
                r"model.language_model.\1",
            ),
            Rename(
                r"^(blocks\.|merger\.|patch_embed\.|pos_embed\.|deepstack_merger_list\.)",
                r"model.visual.\1",
            ),
            Rename(r"\.self_attn\.to_q\.", ".self_attn.q_proj."),
            Rename(r"\.self_attn\.to_k\.", ".self_attn.k_proj."),
            Rename(r"\.self_attn\.to_v\.", ".self_attn.v_proj."),
            Rename(r"\.self_attn\.to_out\.", ".self_attn.o_proj."),
            Rename(r"\.self_attn\.norm_q\.", ".self_attn.q_norm."),
            Rename(r"\.self_attn\.norm_k\.", ".self_attn.k_norm."),
        ],
    },
    Mapping {
        keys: &["ernie4_5_vl_moe"],
        rules: &[
            Rename("vision_model", "vision_tower"),
            Rename("spatial_linear.0", "spatial_linear.fc1"),
            Rename("spatial_linear.2", "spatial_linear.fc2"),
            Rename("spatial_linear.3", "spatial_linear.ln"),
            Rename("temporal_linear.0", "temporal_linear.fc1"),
            Rename("temporal_linear.2", "temporal_linear.fc2"),
            Rename("temporal_linear.3", "temporal_linear.ln"),
            Rename(
                r"(?<!language_model\.)embed_tokens",
                "language_model.embed_tokens",
            ),
            Rename(r"(?<!language_model\.)layers", "language_model.layers"),
            Rename(r"(?<!_)(?<!\w)norm\.", "language_model.norm."),
            Convert {
                from: &["mlp.gate.weight_1"],
                to: &["mlp.vision_moe.gate.weight"],
                by: &[Transpose(0, 1)],
            },
            Convert {
                from: &["mlp.gate.weight"],
                to: &["mlp.text_moe.gate.weight"],
                by: &[Transpose(0, 1)],
            },
            Convert {
                from: &["mlp.moe_statics.e_score_correction_bias"],
                to: &[
                    "mlp.text_moe.gate.moe_statics.e_score_correction_bias",
                    "mlp.vision_moe.gate.moe_statics.e_score_correction_bias",
                ],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["experts.*.down_proj.weight"],
                to: &["text_moe.experts.down_proj", "vision_moe.experts.down_proj"],
                by: &[FuseAndSplitTextVisionExperts(0, 1)],
            },
            Convert {
                from: &["experts.*.gate_proj.weight", "experts.*.up_proj.weight"],
                to: &[
                    "text_moe.experts.gate_up_proj",
                    "vision_moe.experts.gate_up_proj",
                ],
                by: &[FuseAndSplitTextVisionExperts(0, 1)],
            },
        ],
    },
    Mapping {
        keys: &["qianfan_ocr"],
        rules: &[
            Rename(r"^vision_model\.", r"model\.vision_tower\."),
            Rename(r"encoder\.layers\.", r"layers\."),
            Rename(r"\.ls1", r"\.lambda_1"),
            Rename(r"\.ls2", r"\.lambda_2"),
            Rename(
                r"(layers\.\d+)\.attn\.proj\.",
                r"\1.attention.projection_layer.",
            ),
            Rename(r"\.norm1\.", r"\.layernorm_before\."),
            Rename(r"\.norm2\.", r"\.layernorm_after\."),
            Rename(r"\.embeddings\.class_embedding", r"\.embeddings\.cls_token"),
            Rename(
                r"\.embeddings\.position_embedding",
                r"\.embeddings\.position_embeddings",
            ),
            Rename(
                r"\.embeddings\.patch_embedding\.",
                r"\.embeddings\.patch_embeddings\.projection\.",
            ),
            Rename(r"^language_model\.model\.", r"model\.language_model\."),
            Rename(r"^language_model\.lm_head\.", r"lm_head\."),
            Rename(r"^mlp1\.0\.", r"model\.multi_modal_projector\.layer_norm\."),
            Rename(r"^mlp1\.1\.", r"model\.multi_modal_projector\.linear_1\."),
            Rename(r"^mlp1\.3\.", r"model\.multi_modal_projector\.linear_2\."),
            Convert {
                from: &["attn.qkv.weight"],
                to: &[
                    "attention.q_proj.weight",
                    "attention.k_proj.weight",
                    "attention.v_proj.weight",
                ],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["attn.qkv.bias"],
                to: &[
                    "attention.q_proj.bias",
                    "attention.k_proj.bias",
                    "attention.v_proj.bias",
                ],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["unlimited_ocr"],
        rules: &[
            Rename(r"(^|model\.)sam_model", r"\1vision_tower.sam_encoder"),
            Rename(r"(^|model\.)vision_model", r"\1vision_tower.vision_encoder"),
            Rename(r"(^|model\.)view_seperator", r"\1view_separator"),
            Rename(
                r"(^|model\.)projector\.layers\.weight",
                r"\1multi_modal_projector.weight",
            ),
            Rename(
                r"(^|model\.)projector\.layers\.bias",
                r"\1multi_modal_projector.bias",
            ),
            Rename(
                r"(^|model\.)embed_tokens\.",
                r"\1language_model.embed_tokens.",
            ),
            Rename(r"(^|model\.)layers\.", r"\1language_model.layers."),
            Rename(r"(^|model\.)norm\.", r"\1language_model.norm."),
        ],
    },
    Mapping {
        keys: &["UnlimitedOcrSamVisionEncoder"],
        rules: &[
            Rename(r"blocks\.(\d+)\.norm1\.", r"layers.\1.layer_norm1."),
            Rename(r"blocks\.(\d+)\.norm2\.", r"layers.\1.layer_norm2."),
            Rename(r"blocks\.(\d+)\.attn\.", r"layers.\1.attn."),
            Rename(r"blocks\.(\d+)\.mlp\.", r"layers.\1.mlp."),
            Rename(r"patch_embed\.proj\.", "patch_embed.projection."),
            Rename(r"neck\.0\.", "neck.conv1."),
            Rename(r"neck\.1\.", "neck.layer_norm1."),
            Rename(r"neck\.2\.", "neck.conv2."),
            Rename(r"neck\.3\.", "neck.layer_norm2."),
            Rename(r"net_2\.", "proj.conv1."),
            Rename(r"net_3\.", "proj.conv2."),
        ],
    },
    Mapping {
        keys: &["UnlimitedOcrVisionEncoder"],
        rules: &[
            Rename("transformer", "encoder"),
            Convert {
                from: &["qkv_proj.weight"],
                to: &["q_proj.weight", "k_proj.weight", "v_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["qkv_proj.bias"],
                to: &["q_proj.bias", "k_proj.bias", "v_proj.bias"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["mistral_large4"],
        rules: &[
            Rename(r"^vision_encoder\.", "model.vision_tower."),
            Rename(r"^tok_embeddings\.", "model.language_model.embed_tokens."),
            Rename(r"^lerope\.alpha", "model.language_model.rotary_emb.alpha"),
            Rename(r"^layers\.", "model.language_model.layers."),
            Rename(r"^norm\.", "model.language_model.norm."),
            Rename(r"^output\.", "lm_head."),
            Rename(
                r"^pre_mm_projector_norm\.",
                "model.multi_modal_projector.norm.",
            ),
            Rename(
                r"^patch_merger\.",
                "model.multi_modal_projector.patch_merger.",
            ),
            Rename(
                r"^vision_language_adapter\.w_in\.",
                "model.multi_modal_projector.linear_1.",
            ),
            Rename(
                r"^vision_language_adapter\.w_out\.",
                "model.multi_modal_projector.linear_2.",
            ),
            Rename(r"\.wv\.", ".v_proj."),
            Rename(r"\.wo\.", ".o_proj."),
            Rename(r"\.(feed_forward|shared_experts)\.w1\.", r".\1.gate_proj."),
            Rename(r"\.(feed_forward|shared_experts)\.w2\.", r".\1.down_proj."),
            Rename(r"\.(feed_forward|shared_experts)\.w3\.", r".\1.up_proj."),
            Convert {
                from: &[r"attention\.wq\."],
                to: &["attention.q_proj."],
                by: &[PermuteForRope {
                    heads_of: Some("vision_config"),
                    only: None,
                }],
            },
            Convert {
                from: &[r"attention\.wk\."],
                to: &["attention.k_proj."],
                by: &[PermuteForRope {
                    heads_of: Some("vision_config"),
                    only: None,
                }],
            },
        ],
    },
];
