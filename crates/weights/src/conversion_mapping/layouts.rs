//! Where our layout in memory is not the reference's: weights as our kernels read them.

use super::rules::Mapping;
use super::rules::Op::{Interleave, Transpose};
use super::rules::Rule::Convert;

pub(super) const MAPPINGS: &[Mapping] = &[
    // Checkpoints hold the experts' weights as `[in, out]`, with gates in the even columns.
    Mapping {
        keys: &["gpt_oss"],
        rules: &[
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
