//! Detection, segmentation and tracking.

use super::rules::Mapping;
use super::rules::Op::Chunk;
use super::rules::Rule::{Convert, Rename};

pub(super) const MAPPINGS: &[Mapping] = &[
    Mapping {
        keys: &["lw_detr"],
        rules: &[
            Rename("attention.attention.query", "attention.q_proj"),
            Rename("attention.attention.key", "attention.k_proj"),
            Rename("attention.attention.value", "attention.v_proj"),
            Rename("attention.output", "attention.o_proj"),
        ],
    },
    Mapping {
        keys: &["yolos"],
        rules: &[Rename(
            "encoder.mid_position_embeddings",
            "encoder.interpolation.mid_position_embeddings",
        )],
    },
    Mapping {
        keys: &["sam3_tracker", "sam3_tracker_video"],
        rules: &[
            Rename(
                "detector_model.vision_encoder.backbone.",
                "vision_encoder.backbone.",
            ),
            Rename("tracker_neck.", "vision_encoder.neck."),
            Rename("tracker_model.(.+)", r"\1"),
        ],
    },
    Mapping {
        keys: &["maskformer"],
        rules: &[
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.fc1"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.fc2"),
        ],
    },
    Mapping {
        keys: &["DetrModel", "MaskFormerDetrDecoder"],
        rules: &[
            Rename("backbone.conv_encoder", "backbone"),
            Rename("out_proj", "o_proj"),
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.fc1"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.fc2"),
        ],
    },
    Mapping {
        keys: &[
            "rt_detr",
            "rt_detr_v2",
            "pp_doclayout_v2",
            "pp_doclayout_v3",
        ],
        rules: &[
            Rename("out_proj", "o_proj"),
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.fc1"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.fc2"),
            Rename(r"encoder.encoder.(\d+).layers", r"encoder.aifi.\1.layers"),
        ],
    },
    Mapping {
        keys: &["pp_doclayout_v4"],
        rules: &[
            Rename(
                "decoder_roor_order_head.",
                "decoder.successor_order_head.proj.",
            ),
            Rename(
                "decoder_roor_global_pointer.",
                "decoder.successor_order_head.global_pointer.",
            ),
            Rename("decoder_order_head.", "decoder.relative_order_head.proj."),
            Rename(
                "decoder_global_pointer.",
                "decoder.relative_order_head.global_pointer.",
            ),
            Rename(
                "s2r_fusion.a",
                "decoder.relative_order_head.s2r_fusion.closure_weight",
            ),
            Rename("out_proj", "o_proj"),
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.fc1"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.fc2"),
            Rename(r"encoder.encoder.(\d+).layers", r"encoder.aifi.\1.layers"),
        ],
    },
    Mapping {
        keys: &["RfDetrModel"],
        rules: &[
            Rename("backbone.0.encoder.encoder", "backbone.backbone"),
            Rename("backbone.0.projector", "backbone.projector"),
            Rename(
                "projector.stages.0.0.cv1.conv",
                "projector.projector_layer.conv1.conv",
            ),
            Rename(
                "projector.stages.0.0.cv1.bn",
                "projector.projector_layer.conv1.norm",
            ),
            Rename(
                "projector.stages.0.0.cv2.conv",
                "projector.projector_layer.conv2.conv",
            ),
            Rename(
                "projector.stages.0.0.cv2.bn",
                "projector.projector_layer.conv2.norm",
            ),
            Rename("projector.stages.0.1", "projector.layer_norm"),
            Rename(
                r"projector.stages.0.0.m.(\d+).cv1.conv",
                r"projector.projector_layer.bottlenecks.\1.conv1.conv",
            ),
            Rename(
                r"projector.stages.0.0.m.(\d+).cv1.bn",
                r"projector.projector_layer.bottlenecks.\1.conv1.norm",
            ),
            Rename(
                r"projector.stages.0.0.m.(\d+).cv2.conv",
                r"projector.projector_layer.bottlenecks.\1.conv2.conv",
            ),
            Rename(
                r"projector.stages.0.0.m.(\d+).cv2.bn",
                r"projector.projector_layer.bottlenecks.\1.conv2.norm",
            ),
            Rename("transformer.decoder", "decoder"),
            Rename(
                r"decoder.layers.(\d+).norm1",
                r"decoder.layers.\1.self_attn_layer_norm",
            ),
            Rename(
                r"decoder.layers.(\d+).norm2",
                r"decoder.layers.\1.cross_attn_layer_norm",
            ),
            Rename(
                r"decoder.layers.(\d+).linear1",
                r"decoder.layers.\1.mlp.fc1",
            ),
            Rename(
                r"decoder.layers.(\d+).linear2",
                r"decoder.layers.\1.mlp.fc2",
            ),
            Rename(
                r"decoder.layers.(\d+).norm3",
                r"decoder.layers.\1.layer_norm",
            ),
            Rename("decoder.norm", "decoder.layernorm"),
            Rename(r"^transformer\.enc_output_norm", "enc_output_norm"),
            Rename(r"^transformer\.enc_output", "enc_output"),
            Rename("transformer.enc_out_class_embed", "enc_out_class_embed"),
            Rename("transformer.enc_out_bbox_embed", "enc_out_bbox_embed"),
            Rename(r"refpoint_embed\.weight", "reference_point_embed.weight"),
            Rename("attention.attention.query", "attention.q_proj"),
            Rename("attention.attention.key", "attention.k_proj"),
            Rename("attention.attention.value", "attention.v_proj"),
            Rename("attention.output.dense", "attention.o_proj"),
            Rename("self_attn.out_proj", "self_attn.o_proj"),
            Convert {
                from: &["self_attn.in_proj_bias"],
                to: &[
                    "self_attn.q_proj.bias",
                    "self_attn.k_proj.bias",
                    "self_attn.v_proj.bias",
                ],
                by: &[Chunk(0)],
            },
            Convert {
                from: &["self_attn.in_proj_weight"],
                to: &[
                    "self_attn.q_proj.weight",
                    "self_attn.k_proj.weight",
                    "self_attn.v_proj.weight",
                ],
                by: &[Chunk(0)],
            },
        ],
    },
    Mapping {
        keys: &["RfDetrForObjectDetection"],
        rules: &[Rename("^", "model.")],
    },
    Mapping {
        keys: &["RfDetrForInstanceSegmentation"],
        rules: &[
            Rename("^(?!segmentation_head)", "model."),
            Rename(
                r"segmentation_head\.query_features_block\.layers\.0",
                "query_features_block.mlp.fc1",
            ),
            Rename(
                r"segmentation_head\.query_features_block\.layers\.2",
                "query_features_block.mlp.fc2",
            ),
            Rename(
                r"segmentation_head\.query_features_block\.norm_in",
                "query_features_block.norm",
            ),
            Rename(
                r"segmentation_head\.blocks\.(\d+)\.norm",
                r"blocks.\1.layernorm",
            ),
            Rename(
                r"segmentation_head\.blocks\.(\d+)\.dwconv",
                r"blocks.\1.depthwise_conv",
            ),
            Rename(
                r"segmentation_head\.blocks\.(\d+)\.pwconv1",
                r"blocks.\1.pointwise_conv",
            ),
            Rename(
                r"segmentation_head\.spatial_features_proj",
                "spatial_features_proj",
            ),
            Rename(
                r"segmentation_head\.query_features_proj",
                "query_features_proj",
            ),
            Rename(r"segmentation_head\.bias", "segmentation_bias"),
        ],
    },
    Mapping {
        keys: &["ConditionalDetrModel"],
        rules: &[
            Rename("backbone.conv_encoder", "backbone"),
            Rename("self_attn.out_proj", "self_attn.o_proj"),
            Rename("encoder_attn.out_proj", "encoder_attn.o_proj"),
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.fc1"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.fc2"),
            Rename(
                r"decoder.layers.(\d+).sa_qcontent_proj",
                r"decoder.layers.\1.self_attn.q_content_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).sa_qpos_proj",
                r"decoder.layers.\1.self_attn.q_pos_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).sa_kcontent_proj",
                r"decoder.layers.\1.self_attn.k_content_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).sa_kpos_proj",
                r"decoder.layers.\1.self_attn.k_pos_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).sa_v_proj",
                r"decoder.layers.\1.self_attn.v_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).ca_qcontent_proj",
                r"decoder.layers.\1.encoder_attn.q_content_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).ca_qpos_proj",
                r"decoder.layers.\1.encoder_attn.q_pos_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).ca_kcontent_proj",
                r"decoder.layers.\1.encoder_attn.k_content_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).ca_kpos_proj",
                r"decoder.layers.\1.encoder_attn.k_pos_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).ca_v_proj",
                r"decoder.layers.\1.encoder_attn.v_proj",
            ),
            Rename(
                r"decoder.layers.(\d+).ca_qpos_sine_proj",
                r"decoder.layers.\1.encoder_attn.q_pos_sine_proj",
            ),
        ],
    },
    Mapping {
        keys: &["deformable_detr"],
        rules: &[
            Rename("backbone.conv_encoder", "backbone"),
            Rename("self_attn.out_proj", "self_attn.o_proj"),
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.fc1"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.fc2"),
        ],
    },
    Mapping {
        keys: &["d_fine"],
        rules: &[
            Rename("out_proj", "o_proj"),
            Rename(r"layers.(\d+).fc1", r"layers.\1.mlp.layers.0"),
            Rename(r"layers.(\d+).fc2", r"layers.\1.mlp.layers.1"),
            Rename(r"encoder.encoder.(\d+).layers", r"encoder.aifi.\1.layers"),
        ],
    },
    Mapping {
        keys: &["DetrForSegmentation", "ConditionalDetrForSegmentation"],
        rules: &[
            Rename("bbox_attention.q_linear", "bbox_attention.q_proj"),
            Rename("bbox_attention.k_linear", "bbox_attention.k_proj"),
            Rename("mask_head.lay1", "mask_head.conv1.conv"),
            Rename("mask_head.gn1", "mask_head.conv1.norm"),
            Rename("mask_head.lay2", "mask_head.conv2.conv"),
            Rename("mask_head.gn2", "mask_head.conv2.norm"),
            Rename("mask_head.adapter1", "mask_head.fpn_stages.0.fpn_adapter"),
            Rename("mask_head.lay3", "mask_head.fpn_stages.0.refine.conv"),
            Rename("mask_head.gn3", "mask_head.fpn_stages.0.refine.norm"),
            Rename("mask_head.adapter2", "mask_head.fpn_stages.1.fpn_adapter"),
            Rename("mask_head.lay4", "mask_head.fpn_stages.1.refine.conv"),
            Rename("mask_head.gn4", "mask_head.fpn_stages.1.refine.norm"),
            Rename("mask_head.adapter3", "mask_head.fpn_stages.2.fpn_adapter"),
            Rename("mask_head.lay5", "mask_head.fpn_stages.2.refine.conv"),
            Rename("mask_head.gn5", "mask_head.fpn_stages.2.refine.norm"),
            Rename("mask_head.out_lay", "mask_head.output_conv"),
        ],
    },
];
