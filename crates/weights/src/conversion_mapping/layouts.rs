//! Where our layout in memory is not the reference's: weights as our kernels read them.

use super::rules::Op::{Concatenate, Interleave, MergeModulelist, Transpose};
use super::rules::Rule::Convert;
use super::rules::{EXPERTS_DOWN, EXPERTS_GATE_UP, Mapping};

pub(super) const MAPPINGS: &[Mapping] = &[
    // Checkpoints hold the experts' weights as `[in, out]`, with gates in the even columns; GGUF files as we do, apart.
    // Saving undoes the last rule that gives a parameter.
    Mapping {
        keys: &["gpt_oss"],
        rules: &[
            EXPERTS_GATE_UP,
            EXPERTS_DOWN,
            Convert {
                from: &["mlp.experts.*.gate_proj.bias", "mlp.experts.*.up_proj.bias"],
                to: &["mlp.experts.gate_up_proj_bias"],
                by: &[MergeModulelist(0), Concatenate(1)],
            },
            Convert {
                from: &["mlp.experts.*.down_proj.bias"],
                to: &["mlp.experts.down_proj_bias"],
                by: &[MergeModulelist(0)],
            },
            Convert {
                from: &["mlp.experts.gate_up_proj"],
                to: &["mlp.experts.gate_up_proj"],
                by: &[Transpose(1, 2), Interleave(1)],
            },
            Convert {
                from: &["mlp.experts.gate_up_proj_bias"],
                to: &["mlp.experts.gate_up_proj_bias"],
                by: &[Interleave(1)],
            },
            Convert {
                from: &["mlp.experts.down_proj"],
                to: &["mlp.experts.down_proj"],
                by: &[Transpose(1, 2)],
            },
        ],
    },
];
