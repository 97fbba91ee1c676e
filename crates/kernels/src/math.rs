//! Transcendental functions on vectors: polynomials of Cephes' kind, within a few units in the last place.

use crate::simd::Simd;

/// `e^x`; 0 below -87.33 and infinity above 88.72, within 2 ulp between.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = s.max(s.min(x, s.splat(88.72)), s.splat(-87.33));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), clamped);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(1.987_569_1e-4);
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = s.mul_add(p, r, s.splat(coefficient));
    }
    let p = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    // In two factors, because 2^128 is no f32 while e^88.72 is.
    let half = s.round(s.mul(n, s.splat(0.5)));
    let y = s.mul(s.mul(p, s.exp2_whole(half)), s.exp2_whole(s.sub(n, half)));
    let y = s.select_less(x, s.splat(-87.33), s.zero(), y);
    s.select_less(s.splat(88.72), x, s.splat(f32::INFINITY), y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd::simd_fn};

    simd_fn! {
        fn map_exp<S>(s, x: &[f32], y: &mut [f32]) {
            for (x, y) in x.chunks_exact(S::LANES).zip(y.chunks_exact_mut(S::LANES)) {
                // SAFETY: chunks have LANES elements.
                unsafe { s.store(y.as_mut_ptr(), exp(s, s.load(x.as_ptr()))) };
            }
        }
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let x: Vec<f32> = (0..1 << 16)
            .map(|i| (i as f32 - 32768.0) / 32768.0 * 87.0)
            .collect();
        for &isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            map_exp(isa, &x, &mut y);
            for (&x, &y) in x.iter().zip(&y) {
                let exact = f64::from(x).exp();
                let ulps = (f64::from(y) - exact).abs() / exact / f64::from(f32::EPSILON);
                assert!(ulps <= 2.0, "{isa:?}: exp({x}) = {y}, {ulps} ulps off");
            }
        }
    }

    #[test]
    fn exp_at_the_edges() {
        let mut x = vec![
            f32::NEG_INFINITY,
            -1e30,
            -88.0,
            0.0,
            88.7,
            89.0,
            f32::INFINITY,
        ];
        x.resize(16, 0.0);
        for &isa in Isa::available() {
            let mut y = vec![f32::NAN; 16];
            map_exp(isa, &x, &mut y);
            assert_eq!(y[..4], [0.0, 0.0, 0.0, 1.0], "{isa:?}");
            assert!((y[4] / 88.7f32.exp() - 1.0).abs() < 1e-6, "{isa:?}");
            assert_eq!(y[5..7], [f32::INFINITY; 2], "{isa:?}");
        }
    }
}
