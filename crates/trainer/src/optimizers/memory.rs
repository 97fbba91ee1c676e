//! Means and norms of slices.

/// Root of the mean square.
pub fn rms(values: &[f32]) -> f64 {
    (square_sum(values) / values.len().max(1) as f64).sqrt()
}

/// Sum of squares.
pub fn square_sum(values: &[f32]) -> f64 {
    // Sums of 4096 stay in f32: quick, and as exact as f64 is needed for.
    let sums = values.chunks(4096).map(|chunk| {
        let mut lanes = [0.0f32; 8];
        let parts = chunk.chunks_exact(8);
        let rest: f32 = parts.remainder().iter().map(|value| value * value).sum();
        for part in parts {
            for (lane, value) in lanes.iter_mut().zip(part) {
                *lane += value * value;
            }
        }
        f64::from(lanes.iter().sum::<f32>() + rest)
    });
    sums.sum()
}
