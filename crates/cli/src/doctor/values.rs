//! Values that no weight has, and weights that are stored twice.

use std::io::IsTerminal;

use transformers_config::AutoConfig;
use transformers_modeling::LoadProgress;
use transformers_weights::{Checkpoint, DType, HostTensor, fold_names};

use super::Findings;
use crate::failure::Result;
use crate::output::size;
use crate::progress::LoadBar;

/// Reads every tensor, and counts what is NaN or infinite.
pub fn check(checkpoint: &Checkpoint, findings: &mut Findings) -> Result<()> {
    let bar = std::io::stderr()
        .is_terminal()
        .then(|| LoadBar::new("reading"));
    let elements = |name: &str| {
        checkpoint
            .shape(name)
            .map_or(0, |shape| shape.iter().product::<usize>())
    };
    let total: usize = checkpoint.names().map(elements).sum();
    bar.iter()
        .for_each(|bar| bar.start(checkpoint.names().len(), total as u64));
    let (mut faulty, mut unread, mut crooked) = (Vec::new(), Vec::new(), 0);
    for name in checkpoint.names() {
        match checkpoint.tensor(name) {
            Ok(tensor) => {
                crooked += usize::from(!tensor.is_aligned());
                let count = count_faulty(&tensor)?;
                if count > 0 {
                    faulty.push((
                        name,
                        format!("{count} of {} values are NaN or infinite", tensor.len()),
                    ));
                }
            }
            Err(error) => unread.push((name, error.to_string())),
        }
        bar.iter()
            .for_each(|bar| bar.advance(name, elements(name) as u64));
    }
    bar.iter().for_each(LoadProgress::finish);
    if faulty.is_empty() && unread.is_empty() {
        let tensors = checkpoint.names().len();
        findings.ok(
            "weights",
            format!("{tensors} tensors, {total} values, all finite"),
        );
    }
    for line in fold_names(faulty.into_iter())
        .into_iter()
        .chain(fold_names(unread.into_iter()))
    {
        findings.error("weights", format!("{}: {}", line.name, line.details));
    }
    if crooked > 0 {
        let message = format!(
            "{crooked} tensors do not lie at a multiple of their elements' size and are copied when they are loaded; \
             `transformers convert` writes them as they should be"
        );
        findings.note("speed", message);
    }
    Ok(())
}

/// In these types, what is not finite has all bits of the exponent set.
fn count_faulty(tensor: &HostTensor) -> Result<usize> {
    fn count<const N: usize>(bytes: &[u8], faulty: impl Fn([u8; N]) -> bool) -> usize {
        let (values, _) = bytes.as_chunks::<N>();
        values.iter().filter(|value| faulty(**value)).count()
    }
    let bytes = tensor.bytes();
    Ok(match tensor.dtype() {
        DType::F32 => count(bytes, |value| !f32::from_le_bytes(value).is_finite()),
        DType::F64 => count(bytes, |value| !f64::from_le_bytes(value).is_finite()),
        DType::F16 => count(bytes, |value| u16::from_le_bytes(value) & 0x7c00 == 0x7c00),
        DType::BF16 => count(bytes, |value| u16::from_le_bytes(value) & 0x7f80 == 0x7f80),
        _ => 0,
    })
}

/// Whether an output layer that shares the embedding's weight is stored beside it.
pub fn check_ties(
    config: &AutoConfig,
    checkpoint: &Checkpoint,
    findings: &mut Findings,
) -> Result<()> {
    let named = |end: &str| checkpoint.names().find(|name| name.ends_with(end));
    let pair = named("lm_head.weight").zip(named("embed_tokens.weight"));
    let Some((head, embedding)) = pair.filter(|_| config.tie_word_embeddings()) else {
        return Ok(());
    };
    // If they differ, the load report says so.
    if checkpoint.tensor(head)? == checkpoint.tensor(embedding)? {
        let bytes = checkpoint.stored(head)?.bytes as u64;
        findings.note(
            "ties",
            format!(
                "`{head}` is `{embedding}` and is stored a second time: {} too many",
                size(bytes)
            ),
        );
    }
    Ok(())
}
