//! Vision encoders and their heads.

use super::rules::Mapping;
use super::rules::Op::Chunk;
use super::rules::Rule::{AddPrefix, Convert, RemovePrefix, Rename};

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &["radio"],
        rules: &[
            Rename(
                "radio_model.model.patch_generator.video_embedder",
                "embeddings.video_patch_projection",
            ),
            Rename(
                "radio_model.model.patch_generator.embedder",
                "embeddings.patch_projection",
            ),
            Rename(
                "radio_model.model.patch_generator.pos_embed",
                "embeddings.position_embedding",
            ),
            Rename(
                "radio_model.model.patch_generator.cls_token.token",
                "embeddings.cls_register_token",
            ),
            Rename("radio_model.model.blocks", "encoder.layer"),
            Rename("attn.proj", "attention.o_proj"),
            Rename("radio_model.input_conditioner", "input_conditioner"),
            Rename("radio_model.summary_idxs", "summary_idxs"),
            Convert {
                from: &["attn.qkv"],
                to: &["attention.q_proj", "attention.k_proj", "attention.v_proj"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &[
            "ViTModel",
            "ASTModel",
            "DeiTModel",
            "IJepaModel",
            "ViTMAEModel",
            "ViTMSNModel",
            "VivitModel",
        ],
        rules: &[
            Rename(r"encoder\.layer\.", "layers."),
            Rename("attention.query", "q_proj"),
            Rename("attention.key", "k_proj"),
            Rename("attention.value", "v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("intermediate.dense", "mlp.fc1"),
            Rename("output.dense", "mlp.fc2"),
        ],
    },
    Mapping {
        keys: &[
            "Dinov2Model",
            "Dinov2WithRegistersModel",
            "Dinov2Backbone",
            "Dinov2WithRegistersBackbone",
        ],
        rules: &[
            Rename("attention.attention.query", "attention.q_proj"),
            Rename("attention.attention.key", "attention.k_proj"),
            Rename("attention.attention.value", "attention.v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Convert {
                from: &["mlp.weights_in.weight"],
                to: &["mlp.gate_proj.weight", "mlp.up_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["mlp.weights_in.bias"],
                to: &["mlp.gate_proj.bias", "mlp.up_proj.bias"],
                by: &[Chunk(0)],
            },
            Rename("mlp.weights_out", "mlp.down_proj"),
        ],
    },
    Mapping {
        keys: &["ViTMSNForImageClassification"],
        rules: &[Rename(r"^encoder\.", "vit.encoder.")],
    },
    Mapping {
        keys: &["ViTMAEForPreTraining"],
        rules: &[
            Rename("attention.query", "q_proj"),
            Rename("attention.key", "k_proj"),
            Rename("attention.value", "v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("intermediate.dense", "mlp.fc1"),
            Rename("output.dense", "mlp.fc2"),
        ],
    },
    Mapping {
        keys: &["BeitBackbone"],
        rules: &[
            Rename(r"^fpn1\.0\.", "fpn.fpn1.conv_transpose1."),
            Rename(r"^fpn1\.1\.", "fpn.fpn1.normalization."),
            Rename(r"^fpn1\.3\.", "fpn.fpn1.conv_transpose2."),
            Rename(r"^fpn2\.0\.", "fpn.fpn2."),
            Rename(r"^encoder\.layer\.", "beit.encoder.layer."),
            Rename(r"^embeddings\.", "beit.embeddings."),
            Rename("attention.query", "q_proj"),
            Rename("attention.key", "k_proj"),
            Rename("attention.value", "v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("intermediate.dense", "mlp.fc1"),
            Rename("output.dense", "mlp.fc2"),
        ],
    },
    Mapping {
        keys: &["BeitForSemanticSegmentation"],
        rules: &[
            Rename(r"(?<!psp_modules\.[0-9]\.1\.)bn\.", "normalization."),
            Rename(
                r"(?<!psp_modules\.[0-9]\.1\.)conv\.weight",
                "convolution.weight",
            ),
            Rename(r"^fpn1\.0\.", "fpn.fpn1.conv_transpose1."),
            Rename(r"^fpn1\.1\.", "fpn.fpn1.normalization."),
            Rename(r"^fpn1\.3\.", "fpn.fpn1.conv_transpose2."),
            Rename(r"^fpn2\.0\.", "fpn.fpn2."),
            Rename("decode_head.bottleneck.", "decode_head.psp_bottleneck."),
            Rename(
                r"decode_head\.psp_modules\.(\d+)\.1\.conv\.weight",
                r"decode_head.psp_modules.blocks.\1.conv.convolution.weight",
            ),
            Rename(
                r"decode_head\.psp_modules\.(\d+)\.1\.bn\.",
                r"decode_head.psp_modules.blocks.\1.conv.normalization.",
            ),
        ],
    },
    Mapping {
        keys: &["SegformerModel"],
        rules: &[
            Rename(
                r"encoder.patch_embeddings.(\d+).",
                r"stages.\1.patch_embeddings.",
            ),
            Rename(r"encoder.block.(\d+).", r"stages.\1.blocks."),
            Rename(r"encoder.layer_norm.(\d+)", r"stages.\1.layer_norm"),
            Rename("attention.self.query", "attention.q_proj"),
            Rename("attention.self.key", "attention.k_proj"),
            Rename("attention.self.value", "attention.v_proj"),
            Rename(
                "attention.self.sr",
                "attention.sequence_reduction.sequence_reduction",
            ),
            Rename(
                "attention.self.layer_norm",
                "attention.sequence_reduction.layer_norm",
            ),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("mlp.dense1", "mlp.fc1"),
            Rename("mlp.dense2", "mlp.fc2"),
            Rename("layer_norm_1", "layernorm_before"),
            Rename("layer_norm_2", "layernorm_after"),
        ],
    },
    Mapping {
        keys: &["SegformerForSemanticSegmentation"],
        rules: &[Rename(
            "decode_head.linear_c",
            "decode_head.linear_projections",
        )],
    },
    Mapping {
        keys: &["videomae"],
        rules: &[
            Rename(
                r"attention\.attention\.q_bias",
                "attention.attention.query.bias",
            ),
            Rename(
                r"attention\.attention\.v_bias",
                "attention.attention.value.bias",
            ),
        ],
    },
    Mapping {
        keys: &["swin"],
        rules: &[
            Rename("attention.self.query", "attention.q_proj"),
            Rename("attention.self.key", "attention.k_proj"),
            Rename("attention.self.value", "attention.v_proj"),
            Rename(
                "attention.self.relative_position_bias_table",
                "attention.relative_position_bias.relative_position_bias_table",
            ),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("intermediate.dense", "mlp.fc1"),
            Rename("output.dense", "mlp.fc2"),
        ],
    },
    Mapping {
        keys: &["SwinBackbone"],
        rules: &[
            Rename(r"^encoder\.", "swin.encoder."),
            Rename(r"^embeddings\.", "swin.embeddings."),
        ],
    },
    Mapping {
        keys: &["altclip"],
        rules: &[Rename(r"layer\.", "layers.")],
    },
    Mapping {
        keys: &[
            "CLIPVisionModel",
            "AltCLIPVisionModel",
            "ChineseCLIPVisionModel",
            "CLIPSegVisionModel",
            "MetaClip2VisionModel",
            "mlcd_vision",
            "mlcd",
            "SiglipVisionModel",
            "Siglip2VisionModel",
            "xCLIPVisionModel",
        ],
        rules: &[RemovePrefix {
            prefix: "vision_model",
            after: "",
        }],
    },
    Mapping {
        keys: &[
            "CLIPTextModel",
            "CLIPSegTextModel",
            "MetaClip2TextModel",
            "SiglipTextModel",
            "Siglip2TextModel",
            "xCLIPTextModel",
        ],
        rules: &[RemovePrefix {
            prefix: "text_model",
            after: "",
        }],
    },
    Mapping {
        keys: &["timm_wrapper"],
        rules: &[AddPrefix {
            prefix: "timm_model",
            after: "",
        }],
    },
    Mapping {
        keys: &["dinov3_convnext"],
        rules: &[Rename(r"(?<!model\.)stages", "model.stages")],
    },
    Mapping {
        keys: &["dinov3_vit"],
        rules: &[Rename(r"(?<!model\.)layer.", "model.layer.")],
    },
    Mapping {
        keys: &["sapiens2"],
        rules: &[
            Rename("^cls_token", "embeddings.cls_token"),
            Rename("^storage_tokens", "embeddings.register_tokens"),
            Rename(
                r"^patch_embed\.projection\.",
                "embeddings.patch_embeddings.",
            ),
            Rename(r"blocks\.(\d+)\.", r"model.layer.\1."),
            Rename(r"attn\.proj\.", "attention.o_proj."),
            Rename(r"attn\.wq\.", "attention.q_proj."),
            Rename(r"attn\.wk\.", "attention.k_proj."),
            Rename(r"attn\.wv\.", "attention.v_proj."),
            Rename(r"attn\.q_norm\.", "attention.q_norm."),
            Rename(r"attn\.k_norm\.", "attention.k_norm."),
            Rename(r"attn\.gamma\.weight", "layer_scale1.lambda1"),
            Rename(r"ffn\.w3\.", "mlp.down_proj."),
            Rename(r"\.ln1\.", ".norm1."),
            Rename(r"\.ln2\.", ".norm2."),
            Rename(r"^ln1\.", "norm."),
            Convert {
                from: &[r"ffn\.w12\.weight"],
                to: &["mlp.gate_proj.weight", "mlp.up_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &[r"ffn\.w12\.bias"],
                to: &["mlp.gate_proj.bias", "mlp.up_proj.bias"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["Sapiens2ForSemanticSegmentation"],
        rules: &[
            Rename(r"^backbone\.", "model."),
            Rename(
                r"decode_head\.deconv_layers\.0\.weight",
                "decode_head.upsample_layers.0.convolution.weight",
            ),
            Rename(
                r"decode_head\.deconv_layers\.3\.weight",
                "decode_head.upsample_layers.1.convolution.weight",
            ),
            Rename(
                r"decode_head\.deconv_layers\.6\.weight",
                "decode_head.upsample_layers.2.convolution.weight",
            ),
            Rename(
                r"decode_head\.deconv_layers\.9\.weight",
                "decode_head.upsample_layers.3.convolution.weight",
            ),
            Rename(
                r"decode_head\.conv_layers\.0\.(weight|bias)",
                r"decode_head.conv_layers.0.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.3\.(weight|bias)",
                r"decode_head.conv_layers.1.convolution.\1",
            ),
            Rename(r"decode_head\.conv_seg\.", "decode_head.predictor."),
        ],
    },
    Mapping {
        keys: &["Sapiens2ForPoseEstimation"],
        rules: &[
            Rename(r"^backbone\.", "model."),
            Rename(
                r"decode_head\.deconv_layers\.0\.weight",
                "decode_head.upsample_layers.0.convolution.weight",
            ),
            Rename(
                r"decode_head\.deconv_layers\.3\.weight",
                "decode_head.upsample_layers.1.convolution.weight",
            ),
            Rename(
                r"decode_head\.conv_layers\.0\.(weight|bias)",
                r"decode_head.conv_layers.0.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.3\.(weight|bias)",
                r"decode_head.conv_layers.1.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.6\.(weight|bias)",
                r"decode_head.conv_layers.2.convolution.\1",
            ),
            Rename(r"decode_head\.conv_pose\.", "decode_head.predictor."),
        ],
    },
    Mapping {
        keys: &["Sapiens2ForNormalEstimation"],
        rules: &[
            Rename(r"^backbone\.", "model."),
            Rename(
                r"decode_head\.input_conv\.0\.(weight|bias)",
                r"decode_head.input_conv.convolution.\1",
            ),
            Rename(
                r"decode_head\.upsample_blocks\.(\d+)\.0\.weight",
                r"decode_head.upsample_layers.\1.convolution.weight",
            ),
            Rename(
                r"decode_head\.upsample_blocks\.(\d+)\.0\.bias",
                r"decode_head.upsample_layers.\1.convolution.bias",
            ),
            Rename(
                r"decode_head\.conv_layers\.0\.(weight|bias)",
                r"decode_head.conv_layers.0.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.3\.(weight|bias)",
                r"decode_head.conv_layers.1.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.6\.(weight|bias)",
                r"decode_head.conv_layers.2.convolution.\1",
            ),
            Rename(r"decode_head\.conv_normal\.", "decode_head.predictor."),
        ],
    },
    Mapping {
        keys: &["Sapiens2ForPointmapEstimation"],
        rules: &[
            Rename(r"^backbone\.", "model."),
            Rename(
                r"decode_head\.input_conv\.0\.(weight|bias)",
                r"decode_head.input_conv.convolution.\1",
            ),
            Rename(
                r"decode_head\.upsample_blocks\.(\d+)\.0\.weight",
                r"decode_head.upsample_layers.\1.convolution.weight",
            ),
            Rename(
                r"decode_head\.upsample_blocks\.(\d+)\.0\.bias",
                r"decode_head.upsample_layers.\1.convolution.bias",
            ),
            Rename(
                r"decode_head\.conv_layers\.0\.(weight|bias)",
                r"decode_head.conv_layers.0.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.3\.(weight|bias)",
                r"decode_head.conv_layers.1.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.6\.(weight|bias)",
                r"decode_head.conv_layers.2.convolution.\1",
            ),
            Rename(r"decode_head\.conv_pointmap\.", "decode_head.predictor."),
            Rename(
                r"decode_head\.scale_conv_layers\.0\.weight",
                "scale_head.conv_layers.0.convolution.weight",
            ),
            Rename(
                r"decode_head\.scale_conv_layers\.0\.bias",
                "scale_head.conv_layers.0.convolution.bias",
            ),
            Rename(
                r"decode_head\.scale_conv_layers\.3\.weight",
                "scale_head.conv_layers.1.convolution.weight",
            ),
            Rename(
                r"decode_head\.scale_conv_layers\.3\.bias",
                "scale_head.conv_layers.1.convolution.bias",
            ),
            Rename(
                r"decode_head\.scale_conv_layers\.6\.weight",
                "scale_head.conv_layers.2.convolution.weight",
            ),
            Rename(
                r"decode_head\.scale_conv_layers\.6\.bias",
                "scale_head.conv_layers.2.convolution.bias",
            ),
            Rename(
                r"decode_head\.scale_final_layer\.1\.",
                "scale_head.predictor.block1.layers.0.",
            ),
            Rename(
                r"decode_head\.scale_final_layer\.3\.",
                "scale_head.predictor.block2.layers.0.",
            ),
            Rename(
                r"decode_head\.scale_final_layer\.5\.",
                "scale_head.predictor.proj.",
            ),
        ],
    },
    Mapping {
        keys: &["Sapiens2ForImageMatting"],
        rules: &[
            Rename(r"^backbone\.", "model."),
            Rename(
                r"decode_head\.input_conv\.0\.(weight|bias)",
                r"decode_head.input_conv.convolution.\1",
            ),
            Rename(
                r"decode_head\.upsample_blocks\.(\d+)\.0\.weight",
                r"decode_head.upsample_layers.\1.convolution.weight",
            ),
            Rename(
                r"decode_head\.upsample_blocks\.(\d+)\.0\.bias",
                r"decode_head.upsample_layers.\1.convolution.bias",
            ),
            Rename(
                r"decode_head\.conv_layers\.0\.(weight|bias)",
                r"decode_head.conv_layers.0.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.3\.(weight|bias)",
                r"decode_head.conv_layers.1.convolution.\1",
            ),
            Rename(
                r"decode_head\.conv_layers\.6\.(weight|bias)",
                r"decode_head.conv_layers.2.convolution.\1",
            ),
            Rename(r"decode_head\.conv_matting\.", "decode_head.predictor."),
        ],
    },
    Mapping {
        keys: &["tipsv2"],
        rules: &[
            Rename("text_encoder", "text_model"),
            Rename("vision_encoder", "vision_model"),
        ],
    },
    Mapping {
        keys: &["Tipsv2TextModel"],
        rules: &[
            RemovePrefix {
                prefix: "text_encoder",
                after: "",
            },
            Rename(r"ln_final\.", "final_layer_norm."),
            Rename(r"token_embedding\.", "embeddings.token_embedding."),
            Rename(r"transformer\.resblocks\.", "encoder.layers."),
            Rename(r"\.ln_1\.", ".layer_norm1."),
            Rename(r"\.ln_2\.", ".layer_norm2."),
            Rename(r"\.attn\.", ".self_attn."),
            Rename(r"\.mlp\.c_fc\.", ".mlp.fc1."),
            Rename(r"\.mlp\.c_proj\.", ".mlp.fc2."),
            Convert {
                from: &[r"\.in_proj_weight"],
                to: &[".q_proj.weight", ".k_proj.weight", ".v_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &[r"\.in_proj_bias"],
                to: &[".q_proj.bias", ".k_proj.bias", ".v_proj.bias"],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["Tipsv2VisionModel", "Tipsv2VisionBackbone"],
        rules: &[
            RemovePrefix {
                prefix: "vision_encoder",
                after: "",
            },
            Rename(
                r"patch_embed\.proj\.",
                "embeddings.patch_embeddings.projection.",
            ),
            Rename("cls_token", "embeddings.cls_token"),
            Rename("mask_token", "embeddings.mask_token"),
            Rename("register_tokens", "embeddings.register_tokens"),
            Rename("pos_embed", "embeddings.position_embeddings"),
            Rename(r"norm\.", "layernorm."),
            Rename(r"blocks\.", "encoder.layer."),
            Rename(r"\.attn\.proj\.", ".attention.o_proj."),
            Rename(r"\.ls1\.gamma", ".layer_scale1.lambda1"),
            Rename(r"\.ls2\.gamma", ".layer_scale2.lambda1"),
            Rename(r"\.mlp\.c_fc\.", ".mlp.fc1."),
            Rename(r"\.mlp\.c_proj\.", ".mlp.fc2."),
            Rename(r"\.mlp\.w3\.", ".mlp.down_proj."),
            Convert {
                from: &[r"\.mlp\.w12\.weight"],
                to: &[".mlp.gate_proj.weight", ".mlp.up_proj.weight"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &[r"\.mlp\.w12\.bias"],
                to: &[".mlp.gate_proj.bias", ".mlp.up_proj.bias"],
                by: &[Chunk(0)],
            },
            Convert {
                from: &[r"\.attn\.qkv\.weight"],
                to: &[
                    ".attention.q_proj.weight",
                    ".attention.k_proj.weight",
                    ".attention.v_proj.weight",
                ],
                by: &[Chunk(0)],
            },
            Convert {
                from: &[r"\.attn\.qkv\.bias"],
                to: &[
                    ".attention.q_proj.bias",
                    ".attention.k_proj.bias",
                    ".attention.v_proj.bias",
                ],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["tipsv2_dpt"],
        rules: &[
            Rename("vision_encoder", "backbone"),
            Rename(
                r"head\.reassemble\.readout_projects\.(\d+)",
                r"neck.reassemble_stage.readout_projects.\1.layers.0",
            ),
            Rename(
                r"head\.reassemble\.out_projections\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.projection.",
            ),
            Rename(
                r"head\.reassemble\.resize_layers\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.resize.",
            ),
            Rename(
                r"head\.fusion_blocks\.(\d+)\.out_conv\.",
                r"neck.fusion_stage.layers.\1.projection.",
            ),
            Rename(
                r"head\.fusion_blocks\.(\d+)\.main_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution1.",
            ),
            Rename(
                r"head\.fusion_blocks\.(\d+)\.main_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution2.",
            ),
            Rename(
                r"head\.fusion_blocks\.(\d+)\.residual_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution1.",
            ),
            Rename(
                r"head\.fusion_blocks\.(\d+)\.residual_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution2.",
            ),
            Rename(r"head\.convs", "neck.convs"),
            Rename(r"head\.project", "decoder.project"),
            Rename(r"depth_head\.depth_head\.", "depth_decoder.head."),
            Rename(r"normals_head\.normals_head\.", "normals_decoder.head."),
            Rename(
                r"segmentation_head\.segmentation_head\.",
                "segmentation_decoder.head.",
            ),
        ],
    },
    Mapping {
        keys: &["Tipsv2DptForDepthEstimation"],
        rules: &[
            Rename("vision_encoder", "backbone"),
            Rename(
                r"depth_head\.reassemble\.readout_projects\.(\d+)",
                r"neck.reassemble_stage.readout_projects.\1.layers.0",
            ),
            Rename(
                r"depth_head\.reassemble\.out_projections\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.projection.",
            ),
            Rename(
                r"depth_head\.reassemble\.resize_layers\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.resize.",
            ),
            Rename(
                r"depth_head\.fusion_blocks\.(\d+)\.out_conv\.",
                r"neck.fusion_stage.layers.\1.projection.",
            ),
            Rename(
                r"depth_head\.fusion_blocks\.(\d+)\.main_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution1.",
            ),
            Rename(
                r"depth_head\.fusion_blocks\.(\d+)\.main_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution2.",
            ),
            Rename(
                r"depth_head\.fusion_blocks\.(\d+)\.residual_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution1.",
            ),
            Rename(
                r"depth_head\.fusion_blocks\.(\d+)\.residual_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution2.",
            ),
            Rename(r"depth_head\.convs", "neck.convs"),
            Rename(r"depth_head\.project", "decoder.project"),
            Rename(r"depth_head\.depth_head\.", "decoder.head."),
        ],
    },
    Mapping {
        keys: &["Tipsv2DptForNormalEstimation"],
        rules: &[
            Rename("vision_encoder", "backbone"),
            Rename(
                r"normals_head\.reassemble\.readout_projects\.(\d+)",
                r"neck.reassemble_stage.readout_projects.\1.layers.0",
            ),
            Rename(
                r"normals_head\.reassemble\.out_projections\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.projection.",
            ),
            Rename(
                r"normals_head\.reassemble\.resize_layers\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.resize.",
            ),
            Rename(
                r"normals_head\.fusion_blocks\.(\d+)\.out_conv\.",
                r"neck.fusion_stage.layers.\1.projection.",
            ),
            Rename(
                r"normals_head\.fusion_blocks\.(\d+)\.main_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution1.",
            ),
            Rename(
                r"normals_head\.fusion_blocks\.(\d+)\.main_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution2.",
            ),
            Rename(
                r"normals_head\.fusion_blocks\.(\d+)\.residual_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution1.",
            ),
            Rename(
                r"normals_head\.fusion_blocks\.(\d+)\.residual_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution2.",
            ),
            Rename(r"normals_head\.convs", "neck.convs"),
            Rename(r"normals_head\.project", "decoder.project"),
            Rename(r"normals_head\.normals_head\.", "decoder.head."),
        ],
    },
    Mapping {
        keys: &["Tipsv2DptForSemanticSegmentation"],
        rules: &[
            Rename("vision_encoder", "backbone"),
            Rename(
                r"segmentation_head\.reassemble\.readout_projects\.(\d+)",
                r"neck.reassemble_stage.readout_projects.\1.layers.0",
            ),
            Rename(
                r"segmentation_head\.reassemble\.out_projections\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.projection.",
            ),
            Rename(
                r"segmentation_head\.reassemble\.resize_layers\.(\d+)\.",
                r"neck.reassemble_stage.layers.\1.resize.",
            ),
            Rename(
                r"segmentation_head\.fusion_blocks\.(\d+)\.out_conv\.",
                r"neck.fusion_stage.layers.\1.projection.",
            ),
            Rename(
                r"segmentation_head\.fusion_blocks\.(\d+)\.main_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution1.",
            ),
            Rename(
                r"segmentation_head\.fusion_blocks\.(\d+)\.main_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer2.convolution2.",
            ),
            Rename(
                r"segmentation_head\.fusion_blocks\.(\d+)\.residual_unit\.conv1\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution1.",
            ),
            Rename(
                r"segmentation_head\.fusion_blocks\.(\d+)\.residual_unit\.conv2\.",
                r"neck.fusion_stage.layers.\1.residual_layer1.convolution2.",
            ),
            Rename(r"segmentation_head\.convs", "neck.convs"),
            Rename(r"segmentation_head\.project", "decoder.project"),
            Rename(r"segmentation_head\.segmentation_head\.", "decoder.head."),
        ],
    },
    Mapping {
        keys: &["BeitModel"],
        rules: &[
            Rename(r"encoder\.layer\.", "layers."),
            Rename("attention.query", "q_proj"),
            Rename("attention.key", "k_proj"),
            Rename("attention.value", "v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("intermediate.dense", "mlp.fc1"),
            Rename("output.dense", "mlp.fc2"),
            Rename("encoder.relative_position_bias", "shared_position_bias"),
            Rename(
                "attention.attention.relative_position_bias.relative_position_bias_table",
                "relative_position_bias.relative_position_bias_table",
            ),
        ],
    },
    Mapping {
        keys: &["pixio"],
        rules: &[
            Rename(r"encoder\.layer\.", "layers."),
            Rename("attention.query", "q_proj"),
            Rename("attention.key", "k_proj"),
            Rename("attention.value", "v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("intermediate.dense", "mlp.fc1"),
            Rename("output.dense", "mlp.fc2"),
            Rename("norm1", "layernorm_before"),
            Rename("norm2", "layernorm_after"),
            Rename(r"^encoder\.", "pixio."),
        ],
    },
];
