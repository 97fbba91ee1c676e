//! Packed rows with keys in blocks: the two bodies, and the attention of each sequence alone.

use std::sync::Arc;

use burn::tensor::Tensor;
use transformers_ops::{
    AttentionOptions, Mask, PageTable, attention, copy_page, gradients_in_primitives, write_pages,
};

use crate::twin::{BOUND, Random, followed, near, tensor, values};

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const DIM: usize = 12;
const VALUE_DIM: usize = 9;
const BLOCK_LEN: usize = 4;

/// New tokens and keys of each sequence.
const STEPS: &[&[(usize, usize)]] = &[
    &[(1, 1)],
    &[(1, 5), (1, 9), (1, 4)],
    &[(1, 8), (7, 7), (3, 11)],
    &[(33, 150), (1, 2), (1, 3), (33, 33)],
];

/// Blocks in no order, one or two of them of nobody.
fn tables(random: &mut Random, sequences: &[(usize, usize)]) -> (Vec<Vec<u32>>, usize) {
    let needed = |(_, len): &(usize, usize)| len.div_ceil(BLOCK_LEN);
    let blocks = sequences.iter().map(needed).sum::<usize>() + 2;
    let mut free: Vec<u32> = (0..blocks as u32).collect();
    let mut take = |_| free.swap_remove(random.below(free.len()));
    let tables = sequences
        .iter()
        .map(|sequence| (0..needed(sequence)).map(&mut take).collect());
    (tables.collect(), blocks)
}

#[test]
fn every_sequence_attends_to_itself() {
    gradients_in_primitives(|| {
        let random = &mut Random::new(3);
        for &sequences in STEPS {
            let (tables, blocks) = tables(random, sequences);
            let steps = sequences.iter().zip(&tables);
            let table = PageTable::new(steps.map(|((new, len), blocks)| (*new, *len, &blocks[..])));
            let table = Arc::new(table);
            let q: Tensor<4> = random.tensor([1, table.tokens(), HEADS, DIM]);
            let q = q.swap_dims(1, 2);
            // What is in no block of a sequence may be anything.
            let garbage = |dim| {
                let values = vec![f32::NAN; blocks * KV_HEADS * BLOCK_LEN * dim];
                tensor(values, [blocks, KV_HEADS, BLOCK_LEN, dim])
            };
            let (mut keys, mut pages) = (Vec::new(), [garbage(DIM), garbage(VALUE_DIM)]);
            for ((_, len), blocks) in sequences.iter().zip(&tables) {
                let own: [Tensor<4>; 2] =
                    [DIM, VALUE_DIM].map(|dim| random.tensor([1, KV_HEADS, *len, dim]));
                let whole = PageTable::new([(*len, *len, &blocks[..])]);
                let written = pages.into_iter().zip(own.clone());
                let written: Vec<_> = written
                    .map(|(pages, rows)| write_pages(pages, &whole, rows))
                    .collect();
                pages = written.try_into().expect("one for each");
                keys.push(own);
            }
            let longest = table.longest();
            let plain = AttentionOptions::new(0.3);
            let all = AttentionOptions {
                softcap: Some(1.5),
                sinks: Some(random.tensor([HEADS])),
                bias: Some(random.tensor([1, HEADS, 1, longest])),
                ..plain.clone()
            };
            for (options, window) in [(&plain, None), (&all, None), (&all, Some(3))] {
                let mask = Mask::causal().with_window(window).with_pages(table.clone());
                let [k, v] = pages.clone();
                let ours = attention(q.clone(), k.clone(), v.clone(), &mask, options);
                assert!(!ours.is_autodiff());
                let finite = |x: &Tensor<4>| x.clone().mask_fill(x.clone().is_nan(), 0.0);
                let primitives = attention(followed(&q), finite(&k), finite(&v), &mask, options);
                assert!(primitives.is_autodiff());
                near(&values(ours.clone()), &values(primitives), BOUND, sequences);
                let mut start = 0;
                for ((new, len), [k, v]) in sequences.iter().zip(keys.clone()) {
                    let alone = AttentionOptions {
                        bias: options.bias.clone().map(|bias| bias.narrow(3, 0, *len)),
                        ..options.clone()
                    };
                    let mask = Mask::causal().after(len - new).with_window(window);
                    let expect = attention(q.clone().narrow(2, start, *new), k, v, &mask, &alone);
                    let part = ours.clone().narrow(1, start, *new);
                    near(&values(part), &values(expect), BOUND, (sequences, start));
                    start += new;
                }
            }
        }
    });
}

#[test]
fn rows_are_written_where_the_table_says() {
    gradients_in_primitives(|| {
        let random = &mut Random::new(5);
        let pages: Tensor<4> = random.tensor([5, KV_HEADS, BLOCK_LEN, DIM]);
        let rows: Tensor<4> = random.tensor([1, 6, KV_HEADS, DIM]);
        let rows = rows.swap_dims(1, 2);
        let table = PageTable::new([(1, 3, &[4][..]), (5, 7, &[2, 0][..])]);
        let ours = write_pages(pages.clone(), &table, rows.clone());
        let primitives = write_pages(followed(&pages), &table, rows.clone());
        near(&values(ours.clone()), &values(primitives), 0.0, "written");
        let token = |block: usize, row| values(ours.clone().narrow(0, block, 1).narrow(2, row, 1));
        let given = |token| values(rows.clone().narrow(2, token, 1));
        assert_eq!(token(4, 2), given(0));
        assert_eq!(token(2, 2), given(1));
        assert_eq!(token(0, 2), given(5));
        let untouched = |pages: &Tensor<4>| values(pages.clone().narrow(0, 1, 1));
        assert_eq!(untouched(&ours), untouched(&pages));

        let copied = copy_page(ours.clone(), 0, 3);
        let page = |pages: &Tensor<4>, block| values(pages.clone().narrow(0, block, 1));
        assert_eq!(page(&copied, 3), page(&ours, 0));
        assert_eq!(page(&copied, 4), page(&ours, 4));
        near(
            &values(copied),
            &values(copy_page(followed(&ours), 0, 3)),
            0.0,
            "copied",
        );
    });
}

#[test]
#[should_panic(expected = "names block 9 of 5")]
fn a_block_that_is_not_there_is_refused() {
    gradients_in_primitives(|| {
        let random = &mut Random::new(5);
        let pages: Tensor<4> = random.tensor([5, KV_HEADS, BLOCK_LEN, DIM]);
        let rows: Tensor<4> = random.tensor([1, KV_HEADS, 1, DIM]);
        write_pages(pages, &PageTable::new([(1, 1, &[9][..])]), rows);
    });
}
