//! Attention against a plain f64 reference: every option, alone and together.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::random::Random;

mod case;
mod views;

use case::{Case, Sizes};

/// Sizes that try every loop's end: no vector, block or tile divides them all.
fn sizes() -> Vec<Sizes> {
    let tiny = [
        // batch, heads, kv heads, queries, keys, head_dim, value_dim
        [1, 1, 1, 1, 1, 1, 1],
        [1, 3, 1, 1, 6, 8, 8],
        [2, 2, 1, 3, 5, 5, 3],
        [1, 3, 1, 6, 7, 3, 10],
    ];
    let others = [
        [1, 2, 2, 17, 17, 20, 20],
        [1, 9, 3, 1, 65, 64, 64],
        [2, 4, 4, 1, 63, 33, 33],
        [2, 6, 2, 3, 130, 80, 48],
        [1, 9, 3, 65, 65, 64, 64],
        [2, 4, 2, 17, 63, 96, 96],
        [1, 16, 2, 1, 130, 40, 40],
        [3, 2, 2, 63, 17, 33, 20],
        [1, 2, 1, 130, 130, 128, 128],
        [1, 1, 1, 5, 300, 256, 256],
        [1, 2, 1, 65, 300, 65, 130],
    ];
    let others = others.into_iter().filter(|_| !cfg!(miri));
    tiny.into_iter().chain(others).map(Sizes::from).collect()
}

/// Checks each size with what `change` makes of it.
fn check(change: impl Fn(&mut Case, &mut Random)) {
    for (seed, sizes) in sizes().into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        let mut case = Case::new(sizes, &mut random);
        change(&mut case, &mut random);
        case.check();
    }
}

#[test]
fn bidirectional() {
    check(|_, _| {});
}

#[test]
fn causal() {
    check(|case, _| case.causal = true);
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn causal_from_an_offset() {
    check(|case, random| {
        case.causal = true;
        case.query_offset = Some(random.below(case.kv_len + 2));
    });
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn windows() {
    for window in [1, 2, 31, 64, usize::MAX] {
        check(|case, _| case.window = Some(window));
        check(|case, _| {
            case.window = Some(window);
            case.causal = true;
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn padding() {
    check(|case, random| case.pad(random));
    check(|case, random| {
        case.pad(random);
        case.causal = true;
    });
}

#[test]
fn softcap() {
    check(|case, _| case.softcap = Some(1.5));
}

#[test]
fn sinks() {
    check(|case, random| case.add_sinks(random));
}

#[test]
fn bias() {
    for broadcast in if cfg!(miri) { 7..8 } else { 0..8 } {
        check(|case, random| case.add_bias(random, broadcast));
    }
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn a_bias_that_hides() {
    for hidden in [f32::NEG_INFINITY, f32::MIN, -1e4] {
        check(|case, random| {
            case.add_bias(random, 0);
            let (bias, _) = case.bias.as_mut().unwrap();
            for bias in bias {
                if random.below(2) == 0 {
                    *bias = hidden;
                }
            }
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn where_all_is_hidden_by_a_finite_bias_keys_are_equals() {
    check(|case, random| {
        case.add_bias(random, 0);
        case.bias.as_mut().unwrap().0.fill(f32::MIN);
    });
}

#[test]
fn where_nothing_is_visible_the_result_is_zero() {
    check(|case, random| {
        case.add_bias(random, 0);
        case.bias.as_mut().unwrap().0.fill(f32::NEG_INFINITY);
        assert!(case.run().iter().all(|&x| x == 0.0));
        case.add_sinks(random);
        assert!(case.run().iter().all(|&x| x == 0.0));
    });
    check(|case, _| {
        case.visible = Some(vec![0..0; case.shape.batch]);
        assert!(case.run().iter().all(|&x| x == 0.0));
    });
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn packed_rows() {
    for causal in [false, true] {
        check(|case, random| {
            case.causal = causal;
            case.pack(random);
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn large_scores() {
    check(|case, _| case.scale *= 40.0);
}

#[test]
#[cfg_attr(miri, ignore = "the same code runs in other tests")]
fn options_together() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut case = Case::new(Sizes::random(&mut random), &mut random);
        let options = random.next();
        let on = |bit: u32| options >> bit & 1 == 1;
        case.causal = on(0);
        if on(1) {
            case.window = Some(1 + random.below(100));
        }
        if on(2) {
            case.pad(&mut random);
        }
        if on(3) {
            case.softcap = Some(2.0);
        }
        if on(4) {
            case.add_sinks(&mut random);
        }
        if on(5) {
            let broadcast = random.below(8);
            case.add_bias(&mut random, broadcast);
        }
        if on(6) && on(7) {
            case.pack(&mut random);
        } else if on(6) {
            case.query_offset = Some(random.below(case.kv_len + 1));
        }
        case.check();
    }
}

#[test]
fn keys_split_among_tasks() {
    for [causal, sinks, bias] in [
        [false, false, false],
        [true, true, false],
        [false, false, true],
    ] {
        for splits in if cfg!(miri) { 2..3 } else { 2..5 } {
            check(|case, random| {
                case.causal = causal;
                if sinks {
                    case.add_sinks(random);
                }
                if bias {
                    case.add_bias(random, 0);
                    case.bias.as_mut().unwrap().0[..case.kv_len].fill(f32::NEG_INFINITY);
                }
                case.splits = Some(splits);
            });
        }
    }
}

#[test]
fn both_kernels_do_every_size() {
    for few in [false, true] {
        check(|case, _| {
            case.few = Some(few);
            case.causal = true;
        });
    }
}

#[test]
fn no_number_stays_in_its_row() {
    check(|case, _| {
        let dim = case.shape.head_dim;
        case.q[dim - 1] = f32::NAN;
        for &isa in Isa::available() {
            let out = isa.with(|| case.run());
            let (bad, good) = out.split_at(case.shape.value_dim);
            assert!(bad.iter().all(|x| x.is_nan()), "{isa:?}");
            assert!(good.iter().all(|x| x.is_finite()), "{isa:?}");
        }
        case.q[dim - 1] = 0.0;
    });
}

#[test]
fn no_batch_no_queries_no_keys() {
    for (batch, queries, keys) in [(0, 3, 3), (2, 0, 3), (2, 3, 0)] {
        let sizes = Sizes::from([batch, 4, 2, queries, keys, 8, 8]);
        let mut case = Case::new(sizes, &mut Random::new(1));
        assert_eq!(case.run(), vec![0.0; case.out_len()]);
        case.causal = true;
        case.sinks = Some(vec![1.0; 4]);
        assert_eq!(case.run(), vec![0.0; case.out_len()]);
    }
}
