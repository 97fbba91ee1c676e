//! Attention to keys in blocks: the two bodies, and the attention to each entry's keys alone.

use burn::tensor::Tensor;
use transformers_ops::{AttentionOptions, Mask, Pages, attention, paged_attention};

use crate::twin::{BOUND, Random, followed, near, tensor, values};

const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const DIM: usize = 12;
const VALUE_DIM: usize = 9;

/// Pages in whose blocks the keys of entries of these lengths are scattered, more blocks than are named, and the same
/// keys and values in one row for every entry.
struct Case {
    keys: Tensor<4>,
    values: Tensor<4>,
    table: Vec<u32>,
    lens: Vec<usize>,
}

impl Case {
    fn new(random: &mut Random, lens: &[usize], block_len: usize) -> Self {
        let needed = |len: &usize| len.div_ceil(block_len);
        let per_entry = lens.iter().map(needed).max().unwrap_or(0) + 1;
        let mut free: Vec<u32> = (0..(lens.len() * per_entry + 3) as u32).collect();
        let blocks = free.len();
        let mut table = Vec::new();
        for len in lens {
            for block in 0..per_entry {
                // What lies beyond the last key names nothing.
                table.push(match block < needed(len) {
                    true => free.swap_remove(random.below(free.len())),
                    false => u32::MAX,
                });
            }
        }
        Self {
            keys: random.tensor([blocks, KV_HEADS, block_len, DIM]),
            values: random.tensor([blocks, KV_HEADS, block_len, VALUE_DIM]),
            table,
            lens: lens.to_vec(),
        }
    }

    fn pages(&self, change: impl Fn(&Tensor<4>) -> Tensor<4>) -> Pages<'_> {
        Pages {
            keys: change(&self.keys),
            values: change(&self.values),
            table: &self.table,
            lens: &self.lens,
        }
    }

    /// The keys or values of one entry, `[1, kv_heads, len, dim]`, row by row.
    fn entry(&self, pages: &Tensor<4>, entry: usize) -> Tensor<4> {
        let block_len = pages.dims()[2];
        let table = &self.table[entry * (self.table.len() / self.lens.len())..];
        let row = |key: usize| {
            let block = table[key / block_len] as usize;
            let block = pages.clone().narrow(0, block, 1);
            block.narrow(2, key % block_len, 1)
        };
        Tensor::cat((0..self.lens[entry]).map(row).collect(), 2)
    }
}

fn options(random: &mut Random, batch: usize, q_len: usize, keys: usize) -> [AttentionOptions; 3] {
    let plain = AttentionOptions::new(0.3);
    let capped = AttentionOptions {
        softcap: Some(1.5),
        sinks: Some(random.tensor([HEADS])),
        ..plain.clone()
    };
    let biased = AttentionOptions {
        bias: Some(random.tensor([batch, HEADS, q_len, keys])),
        ..capped.clone()
    };
    [plain, capped, biased]
}

/// Both bodies, and every entry against the attention to its keys alone.
fn check(case: &Case, q: &Tensor<4>, window: Option<usize>, options: &AttentionOptions) {
    let q_len = q.dims()[2];
    let what = (&case.lens, case.keys.dims(), q_len, window);
    let kernel = paged_attention(q.clone(), case.pages(Clone::clone), window, options);
    let twin = AttentionOptions {
        sinks: options.sinks.as_ref().map(followed),
        bias: options.bias.as_ref().map(followed),
        ..options.clone()
    };
    let primitives = paged_attention(followed(q), case.pages(followed), window, &twin);
    assert!(!kernel.is_autodiff() && primitives.is_autodiff());
    for (entry, &len) in case.lens.iter().enumerate() {
        // Queries before the first key see none.
        let padding = q_len.saturating_sub(len);
        let queries = q_len - padding;
        let rows = |y: &Tensor<3>| y.clone().narrow(0, entry, 1).narrow(1, padding, queries);
        assert!(values(primitives.clone()).iter().all(|y| y.is_finite()));
        if queries == 0 {
            continue;
        }
        near(
            &values(rows(&kernel)),
            &values(rows(&primitives)),
            BOUND,
            what,
        );
        let alone = AttentionOptions {
            bias: options.bias.clone().map(|bias| {
                let bias = bias.narrow(0, entry, 1).narrow(2, padding, queries);
                bias.narrow(3, 0, len)
            }),
            ..options.clone()
        };
        let mask = Mask::causal().after(len - queries).with_window(window);
        let alone = attention(
            q.clone().narrow(0, entry, 1).narrow(2, padding, queries),
            case.entry(&case.keys, entry),
            case.entry(&case.values, entry),
            &mask,
            &alone,
        );
        near(&values(rows(&kernel)), &values(alone), BOUND, what);
    }
}

#[test]
fn entries_of_every_length_in_blocks_of_every_size() {
    let lens: [&[usize]; 5] = [&[1], &[65], &[17, 3, 64], &[0, 33, 1], &[16, 16]];
    for (seed, lens) in lens.into_iter().enumerate() {
        for block_len in [1, 5, 16, 128] {
            for q_len in [1, 3, 17] {
                let mut random = Random::new(seed as u64);
                let case = Case::new(&mut random, lens, block_len);
                let q = random.tensor([lens.len(), HEADS, q_len, DIM]) * 3.0;
                let longest = lens.iter().copied().max().expect("entries");
                for options in options(&mut random, lens.len(), q_len, longest) {
                    for window in [None, Some(1), Some(20)] {
                        check(&case, &q, window, &options);
                    }
                }
            }
        }
    }
}

#[test]
fn entries_share_blocks() {
    let mut random = Random::new(100);
    let mut case = Case::new(&mut random, &[16, 13], 8);
    // The same prompt in both.
    let per_entry = case.table.len() / 2;
    case.table[per_entry] = case.table[0];
    let q = random.tensor([2, HEADS, 3, DIM]);
    check(&case, &q, None, &AttentionOptions::new(0.3));
}

#[test]
fn views_of_pages() {
    let mut random = Random::new(101);
    let mut case = Case::new(&mut random, &[16, 13], 8);
    let q = random.tensor([2, 3, HEADS, DIM]).swap_dims(1, 2);
    let options = AttentionOptions::new(0.3);
    let kernel = |case: &Case| {
        let y = paged_attention(q.clone(), case.pages(Clone::clone), None, &options);
        values(y)
    };
    let plain = kernel(&case);
    // A row with all its heads, keys beside values.
    let both = Tensor::cat(vec![case.keys, case.values], 3).swap_dims(1, 2);
    let both = tensor(values(both.clone()), both.dims()).swap_dims(1, 2);
    case.keys = both.clone().narrow(3, 0, DIM);
    case.values = both.narrow(3, DIM, VALUE_DIM);
    near(&kernel(&case), &plain, 0.0, "views");
    check(&case, &q, None, &options);
}

#[test]
fn gradients_reach_the_pages() {
    let mut random = Random::new(102);
    let case = Case::new(&mut random, &[5, 3], 2);
    let pages = case.pages(|x| followed(x).require_grad());
    let q = followed(&random.tensor([2, HEADS, 2, DIM]));
    let y = paged_attention(q, pages.clone(), None, &AttentionOptions::new(0.3));
    let grads = y.sum().backward();
    // Each query's weights sum to one, over the keys that it sees.
    let of_values = pages.values.grad(&grads).expect("values are followed");
    let sum: f32 = values(of_values).iter().sum();
    let expect = (2 * HEADS * 2 * VALUE_DIM) as f32;
    near(&[sum / expect], &[1.0], BOUND, "sum of weights");
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let mut random = Random::new(103);
    let case = Case::new(&mut random, &[5, 3], 2);
    let q = random.tensor([2, HEADS, 1, DIM]);
    let refuses = |table: &[u32], lens: &[usize], because: &str| {
        for follow in [false, true] {
            let pages = Pages {
                keys: if follow {
                    followed(&case.keys)
                } else {
                    case.keys.clone()
                },
                table,
                lens,
                ..case.pages(Clone::clone)
            };
            let attend = || paged_attention(q.clone(), pages, None, &AttentionOptions::new(0.3));
            let attend = std::panic::AssertUnwindSafe(attend);
            let panic = std::panic::catch_unwind(attend).expect_err(because);
            let message = panic.downcast_ref::<String>().expect("a message");
            assert!(message.contains(because), "{message}");
        }
    };
    refuses(&[0, 1, 2, 3], &[5, 3], "too few blocks for 5 keys");
    refuses(&[0, 1, 99, 3], &[4, 4], "names block 99");
    refuses(&[0, 1, 2, 3], &[4], "each of 2 entries");
    refuses(&[0, 1, 2], &[2, 2], "each of 2 entries");
}
