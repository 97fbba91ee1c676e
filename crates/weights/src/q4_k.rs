//! Rounding to ggml's `Q4_K`: 4 bits per value, and for every 32 values a scale and a minimum in 6 bits.
//!
//! Scale and minimum of 32 values are searched for as llama.cpp does: of a row of widths of the grid, each gives the
//! levels of the values, and weighted least squares give the best line through these; the line with the smallest error
//! counts. Large values weigh more.

use half::f16;

/// Values of a block.
pub(crate) const BLOCK: usize = 256;
/// Values with a scale and a minimum of their own.
const PART: usize = 32;
const PARTS: usize = BLOCK / PART;
/// The largest level of a value.
const LEVELS: f32 = 15.0;
/// The largest scale and minimum of a part.
const STEPS: f32 = 63.0;

/// `value = scale * level - min`, neither of them negative.
#[derive(Clone, Copy, Default)]
struct Line {
    scale: f32,
    min: f32,
}

/// Encodes 256 values in 144 bytes: the scales of scales and of minima, those in 6 bits each, the levels.
pub(crate) fn encode(values: &[f32], block: &mut [u8]) {
    let (parts, _) = values.as_chunks::<PART>();
    let mut lines = [Line::default(); PARTS];
    for (line, part) in lines.iter_mut().zip(parts) {
        *line = best_line(part);
    }
    let unit = |of: fn(&Line) -> f32| lines.iter().map(of).fold(0.0, f32::max) / STEPS;
    let (scale_unit, min_unit) = (unit(|line| line.scale), unit(|line| line.min));
    let steps = |value: f32, unit: f32| match unit > 0.0 {
        true => (value / unit).round_ties_even().min(STEPS) as u8,
        false => 0,
    };
    let scales = lines.map(|line| steps(line.scale, scale_unit));
    let mins = lines.map(|line| steps(line.min, min_unit));
    let (scale_unit, min_unit) = (f16::from_f32(scale_unit), f16::from_f32(min_unit));
    block[..2].copy_from_slice(&scale_unit.to_le_bytes());
    block[2..4].copy_from_slice(&min_unit.to_le_bytes());
    pack_steps(scales, mins, &mut block[4..16]);

    block[16..].fill(0);
    for (index, part) in parts.iter().enumerate() {
        let line = Line {
            scale: scale_unit.to_f32() * f32::from(scales[index]),
            min: min_unit.to_f32() * f32::from(mins[index]),
        };
        let bytes = &mut block[16 + index / 2 * PART..][..PART];
        for (value, byte) in part.iter().zip(bytes) {
            *byte |= (line.level(*value) as u8) << (index % 2 * 4);
        }
    }
}

/// The first four of each in the low 6 bits; of the others 4 bits in bytes of their own, and 2 in the high ones of those.
fn pack_steps(scales: [u8; PARTS], mins: [u8; PARTS], packed: &mut [u8]) {
    for index in 0..PARTS / 2 {
        let (scale, min) = (scales[index + 4], mins[index + 4]);
        packed[index] = scales[index] | scale >> 4 << 6;
        packed[index + 4] = mins[index] | min >> 4 << 6;
        packed[index + 8] = scale & 15 | min << 4;
    }
}

impl Line {
    /// The level that is nearest to `value`.
    fn level(self, value: f32) -> f32 {
        match self.scale > 0.0 {
            true => level(1.0 / self.scale, value + self.min),
            false => 0.0,
        }
    }
}

fn level(inverse_scale: f32, height: f32) -> f32 {
    (inverse_scale * height)
        .round_ties_even()
        .clamp(0.0, LEVELS)
}

/// What a part's values are weighted by, and their sums.
struct Weighted<'a> {
    values: &'a [f32; PART],
    weights: [f32; PART],
    sum: f32,
    sum_values: f32,
}

fn best_line(values: &[f32; PART]) -> Line {
    let lowest = values.iter().copied().fold(0.0, f32::min);
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let width = highest - lowest;
    if width.is_nan() || width <= 0.0 || !width.is_finite() {
        let min = if lowest.is_finite() { -lowest } else { 0.0 };
        return Line { scale: 0.0, min };
    }
    let weighted = Weighted::new(values);
    let mut best = Line {
        scale: width / LEVELS,
        min: -lowest,
    };
    let mut smallest = weighted.error(best, &values.map(|value| best.level(value)));
    for step in 0..=20 {
        let inverse_scale = (LEVELS - 1.0 + 0.1 * step as f32) / width;
        let levels = values.map(|value| level(inverse_scale, value - lowest));
        let Some(line) = weighted.fit(&levels) else {
            continue;
        };
        let error = weighted.error(line, &levels);
        if error < smallest {
            (best, smallest) = (line, error);
        }
    }
    best
}

impl<'a> Weighted<'a> {
    fn new(values: &'a [f32; PART]) -> Self {
        let squares: f32 = values.iter().map(|value| value * value).sum();
        let mean = (squares / PART as f32).sqrt();
        let weights = values.map(|value| mean + value.abs());
        let products = weights
            .iter()
            .zip(values)
            .map(|(weight, value)| weight * value);
        Self {
            values,
            weights,
            sum: weights.iter().sum(),
            sum_values: products.sum(),
        }
    }

    /// The line through the levels with the least squared distance to the values; through the origin if its minimum would
    /// lie above.
    fn fit(&self, levels: &[f32; PART]) -> Option<Line> {
        let (mut sum, mut squares, mut products) = (0.0, 0.0, 0.0);
        for ((level, value), weight) in levels.iter().zip(self.values).zip(&self.weights) {
            sum += weight * level;
            squares += weight * level * level;
            products += weight * level * value;
        }
        let determinant = self.sum * squares - sum * sum;
        if determinant.is_nan() || determinant <= 0.0 {
            return None;
        }
        let offset = (squares * self.sum_values - sum * products) / determinant;
        Some(match offset > 0.0 {
            true => Line {
                scale: products / squares,
                min: 0.0,
            },
            false => Line {
                scale: (self.sum * products - self.sum_values * sum) / determinant,
                min: -offset,
            },
        })
    }

    fn error(&self, line: Line, levels: &[f32; PART]) -> f32 {
        let terms = levels.iter().zip(self.values).zip(&self.weights);
        terms
            .map(|((level, value), weight)| {
                let distance = line.scale * level - line.min - value;
                weight * distance * distance
            })
            .sum()
    }
}
