//! Results that depend on nothing but their own operands.
//!
//! Sums of floats depend on their order, and the fastest order depends on how many rows there are, and on how many
//! threads share the work. Where somebody asks for it, every row is computed in one order, whatever is computed beside it.

use std::cell::Cell;

thread_local! {
    static DETERMINISTIC: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; in it, of the kernels that are called on this thread, each gives a row the same bits however many rows and
/// threads there are. It is slower: few rows go the way of many, and quantised weights are multiplied in f32.
pub fn deterministic<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            DETERMINISTIC.set(self.0);
        }
    }
    let _restore = Restore(DETERMINISTIC.replace(true));
    f()
}

/// Whether the caller, on this thread, has asked for it.
pub fn is_deterministic() -> bool {
    DETERMINISTIC.get()
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::pool::{self, Phase};
    use crate::random::Random;
    use crate::{
        AttentionOptions, AttentionShape, BlockFormat, BlockMatrix, Factor, HeadView, KeyRows,
        Keys, Precision, Projection, Weight, attention, linear,
    };

    fn bits(x: &[f32]) -> Vec<u32> {
        x.iter().map(|x| x.to_bits()).collect()
    }

    fn product(x: &[f32], cols: usize, weight: Weight<'_>, precision: Precision) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / cols * weight.rows(cols)];
        let projection = Projection {
            factor: Factor {
                weight,
                bias: None,
                precision,
            },
            out: &mut out,
        };
        deterministic(|| linear(x, cols, &mut [projection]));
        out
    }

    #[test]
    fn a_row_is_the_same_in_any_company() {
        let (cols, out_cols) = (512, 77);
        let mut random = Random::new(1);
        let x = random.floats(23 * cols);
        let w = random.floats(out_cols * cols);
        let half: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
        // Scales of 2^-8, so that nothing is infinite.
        let format = BlockFormat::Q8_0;
        let block = |i: usize| [[0, 28].as_slice(), &[(i * 7) as u8; 32]].concat();
        let bytes: Vec<u8> = (0..out_cols * cols / 32).flat_map(block).collect();
        let blocks = BlockMatrix::new(format, &bytes, out_cols, cols).expect("they fit");
        for weight in [Weight::F32(&w), Weight::Bf16(&half), Weight::Blocks(blocks)] {
            for precision in [Precision::Exact, Precision::Fast] {
                let mut alone = Vec::new();
                for x in x.chunks(cols) {
                    alone.extend(product(x, cols, weight, precision));
                }
                for threads in [1, 3] {
                    pool::set_threads(Phase::Decode, threads);
                    pool::set_threads(Phase::Prefill, threads);
                    for rows in [2, 4, 5, 9, 23] {
                        let together = product(&x[..rows * cols], cols, weight, precision);
                        assert_eq!(bits(&together), bits(&alone[..rows * out_cols]));
                    }
                }
                pool::set_threads(Phase::Decode, 0);
                pool::set_threads(Phase::Prefill, 0);
            }
        }
    }

    #[test]
    fn a_query_is_the_same_in_any_chunk() {
        const LEN: usize = 300;
        const DIM: usize = 24;
        let (heads, kv_heads, block_size) = (6, 2, 16);
        let mut random = Random::new(2);
        let q = random.floats(LEN * heads * DIM);
        let blocks = LEN.div_ceil(block_size);
        let k = random.floats(blocks * kv_heads * block_size * DIM);
        let v = random.floats(blocks * kv_heads * block_size * DIM);
        let table: Vec<u32> = (0..blocks as u32).rev().collect();
        let attend = |queries: std::ops::Range<usize>, window| {
            let shape = AttentionShape {
                batch: 1,
                heads,
                kv_heads,
                q_len: queries.len(),
                head_dim: DIM,
                value_dim: DIM,
            };
            let data = &q[queries.start * heads * DIM..];
            let keys = Keys {
                keys: HeadView::by_head(&k, kv_heads, block_size, DIM),
                values: HeadView::by_head(&v, kv_heads, block_size, DIM),
                rows: KeyRows::Paged {
                    block_size,
                    table: &table,
                    lens: &[queries.end],
                },
            };
            let options = AttentionOptions {
                causal: true,
                window,
                ..AttentionOptions::new(0.2)
            };
            let mut out = vec![0.0; queries.len() * heads * DIM];
            let q = HeadView::by_position(data, heads, queries.len(), DIM);
            deterministic(|| attention(shape, q, keys, options, &mut out));
            out
        };
        for window in [None, Some(37)] {
            let mut alone = Vec::new();
            for query in 0..LEN {
                alone.extend(attend(query..query + 1, window));
            }
            for chunk in [LEN, 64, 7] {
                let chunks = (0..LEN).step_by(chunk);
                let chunks = chunks.map(|start| attend(start..(start + chunk).min(LEN), window));
                let together: Vec<f32> = chunks.flatten().collect();
                assert_eq!(bits(&together), bits(&alone));
            }
        }
    }

    #[test]
    fn it_lasts_for_the_closure_only() {
        assert!(!is_deterministic());
        assert!(deterministic(is_deterministic));
        assert!(!is_deterministic());
    }
}
