//! The slopes of activation functions, and what they make of a gradient.

use super::{Activation, Gelu, GeluTanh, Relu, Sigmoid, Silu, Softplus, SquaredRelu, Tanh, rare};
use crate::{
    Isa,
    math::{erf, exp, sigmoid, tanh},
    rows::{GROUP, for_rows, load, store},
    simd::{Simd, simd_fn},
};

/// The gradient of [`activate`](super::activate): `x = grad * activation'(x)`.
///
/// # Panics
/// When lengths differ.
pub fn activation_gradient(activation: Activation, grad: &[f32], x: &mut [f32]) {
    assert_eq!(grad.len(), x.len(), "grad has the shape of x");
    let isa = Isa::current();
    for_rows(x.len(), 1, [x], |range, [x]| {
        apply(isa, activation, &grad[range], x, None);
    });
}

/// The gradients of [`gated`](super::gated): `gate` and `up` are replaced by theirs.
///
/// # Panics
/// When lengths differ.
pub fn gated_gradient(activation: Activation, grad: &[f32], gate: &mut [f32], up: &mut [f32]) {
    assert_eq!(grad.len(), gate.len(), "grad has the shape of gate");
    assert_eq!(up.len(), gate.len(), "up has the shape of gate");
    let isa = Isa::current();
    for_rows(grad.len(), 1, [gate, up], |range, [gate, up]| {
        apply(isa, activation, &grad[range], gate, Some(up));
    });
}

simd_fn! {
    fn apply<S>(s, activation: Activation, grad: &[f32], x: &mut [f32], up: Option<&mut [f32]>) {
        match activation {
            Activation::Silu => map::<S, Silu>(s, grad, x, up),
            Activation::Gelu => map::<S, Gelu>(s, grad, x, up),
            Activation::GeluTanh => map::<S, GeluTanh>(s, grad, x, up),
            Activation::Relu => map::<S, Relu>(s, grad, x, up),
            Activation::SquaredRelu => map::<S, SquaredRelu>(s, grad, x, up),
            Activation::Tanh => map::<S, Tanh>(s, grad, x, up),
            Activation::Sigmoid => map::<S, Sigmoid>(s, grad, x, up),
            Activation::Softplus => map::<S, Softplus>(s, grad, x, up),
            Activation::QuickGelu => map::<S, rare::QuickGelu>(s, grad, x, up),
            Activation::ClippedGelu => map::<S, rare::ClippedGelu>(s, grad, x, up),
            Activation::Mish => map::<S, rare::Mish>(s, grad, x, up),
            Activation::LeakyRelu => map::<S, rare::LeakyRelu>(s, grad, x, up),
            Activation::Relu6 => map::<S, rare::Relu6>(s, grad, x, up),
            Activation::HardSwish => map::<S, rare::HardSwish>(s, grad, x, up),
            Activation::Laplace => map::<S, rare::Laplace>(s, grad, x, up),
            Activation::Linear => map::<S, rare::Linear>(s, grad, x, up),
        }
    }
}

#[inline(always)]
fn map<S: Simd, F: Slope>(s: S, grad: &[f32], x: &mut [f32], up: Option<&mut [f32]>) {
    let group = GROUP * S::LANES;
    let mut ups = up.map(|up| up.chunks_mut(group));
    for (grad, x) in grad.chunks(group).zip(x.chunks_mut(group)) {
        let (mut grads, mut xs) = (load(s, grad, 0.0), load(s, x, 0.0));
        if let Some(up) = ups.as_mut().and_then(Iterator::next) {
            let factors = load(s, up, 0.0);
            let mut to_up = grads;
            for i in 0..GROUP {
                let (value, slope) = F::slope(s, xs[i]);
                to_up[i] = s.mul(to_up[i], value);
                grads[i] = s.mul(grads[i], factors[i]);
                xs[i] = slope;
            }
            store(s, up, to_up);
        } else {
            for x in &mut xs {
                (_, *x) = F::slope(s, *x);
            }
        }
        for (x, grad) in xs.iter_mut().zip(grads) {
            *x = s.mul(*x, grad);
        }
        store(s, x, xs);
    }
}

/// A function's value and derivative.
pub(super) trait Slope {
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32);
}

/// `p = 1 / (1 + e^-z)`, and its slope `p (1 - p)` to the last digits.
#[inline(always)]
pub(super) fn logistic<S: Simd>(s: S, z: S::F32) -> (S::F32, S::F32) {
    let e = exp(s, s.min(z, s.sub(s.zero(), z)));
    let large = s.div(s.splat(1.0), s.add(s.splat(1.0), e));
    let small = s.mul(e, large);
    (
        s.select_less(z, s.zero(), small, large),
        s.mul(small, large),
    )
}

impl Slope for Silu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let (p, slope) = logistic(s, x);
        (s.mul(x, p), s.mul_add(x, slope, p))
    }
}

impl Slope for Gelu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let half = s.splat(0.5);
        let erf = erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2)));
        let share = s.mul_add(half, erf, half);
        let density = exp(s, s.mul(s.mul(x, x), s.splat(-0.5)));
        // 1 / √(2π)
        let density = s.mul(density, s.splat(0.398_942_3));
        (s.mul(x, share), s.mul_add(x, density, share))
    }
}

impl Slope for GeluTanh {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        // As in the function: p = (1 + tanh u) / 2, and 2 √(2/π) = 1.595769.
        let square = s.mul(x, x);
        let one = s.splat(1.0);
        let u = s.mul_add(square, s.splat(0.044_715), one);
        let (p, slope) = logistic(s, s.mul(s.mul(x, s.splat(1.595_769)), u));
        let inner = s.mul_add(square, s.splat(3.0 * 0.044_715), one);
        let inner = s.mul(s.mul(x, s.splat(1.595_769)), inner);
        (s.mul(x, p), s.mul_add(slope, inner, p))
    }
}

impl Slope for Relu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let slope = s.select_less(s.zero(), x, s.splat(1.0), s.zero());
        (s.max(s.zero(), x), slope)
    }
}

impl Slope for SquaredRelu {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let positive = s.max(s.zero(), x);
        (s.mul(positive, positive), s.add(positive, positive))
    }
}

impl Slope for Tanh {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        let value = tanh(s, x);
        (value, s.sub(s.splat(1.0), s.mul(value, value)))
    }
}

impl Slope for Sigmoid {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        logistic(s, x)
    }
}

impl Slope for Softplus {
    #[inline(always)]
    fn slope<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
        use super::Function;
        (Softplus::of(s, x), sigmoid(s, x))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::exact;
    use super::*;
    use crate::random::Random;

    /// By central differences in f64, but at the corner of ReLU.
    fn slope(activation: Activation, x: f64) -> f64 {
        let step = 1e-5;
        if activation == Activation::Relu {
            return f64::from(u8::from(x > 0.0));
        }
        (exact(activation, x + step) - exact(activation, x - step)) / (2.0 * step)
    }

    #[test]
    fn slopes_are_those_of_f64() {
        let lens: &[usize] = if cfg!(miri) { &[5] } else { &[1, 31, 65, 1000] };
        for &len in lens {
            let mut random = Random::new(len as u64);
            let x: Vec<f32> = random.floats(len).into_iter().map(|x| 9.0 * x).collect();
            let [grad, up] = [(); 2].map(|()| random.floats(len));
            for activation in Activation::ALL {
                for &isa in Isa::available() {
                    let (mut alone, mut gate, mut factor) = (x.clone(), x.clone(), up.clone());
                    isa.with(|| activation_gradient(activation, &grad, &mut alone));
                    isa.with(|| gated_gradient(activation, &grad, &mut gate, &mut factor));
                    for i in 0..len {
                        let (at, grad) = (f64::from(x[i]), f64::from(grad[i]));
                        let slope = slope(activation, at) * grad;
                        for (got, expected) in [
                            (alone[i], slope),
                            (gate[i], slope * f64::from(up[i])),
                            (factor[i], exact(activation, at) * grad),
                        ] {
                            let off = (f64::from(got) - expected).abs();
                            assert!(
                                off <= 1e-6 * expected.abs().max(1.0),
                                "{isa:?} {activation:?} at {at}: {got} for {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
