//! Attention under every mask and option: the two bodies.

use std::fmt::Debug;

use burn::tensor::{Device, Tensor};
use transformers_ops::{AttentionOptions, Mask, attention, gradients_in_primitives};

use crate::twin::{BOUND, Random, followed, near, tensor, values};

/// The sizes of a call.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub q_len: usize,
    pub kv_len: usize,
    pub head_dim: usize,
    pub value_dim: usize,
}

impl Sizes {
    const fn new(batch: usize, heads: [usize; 2], [q_len, kv_len]: [usize; 2], dim: usize) -> Self {
        Self {
            batch,
            heads: heads[0],
            kv_heads: heads[1],
            q_len,
            kv_len,
            head_dim: dim,
            value_dim: dim,
        }
    }

    fn past(&self) -> usize {
        self.kv_len - self.q_len
    }

    pub fn inputs(&self, random: &mut Random) -> [Tensor<4>; 3] {
        let &Self {
            batch,
            heads,
            kv_heads,
            q_len,
            kv_len,
            head_dim,
            value_dim,
        } = self;
        [
            random.tensor([batch, heads, q_len, head_dim]) * 3.0,
            random.tensor([batch, kv_heads, kv_len, head_dim]),
            random.tensor([batch, kv_heads, kv_len, value_dim]),
        ]
    }

    /// Every option alone, and all together.
    pub fn options(&self, random: &mut Random) -> Vec<AttentionOptions> {
        let plain = AttentionOptions::new(1.0 / (self.head_dim as f64).sqrt());
        let softcap = AttentionOptions {
            softcap: Some(1.5),
            ..plain.clone()
        };
        let sinks = AttentionOptions {
            sinks: Some(random.tensor([self.heads])),
            ..plain.clone()
        };
        let bias = AttentionOptions {
            bias: Some(random.tensor([self.batch, self.heads, self.q_len, self.kv_len])),
            ..plain.clone()
        };
        let all = AttentionOptions {
            sinks: sinks.sinks.clone(),
            bias: bias.bias.clone(),
            ..softcap.clone()
        };
        vec![plain, softcap, sinks, bias, all]
    }
}

const SIZES: [Sizes; 9] = [
    Sizes::new(1, [1, 1], [1, 1], 1),
    Sizes::new(2, [4, 2], [1, 65], 33),
    Sizes::new(2, [6, 2], [3, 3], 7),
    Sizes::new(1, [6, 1], [3, 63], 16),
    Sizes::new(2, [4, 4], [17, 17], 33),
    Sizes::new(1, [4, 2], [63, 65], 18),
    Sizes::new(3, [2, 1], [65, 65], 9),
    Sizes {
        value_dim: 5,
        ..Sizes::new(2, [4, 2], [17, 63], 12)
    },
    Sizes {
        value_dim: 40,
        ..Sizes::new(1, [9, 3], [1, 130], 24)
    },
];

/// Compares what the bodies give for queries that see a key: what the others give is not defined.
fn check(
    [q, k, v]: &[Tensor<4>; 3],
    mask: impl Fn() -> Mask,
    options: &AttentionOptions,
    case: impl Debug,
) {
    let kernel = attention(q.clone(), k.clone(), v.clone(), &mask(), options);
    let twin = AttentionOptions {
        sinks: options.sinks.as_ref().map(followed),
        bias: options.bias.as_ref().map(followed),
        ..options.clone()
    };
    let primitives = attention(followed(q), followed(k), followed(v), &mask(), &twin);
    assert!(
        !kernel.is_autodiff() && primitives.is_autodiff(),
        "{case:?}"
    );
    assert_eq!(kernel.dims(), primitives.dims(), "{case:?}");

    let [batch, q_len, cols] = kernel.dims();
    let hidden = mask().additive(q_len, k.dims()[2], &Device::flex());
    let sees = hidden.map_or(vec![true; batch * q_len], |hidden| {
        let shape = [batch, 1, q_len, k.dims()[2]];
        let hidden = values(hidden.expand(shape));
        let rows = hidden.chunks(shape[3]);
        rows.map(|row| row.contains(&0.0)).collect()
    });
    let (kernel, primitives) = (values(kernel), values(primitives));
    for (row, sees) in sees.into_iter().enumerate() {
        let row = row * cols..(row + 1) * cols;
        assert!(
            primitives[row.clone()].iter().all(|y| y.is_finite()),
            "{case:?}: what nothing should read still has to be a number"
        );
        // A sink takes all of the softmax of a query that sees no key: zero in both.
        if sees || options.sinks.is_some() {
            near(&kernel[row.clone()], &primitives[row], BOUND, &case);
        }
    }
}

#[test]
fn every_mask_with_every_option() {
    gradients_in_primitives(|| {
        for (seed, sizes) in SIZES.into_iter().enumerate() {
            let mut random = Random::new(seed as u64);
            let inputs = sizes.inputs(&mut random);
            for (which, options) in sizes.options(&mut random).iter().enumerate() {
                for window in [None, Some(1), Some(4), Some(40), Some(1000)] {
                    let case = (sizes, which, window);
                    let past = sizes.past();
                    let causal = || Mask::causal().after(past).with_window(window);
                    check(&inputs, causal, options, ("causal", case));
                    let both = || Mask::bidirectional().after(past).with_window(window);
                    check(&inputs, both, options, ("bidirectional", case));
                }
            }
        }
    });
}

#[test]
fn fewer_keys_than_queries() {
    gradients_in_primitives(|| {
        let mut random = Random::new(20);
        let sizes = Sizes::new(2, [4, 2], [33, 7], 12);
        let inputs = sizes.inputs(&mut random);
        for options in sizes.options(&mut random) {
            check(&inputs, Mask::bidirectional, &options, "of an encoder");
        }
    });
}

#[test]
fn padding_of_every_kind() {
    gradients_in_primitives(|| {
        for (seed, sizes) in SIZES.into_iter().enumerate() {
            let len = sizes.kv_len;
            let mut random = Random::new(30 + seed as u64);
            let inputs = sizes.inputs(&mut random);
            let scattered: Vec<Vec<bool>> = (0..sizes.batch)
                .map(|_| (0..len).map(|_| random.below(3) > 0).collect())
                .collect();
            let tokens = |visible: &dyn Fn(usize, usize) -> bool| -> Vec<Vec<bool>> {
                let row = |entry| (0..len).map(|key| visible(entry, key)).collect();
                (0..sizes.batch).map(row).collect()
            };
            let kinds = [
                (
                    "left",
                    tokens(&|entry, key| key >= (5 * entry + 2).min(len - 1)),
                ),
                (
                    "right",
                    tokens(&|entry, key| key == 0 || key + 5 * entry + 2 < len),
                ),
                ("a whole entry", tokens(&|entry, _| entry > 0)),
                ("scattered", scattered),
            ];
            for (which, options) in sizes.options(&mut random).iter().enumerate() {
                for (kind, tokens) in &kinds {
                    for window in [None, Some(9)] {
                        let narrowed = |mask: Mask| {
                            let mask = mask.after(sizes.past()).with_window(window);
                            mask.with_padding(Some(tokens.clone()))
                        };
                        let case = (kind, sizes, which, window);
                        let causal = || narrowed(Mask::causal());
                        check(&inputs, causal, options, ("causal", case));
                        let both = || narrowed(Mask::bidirectional());
                        check(&inputs, both, options, ("bidirectional", case));
                    }
                }
            }
        }
    });
}

#[test]
fn scattered_padding_beside_a_bias_is_one_bias() {
    gradients_in_primitives(|| {
        let mut random = Random::new(40);
        let sizes = Sizes::new(2, [4, 2], [17, 33], 12);
        let [q, k, v] = sizes.inputs(&mut random);
        let bias = random.tensor([1, 4, 17, 33]);
        // Every query sees the first key.
        let tokens: Vec<Vec<bool>> = (0..2)
            .map(|_| (0..33).map(|key| key == 0 || random.below(2) > 0).collect())
            .collect();
        let hide = |token: &bool| if *token { 0.0 } else { f32::NEG_INFINITY };
        let hidden = tokens.iter().flatten().map(hide).collect();
        let folded = bias.clone() + tensor(hidden, [2, 1, 1, 33]);
        let with = |bias, mask: Mask| {
            let options = AttentionOptions {
                bias: Some(bias),
                ..AttentionOptions::new(0.3)
            };
            values(attention(q.clone(), k.clone(), v.clone(), &mask, &options))
        };
        let causal = || Mask::causal().after(16);
        let mask = causal().with_padding(Some(tokens));
        near(&with(folded, causal()), &with(bias, mask), BOUND, "bias");
    });
}

#[test]
fn a_bias_of_every_broadcast_shape() {
    gradients_in_primitives(|| {
        let mut random = Random::new(50);
        let sizes = Sizes::new(3, [4, 2], [17, 33], 12);
        let inputs = sizes.inputs(&mut random);
        for bits in 0..8 {
            let or_one = |bit: usize, size| if bits >> bit & 1 == 0 { 1 } else { size };
            let shape = [or_one(0, 3), or_one(1, 4), or_one(2, 17), 33];
            let bias = random.tensor(shape);
            let hides = bias.clone().lower_elem(-0.7);
            for bias in [
                bias.clone(),
                bias.clone().mask_fill(hides.clone(), f32::NEG_INFINITY),
                bias.clone().mask_fill(hides, f32::MIN),
                bias.clone().flip([2]),
            ] {
                let options = AttentionOptions {
                    bias: Some(bias),
                    softcap: Some(2.0),
                    ..AttentionOptions::new(0.3)
                };
                check(&inputs, Mask::bidirectional, &options, shape);
                let causal = || Mask::causal().after(16);
                check(&inputs, causal, &options, ("causal", shape));
            }
        }
        // Relative positions, `[q_len, kv_len, heads]` as they are looked up.
        let looked_up = random.tensor([17, 33, 4]).permute([2, 0, 1]);
        let options = AttentionOptions {
            bias: Some(looked_up.unsqueeze()),
            ..AttentionOptions::new(0.3)
        };
        check(&inputs, Mask::bidirectional, &options, "looked up");
    });
}

#[test]
fn a_bias_that_hides_all_that_a_mask_leaves() {
    gradients_in_primitives(|| {
        let mut random = Random::new(60);
        let inputs = Sizes::new(1, [2, 1], [5, 5], 7).inputs(&mut random);
        let hidden_by = |value| AttentionOptions {
            bias: Some(tensor(vec![value; 25], [1, 1, 5, 5])),
            ..AttentionOptions::new(0.3)
        };
        let options = hidden_by(f32::MIN);
        check(&inputs, Mask::bidirectional, &options, "keys are equals");
        check(
            &inputs,
            Mask::causal,
            &options,
            "those that the mask leaves",
        );
        let tokens = vec![vec![false, true, true, true, true]];
        let left = || Mask::causal().with_padding(Some(tokens.clone()));
        check(&inputs, left, &options, "the first query sees nothing");

        let [q, k, v] = inputs.each_ref().map(followed);
        for mask in [Mask::bidirectional(), left()] {
            let y = attention(
                q.clone(),
                k.clone(),
                v.clone(),
                &mask,
                &hidden_by(f32::NEG_INFINITY),
            );
            assert!(values(y).iter().all(|y| y.is_finite()), "{mask:?}");
        }
    });
}

#[test]
fn packed_segments() {
    gradients_in_primitives(|| {
        let starts: [&[usize]; 5] = [
            &[0, 33],
            &[0, 1, 33],
            &[0, 7, 8, 30, 33],
            &[0, 16, 32, 33],
            &[0, 5, 5, 33],
        ];
        let mut random = Random::new(70);
        for heads in [[2, 2], [6, 2]] {
            let sizes = Sizes::new(1, heads, [33, 33], 12);
            let inputs = sizes.inputs(&mut random);
            for (which, options) in sizes.options(&mut random).iter().enumerate() {
                for starts in starts {
                    for window in [None, Some(4)] {
                        let packed = |mask: Mask| {
                            let mask = mask.with_segments(starts.to_vec());
                            mask.with_window(window)
                        };
                        let case = (starts, which, window, heads);
                        let causal = || packed(Mask::causal());
                        check(&inputs, causal, options, ("causal", case));
                        let both = || packed(Mask::bidirectional());
                        check(&inputs, both, options, ("bidirectional", case));
                    }
                }
            }
        }
    });
}

#[test]
fn views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(80);
        let sizes = Sizes::new(2, [6, 2], [17, 33], 12);
        let options = AttentionOptions::new(0.3);
        let causal = || Mask::causal().after(16);
        let [q, k, v] = sizes.inputs(&mut random);
        // Queries from their projection, keys and values in the filled part of a cache.
        let projected = random.tensor([2, 17, 6, 12]).swap_dims(1, 2);
        let cache = random.tensor([2, 2, 64, 12]);
        let keys = cache.clone().narrow(2, 0, 33);
        let windowed = cache.narrow(2, 31, 33);
        check(
            &[projected.clone(), keys, windowed],
            causal,
            &options,
            "cache",
        );
        // Queries, keys and values side by side.
        let fused = random.tensor([2, 33, 10 * 12]);
        let of = |start: usize, heads: usize| {
            let part = fused.clone().narrow(2, start * 12, heads * 12);
            part.reshape([2, 33, heads, 12]).swap_dims(1, 2)
        };
        let inputs = [of(0, 6).narrow(2, 16, 17), of(6, 2), of(8, 2)];
        check(&inputs, causal, &options, "fused");
        // Features apart, rows backwards, one entry for the whole batch.
        let apart = |rows, heads| random_apart(heads, rows);
        let inputs = [apart(17, 6), apart(33, 2), apart(33, 2)];
        check(&inputs, causal, &options, "features apart");
        let inputs = [q.clone().flip([2]), k.flip([1]), v.clone().flip([3])];
        check(&inputs, causal, &options, "backwards");
        let one = random.tensor([1, 2, 33, 12]).expand([2, 2, 33, 12]);
        check(&[q, one, v], causal, &options, "one for all");
    });
}

fn random_apart(heads: usize, rows: usize) -> Tensor<4> {
    let x = Random::new((heads * rows) as u64).tensor([2, heads, 12, rows]);
    x.swap_dims(2, 3)
}
