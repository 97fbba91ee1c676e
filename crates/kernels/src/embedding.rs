//! Embedding: rows of a table by their numbers.

use crate::{Isa, Weight, rows::for_rows};

/// `out[i] = weight[ids[i]]` as f32; `weight` is `[rows, cols]` in any form, and `out` is `[ids.len(), cols]`.
///
/// # Panics
/// When lengths do not fit each other, or an id is not a row of the table.
pub fn embedding(weight: Weight<'_>, cols: usize, ids: &[i32], out: &mut [f32]) {
    assert!(cols > 0, "weight is [rows, cols]");
    assert_eq!(out.len(), ids.len() * cols, "out is [ids, {cols}]");
    let (isa, rows) = (Isa::current(), weight.rows(cols));
    for_rows(ids.len(), cols, [out], |range, [out]| {
        for (&id, out) in ids[range].iter().zip(out.chunks_exact_mut(cols)) {
            let row = usize::try_from(id).ok().filter(|&row| row < rows);
            let row = row.unwrap_or_else(|| panic!("id {id} is outside the table's {rows} rows"));
            weight.read(isa, row, cols, 0, out);
        }
    });
}

/// The gradient of the table: adds row `i` of `grad` (`[ids.len(), cols]`) to row `ids[i]` of `out` (`[rows, cols]`).
///
/// # Panics
/// When lengths do not fit each other, or an id is not a row of the table.
pub fn embedding_gradient(grad: &[f32], cols: usize, ids: &[i32], out: &mut [f32]) {
    assert!(cols > 0, "out is [rows, cols]");
    assert_eq!(grad.len(), ids.len() * cols, "grad is [ids, {cols}]");
    let rows = out.len() / cols;
    for (&id, grad) in ids.iter().zip(grad.chunks_exact(cols)) {
        let row = usize::try_from(id).ok().filter(|&row| row < rows);
        let row = row.unwrap_or_else(|| panic!("id {id} is outside the table's {rows} rows"));
        let out = &mut out[row * cols..(row + 1) * cols];
        out.iter_mut()
            .zip(grad)
            .for_each(|(out, grad)| *out += grad);
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::{random::Random, rows::test_shapes};

    #[test]
    fn rows_are_those_of_the_table_in_every_dtype() {
        const ROWS: usize = 11;
        for (len, cols) in test_shapes() {
            let mut random = Random::new((len * cols) as u64);
            let table = random.floats(ROWS * cols);
            let brain: Vec<bf16> = table.iter().map(|&x| bf16::from_f32(x)).collect();
            let half: Vec<f16> = table.iter().map(|&x| f16::from_f32(x)).collect();
            let ids: Vec<i32> = (0..len)
                .map(|_| (random.next() % ROWS as u64) as i32)
                .collect();
            let at = |i: usize, k: usize| ids[i] as usize * cols + k;
            for &isa in Isa::available() {
                isa.with(|| {
                    let mut out = vec![f32::NAN; len * cols];
                    embedding(Weight::F32(&table), cols, &ids, &mut out);
                    assert!((0..len * cols).all(|i| out[i] == table[at(i / cols, i % cols)]));
                    embedding(Weight::Bf16(&brain), cols, &ids, &mut out);
                    assert!(
                        (0..len * cols).all(|i| out[i] == brain[at(i / cols, i % cols)].to_f32())
                    );
                    embedding(Weight::F16(&half), cols, &ids, &mut out);
                    assert!(
                        (0..len * cols).all(|i| out[i] == half[at(i / cols, i % cols)].to_f32())
                    );
                });
            }
        }
    }

    #[test]
    fn gradients_of_the_same_row_are_added() {
        let mut out = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        embedding_gradient(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, &[2, 0, 2], &mut out);
        assert_eq!(out, [4.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
    }

    #[test]
    #[should_panic(expected = "id 2 is outside the table's 2 rows")]
    fn an_id_beyond_the_table_is_refused() {
        embedding(Weight::F32(&[0.0; 6]), 3, &[0, 2], &mut [0.0; 6]);
    }
}
