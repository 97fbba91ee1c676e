//! Embedding: rows of a table by their numbers.

use crate::{Isa, Weight, rows::for_rows, shared::written};

/// `weight[ids[i]]` as f32: `weight` is `[rows, cols]` in any form, and the result is `[ids.len(), cols]`.
///
/// # Panics
/// When lengths do not fit each other, or an id is not a row of the table.
pub fn embedding(weight: Weight<'_>, cols: usize, ids: &[i32]) -> Vec<f32> {
    assert!(cols > 0, "weight is [rows, cols]");
    let (isa, rows) = (Isa::current(), weight.rows(cols));
    let write = |out: &mut [f32]| {
        for_rows(ids.len(), cols, [out], |range, [out]| {
            for (&id, out) in ids[range].iter().zip(out.chunks_exact_mut(cols)) {
                weight.read(isa, row_of(id, rows), cols, 0, out);
            }
        });
    };
    // SAFETY: every row is written, and none is read.
    unsafe { written(ids.len() * cols, write) }
}

/// An id as the number of a row.
fn row_of(id: i32, rows: usize) -> usize {
    let row = usize::try_from(id).ok().filter(|&row| row < rows);
    row.unwrap_or_else(|| panic!("id {id} is outside the table's {rows} rows"))
}

/// The gradient of the table: adds row `i` of `grad` (`[ids.len(), cols]`) to row `ids[i]` of `out` (`[rows, cols]`), where
/// that is not the `fixed` one.
///
/// # Panics
/// When lengths do not fit each other, or an id is not a row of the table.
pub fn embedding_gradient(
    grad: &[f32],
    cols: usize,
    ids: &[i32],
    fixed: Option<i32>,
    out: &mut [f32],
) {
    assert!(cols > 0, "out is [rows, cols]");
    assert_eq!(grad.len(), ids.len() * cols, "grad is [ids, {cols}]");
    let rows = out.len() / cols;
    let rows_of_grad = ids.iter().zip(grad.chunks_exact(cols));
    for (&id, grad) in rows_of_grad.filter(|(id, _)| Some(**id) != fixed) {
        let out = &mut out[row_of(id, rows) * cols..][..cols];
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
                    let out = embedding(Weight::F32(&table), cols, &ids);
                    assert_eq!(out.len(), len * cols);
                    assert!((0..len * cols).all(|i| out[i] == table[at(i / cols, i % cols)]));
                    let out = embedding(Weight::Bf16(&brain), cols, &ids);
                    assert!(
                        (0..len * cols).all(|i| out[i] == brain[at(i / cols, i % cols)].to_f32())
                    );
                    let out = embedding(Weight::F16(&half), cols, &ids);
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
        let grad = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        embedding_gradient(&grad, 2, &[2, 0, 2], None, &mut out);
        assert_eq!(out, [4.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
        embedding_gradient(&grad, 2, &[2, 0, 2], Some(2), &mut out);
        assert_eq!(out, [7.0, 8.0, 0.0, 0.0, 6.0, 8.0]);
    }

    #[test]
    #[should_panic(expected = "id 2 is outside the table's 2 rows")]
    fn an_id_beyond_the_table_is_refused() {
        embedding(Weight::F32(&[0.0; 6]), 3, &[0, 2]);
    }
}
