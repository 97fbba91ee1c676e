//! Transcendental functions on vectors: polynomials of Cephes' kind, within a few units in the last place.

use crate::simd::Simd;

/// `e^x`; 0 below -87.33 and infinity above 88.72, within 2 ulp between; NaN of NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // The operands' order lets a NaN through.
    let clamped = s.max(s.splat(-87.33), s.min(s.splat(88.72), x));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), clamped);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let p = polynomial(
        s,
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ],
    );
    let p = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    // The product is a normal number between the clamps: p is below 1 at the upper one, where n is 128, and above at the
    // lower one, where n is -126.
    let y = s.mul_exp2(p, n);
    let y = s.select_less(x, s.splat(-87.33), s.zero(), y);
    s.select_less(s.splat(88.72), x, s.splat(f32::INFINITY), y)
}

/// `1 / (1 + e^-x)`, within 1e-7.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

/// The hyperbolic tangent, within 3 ulp.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let size = abs(s, x);
    // 1 - 2 / (e^2|x| + 1) would lose the digits of a small result.
    let z = s.mul(x, x);
    let p = polynomial(
        s,
        z,
        [
            -5.704_988_6e-3,
            2.063_909e-2,
            -5.373_971_6e-2,
            1.333_144_2e-1,
            -3.333_328e-1,
        ],
    );
    let small = s.mul_add(s.mul(p, z), x, x);
    let large = s.add(exp(s, s.add(size, size)), one);
    let large = with_sign(s, s.sub(one, s.div(s.splat(2.0), large)), x);
    s.select_less(size, s.splat(0.625), small, large)
}

/// The error function, within 1.5e-7 and, where it is small, 2 ulp.
///
/// Minimax polynomials: of `x²` for `erf(x) / x` below 1, and of `x` for the eighth root of `1 - erf(x)` from there to
/// 3.95, where f32 ends to tell it from 1.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let size = abs(s, x);
    let p = polynomial(
        s,
        s.mul(x, x),
        [
            -5.769_026e-4,
            4.954_932e-3,
            -2.674_796e-2,
            1.128_172_8e-1,
            -3.761_258_3e-1,
            std::f32::consts::FRAC_2_SQRT_PI,
        ],
    );
    let small = s.mul(x, p);
    let root = polynomial(
        s,
        s.min(s.splat(3.95), size),
        [
            1.578_430_4e-5,
            -4.152_949_5e-5,
            -1.498_32e-3,
            1.024_857e-2,
            -7.043_554_5e-3,
            -6.553_898e-2,
            -1.429_346_7e-1,
            1.000_372_9,
        ],
    );
    let fourth = s.mul(s.mul(root, root), s.mul(root, root));
    let large = s.sub(s.splat(1.0), s.mul(fourth, fourth));
    s.select_less(size, s.splat(1.0), small, with_sign(s, large, x))
}

/// The polynomial with these coefficients, of the highest power first.
#[inline(always)]
pub(crate) fn polynomial<S: Simd, const N: usize>(
    s: S,
    x: S::F32,
    coefficients: [f32; N],
) -> S::F32 {
    let mut p = s.splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        p = s.mul_add(p, x, s.splat(coefficient));
    }
    p
}

#[inline(always)]
fn abs<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.max(x, s.sub(s.zero(), x))
}

/// `size` where `x` is positive, `-size` where it is negative.
#[inline(always)]
fn with_sign<S: Simd>(s: S, size: S::F32, x: S::F32) -> S::F32 {
    s.select_less(x, s.zero(), s.sub(s.zero(), size), size)
}

/// The error function in double precision, by its series without changes of sign.
#[cfg(test)]
pub(crate) fn erf_f64(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, simd::simd_fn};

    #[derive(Debug, Clone, Copy)]
    enum Function {
        Exp,
        Sigmoid,
        Tanh,
        Erf,
    }

    impl Function {
        fn exact(self, x: f32) -> f64 {
            let x = f64::from(x);
            match self {
                Self::Exp => x.exp(),
                Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Self::Tanh => x.tanh(),
                Self::Erf => erf_f64(x),
            }
        }
    }

    simd_fn! {
        fn map_into<S>(s, function: Function, x: &[f32], y: &mut [f32]) {
            for (x, y) in x.chunks_exact(S::LANES).zip(y.chunks_exact_mut(S::LANES)) {
                // SAFETY: chunks have LANES elements.
                let v = unsafe { s.load(x.as_ptr()) };
                let v = match function {
                    Function::Exp => exp(s, v),
                    Function::Sigmoid => sigmoid(s, v),
                    Function::Tanh => tanh(s, v),
                    Function::Erf => erf(s, v),
                };
                // SAFETY: as above.
                unsafe { s.store(y.as_mut_ptr(), v) };
            }
        }
    }

    fn map(isa: Isa, function: Function, x: &[f32]) -> Vec<f32> {
        let mut x = x.to_vec();
        let len = x.len();
        x.resize(len.next_multiple_of(16), 0.0);
        let mut y = vec![f32::NAN; x.len()];
        map_into(isa, function, &x, &mut y);
        y.truncate(len);
        y
    }

    /// Numbers over `-limit..limit`, and down to the smallest ones.
    fn numbers(limit: f32) -> Vec<f32> {
        let steps = if cfg!(miri) { 64 } else { 1 << 16 };
        let even = (0..=steps).map(|i| (i as f32 / steps as f32 * 2.0 - 1.0) * limit);
        let small = (-120..0).flat_map(|n| [1.3 * 2f32.powi(n), -1.7 * 2f32.powi(n)]);
        even.chain(small).collect()
    }

    /// `error(got, exact)` is at most `allowed` everywhere.
    fn check(function: Function, limit: f32, allowed: f64, error: impl Fn(f64, f64) -> f64) {
        let x = numbers(limit);
        for &isa in Isa::available() {
            for (&x, y) in x.iter().zip(map(isa, function, &x)) {
                let error = error(y.into(), function.exact(x));
                assert!(
                    error <= allowed,
                    "{isa:?}: {function:?}({x}) = {y}, {error} off"
                );
            }
        }
    }

    fn ulps(got: f64, exact: f64) -> f64 {
        if got == exact {
            0.0
        } else {
            (got - exact).abs() / exact.abs() / f64::from(f32::EPSILON)
        }
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        check(Function::Exp, 87.0, 2.0, ulps);
    }

    #[test]
    fn tanh_is_within_three_units_in_the_last_place() {
        check(Function::Tanh, 12.0, 3.0, ulps);
    }

    #[test]
    fn sigmoid_and_erf_are_close() {
        let absolute = |got: f64, exact: f64| (got - exact).abs();
        check(Function::Sigmoid, 90.0, 1e-7, absolute);
        check(Function::Erf, 6.0, 1.5e-7, absolute);
        check(Function::Erf, 1.0, 2.0, ulps);
    }

    #[test]
    fn the_edges() {
        let x = [f32::NEG_INFINITY, -1e30, -0.0, 0.0, 1e30, f32::INFINITY];
        for &isa in Isa::available() {
            for (function, expected) in [
                (
                    Function::Exp,
                    [0.0, 0.0, 1.0, 1.0, f32::INFINITY, f32::INFINITY],
                ),
                (Function::Sigmoid, [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]),
                (Function::Tanh, [-1.0, -1.0, -0.0, 0.0, 1.0, 1.0]),
                (Function::Erf, [-1.0, -1.0, -0.0, 0.0, 1.0, 1.0]),
            ] {
                let y = map(isa, function, &x);
                assert_eq!(y, expected, "{isa:?}: {function:?}");
                assert!(
                    map(isa, function, &[f32::NAN])[0].is_nan(),
                    "{isa:?}: {function:?}"
                );
            }
            let y = map(isa, Function::Exp, &[-88.0, 88.7, 89.0]);
            assert_eq!((y[0], y[2]), (0.0, f32::INFINITY), "{isa:?}");
            assert!((y[1] / 88.7f32.exp() - 1.0).abs() < 1e-6, "{isa:?}");
        }
    }
}
