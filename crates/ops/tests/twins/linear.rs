//! Products with weights of every dtype and format, and embeddings: the two bodies.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, f16};
use transformers_kernels::BlockFormat;
use transformers_ops::{Precision, Weight, embedding, gradients_in_primitives, linear, linears};

use crate::twin::{BOUND, Random, agree, followed, near, tensor, values};

const FLOATS: [DType; 3] = [DType::F32, DType::BF16, DType::F16];

/// As large as weights are: outputs are about as large as inputs.
fn weight(random: &mut Random, out: usize, input: usize) -> Tensor<2> {
    random.tensor([out, input]) / (input as f32).sqrt()
}

fn check<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, random: &mut Random) {
    let bias = random.tensor([weight.dims()[0]]);
    for bias in [None, Some(bias)] {
        for dtype in FLOATS {
            let weight = weight.clone().cast(dtype);
            agree(
                linear(x.clone(), weight.clone(), bias.clone()),
                linear(followed(x), followed(&weight), bias.as_ref().map(followed)),
                (x.dims(), weight.dims(), dtype, bias.is_some()),
            );
        }
    }
}

#[test]
fn with_every_dtype_and_shape() {
    gradients_in_primitives(|| {
        for rows in [1, 3, 17, 63, 65] {
            for [input, out] in [[1, 1], [17, 5], [63, 65], [100, 33], [577, 31]] {
                let mut random = Random::new((rows * input) as u64);
                let x = random.tensor([1, rows, input]);
                let weight = weight(&mut random, out, input);
                check(&x, &weight, &mut random);
            }
        }
    });
}

#[test]
fn of_views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(8);
        let w = weight(&mut random, 33, 21);
        check(&random.tensor([21, 17, 2]).swap_dims(0, 2), &w, &mut random);
        check(
            &random.tensor([2, 17, 50]).narrow(2, 9, 21),
            &w,
            &mut random,
        );
        check(&random.tensor([1, 21]).expand([3, 21]), &w, &mut random);
        let x = random.tensor([17, 21]);
        check(
            &x,
            &weight(&mut random, 90, 21).narrow(0, 40, 33),
            &mut random,
        );
        check(
            &x,
            &weight(&mut random, 33, 50).narrow(1, 9, 21),
            &mut random,
        );
        check(&x, &weight(&mut random, 21, 33).transpose(), &mut random);
    });
}

#[test]
fn with_several_weights_of_different_dtypes() {
    gradients_in_primitives(|| {
        for rows in [1, 3, 17, 65] {
            let mut random = Random::new(rows as u64);
            let x = random.tensor([rows, 70]);
            let weights = [
                weight(&mut random, 50, 70),
                weight(&mut random, 1, 70).cast(DType::BF16),
                weight(&mut random, 33, 70).cast(DType::F16),
            ];
            let bias = random.tensor([33]);
            let [a, b, c] = weights.clone();
            let kernel = linears(
                x.clone(),
                [
                    (a.into(), None),
                    (b.into(), None),
                    (c.into(), Some(bias.clone())),
                ],
            );
            let [a, b, c] = weights.each_ref().map(followed);
            let primitives = linears(
                followed(&x),
                [
                    (a.into(), None),
                    (b.into(), None),
                    (c.into(), Some(followed(&bias))),
                ],
            );
            for (kernel, primitives) in kernel.into_iter().zip(primitives) {
                agree(kernel, primitives, rows);
            }
        }
    });
}

/// Blocks of random bits, with scales that make elements about as large as those of [`weight`], and the same decoded.
fn blocks(random: &mut Random, format: BlockFormat, rows: usize, count: usize) -> [Weight; 2] {
    // Where a block has f16 numbers.
    let halves: &[usize] = match format {
        BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q6_K => &[208],
        _ => &[0, 2],
    };
    let size = format.block_bytes();
    let mut bytes: Vec<u8> = (0..rows * count * size)
        .map(|_| random.bits() as u8)
        .collect();
    for block in bytes.chunks_exact_mut(size) {
        for &at in halves {
            // Formats of 256 elements have further scales inside.
            let scale = match format.block_len() {
                32 => f16::from_f32(random.float() / 512.0),
                _ => f16::from_f32(random.float() / 32768.0),
            };
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    let cols = count * format.block_len();
    let mut dense = vec![0.0; rows * cols];
    format.dequantize(&bytes, &mut dense);
    let data = TensorData::new(bytes, [rows, count, size]);
    let bytes = Tensor::<3, Int>::from_data(data, (&Device::flex(), DType::U8));
    [
        Weight::Blocks(bytes, Precision::Exact),
        tensor(dense, [rows, cols]).into(),
    ]
}

#[test]
fn with_blocks_of_every_format_in_exact_arithmetic() {
    gradients_in_primitives(|| {
        for format in BlockFormat::ALL {
            for rows in [1, 3, 17, 65] {
                let mut random = Random::new(rows as u64);
                let count = if format.block_len() == 32 { 5 } else { 2 };
                let [packed, dense] = blocks(&mut random, format, 33, count);
                let x = random.tensor([1, rows, packed.dims()[1]]);
                let bias = random.tensor([33]);
                let case = (format, rows);
                let kernel = linear(x.clone(), packed.clone(), Some(bias.clone()));
                let primitives = linear(followed(&x), packed, Some(followed(&bias)));
                let decoded = linear(x, dense, Some(bias));
                near(&values(kernel.clone()), &values(decoded), BOUND, case);
                agree(kernel, primitives, case);
            }
        }
    });
}

fn ids(random: &mut Random, below: usize, shape: [usize; 2]) -> Tensor<2, Int> {
    let ids: Vec<i32> = (0..shape[0] * shape[1])
        .map(|_| random.below(below) as i32)
        .collect();
    Tensor::from_data(TensorData::new(ids, shape), &Device::flex())
}

#[test]
fn embeddings() {
    gradients_in_primitives(|| {
        for rows in [1, 3, 17, 63, 65] {
            let mut random = Random::new(rows as u64);
            let ids = ids(&mut random, 11, [2, rows]);
            let table = random.tensor([11, 33]);
            for dtype in FLOATS {
                let table = table.clone().cast(dtype);
                let primitives = embedding(followed(&table), ids.clone().autodiff());
                agree(
                    embedding(table, ids.clone()),
                    primitives.cast(DType::F32),
                    (rows, dtype),
                );
            }
            for format in BlockFormat::ALL {
                let [packed, dense] = blocks(&mut random, format, 11, 1);
                let packed = values(embedding(packed, ids.clone()));
                assert_eq!(packed, values(embedding(dense, ids.clone())), "{format:?}");
            }
            let turned = random.tensor([33, 11]).transpose();
            let twin = embedding(followed(&turned), ids.clone().autodiff());
            agree(embedding(turned, ids), twin, "turned");
        }
    });
}
