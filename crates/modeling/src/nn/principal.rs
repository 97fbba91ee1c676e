//! What a fresh adapter may take over of its weight: the directions of its largest singular values (PiSSA, Meng et al. 2024,
//! arXiv:2404.02948), or an orthonormal basis of its first columns (OLoRA, Büyükakyüz 2024, arXiv:2406.01775).
//!
//! All is computed in f64, in one order: an adapter that is loaded again finds what it began with.

use super::Draws;

/// What of the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Its largest singular values; with `iterations`, by so many of a random subspace (Halko et al. 2011).
    Singular { iterations: Option<usize> },
    /// The first columns of Q and the first rows of R, where it is Q R.
    Orthonormal,
}

/// Vectors of one length.
type Rows = Vec<Vec<f64>>;

/// Directions that are computed beside those that are asked for, so that these are good.
const SPARE: usize = 8;

/// More iterations for one eigenvalue than any finite matrix needs.
const MOST_ITERATIONS: usize = 60;

impl Principal {
    /// A `[rank, in]` and B `[out, rank]`, row by row: `scaling · B A` is that part of `weight`, `[out, in]`. The rank is at
    /// most the smaller side.
    pub fn of(
        self,
        weight: &[f32],
        [out, input]: [usize; 2],
        rank: usize,
        scaling: f64,
    ) -> [Vec<f32>; 2] {
        let rows = weight.chunks(input.max(1));
        let rows: Rows = rows
            .map(|row| row.iter().map(|&x| f64::from(x)).collect())
            .collect();
        debug_assert_eq!(rows.len(), out);
        // Of B the columns, of A the rows.
        let (b, a) = match self {
            Self::Orthonormal => {
                let mut columns = transposed(&rows);
                columns.truncate(rank);
                let q = orthonormal(columns);
                let r = combined(&q, &rows);
                (q, r)
            }
            Self::Singular { iterations } => {
                let wide = out <= input;
                let matrix = if wide { rows } else { transposed(&rows) };
                let (left, values, right) = match iterations {
                    None => singular(&matrix, rank),
                    Some(iterations) => largest(&matrix, rank, iterations),
                };
                let roots = values.iter().map(|value| (value / scaling.abs()).sqrt());
                let roots: Vec<f64> = roots.collect();
                let (left, right) = (scaled(left, &roots), scaled(right, &roots));
                let (b, a) = if wide { (left, right) } else { (right, left) };
                // Their product has no sign of its own.
                let sign = vec![scaling.signum(); rank];
                (scaled(b, &sign), a)
            }
        };
        [a, transposed(&b)].map(|rows| rows.into_iter().flatten().map(|x| x as f32).collect())
    }
}

/// An orthogonal matrix of that size, drawn at random; its rows.
pub(crate) fn orthogonal(size: usize, normal: Vec<f32>) -> Vec<Vec<f64>> {
    let columns = normal.chunks(size.max(1));
    let columns = columns.map(|column| column.iter().map(|&x| f64::from(x)).collect());
    transposed(&orthonormal(columns.collect()))
}

/// Of the largest singular values the left vectors, the values and the right vectors; `matrix` is not higher than wide.
fn singular(matrix: &Rows, rank: usize) -> (Rows, Vec<f64>, Rows) {
    let gram = matrix
        .iter()
        .map(|a| matrix.iter().map(|b| dot(a, b)).collect());
    let mut left = eigenvectors(gram.collect());
    left.truncate(rank);
    let mut right = combined(&left, matrix);
    let values: Vec<f64> = right.iter().map(|row| dot(row, row).sqrt()).collect();
    for (row, value) in right.iter_mut().zip(&values) {
        if *value > 0.0 {
            row.iter_mut().for_each(|x| *x /= value);
        }
    }
    (left, values, right)
}

/// The same, within a subspace that comes nearer to them with every iteration.
fn largest(matrix: &Rows, rank: usize, iterations: usize) -> (Rows, Vec<f64>, Rows) {
    let (height, width) = (matrix.len(), matrix.first().map_or(0, Vec::len));
    let size = (rank + SPARE).min(height);
    let turned = transposed(matrix);
    let noise = Draws::seeded(0).stream().normal(size * width, 1.0);
    let noise: Rows = noise
        .chunks(width.max(1))
        .map(|row| row.iter().map(|&x| f64::from(x)).collect())
        .collect();
    let mut basis = orthonormal(combined(&noise, &turned));
    for _ in 0..iterations {
        let right = orthonormal(combined(&basis, matrix));
        basis = orthonormal(combined(&right, &turned));
    }
    let (left, values, right) = singular(&combined(&basis, matrix), rank);
    (combined(&left, &basis), values, right)
}

/// The eigenvectors of a symmetric matrix, those of its largest eigenvalues first: Householder's reflections make it
/// tridiagonal, and the QL method with implicit shifts diagonal (Bowdler et al. 1968).
fn eigenvectors(mut a: Rows) -> Rows {
    let size = a.len();
    let mut reflections = Vec::new();
    for k in 0..size.saturating_sub(2) {
        let Some((v, beta)) = reflection(&a[k][k + 1..]) else {
            continue;
        };
        let inner = k + 1..size;
        let mut w: Vec<f64> = inner
            .clone()
            .map(|i| beta * dot(&a[i][k + 1..], &v))
            .collect();
        let half = 0.5 * beta * dot(&w, &v);
        add(&v, -half, &mut w);
        for i in inner {
            let (vi, wi) = (v[i - k - 1], w[i - k - 1]);
            add(&v, -wi, &mut a[i][k + 1..]);
            add(&w, -vi, &mut a[i][k + 1..]);
        }
        let next = a[k][k + 1];
        let length = dot(&a[k][k + 1..], &a[k][k + 1..]).sqrt();
        a[k][k + 1] = -length.copysign(next);
        reflections.push((k + 1, v, beta));
    }
    let mut z: Rows = (0..size)
        .map(|i| (0..size).map(|j| f64::from(i == j)).collect())
        .collect();
    for (from, v, beta) in reflections.iter().rev() {
        reflect(&mut z[*from..], v, *beta);
    }
    let mut z = transposed(&z);
    let mut d: Vec<f64> = (0..size).map(|i| a[i][i]).collect();
    let mut e: Vec<f64> = (0..size)
        .map(|i| a[i].get(i + 1).copied().unwrap_or(0.0))
        .collect();
    for l in 0..size {
        for _ in 0..MOST_ITERATIONS {
            let small = |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[m + 1].abs());
            let m = (l..size - 1).find(small).unwrap_or(size - 1);
            if m == l {
                break;
            }
            step(&mut d, &mut e, &mut z, l, m);
        }
    }
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&i, &j| d[j].total_cmp(&d[i]));
    let mut z: Vec<Option<Vec<f64>>> = z.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| z[i].take()).collect()
}

/// A step of the QL method on rows `l` to `m` of the tridiagonal matrix.
fn step(d: &mut [f64], e: &mut [f64], z: &mut [Vec<f64>], l: usize, m: usize) {
    let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let mut g = d[m] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
    let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (s * e[i], c * e[i]);
        let r = f.hypot(g);
        e[i + 1] = r;
        if r == 0.0 {
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        (s, c) = (f / r, g / r);
        g = d[i + 1] - p;
        let r = (d[i] - g) * s + 2.0 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        let (one, other) = z.split_at_mut(i + 1);
        for (x, y) in one[i].iter_mut().zip(&mut other[0]) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

/// The orthonormal vectors Q of the columns Q R, with the signs of LAPACK.
fn orthonormal(mut columns: Rows) -> Rows {
    let count = columns.len();
    let mut reflections = Vec::new();
    for k in 0..count {
        let Some((v, beta)) = columns[k].get(k..).and_then(reflection) else {
            continue;
        };
        for column in &mut columns[k + 1..] {
            let share = -beta * dot(&column[k..], &v);
            add(&v, share, &mut column[k..]);
        }
        reflections.push((k, v, beta));
    }
    for (i, column) in columns.iter_mut().enumerate() {
        column.iter_mut().for_each(|x| *x = 0.0);
        column[i] = 1.0;
        for (k, v, beta) in reflections.iter().rev() {
            let share = -beta * dot(&column[*k..], v);
            add(v, share, &mut column[*k..]);
        }
    }
    columns
}

/// `v` and `beta` of the reflection `1 - beta v vᵀ` that leaves of `x` its first element alone; `None` where it has no other.
fn reflection(x: &[f64]) -> Option<(Vec<f64>, f64)> {
    let rest = dot(x.get(1..)?, &x[1..]);
    if rest == 0.0 {
        return None;
    }
    let mut v = x.to_vec();
    v[0] += (x[0] * x[0] + rest).sqrt().copysign(x[0]);
    let beta = 2.0 / dot(&v, &v);
    Some((v, beta))
}

/// The matrix of these rows, reflected.
fn reflect(rows: &mut [Vec<f64>], v: &[f64], beta: f64) {
    let mut sum = vec![0.0; rows.first().map_or(0, Vec::len)];
    for (row, v) in rows.iter().zip(v) {
        add(row, *v, &mut sum);
    }
    for (row, v) in rows.iter_mut().zip(v) {
        add(&sum, -beta * v, row);
    }
}

/// The product: for each row of `by`, the sum of `rows`, each so many times.
fn combined(by: &[Vec<f64>], rows: &[Vec<f64>]) -> Rows {
    let width = rows.first().map_or(0, Vec::len);
    let sum = |factors: &Vec<f64>| {
        let mut sum = vec![0.0; width];
        for (row, factor) in rows.iter().zip(factors) {
            add(row, *factor, &mut sum);
        }
        sum
    };
    by.iter().map(sum).collect()
}

fn scaled(mut rows: Rows, factors: &[f64]) -> Rows {
    for (row, factor) in rows.iter_mut().zip(factors) {
        row.iter_mut().for_each(|x| *x *= factor);
    }
    rows
}

fn transposed(rows: &[Vec<f64>]) -> Rows {
    let width = rows.first().map_or(0, Vec::len);
    let column = |j: usize| rows.iter().map(|row| row[j]).collect();
    (0..width).map(column).collect()
}

/// `to += factor x`.
fn add(x: &[f64], factor: f64, to: &mut [f64]) {
    for (to, x) in to.iter_mut().zip(x) {
        *to += factor * x;
    }
}

/// In an order that lets the compiler take eight at once.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (chunks, other) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = chunks.remainder().iter().zip(other.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (a, b) in chunks.zip(other) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: usize, width: usize, seed: u64) -> Vec<f32> {
        Draws::seeded(seed).stream().normal(rows * width, 1.0)
    }

    /// What is left of the weight without the adapter's part: the root of the sum of its squares.
    fn rest(
        weight: &[f32],
        [out, input]: [usize; 2],
        rank: usize,
        scaling: f64,
        by: Principal,
    ) -> f64 {
        let [a, b] = by.of(weight, [out, input], rank, scaling);
        assert_eq!([a.len(), b.len()], [rank * input, out * rank]);
        let mut sum = 0.0;
        for (i, row) in weight.chunks(input).enumerate() {
            for (j, value) in row.iter().enumerate() {
                let product =
                    (0..rank).map(|k| f64::from(b[i * rank + k]) * f64::from(a[k * input + j]));
                sum += (f64::from(*value) - scaling * product.sum::<f64>()).powi(2);
            }
        }
        sum.sqrt()
    }

    const EXACT: Principal = Principal::Singular { iterations: None };

    #[test]
    fn all_directions_are_the_weight() {
        for dims in [[6, 9], [9, 6], [7, 7], [1, 4], [4, 1], [40, 33]] {
            let weight = random(dims[0], dims[1], 1);
            let all = dims[0].min(dims[1]);
            for scaling in [0.5, 3.0, -2.0] {
                let left = rest(&weight, dims, all, scaling, EXACT);
                assert!(left < 1e-5, "{dims:?}: {left}");
            }
            let left = rest(&weight, dims, all, 1.0, Principal::Orthonormal);
            // Q has all columns of a weight that is not wider than high, and all directions of another.
            assert!(left < 1e-5, "{dims:?}: {left}");
        }
    }

    #[test]
    fn the_largest_singular_values_go() {
        // Orthogonal rows of known lengths, turned.
        let lengths = [9.0, 7.0, 5.0, 3.0, 2.0, 1.0];
        let left = orthogonal(6, random(6, 6, 2));
        let right = orthogonal(10, random(10, 10, 3));
        let rows = scaled(right[..6].to_vec(), &lengths);
        let weight: Vec<f32> = combined(&left, &rows)
            .into_iter()
            .flatten()
            .map(|x| x as f32)
            .collect();
        for rank in 1..6 {
            let expected: f64 = lengths[rank..].iter().map(|x| x * x).sum::<f64>().sqrt();
            for by in [
                EXACT,
                Principal::Singular {
                    iterations: Some(20),
                },
            ] {
                let found = rest(&weight, [6, 10], rank, 2.0, by);
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{rank} {by:?}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_weight_of_lower_rank_and_one_of_zeros() {
        let (one, other) = (random(8, 2, 4), random(2, 5, 5));
        let product = |i: usize, j: usize| one[i * 2] * other[j] + one[i * 2 + 1] * other[5 + j];
        let weight: Vec<f32> = (0..40).map(|at| product(at / 5, at % 5)).collect();
        assert!(rest(&weight, [8, 5], 2, 1.0, EXACT) < 1e-5);
        assert!(rest(&weight, [8, 5], 4, 1.0, EXACT) < 1e-5);
        for by in [
            EXACT,
            Principal::Orthonormal,
            Principal::Singular {
                iterations: Some(2),
            },
        ] {
            assert_eq!(rest(&[0.0; 12], [3, 4], 2, 1.0, by), 0.0);
        }
        // What is not finite ends too.
        EXACT.of(&[f32::NAN; 12], [3, 4], 2, 1.0);
        EXACT.of(&[f32::INFINITY; 12], [4, 3], 2, 1.0);
    }

    #[test]
    fn orthogonal_matrices_are() {
        let rows = orthogonal(5, random(5, 5, 6));
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                assert!((dot(a, b) - f64::from(i == j)).abs() < 1e-12);
            }
        }
    }
}
