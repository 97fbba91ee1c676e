//! What will be slow, or take more memory than it must.

use std::collections::BTreeMap;

use transformers_weights::{Checkpoint, DType};

use super::Findings;
use crate::output::size;

/// Looks at how the weights are stored, and at the CPU.
pub fn check(checkpoint: &Checkpoint, findings: &mut Findings) {
    decoded_blocks(checkpoint, findings);
    wide_floats(checkpoint, findings);
    let experts = checkpoint.names().filter(|name| is_expert(name)).count();
    if experts > 0 {
        let message = format!(
            "{experts} tensors are of single experts: they are merged by layer when the model is loaded, which copies them"
        );
        findings.note("speed", message);
    }
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avx2") {
        findings.warning(
            "speed",
            "this CPU has no AVX2: kernels run in their portable form",
        );
    }
}

/// Matrices in formats that no kernel multiplies with.
fn decoded_blocks(checkpoint: &Checkpoint, findings: &mut Findings) {
    let mut decoded: BTreeMap<String, (usize, u64, u64)> = BTreeMap::new();
    for name in checkpoint.names() {
        let (Ok(stored), Ok(shape)) = (checkpoint.stored(name), checkpoint.shape(name)) else {
            continue;
        };
        let is_float = matches!(stored.dtype.as_str(), "F64" | "F32" | "F16" | "BF16");
        if !is_float
            && checkpoint.dtype(name).is_ok_and(DType::is_float)
            && !checkpoint.has_blocks(name)
        {
            let (count, from, to) = decoded.entry(stored.dtype).or_default();
            *count += 1;
            *from += stored.bytes as u64;
            *to += 4 * shape.iter().product::<usize>() as u64;
        }
    }
    for (kind, (count, from, to)) in decoded {
        let (from, to) = (size(from), size(to));
        findings.warning(
            "speed",
            format!("{count} tensors in {kind} are decoded to float32 when they are loaded: {to} of memory for {from} of file"),
        );
    }
}

fn wide_floats(checkpoint: &Checkpoint, findings: &mut Findings) {
    let is_wide = |name: &&str| {
        let matrix = checkpoint.shape(name).is_ok_and(|shape| shape.len() >= 2);
        let wide = ["F32", "F64"];
        matrix
            && checkpoint
                .stored(name)
                .is_ok_and(|stored| wide.contains(&stored.dtype.as_str()))
    };
    let bytes = |name: &str| {
        checkpoint
            .stored(name)
            .map_or(0, |stored| stored.bytes as u64)
    };
    let wide: u64 = checkpoint.names().filter(is_wide).map(bytes).sum();
    let all: u64 = checkpoint.names().map(bytes).sum();
    if wide * 2 > all {
        findings.note(
            "speed",
            format!(
                "{} of matrices are in float32: in bfloat16 they take half the memory and half the time for each token \
                 (`transformers convert --dtype bfloat16`)",
                size(wide)
            ),
        );
    }
}

/// Such as `layers.0.mlp.experts.7.up_proj.weight`.
fn is_expert(name: &str) -> bool {
    let mut parts = name
        .split('.')
        .skip_while(|part| *part != "experts")
        .skip(1);
    parts
        .next()
        .is_some_and(|index| index.parse::<usize>().is_ok())
}
