//! What the tables are written in: transforms as constants.

use std::sync::Arc;

use crate::conversion::{
    Chunk, Concatenate, ConversionOp, ErnieFuseAndSplitTextVisionExperts, Interleave,
    MergeModulelist, PermuteForRope, Split, Transpose,
};
use crate::{
    GroupWeightRename, IndexOffsetRename, PrefixChange, Result, WeightConverter, WeightRenaming,
    WeightTransform,
};

/// The rules of one or several model types or classes.
pub(super) struct Mapping {
    pub(super) keys: &'static [&'static str],
    pub(super) rules: &'static [Rule],
}

/// A transform. Patterns on the left are those of the checkpoint, on the right those of the model.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    Rename(&'static str, &'static str),
    /// Any of several patterns.
    RenameAny(&'static [&'static str], &'static str),
    /// Names that shift by one another, see [`GroupWeightRename`].
    RenameGroup(&'static [(&'static str, &'static str)]),
    /// With a number to add to the index.
    RenameWithOffset(&'static str, &'static str, i64),
    AddPrefix {
        prefix: &'static str,
        /// What stays before it.
        after: &'static str,
    },
    RemovePrefix {
        prefix: &'static str,
        /// What stays before it.
        after: &'static str,
    },
    Convert {
        from: &'static [&'static str],
        to: &'static [&'static str],
        by: &'static [Op],
    },
}

/// An operation; numbers are dimensions.
#[derive(Clone, Copy)]
pub(super) enum Op {
    MergeModulelist(usize),
    Concatenate(usize),
    /// With the configuration's number of pieces.
    ConcatenateShards(usize, &'static str),
    Chunk(usize),
    Split(usize),
    Interleave(usize),
    Transpose(usize, usize),
    TransposeIfShapesDiffer(usize, usize),
    PermuteForRope {
        /// The part of the configuration that says how many heads.
        heads_of: Option<&'static str>,
        /// Names of the projections that are permuted; all without.
        only: Option<&'static [&'static str]>,
    },
    FuseAndSplitTextVisionExperts(usize, usize),
}

use Op::{Concatenate as Cat, MergeModulelist as Merge};

/// The gates and ups of all experts of a layer as one tensor.
pub(super) const EXPERTS_GATE_UP: Rule = Rule::Convert {
    from: &[
        "mlp.experts.*.gate_proj.weight",
        "mlp.experts.*.up_proj.weight",
    ],
    to: &["mlp.experts.gate_up_proj"],
    by: &[Merge(0), Cat(1)],
};
/// The downs of all experts of a layer as one tensor.
pub(super) const EXPERTS_DOWN: Rule = Rule::Convert {
    from: &["mlp.experts.*.down_proj.weight"],
    to: &["mlp.experts.down_proj"],
    by: &[Merge(0)],
};
/// [`EXPERTS_GATE_UP`] under Mixtral's names.
pub(super) const W1_W3_GATE_UP: Rule = Rule::Convert {
    from: &[".experts.*.w1.weight", ".experts.*.w3.weight"],
    to: &[".experts.gate_up_proj"],
    by: &[Merge(0), Cat(1)],
};
/// [`EXPERTS_DOWN`] under Mixtral's names.
pub(super) const W2_DOWN: Rule = Rule::Convert {
    from: &[".experts.*.w2.weight"],
    to: &[".experts.down_proj"],
    by: &[Merge(0)],
};
/// [`W1_W3_GATE_UP`] with a dot before it, nothing else.
pub(super) const DOT_W1_W3_GATE_UP: Rule = Rule::Convert {
    from: &[r"\.experts.*.w1.weight", r"\.experts.*.w3.weight"],
    to: &[r"\.experts.gate_up_proj"],
    by: &[Merge(0), Cat(1)],
};
/// [`W2_DOWN`] with a dot before it, nothing else.
pub(super) const DOT_W2_DOWN: Rule = Rule::Convert {
    from: &[r"\.experts.*.w2.weight"],
    to: &[r"\.experts.down_proj"],
    by: &[Merge(0)],
};

impl Rule {
    pub(super) fn transform(self) -> Result<WeightTransform> {
        Ok(match self {
            Self::Rename(source, target) => WeightRenaming::new(source, target)?.into(),
            Self::RenameAny(sources, target) => WeightRenaming::any_of(sources, target)?.into(),
            Self::RenameGroup(pairs) => GroupWeightRename::new(pairs)?.into(),
            Self::RenameWithOffset(source, target, offset) => {
                IndexOffsetRename::new(source, target, offset)?.into()
            }
            Self::AddPrefix { prefix, after } => PrefixChange::add(prefix, after)?.into(),
            Self::RemovePrefix { prefix, after } => PrefixChange::remove(prefix, after)?.into(),
            Self::Convert { from, to, by } => {
                let operations = by.iter().map(|op| op.build()).collect();
                WeightConverter::new(from, to, operations)?.into()
            }
        })
    }
}

impl Op {
    fn build(self) -> Arc<dyn ConversionOp> {
        match self {
            Self::MergeModulelist(dim) => Arc::new(MergeModulelist::new(dim)),
            Self::Concatenate(dim) => Arc::new(Concatenate::new(dim)),
            Self::ConcatenateShards(dim, attribute) => {
                Arc::new(Concatenate::shards(dim, attribute))
            }
            Self::Chunk(dim) => Arc::new(Chunk::new(dim)),
            Self::Split(dim) => Arc::new(Split::new(dim)),
            Self::Interleave(dim) => Arc::new(Interleave::new(dim)),
            Self::Transpose(dim0, dim1) => Arc::new(Transpose::new(dim0, dim1)),
            Self::TransposeIfShapesDiffer(dim0, dim1) => {
                Arc::new(Transpose::if_shapes_differ(dim0, dim1))
            }
            Self::PermuteForRope { heads_of, only } => {
                let permute = PermuteForRope::new();
                let permute = heads_of.map_or(permute.clone(), |key| permute.heads_of(key));
                Arc::new(only.map_or(permute.clone(), |names| permute.only(names)))
            }
            Self::FuseAndSplitTextVisionExperts(stack_dim, concat_dim) => Arc::new(
                ErnieFuseAndSplitTextVisionExperts::new(stack_dim, concat_dim),
            ),
        }
    }
}
