//! Activation functions, alone and as the gate of a gated feed-forward layer.

mod gradient;
mod rare;

pub use gradient::{activation_gradient, gated_gradient};

use crate::{
    Isa,
    math::{erf, exp, polynomial, sigmoid, tanh},
    pool::{self, Phase},
    rows::{GROUP, for_rows, load, store},
    shared::SharedMut,
    simd::{Simd, simd_fn},
};

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x / (1 + e^-x)`, also called swish.
    Silu,
    /// `x / 2 * (1 + erf(x / √2))`.
    Gelu,
    /// GELU with `tanh(√(2/π) * (x + 0.044715 x³))` in the place of `erf(x / √2)`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    SquaredRelu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `log(1 + e^x)`.
    Softplus,
    /// `x / (1 + e^-1.702x)`.
    QuickGelu,
    /// GELU, at most 10.
    ClippedGelu,
    /// `x * tanh(log(1 + e^x))` (Misra 2019).
    Mish,
    /// `x` above zero, a hundredth of it below.
    LeakyRelu,
    /// `max(x, 0)`, at most 6.
    Relu6,
    /// `x / 6` times what is between 0 and 6 of `x + 3`.
    HardSwish,
    /// The distribution function of a normal variable of mean `√½` and variance `1 / 4π` (Ma et al. 2022).
    Laplace,
    /// `x` as it is.
    Linear,
}

impl Activation {
    /// Every one of them.
    pub const ALL: [Self; 16] = [
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Relu,
        Self::SquaredRelu,
        Self::Tanh,
        Self::Sigmoid,
        Self::Softplus,
        Self::QuickGelu,
        Self::ClippedGelu,
        Self::Mish,
        Self::LeakyRelu,
        Self::Relu6,
        Self::HardSwish,
        Self::Laplace,
        Self::Linear,
    ];
}

/// `x = activation(x)`.
pub fn activate(activation: Activation, x: &mut [f32]) {
    let isa = Isa::current();
    for_rows(x.len(), 1, [x], |_, [x]| apply(isa, activation, x, None));
}

/// `activation(x)`, beside it.
pub fn activated(activation: Activation, x: &[f32]) -> Vec<f32> {
    beside(activation, x, None)
}

/// `activation(gate) * up`, beside them: see [`gated`].
///
/// # Panics
/// When lengths differ.
pub fn gated_product(activation: Activation, gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "up has the shape of gate");
    beside(activation, gate, Some(up))
}

/// Elements that a task copies and then changes, while they are in the nearest cache.
const COPIED: usize = 1 << 12;

fn beside(activation: Activation, x: &[f32], factor: Option<&[f32]>) -> Vec<f32> {
    let isa = Isa::current();
    let mut out = Vec::with_capacity(x.len());
    let room = SharedMut::room(&mut out);
    let grain = x.len().div_ceil(4 * pool::threads(Phase::Prefill));
    pool::run_ranges(Phase::Prefill, x.len(), grain.max(COPIED), |range| {
        for start in range.clone().step_by(COPIED) {
            let part = start..(start + COPIED).min(range.end);
            // SAFETY: parts are disjoint, and inside the room.
            let y = unsafe {
                std::ptr::copy_nonoverlapping(x[part.clone()].as_ptr(), room.at(start), part.len());
                room.part(start, part.len())
            };
            apply(isa, activation, y, factor.map(|factor| &factor[part]));
        }
    });
    // SAFETY: all elements have been written.
    unsafe { out.set_len(x.len()) };
    out
}

/// `gate = activation(gate) * up`: SwiGLU with [`Activation::Silu`], GEGLU with a GELU.
///
/// # Panics
/// When lengths differ.
pub fn gated(activation: Activation, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "up has the shape of gate");
    let isa = Isa::current();
    for_rows(gate.len(), 1, [gate], |range, [gate]| {
        apply(isa, activation, gate, Some(&up[range]));
    });
}

/// `gate = (up + 1) * gate * sigmoid(alpha * gate)`, where `gate` is first cut to at most `limit` and `up` to `limit` on
/// both sides.
///
/// # Panics
/// When lengths differ.
pub fn clamped_gated(alpha: f32, limit: f32, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "up has the shape of gate");
    let isa = Isa::current();
    for_rows(gate.len(), 1, [gate], |range, [gate]| {
        join_clamped(isa, alpha, limit, gate, &up[range]);
    });
}

simd_fn! {
    fn join_clamped<S>(s, alpha: f32, limit: f32, gate: &mut [f32], up: &[f32]) {
        let group = GROUP * S::LANES;
        let (alpha, one) = (s.splat(alpha), s.splat(1.0));
        let [low, high] = [s.splat(-limit), s.splat(limit)];
        for (gate, up) in gate.chunks_mut(group).zip(up.chunks(group)) {
            let (mut y, up) = (load(s, gate, 0.0), load(s, up, 0.0));
            for (y, up) in y.iter_mut().zip(up) {
                // The second operand is what a NaN gives.
                let gate = s.min(high, *y);
                let up = s.max(low, s.min(high, up));
                let gated = s.mul(gate, sigmoid(s, s.mul(alpha, gate)));
                *y = s.mul(s.add(up, one), gated);
            }
            store(s, gate, y);
        }
    }
}

simd_fn! {
    fn apply<S>(s, activation: Activation, x: &mut [f32], factor: Option<&[f32]>) {
        match activation {
            Activation::Silu => map::<S, Silu>(s, x, factor),
            Activation::Gelu => map::<S, Gelu>(s, x, factor),
            Activation::GeluTanh => map::<S, GeluTanh>(s, x, factor),
            Activation::Relu => map::<S, Relu>(s, x, factor),
            Activation::SquaredRelu => map::<S, SquaredRelu>(s, x, factor),
            Activation::Tanh => map::<S, Tanh>(s, x, factor),
            Activation::Sigmoid => map::<S, Sigmoid>(s, x, factor),
            Activation::Softplus => map::<S, Softplus>(s, x, factor),
            Activation::QuickGelu => map::<S, rare::QuickGelu>(s, x, factor),
            Activation::ClippedGelu => map::<S, rare::ClippedGelu>(s, x, factor),
            Activation::Mish => map::<S, rare::Mish>(s, x, factor),
            Activation::LeakyRelu => map::<S, rare::LeakyRelu>(s, x, factor),
            Activation::Relu6 => map::<S, rare::Relu6>(s, x, factor),
            Activation::HardSwish => map::<S, rare::HardSwish>(s, x, factor),
            Activation::Laplace => map::<S, rare::Laplace>(s, x, factor),
            Activation::Linear => map::<S, rare::Linear>(s, x, factor),
        }
    }
}

#[inline(always)]
fn map<S: Simd, F: Function>(s: S, x: &mut [f32], factor: Option<&[f32]>) {
    let group = GROUP * S::LANES;
    let mut factors = factor.map(|factor| factor.chunks(group));
    for x in x.chunks_mut(group) {
        let mut y = load(s, x, 0.0);
        for y in &mut y {
            *y = F::of(s, *y);
        }
        if let Some(factor) = factors.as_mut().and_then(Iterator::next) {
            for (y, factor) in y.iter_mut().zip(load(s, factor, 0.0)) {
                *y = s.mul(*y, factor);
            }
        }
        store(s, x, y);
    }
}

/// A function of every lane. A type and not a closure, which would not inherit the instruction set's features.
trait Function {
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32;
}

struct Silu;
impl Function for Silu {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.zero(), x))))
    }
}

struct Gelu;
impl Function for Gelu {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let erf = erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
        let half = s.mul(x, s.splat(0.5));
        s.mul_add(half, erf, half)
    }
}

struct GeluTanh;
impl Function for GeluTanh {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // (1 + tanh u) / 2 = 1 / (1 + e^-2u), and 2 √(2/π) = 1.595769.
        let u = s.mul_add(s.mul(x, x), s.splat(0.044_715), s.splat(1.0));
        let exponent = s.mul(s.mul(x, s.splat(-1.595_769)), u);
        s.div(x, s.add(s.splat(1.0), exp(s, exponent)))
    }
}

struct Relu;
impl Function for Relu {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // The second operand is what a NaN gives.
        s.max(s.zero(), x)
    }
}

struct SquaredRelu;
impl Function for SquaredRelu {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        let positive = s.max(s.zero(), x);
        s.mul(positive, positive)
    }
}

struct Tanh;
impl Function for Tanh {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        tanh(s, x)
    }
}

struct Sigmoid;
impl Function for Sigmoid {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        sigmoid(s, x)
    }
}

struct Softplus;
impl Function for Softplus {
    #[inline(always)]
    fn of<S: Simd>(s: S, x: S::F32) -> S::F32 {
        // log(1 + z) = 2 atanh(z / (2 + z)), where z is at most 1.
        let z = exp(s, s.min(x, s.sub(s.zero(), x)));
        let t = s.div(z, s.add(z, s.splat(2.0)));
        let p = polynomial(
            s,
            s.mul(t, t),
            [
                1.0 / 13.0,
                1.0 / 11.0,
                1.0 / 9.0,
                1.0 / 7.0,
                0.2,
                1.0 / 3.0,
                1.0,
            ],
        );
        let log = s.mul(s.add(t, t), p);
        // The second operand is what a NaN gives.
        s.add(s.max(s.zero(), x), log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    pub(super) fn exact(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => x / 2.0 * (1.0 + crate::math::erf_f64(x / 2f64.sqrt())),
            Activation::GeluTanh => {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x / 2.0 * (1.0 + u.tanh())
            }
            Activation::Relu => x.max(0.0),
            Activation::SquaredRelu => x.max(0.0).powi(2),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Softplus => x.exp().ln_1p(),
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Activation::ClippedGelu => exact(Activation::Gelu, x).min(10.0),
            Activation::Mish => x * x.exp().ln_1p().tanh(),
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::Laplace => {
                let u = (x - 0.5f64.sqrt()) * std::f64::consts::TAU.sqrt();
                0.5 * (1.0 + crate::math::erf_f64(u))
            }
            Activation::Linear => x,
        }
    }

    #[test]
    fn every_function_is_that_of_f64() {
        let lens: &[usize] = if cfg!(miri) {
            &[5, 33]
        } else {
            &[0, 1, 5, 31, 63, 65, 1000, 40_000]
        };
        for &len in lens {
            let mut random = Random::new(len as u64);
            let x: Vec<f32> = random.floats(len).into_iter().map(|x| 12.0 * x).collect();
            let up = random.floats(len);
            for activation in Activation::ALL {
                for &isa in Isa::available() {
                    let (mut y, mut gate) = (x.clone(), x.clone());
                    isa.with(|| activate(activation, &mut y));
                    isa.with(|| gated(activation, &mut gate, &up));
                    assert_eq!(
                        isa.with(|| activated(activation, &x)),
                        y,
                        "{isa:?} {activation:?}"
                    );
                    let product = isa.with(|| gated_product(activation, &x, &up));
                    assert_eq!(product, gate, "{isa:?} {activation:?}");
                    for i in 0..len {
                        let expected = exact(activation, x[i].into());
                        let allowed = 3e-7 * expected.abs().max(1.0);
                        let off = (f64::from(y[i]) - expected).abs();
                        assert!(
                            off <= allowed,
                            "{isa:?} {activation:?}({}) = {}",
                            x[i],
                            y[i]
                        );
                        assert_eq!(gate[i], y[i] * up[i], "{isa:?} {activation:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn infinities_and_nan() {
        const INF: f32 = f32::INFINITY;
        for (activation, low, below, above, high) in [
            (Activation::Silu, f32::NAN, 0.0, 200.0, INF),
            (Activation::Gelu, f32::NAN, 0.0, 200.0, INF),
            (Activation::GeluTanh, f32::NAN, 0.0, 200.0, INF),
            (Activation::Relu, 0.0, 0.0, 200.0, INF),
            (Activation::SquaredRelu, 0.0, 0.0, 40_000.0, INF),
            (Activation::Tanh, -1.0, -1.0, 1.0, 1.0),
            (Activation::Sigmoid, 0.0, 0.0, 1.0, 1.0),
            (Activation::Softplus, 0.0, 0.0, 200.0, INF),
            (Activation::QuickGelu, f32::NAN, 0.0, 200.0, INF),
            (Activation::ClippedGelu, f32::NAN, 0.0, 10.0, 10.0),
            (Activation::Mish, f32::NAN, 0.0, 200.0, INF),
            (Activation::LeakyRelu, -INF, -2.0, 200.0, INF),
            (Activation::Relu6, 0.0, 0.0, 6.0, 6.0),
            (Activation::HardSwish, f32::NAN, 0.0, 200.0, INF),
            (Activation::Laplace, 0.0, 0.0, 1.0, 1.0),
            (Activation::Linear, -INF, -200.0, 200.0, INF),
        ] {
            for &isa in Isa::available() {
                let mut y = [-INF, -200.0, 200.0, INF, f32::NAN];
                isa.with(|| activate(activation, &mut y));
                for (got, expected) in y.into_iter().zip([low, below, above, high, f32::NAN]) {
                    let same = got == expected || got.is_nan() && expected.is_nan();
                    assert!(same, "{isa:?} {activation:?}: {y:?}");
                }
            }
        }
    }
}
