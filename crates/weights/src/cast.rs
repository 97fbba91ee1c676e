//! Decoding bytes into elements, on all cores: the conversions between floating-point types, and the loop that they
//! share with the dequantisation of blocks.

use std::num::NonZero;
use std::thread;

use bytes::Bytes;
use half::{bf16, f16};

use crate::tensor::owned_bytes;
use crate::{DType, Element, Result, WeightsError};

/// A thread is worth starting for this many elements.
const ELEMENTS_PER_THREAD: usize = 1 << 18;

/// Decodes `input`, a whole number of blocks of `block_bytes` bytes that hold `block_len` elements each. `decode` gets
/// matching runs of blocks and elements, several at once on different threads.
pub(crate) fn decode_blocks<T: Element>(
    input: &[u8],
    block_bytes: usize,
    block_len: usize,
    decode: impl Fn(&[u8], &mut [T]) + Sync,
) -> Vec<T> {
    let blocks = input.len() / block_bytes;
    let mut output = vec![T::zeroed(); blocks * block_len];
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (output.len() / ELEMENTS_PER_THREAD).clamp(1, cores);
    if threads == 1 {
        decode(input, &mut output);
        return output;
    }
    let blocks_each = blocks.div_ceil(threads);
    thread::scope(|scope| {
        let runs = input
            .chunks(blocks_each * block_bytes)
            .zip(output.chunks_mut(blocks_each * block_len));
        for (input, output) in runs {
            scope.spawn(|| decode(input, output));
        }
    });
    output
}

/// The floating-point elements in `input`, of any alignment, as `to`.
pub(crate) fn cast_floats(input: &[u8], from: DType, to: DType) -> Result<Bytes> {
    // Through f32 both ways, as PyTorch converts; only f64 holds more than that and meets f32 at most once.
    Ok(match to {
        DType::F64 => owned_bytes(decode_floats(input, from, to, f64::from)?),
        DType::F32 => owned_bytes(decode_floats(input, from, to, |value| value)?),
        DType::F16 => owned_bytes(decode_floats(input, from, to, f16::from_f32)?),
        DType::BF16 => owned_bytes(decode_floats(input, from, to, bf16::from_f32)?),
        _ => return Err(WeightsError::Cast { from, to }),
    })
}

fn decode_floats<T: Element>(
    input: &[u8],
    from: DType,
    to: DType,
    convert: impl Fn(f32) -> T + Sync,
) -> Result<Vec<T>> {
    Ok(match from {
        DType::F64 => decode_each(input, |bytes| convert(f64::from_le_bytes(bytes) as f32)),
        DType::F32 => decode_each(input, |bytes| convert(f32::from_le_bytes(bytes))),
        DType::F16 => decode_each(input, |bytes| convert(f16::from_le_bytes(bytes).to_f32())),
        DType::BF16 => decode_each(input, |bytes| convert(bf16::from_le_bytes(bytes).to_f32())),
        _ => return Err(WeightsError::Cast { from, to }),
    })
}

fn decode_each<T: Element, const N: usize>(
    input: &[u8],
    convert: impl Fn([u8; N]) -> T + Sync,
) -> Vec<T> {
    decode_blocks(input, N, 1, |input, output| {
        for (bytes, value) in input.as_chunks::<N>().0.iter().zip(output) {
            *value = convert(*bytes);
        }
    })
}

/// A copy of `input` that is aligned for every element type.
pub(crate) fn copy_aligned(input: &[u8]) -> Bytes {
    let mut words = vec![0_u64; input.len().div_ceil(size_of::<u64>())];
    bytemuck::cast_slice_mut(&mut words)[..input.len()].copy_from_slice(input);
    owned_bytes(words).slice(..input.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_cover_every_block_once() {
        let blocks = 3 * ELEMENTS_PER_THREAD / 2 + 7;
        let input: Vec<u8> = (0..blocks * 3).map(|i| i as u8).collect();
        let decoded: Vec<u8> = decode_blocks(&input, 3, 2, |input, output| {
            for (block, out) in input.chunks(3).zip(output.chunks_mut(2)) {
                out.copy_from_slice(&[block[0] ^ block[2], block[1]]);
            }
        });
        let expected: Vec<u8> = input
            .chunks(3)
            .flat_map(|block| [block[0] ^ block[2], block[1]])
            .collect();
        assert_eq!(decoded, expected);
    }
}
