//! Gradients by kernels against those that autodiff derives from the primitives.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use transformers_kernels::BlockFormat;
use transformers_ops::{
    Activation, AttentionOptions, Mask, NormForm, Precision, RotaryLayout, Weight, activate,
    add_layer_norm, add_rms_norm, attention, cross_entropy, embedding, gated,
    gradients_in_primitives, layer_norm, linear, linears, padded_embedding, rms_norm, rotary,
};

use crate::twin::{Random, near, tensor, values};

/// By how much they may differ, relative to the largest gradient or to 1.
const BOUND: f32 = 2e-5;

fn row<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let len: usize = x.dims().iter().product();
    x.reshape([len])
}

/// The result of `f` at random inputs of these lengths, and the gradients, are those of the primitives; `f` gives all its
/// outputs in one row. Only inputs that are `trained` have a gradient.
fn check_trained<const N: usize>(
    case: &str,
    lens: [usize; N],
    trained: [bool; N],
    f: impl Fn([Tensor<1>; N]) -> Tensor<1>,
) {
    let mut random = Random::new(lens.iter().sum::<usize>() as u64);
    let inputs = lens.map(|len| random.floats(len));
    let follow = |x: &Vec<f32>| tensor(x.clone(), [x.len()]).autodiff();
    let plain = f(inputs.each_ref().map(|x| tensor(x.clone(), [x.len()])));
    let weights = random.floats(plain.dims()[0]);
    let run = || {
        let mut which = trained.into_iter();
        let followed = inputs.each_ref().map(|x| match which.next() {
            Some(true) => follow(x).require_grad(),
            _ => follow(x),
        });
        let y = f(followed.clone());
        let weights = tensor(weights.clone(), [weights.len()]);
        let grads = (y.clone() * weights).sum().backward();
        let found = followed.map(|x| x.grad(&grads).map(values));
        (values(y), found)
    };
    let (y, ours) = run();
    let (y_twin, twins) = gradients_in_primitives(run);
    near(&y, &y_twin, BOUND, case);
    for (i, (ours, twin)) in ours.into_iter().zip(twins).enumerate() {
        assert_eq!(ours.is_some(), trained[i], "{case}: input {i}");
        match (ours, twin) {
            (Some(ours), Some(twin)) => {
                let size = twin.iter().fold(1.0f32, |size, x| size.max(x.abs()));
                let scaled = |x: Vec<f32>| x.into_iter().map(|x| x / size).collect::<Vec<_>>();
                near(&scaled(ours), &scaled(twin), BOUND, (case, i));
            }
            (ours, twin) => assert_eq!(ours.is_some(), twin.is_some(), "{case}: input {i}"),
        }
    }
}

fn check<const N: usize>(case: &str, lens: [usize; N], f: impl Fn([Tensor<1>; N]) -> Tensor<1>) {
    check_trained(case, lens, [true; N], f);
}

/// Kernels ran: an operation of which nothing is trained leaves no trace for autodiff.
fn assert_kernel<const D: usize>(y: Tensor<D>) {
    assert!(!y.is_autodiff(), "primitives have run");
}

#[test]
fn of_products() {
    for [rows, input, out] in [
        [1, 1, 1],
        [3, 17, 5],
        [17, 64, 33],
        [70, 100, 65],
        [5, 577, 31],
    ] {
        let lens = [rows * input, out * input, out];
        let f = |[x, w, b]: [Tensor<1>; 3]| {
            let (x, w) = (x.reshape([1, rows, input]), w.reshape([out, input]) * 0.1);
            row(linear(x, w, Some(b)))
        };
        check("biased", lens, f);
        for trained in [
            [true, false, false],
            [false, true, false],
            [false, false, true],
        ] {
            check_trained("partly frozen", lens, trained, f);
        }
        check("turned", [rows * input, out * input], |[x, w]| {
            let x = x.reshape([input, rows]).swap_dims(0, 1);
            let w = w.reshape([input, out]).swap_dims(0, 1);
            row(linear(x, w, None).swap_dims(0, 1))
        });
        check(
            "three of one input",
            [rows * input, out * input, 7 * input, 7],
            |[x, a, b, c]| {
                let x = x.reshape([rows, input]);
                let [a, b] = [a.reshape([out, input]), b.reshape([7, input])];
                let of = |w: &Tensor<2>| (Weight::from(w.clone()), None);
                let ys = linears(x, [of(&a), (Weight::from(b), Some(c)), of(&a)]);
                Tensor::cat(ys.map(row).into(), 0)
            },
        );
    }
    let mut random = Random::new(1);
    let x: Tensor<2> = random.tensor([3, 8]);
    let w: Tensor<2> = random.tensor([5, 8]);
    assert_kernel(linear(x.autodiff(), w.autodiff(), None));
}

#[test]
fn of_products_whose_rows_are_not_all_read() {
    let [rows, input, out] = [40, 33, 18];
    for read in [0, 1, 20, 39] {
        let lens = [rows * input, out * input, out];
        check(&format!("{read} rows are read"), lens, |[x, w, b]| {
            let (x, w) = (x.reshape([rows, input]), w.reshape([out, input]));
            let which = (0..rows).map(|row| f32::from(row < read)).collect();
            row(linear(x, w, Some(b)) * tensor(which, [rows, 1]))
        });
    }
}

#[test]
fn of_products_with_half_weights() {
    for dtype in [DType::BF16, DType::F16] {
        let mut random = Random::new(2);
        let x: Tensor<2> = random.tensor([9, 40]);
        let w: Tensor<2> = random.tensor([21, 40]).cast(dtype);
        let run = || {
            let x = x.clone().autodiff().require_grad();
            let w = w.clone().autodiff().require_grad();
            let grads = linear(x.clone(), w.clone(), None).square().sum().backward();
            [x, w].map(|x| x.grad(&grads).expect("it is trained"))
        };
        let (ours, twin) = (run(), gradients_in_primitives(run));
        let ([of_x, of_w], [twin_x, twin_w]) = (ours, twin);
        near(&values(of_x / 50.0), &values(twin_x / 50.0), BOUND, dtype);
        assert_eq!(of_w.dtype(), DType::F32, "rounded only by the optimizer");
        let [ours, twin] = [of_w, twin_w].map(|x| values(x.cast(DType::F32) / 50.0));
        near(&ours, &twin, 1e-2, dtype);
    }
}

#[test]
fn of_products_with_blocks() {
    let format = BlockFormat::Q4_0;
    let (rows, cols, out) = (7, 96, 21);
    let bytes =
        (0..out * cols / 32).flat_map(|i| [[0, 40].as_slice(), &[(i * 37) as u8; 16]].concat());
    let bytes: Vec<u8> = bytes.collect();
    let blocks = TensorData::new(bytes, [out, cols / 32, format.block_bytes()]);
    let blocks = Tensor::<3, Int>::from_data(blocks, (&Device::flex(), DType::U8));
    check("blocks", [rows * cols, out], |[x, b]| {
        let weight = Weight::Blocks(blocks.clone(), Precision::Fast);
        row(linear(x.reshape([rows, cols]), weight, Some(b)))
    });
}

#[test]
fn of_tables() {
    let ids = TensorData::new(vec![3, 0, 3, 5, 5, 3], [2, 3]);
    let ids = Tensor::<2, Int>::from_data(ids, &Device::flex());
    check("table", [7 * 9], |[w]| {
        row(embedding(w.reshape([7, 9]), ids.clone()))
    });
    check("table with padding", [7 * 9], |[w]| {
        let y = padded_embedding(w.clone().reshape([7, 9]), ids.clone(), Some(5));
        Tensor::cat(vec![row(y), w], 0)
    });
    check("table that is a head too", [7 * 9], |[w]| {
        let w = w.reshape([7, 9]);
        row(linear(embedding(w.clone(), ids.clone()), w, None))
    });
}

#[test]
fn of_norms() {
    for [rows, cols] in [[1, 1], [3, 5], [17, 33], [5, 577]] {
        let len = rows * cols;
        for form in [NormForm::Plain, NormForm::OnePlus] {
            check("rms", [len, cols], |[x, w]| {
                row(rms_norm(x.reshape([rows, cols]), w, form, 1e-3))
            });
            check("rms of a sum", [len, len, cols], |[x, r, w]| {
                let [x, r] = [x, r].map(|x| x.reshape([rows, cols]));
                let (sum, y) = add_rms_norm(x, r, w, form, 1e-3);
                row(Tensor::cat(vec![sum, y], 0))
            });
        }
        check("layer", [len, cols, cols], |[x, w, b]| {
            let x = x.reshape([cols, rows]).swap_dims(0, 1);
            row(layer_norm(x, w, Some(b), 1e-3))
        });
        check("layer of a sum", [len, len, cols], |[x, r, w]| {
            let [x, r] = [x, r].map(|x| x.reshape([rows, cols]));
            row(add_layer_norm(x, r, w, None, 1e-3))
        });
        check_trained("frozen norm", [len, cols], [true, false], |[x, w]| {
            row(rms_norm(x.reshape([rows, cols]), w, NormForm::Plain, 1e-3))
        });
    }
}

/// What the layers of a decoder and of an encoder make of their input, which several operations read.
#[test]
fn of_what_is_read_again() {
    let [rows, hidden, inner] = [18, 33, 20];
    let lens = [
        rows * hidden,
        rows * hidden,
        inner * hidden,
        hidden * inner,
        hidden,
    ];
    let three = |x: Tensor<2>, w: Tensor<2>| {
        let of = |w: Tensor<2>| (Weight::from(w), None);
        linears(x, [of(w.clone()), of(w.clone() * 2.0), of(w)])
    };
    for read in [rows, 5] {
        let which = || {
            let which = (0..rows).map(|row| f32::from(row < read)).collect();
            tensor::<2>(which, [rows, 1])
        };
        let inputs = |[x, r, up, down, norm]: [Tensor<1>; 5]| {
            let [x, r] = [x, r].map(|x| x.reshape([rows, hidden]));
            let [up, down] = [up.reshape([inner, hidden]), down.reshape([hidden, inner])];
            (x, r, up, down, norm)
        };
        check(&format!("decoder, {read} rows"), lens, |all| {
            let (x, r, up, down, norm) = inputs(all);
            let (stream, y) = add_rms_norm(x, r, norm.clone(), NormForm::Plain, 1e-3);
            let [gate, up, more] = three(y, up);
            let y = linear(gated(gate, up, Activation::Silu) + more, down, None);
            let (stream, y) = add_rms_norm(y, stream, norm, NormForm::Plain, 1e-3);
            row(Tensor::cat(vec![stream, y * which()], 0))
        });
        check(&format!("encoder, {read} rows"), lens, |all| {
            let (x, r, up, down, norm) = inputs(all);
            let x = add_layer_norm(x, r, norm.clone(), None, 1e-3);
            let [a, b, c] = three(x.clone(), up);
            let y = linear(activate(a, Activation::Gelu) + b * c, down, None);
            row(add_layer_norm(y, x.clone(), norm, None, 1e-3) * which() + x)
        });
    }
    check("a parameter", [9, 4 * 9, 9], |[x, w, norm]| {
        let y = linear(x.clone(), w.reshape([4, 9]), None);
        let z = rms_norm(x.clone(), norm, NormForm::Plain, 1e-3);
        Tensor::cat(vec![y, z, activate(x.clone(), Activation::Silu), x], 0)
    });
}

#[test]
fn of_activations() {
    for activation in Activation::ALL {
        for [rows, cols] in [[1, 1], [3, 33], [17, 100]] {
            let len = rows * cols;
            check("alone", [len], |[x]| row(activate(x * 4.0, activation)));
            check("gated", [len, len], |[gate, up]| {
                let turned = |x: Tensor<1>| x.reshape([cols, rows]).swap_dims(0, 1);
                row(gated(turned(gate), turned(up), activation))
            });
            check("gated by itself", [len], |[x]| {
                gated(x.clone(), x, activation)
            });
        }
    }
}

#[test]
fn of_turns() {
    use RotaryLayout::{HalfSplit, Interleaved};
    for (half, layout) in [
        (4, HalfSplit),
        (2, HalfSplit),
        (4, Interleaved),
        (3, Interleaved),
    ] {
        let (batch, heads, seq, dim) = (2, 3, 5, 9);
        let mut random = Random::new(3);
        let angle: Tensor<3> = random.tensor([1, seq, half]);
        let (cos, sin) = (angle.clone().cos(), angle.sin());
        check("queries", [batch * heads * seq * dim], |[x]| {
            let x = x.reshape([batch, seq, heads, dim]).swap_dims(1, 2);
            row(rotary(x, cos.clone(), sin.clone(), layout))
        });
    }
}

#[test]
fn of_cross_entropy() {
    for (rows, cols) in [(1, 2), (3, 7), (17, 100), (5, 1000)] {
        let mut random = Random::new(4);
        let targets: Vec<i32> = (0..rows)
            .map(|row| {
                if row % 4 == 3 {
                    -1
                } else {
                    random.below(cols) as i32
                }
            })
            .collect();
        check("logits", [rows * cols], |[x]| {
            cross_entropy((x * 9.0).reshape([rows, cols]), &targets)
        });
        let x: Tensor<2> = random.tensor([rows, cols]);
        let ours = values(cross_entropy(x.clone(), &targets));
        let twin = gradients_in_primitives(|| cross_entropy(x.autodiff(), &targets));
        near(&ours, &values(twin), 2e-6, "loss");
    }
}

fn attend(
    [batch, heads, kv_heads, q_len, kv_len, dim]: [usize; 6],
    mask: &Mask,
    options: &AttentionOptions,
) {
    let kv = batch * kv_heads * kv_len * dim;
    let lens = [batch * heads * q_len * dim, kv, kv];
    let f = |[q, k, v]: [Tensor<1>; 3]| {
        let q = q.reshape([batch, q_len, heads, dim]).swap_dims(1, 2);
        let [k, v] = [k, v].map(|x| x.reshape([batch, kv_len, kv_heads, dim]).swap_dims(1, 2));
        row(attention(q, k, v, mask, options))
    };
    check("attention", lens, f);
    check_trained("values alone", lens, [false, false, true], f);
}

#[test]
fn of_attention() {
    let plain = AttentionOptions::new(0.3);
    attend([1, 1, 1, 1, 1, 3], &Mask::causal(), &plain);
    attend([2, 4, 2, 33, 33, 8], &Mask::causal(), &plain);
    attend([1, 3, 1, 70, 70, 16], &Mask::causal(), &plain);
    attend([1, 3, 3, 5, 12, 8], &Mask::causal().after(7), &plain);
    attend([2, 2, 2, 17, 9, 5], &Mask::bidirectional(), &plain);
    attend(
        [1, 2, 1, 20, 20, 8],
        &Mask::causal().with_window(Some(6)),
        &plain,
    );
    let segments = Mask::causal().with_segments(vec![0, 3, 20]);
    attend([1, 2, 1, 20, 20, 8], &segments, &plain);
    let tokens = |rows: [&str; 2]| {
        let row = |row: &str| row.chars().map(|c| c == 'x').collect();
        Some(rows.map(row).to_vec())
    };
    let right = tokens(["xxxxxxxxx", "xxxxxx..."]);
    attend(
        [2, 4, 2, 9, 9, 8],
        &Mask::causal().with_padding(right.clone()),
        &plain,
    );
    attend(
        [2, 4, 2, 9, 9, 8],
        &Mask::bidirectional().with_padding(right),
        &plain,
    );
    let amid = tokens(["xxxx.xxxx", "xxxxxx..."]);
    attend(
        [2, 4, 2, 9, 9, 8],
        &Mask::bidirectional().with_padding(amid),
        &plain,
    );
    let mut random = Random::new(5);
    let all = AttentionOptions {
        softcap: Some(0.8),
        sinks: Some(random.tensor([4])),
        bias: Some(random.tensor([1, 4, 17, 17])),
        ..plain
    };
    attend([2, 4, 2, 17, 17, 8], &Mask::causal(), &all);
    let [q, k, v] = [(); 3].map(|()| random.tensor([1, 2, 5, 8]).autodiff());
    assert_kernel(attention(
        q,
        k,
        v,
        &Mask::causal(),
        &AttentionOptions::new(0.3),
    ));
}
