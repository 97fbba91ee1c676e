//! The scan of selective state spaces (Gu and Dao 2023; Dao and Gu 2024), token by token.

use crate::{
    Isa,
    math::exp,
    pool::{self, Phase},
    shared::SharedMut,
    simd::{Simd, simd_fn},
};

/// Products of a task at least.
const TASK: usize = 1 << 14;

/// Sums that are kept side by side, so that they are one vector or two.
const LANES: usize = 8;

/// The sizes of a [`selective_scan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanShape {
    /// Batch entries.
    pub batch: usize,
    /// Tokens of each.
    pub seq: usize,
    /// Heads: what has a time step of its own.
    pub heads: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Groups of neighbouring heads that share `b` and `c`; divides `heads`.
    pub groups: usize,
    /// States of a feature.
    pub states: usize,
}

/// What a [`selective_scan`] reads.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// `[batch, seq, heads, head_dim]`.
    pub x: &'a [f32],
    /// Time steps, `[batch, seq, heads]`.
    pub dt: &'a [f32],
    /// Rates of decay, negative: `[heads, states]`, or `[heads]` for the same in all states.
    pub a: &'a [f32],
    /// What enters the states, `[batch, seq, groups, states]`.
    pub b: &'a [f32],
    /// What leaves them, likewise.
    pub c: &'a [f32],
    /// What passes them by, `[heads]`.
    pub d: &'a [f32],
}

/// For each token `h = exp(dt a) h + dt x b` and `y = h · c + d x`, where `h` are the states of a feature. `state`, `[batch,
/// heads, head_dim, states]`, is `h` before and after; `y` has the shape of `x`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn selective_scan(shape: ScanShape, scan: Scan<'_>, state: &mut [f32], y: &mut [f32]) {
    let ScanShape {
        batch,
        seq,
        heads,
        head_dim,
        groups,
        states,
    } = shape;
    let tokens = batch * seq;
    assert_eq!(scan.x.len(), tokens * heads * head_dim, "x");
    assert_eq!(scan.dt.len(), tokens * heads, "dt");
    assert!([heads, heads * states].contains(&scan.a.len()), "a");
    assert_eq!(scan.b.len(), tokens * groups * states, "b");
    assert_eq!(scan.c.len(), scan.b.len(), "c");
    assert_eq!(scan.d.len(), heads, "d");
    assert_eq!(state.len(), batch * heads * head_dim * states, "state");
    assert_eq!(y.len(), scan.x.len(), "y");
    if tokens * heads * head_dim * states == 0 {
        return y.fill(0.0);
    }
    assert!(heads.is_multiple_of(groups), "groups divide the heads");

    let isa = Isa::current();
    let grain = TASK.div_ceil(seq * head_dim * states).min(heads);
    let tasks = heads.div_ceil(grain);
    let (state, y) = (SharedMut::new(state), SharedMut::new(y));
    pool::run(Phase::of_rows(tokens), batch * tasks, |task| {
        let (entry, first) = (task / tasks, task % tasks * grain);
        let count = grain.min(heads - first);
        let width = head_dim * states;
        // SAFETY: every pair of batch entry and head is in one task.
        let state = unsafe { state.part((entry * heads + first) * width, count * width) };
        for token in entry * seq..(entry + 1) * seq {
            let row = token * heads + first;
            // SAFETY: as above.
            let y = unsafe { y.part(row * head_dim, count * head_dim) };
            step(isa, shape, scan, token, first, state, y);
        }
    });
}

simd_fn! {
    /// One token, and of its heads those from `first` on that `state` and `y` have room for.
    fn step<S>(
        s,
        shape: ScanShape,
        scan: Scan<'_>,
        token: usize,
        first: usize,
        state: &mut [f32],
        y: &mut [f32],
    ) {
        let ScanShape { heads, head_dim, groups, states, .. } = shape;
        let mut decay = [0.0; MAX_STATES];
        let of_head = state.chunks_exact_mut(head_dim * states).zip(y.chunks_exact_mut(head_dim));
        for (head, (state, y)) in (first..).zip(of_head) {
            let row = token * heads + head;
            let dt = scan.dt[row];
            let group = (token * groups + head / (heads / groups)) * states;
            let (b, c) = (&scan.b[group..][..states], &scan.c[group..][..states]);
            let x = &scan.x[row * head_dim..][..head_dim];
            for part in (0..states).step_by(MAX_STATES) {
                let len = MAX_STATES.min(states - part);
                let decay = &mut decay[..len];
                match scan.a.len() == heads {
                    true => decay.fill(exp_of(s, dt * scan.a[head])),
                    false => decays(s, dt, &scan.a[head * states + part..][..len], decay),
                }
                let (b, c) = (&b[part..][..len], &c[part..][..len]);
                for ((x, y), state) in x.iter().zip(&mut *y).zip(state.chunks_exact_mut(states)) {
                    let before = if part == 0 { scan.d[head] * x } else { *y };
                    *y = before + feature(&mut state[part..][..len], decay, dt * x, b, c);
                }
            }
        }
    }
}

/// States whose decay is kept at hand.
const MAX_STATES: usize = 128;

/// `state = decay * state + x * b`; gives `state · c`. All have one length.
#[inline(always)]
fn feature(state: &mut [f32], decay: &[f32], x: f32, b: &[f32], c: &[f32]) -> f32 {
    let whole = state.len() / LANES * LANES;
    let mut sums = [0.0f32; LANES];
    for i in (0..whole).step_by(LANES) {
        let state: &mut [f32; LANES] = (&mut state[i..i + LANES]).try_into().expect("whole");
        let decay: &[f32; LANES] = decay[i..i + LANES].try_into().expect("whole");
        let b: &[f32; LANES] = b[i..i + LANES].try_into().expect("whole");
        let c: &[f32; LANES] = c[i..i + LANES].try_into().expect("whole");
        for lane in 0..LANES {
            state[lane] = decay[lane] * state[lane] + x * b[lane];
            sums[lane] += state[lane] * c[lane];
        }
    }
    let mut sum = sums.iter().sum();
    for i in whole..state.len() {
        state[i] = decay[i] * state[i] + x * b[i];
        sum += state[i] * c[i];
    }
    sum
}

/// `out = exp(dt * a)`.
#[inline(always)]
fn decays<S: Simd>(s: S, dt: f32, a: &[f32], out: &mut [f32]) {
    let dt = s.splat(dt);
    for (a, out) in a.chunks(S::LANES).zip(out.chunks_mut(S::LANES)) {
        if a.len() == S::LANES {
            // SAFETY: both slices have as many elements.
            unsafe { s.store(out.as_mut_ptr(), exp(s, s.mul(dt, s.load(a.as_ptr())))) };
        } else {
            // SAFETY: both slices have `a.len()` elements, fewer than a vector.
            unsafe {
                let part = s.load_part(a.as_ptr(), a.len());
                s.store_part(out.as_mut_ptr(), exp(s, s.mul(dt, part)), a.len());
            }
        }
    }
}

#[inline(always)]
fn exp_of<S: Simd>(s: S, x: f32) -> f32 {
    s.max_lane(exp(s, s.splat(x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// The same in f64 and in the plainest order.
    fn exact(shape: ScanShape, scan: Scan<'_>, state: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let ScanShape {
            batch,
            seq,
            heads,
            head_dim,
            groups,
            states,
        } = shape;
        let mut state: Vec<f64> = state.iter().map(|h| f64::from(*h)).collect();
        let mut y = Vec::new();
        for entry in 0..batch {
            for token in entry * seq..(entry + 1) * seq {
                for head in 0..heads {
                    let dt = f64::from(scan.dt[token * heads + head]);
                    let group = token * groups + head * groups / heads;
                    for p in 0..head_dim {
                        let x = f64::from(scan.x[(token * heads + head) * head_dim + p]);
                        let mut sum = f64::from(scan.d[head]) * x;
                        for n in 0..states {
                            let a = match scan.a.len() == heads {
                                true => scan.a[head],
                                false => scan.a[head * states + n],
                            };
                            let h =
                                &mut state[((entry * heads + head) * head_dim + p) * states + n];
                            let b = f64::from(scan.b[group * states + n]);
                            *h = (dt * f64::from(a)).exp() * *h + dt * x * b;
                            sum += *h * f64::from(scan.c[group * states + n]);
                        }
                        y.push(sum);
                    }
                }
            }
        }
        (y, state)
    }

    #[test]
    fn every_shape_is_that_of_f64() {
        let shapes = [
            [1, 1, 1, 1, 1, 1],
            [1, 1, 1536, 1, 1, 16],
            [2, 5, 7, 1, 1, 3],
            [1, 4, 6, 5, 2, 33],
            [2, 3, 4, 8, 4, 131],
            [1, 0, 2, 2, 1, 4],
        ];
        for [batch, seq, heads, head_dim, groups, states] in shapes {
            let shape = ScanShape {
                batch,
                seq,
                heads,
                head_dim,
                groups,
                states,
            };
            for a_len in [heads, heads * states] {
                let mut random = Random::new((heads * states) as u64);
                let mut positive = |len| -> Vec<f32> {
                    random
                        .floats(len)
                        .into_iter()
                        .map(|x| x.abs() + 0.01)
                        .collect()
                };
                let (dt, rates) = (positive(batch * seq * heads), positive(a_len));
                let a: Vec<f32> = rates.into_iter().map(|a| -4.0 * a).collect();
                let [x, b, c, d, before] = [
                    batch * seq * heads * head_dim,
                    batch * seq * groups * states,
                    batch * seq * groups * states,
                    heads,
                    batch * heads * head_dim * states,
                ]
                .map(|len| random.floats(len));
                let scan = Scan {
                    x: &x,
                    dt: &dt,
                    a: &a,
                    b: &b,
                    c: &c,
                    d: &d,
                };
                let (expect_y, expect_state) = exact(shape, scan, &before);
                for &isa in Isa::available() {
                    let (mut state, mut y) = (before.clone(), vec![f32::NAN; x.len()]);
                    isa.with(|| selective_scan(shape, scan, &mut state, &mut y));
                    let near = |ours: &[f32], expect: &[f64]| {
                        ours.iter()
                            .zip(expect)
                            .all(|(a, b)| (f64::from(*a) - b).abs() <= 3e-6 * b.abs().max(1.0))
                    };
                    assert!(near(&y, &expect_y), "{isa:?} {shape:?}: y");
                    assert!(near(&state, &expect_state), "{isa:?} {shape:?}: state");
                }
            }
        }
    }
}
