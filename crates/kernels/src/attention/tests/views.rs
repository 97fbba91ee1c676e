//! Where operands lie does not matter.

use super::{super::*, Random, case::Case, check};

/// Scatters rows `[batch, heads, rows, dim]` to the places that a view has for them, with NaN between.
fn scatter(from: &[f32], sizes: [usize; 3], dim: usize, strides: [usize; 3]) -> Vec<f32> {
    let [_, heads, rows] = sizes;
    let mut to = Vec::new();
    for (i, from) in from.chunks_exact(dim).enumerate() {
        let place = [i / rows / heads, i / rows % heads, i % rows];
        let start: usize = place
            .iter()
            .zip(strides)
            .map(|(i, stride)| i * stride)
            .sum();
        to.resize(to.len().max(start + dim), f32::NAN);
        to[start..start + dim].copy_from_slice(from);
    }
    to
}

/// The same result as of the contiguous operands, to the last bit.
#[test]
fn strided() {
    check(|case, _| {
        let AttentionShape {
            batch,
            heads,
            kv_heads,
            q_len,
            head_dim,
            value_dim,
        } = case.shape;
        case.causal = true;
        let kv_len = case.kv_len;
        let capacity = kv_len + 3;
        // Queries as they come from the projection of queries, keys and values in one, keys in part of a cache, and
        // values by position with a gap between the heads.
        let width = (heads + 2 * kv_heads) * head_dim;
        let q_strides = [q_len * width, head_dim, width];
        let k_strides = [
            kv_heads * capacity * head_dim,
            capacity * head_dim,
            head_dim,
        ];
        let gap = value_dim + 1;
        let v_strides = [capacity * kv_heads * gap, gap, kv_heads * gap];
        let q = scatter(&case.q, [batch, heads, q_len], head_dim, q_strides);
        let k = scatter(&case.k, [batch, kv_heads, kv_len], head_dim, k_strides);
        let v = scatter(&case.v, [batch, kv_heads, kv_len], value_dim, v_strides);
        let view = |data, strides| HeadView { data, strides };
        let keys = Keys {
            keys: view(&k, k_strides),
            values: view(&v, v_strides),
            rows: KeyRows::Dense(kv_len),
        };
        for &isa in Isa::available() {
            let mut out = vec![f32::NAN; case.out_len()];
            isa.with(|| {
                attention(
                    case.shape,
                    view(&q, q_strides),
                    keys,
                    case.options(),
                    &mut out,
                )
            });
            assert_eq!(out, isa.with(|| case.run()), "{isa:?}");
        }
    });
}

/// Batch entries of different lengths in shuffled blocks, against each alone.
#[test]
fn paged() {
    for block_size in if cfg!(miri) {
        &[5][..]
    } else {
        &[1, 5, 16, 64]
    } {
        check(|case, random| check_paged(case, random, *block_size));
    }
}

fn check_paged(case: &mut Case, random: &mut Random, block_size: usize) {
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        q_len,
        head_dim,
        value_dim,
    } = case.shape;
    case.causal = true;
    let lens: Vec<usize> = (0..batch).map(|_| 1 + random.below(case.kv_len)).collect();
    let per_entry = case.kv_len.div_ceil(block_size) + 1;
    let mut table: Vec<u32> = (0..(batch * per_entry) as u32).collect();
    for i in (1..table.len()).rev() {
        table.swap(i, random.below(i + 1));
    }
    let blocks = |from: &[f32], dim: usize| {
        let mut to = vec![f32::NAN; table.len() * kv_heads * block_size * dim];
        for (i, row) in from.chunks_exact(dim).enumerate() {
            let (head, key) = (i / case.kv_len, i % case.kv_len);
            let (entry, head) = (head / kv_heads, head % kv_heads);
            if key < lens[entry] {
                let block = table[entry * per_entry + key / block_size] as usize;
                let place = (block * kv_heads + head) * block_size + key % block_size;
                to[place * dim..][..dim].copy_from_slice(row);
            }
        }
        to
    };
    let (k, v) = (blocks(&case.k, head_dim), blocks(&case.v, value_dim));
    let keys = Keys {
        keys: HeadView::by_head(&k, kv_heads, block_size, head_dim),
        values: HeadView::by_head(&v, kv_heads, block_size, value_dim),
        rows: KeyRows::Paged {
            block_size,
            table: &table,
            lens: &lens,
        },
    };
    let out_len = q_len * heads * value_dim;
    for &isa in Isa::available() {
        let mut out = vec![f32::NAN; case.out_len()];
        isa.with(|| attention(case.shape, case.queries(), keys, case.options(), &mut out));
        for (entry, out) in out.chunks_exact(out_len).enumerate() {
            let alone = case.entry(entry, lens[entry]);
            alone.compare(
                out,
                &alone.reference(),
                &format!("{isa:?}, blocks of {block_size}"),
            );
        }
    }
}

/// Rows packed in one are the same as each alone.
#[test]
fn packed() {
    check(|case, random| {
        case.causal = true;
        case.pack(random);
        let out = case.run();
        let segments = case.segments.take().unwrap();
        let width = case.shape.heads * case.shape.value_dim;
        for ends in segments.windows(2).filter(|ends| ends[0] < ends[1]) {
            let alone = case.rows(ends[0]..ends[1]);
            let expected: Vec<f64> = alone.run().into_iter().map(f64::from).collect();
            alone.compare(&out[ends[0] * width..ends[1] * width], &expected, "packed");
        }
        case.segments = Some(segments);
    });
}

/// A batch is the same as each of its entries alone.
#[test]
fn batches() {
    check(|case, _| {
        let out = case.run();
        let len = case.out_len() / case.shape.batch;
        for (entry, out) in out.chunks_exact(len).enumerate() {
            let alone = case.entry(entry, case.kv_len).run();
            let alone: Vec<f64> = alone.into_iter().map(f64::from).collect();
            case.compare(out, &alone, "alone");
        }
    });
}

fn small() -> ([f32; 24], AttentionShape) {
    let shape = AttentionShape {
        batch: 1,
        heads: 2,
        kv_heads: 2,
        q_len: 3,
        head_dim: 4,
        value_dim: 4,
    };
    ([0.5; 24], shape)
}

fn run_small(shape: AttentionShape, kv_len: usize, options: AttentionOptions<'_>) {
    let (data, _) = small();
    let keys = HeadView::by_head(&data, 2, 3, 4);
    let keys = Keys {
        keys,
        values: keys,
        rows: KeyRows::Dense(kv_len),
    };
    let q = HeadView::by_head(&data, 2, 3, 4);
    attention(shape, q, keys, options, &mut [0.0; 24]);
}

#[test]
#[should_panic(expected = "keys: 24 elements are too few")]
fn too_few_keys_are_refused() {
    run_small(small().1, 4, AttentionOptions::new(1.0));
}

#[test]
#[should_panic(expected = "the output's length")]
fn another_output_is_refused() {
    let shape = AttentionShape {
        value_dim: 5,
        ..small().1
    };
    run_small(shape, 3, AttentionOptions::new(1.0));
}

#[test]
#[should_panic(expected = "bias: 17 elements are too few")]
fn too_small_a_bias_is_refused() {
    let options = AttentionOptions {
        bias: Some(HeadView::by_head(&[0.0; 17], 2, 3, 3)),
        ..AttentionOptions::new(1.0)
    };
    run_small(small().1, 3, options);
}

#[test]
#[should_panic(expected = "segments reach from 0")]
fn segments_that_stop_short_are_refused() {
    let options = AttentionOptions {
        segments: Some(&[0, 2]),
        ..AttentionOptions::new(1.0)
    };
    run_small(small().1, 3, options);
}

#[test]
#[should_panic(expected = "the table has too few blocks")]
fn too_short_a_table_is_refused() {
    let (data, shape) = small();
    let view = HeadView::by_head(&data, 2, 3, 4);
    let rows = KeyRows::Paged {
        block_size: 3,
        table: &[0],
        lens: &[4],
    };
    let keys = Keys {
        keys: view,
        values: view,
        rows,
    };
    attention(
        shape,
        view,
        keys,
        AttentionOptions::new(1.0),
        &mut [0.0; 24],
    );
}

#[test]
#[should_panic(expected = "keys: 24 elements are too few")]
fn blocks_that_are_not_there_are_refused() {
    let (data, shape) = small();
    let view = HeadView::by_head(&data, 2, 3, 4);
    let rows = KeyRows::Paged {
        block_size: 3,
        table: &[1],
        lens: &[3],
    };
    let keys = Keys {
        keys: view,
        values: view,
        rows,
    };
    attention(
        shape,
        view,
        keys,
        AttentionOptions::new(1.0),
        &mut [0.0; 24],
    );
}
