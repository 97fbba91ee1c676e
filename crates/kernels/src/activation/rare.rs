//! Functions that few models have: each a value and a slope.

use super::{
    Function, Gelu,
    gradient::{Slope, logistic},
};
use crate::{
    math::{erf, exp, sigmoid},
    simd::Simd,
};

/// The functions of these types are the first halves of their slopes; what only the second needs is not computed.
macro_rules! by_slope {
    ($($name:ident),+) => {
        $(
            pub(super) struct $name;
            impl Function for $name {
                #[inline(always)]
                fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
                    Self::slope(s, x).0
                }
            }
        )+
    };
}

by_slope!(
    QuickGelu,
    ClippedGelu,
    Mish,
    LeakyRelu,
    Relu6,
    HardSwish,
    Laplace,
    Linear
);

impl Slope for QuickGelu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let z = s.mul(x, s.splat(1.702));
        let (p, slope) = logistic(s, z);
        (s.mul(x, p), s.mul_add(z, slope, p))
    }
}

impl Slope for ClippedGelu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        // Nothing is below -0.17.
        let high = s.splat(10.0);
        let (value, slope) = Gelu::slope(s, x);
        (
            s.min(high, value),
            s.select_less(value, high, slope, s.zero()),
        )
    }
}

impl Slope for Mish {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        // tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2), and one less its square is 4 (n + 1) / (n + 2)².
        let [one, two] = [s.splat(1.0), s.splat(2.0)];
        let e = exp(s, s.min(s.splat(20.0), x));
        let n = s.mul(e, s.add(e, two));
        let inverse = s.div(one, s.add(n, two));
        let share = s.mul(n, inverse);
        let rest = s.mul(s.mul(s.add(n, one), inverse), s.mul(s.splat(4.0), inverse));
        let slope = s.mul(rest, sigmoid(s, x));
        (s.mul(x, share), s.mul_add(x, slope, share))
    }
}

impl Slope for LeakyRelu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let leak = s.splat(0.01);
        let slope = s.select_less(s.zero(), x, s.splat(1.0), leak);
        (s.mul(x, slope), slope)
    }
}

impl Slope for Relu6 {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let high = s.splat(6.0);
        let below = s.select_less(x, high, s.splat(1.0), s.zero());
        (
            // The second operand is what a NaN gives.
            s.min(high, s.max(s.zero(), x)),
            s.select_less(s.zero(), x, below, s.zero()),
        )
    }
}

impl Slope for HardSwish {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let [three, sixth] = [s.splat(3.0), s.splat(1.0 / 6.0)];
        let share = s.mul(Relu6::of(s, s.add(x, three)), sixth);
        let between = s.mul_add(x, sixth, share);
        let below = s.select_less(x, three, between, s.splat(1.0));
        let low = s.sub(s.zero(), three);
        (s.mul(x, share), s.select_less(low, x, below, s.zero()))
    }
}

impl Slope for Laplace {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        // √(2π): one over the √2-fold of the standard deviation.
        let scale = s.splat(2.506_628_3);
        let u = s.mul(s.sub(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)), scale);
        let half = s.splat(0.5);
        let density = exp(s, s.sub(s.zero(), s.mul(u, u)));
        // √2 is the scale over √π.
        let slope = s.mul(density, s.splat(std::f32::consts::SQRT_2));
        (s.mul_add(half, erf(s, u), half), slope)
    }
}

impl Slope for Linear {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        (x, s.splat(1.0))
    }
}
