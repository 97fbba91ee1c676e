//! The short causal convolution over tokens, one filter per channel.

use crate::{Isa, rows::for_rows, simd::simd_fn};

/// `y[t] = bias + Σ weight[k] x[t + k]` for every channel. `x` is `[batch, seq + width - 1, channels]`, the first rows being
/// the tokens before; `weight` is `[channels, width]`, `bias` `[channels]`, and `y` `[batch, seq, channels]`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn causal_conv1d(
    [batch, seq, channels]: [usize; 3],
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    if batch * seq * channels == 0 {
        return;
    }
    let width = weight.len() / channels;
    assert_eq!(weight.len(), width * channels, "weight");
    assert_eq!(x.len(), batch * (seq + width - 1) * channels, "x");
    assert!(bias.is_none_or(|bias| bias.len() == channels), "bias");
    assert_eq!(y.len(), batch * seq * channels, "y");
    let isa = Isa::current();
    let mut taps = vec![0.0; weight.len()];
    for (k, taps) in taps.chunks_exact_mut(channels).enumerate() {
        for (tap, filter) in taps.iter_mut().zip(weight.chunks_exact(width)) {
            *tap = filter[k];
        }
    }
    for_rows(batch * seq, channels * width, [y], |rows, [y]| {
        for (row, y) in rows.zip(y.chunks_exact_mut(channels)) {
            let first = (row / seq * (seq + width - 1) + row % seq) * channels;
            token(isa, &x[first..][..width * channels], &taps, bias, y);
        }
    });
}

simd_fn! {
    /// One token from the rows `x` that its filters see.
    fn token<S>(_s, x: &[f32], taps: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        match bias {
            Some(bias) => y.copy_from_slice(bias),
            None => y.fill(0.0),
        }
        let channels = y.len();
        for (x, taps) in x.chunks_exact(channels).zip(taps.chunks_exact(channels)) {
            for ((y, x), tap) in y.iter_mut().zip(x).zip(taps) {
                *y += x * tap;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn every_shape_is_that_of_f64() {
        for [batch, seq, channels, width] in
            [[1, 1, 1, 1], [2, 5, 7, 3], [1, 33, 65, 4], [3, 1, 1000, 4]]
        {
            let mut random = Random::new((seq * channels) as u64);
            let x = random.floats(batch * (seq + width - 1) * channels);
            let (weight, bias) = (random.floats(channels * width), random.floats(channels));
            for bias in [None, Some(&bias[..])] {
                for &isa in Isa::available() {
                    let mut y = vec![f32::NAN; batch * seq * channels];
                    isa.with(|| causal_conv1d([batch, seq, channels], &x, &weight, bias, &mut y));
                    for (i, y) in y.iter().enumerate() {
                        let (row, channel) = (i / channels, i % channels);
                        let mut sum = bias.map_or(0.0, |bias| f64::from(bias[channel]));
                        for k in 0..width {
                            let from = row / seq * (seq + width - 1) + row % seq + k;
                            sum += f64::from(x[from * channels + channel])
                                * f64::from(weight[channel * width + k]);
                        }
                        assert!((f64::from(*y) - sum).abs() < 1e-6, "{isa:?} {i}: {y} {sum}");
                    }
                }
            }
        }
    }
}
