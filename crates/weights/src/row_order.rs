//! The order that the rows of projections have in GGUF files.

use std::ops::Range;

use crate::conversion_mapping::gguf::{Heads, Stored};

/// How many heads a model has, whose rows some files store in another order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeadCounts {
    /// `num_attention_heads`; 0 where it is not known.
    pub query: usize,
    /// `num_key_value_heads`; 0 where it is not known.
    pub key_value: usize,
}

impl HeadCounts {
    /// For each row of the model's tensor the row of the file's, or `None` where these are the same.
    ///
    /// # Errors
    /// If the rows do not divide into heads.
    pub(crate) fn order(self, stored: Stored, rows: usize) -> Result<Option<Vec<usize>>, String> {
        match stored {
            Stored::Interleaved(Heads::Query) => {
                interleaved(self.query, "attention.head_count", rows).map(Some)
            }
            Stored::Interleaved(Heads::KeyValue) => {
                interleaved(self.key_value, "attention.head_count_kv", rows).map(Some)
            }
            Stored::Fused => self.fused(rows).map(Some),
            Stored::AsIs
            | Stored::PlusOne
            | Stored::Transposed
            | Stored::Stacked
            | Stored::Flat
            | Stored::NegatedExponential
            | Stored::First(_)
            | Stored::Second(_) => Ok(None),
        }
    }

    /// Groups of queries, their key and their value, of a file that has all queries first.
    fn fused(self, rows: usize) -> Result<Vec<usize>, String> {
        let Self { query, key_value } = self;
        let heads = key_value
            .checked_mul(2)
            .and_then(|both| both.checked_add(query));
        let heads = heads.filter(|_| key_value > 0 && query.is_multiple_of(key_value));
        let heads = heads.filter(|&heads| rows.is_multiple_of(heads));
        let heads = heads.ok_or_else(|| {
            format!(
                "its {rows} rows do not divide into {query} heads of queries and {key_value} of keys and values"
            )
        })?;
        let (size, group) = (rows / heads, query / key_value);
        let head = |head: usize| -> Range<usize> { head * size..(head + 1) * size };
        let order = (0..key_value).flat_map(|index| {
            let queries = index * group * size..(index + 1) * group * size;
            queries
                .chain(head(query + index))
                .chain(head(query + key_value + index))
        });
        Ok(order.collect())
    }
}

/// Row `2 i + j` of each head in the place of row `j * head_dim / 2 + i`.
fn interleaved(heads: usize, key: &str, rows: usize) -> Result<Vec<usize>, String> {
    if heads == 0 {
        return Err(format!(
            "its rows belong to heads, but there is no usable `{key}`"
        ));
    }
    let pairs = heads.checked_mul(2);
    if pairs.is_none_or(|pairs| !rows.is_multiple_of(pairs)) {
        return Err(format!(
            "its {rows} rows do not divide into {heads} heads of even size"
        ));
    }
    let half = rows / heads / 2;
    let stored = |row: usize| {
        let (head, row) = (row / (2 * half), row % (2 * half));
        head * 2 * half + row % half * 2 + row / half
    };
    Ok((0..rows).map(stored).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_of_fused_projections_are_grouped() {
        let order = |query, key_value, rows| {
            HeadCounts { query, key_value }
                .order(Stored::Fused, rows)
                .map(Option::unwrap)
        };
        // Four queries, two keys, two values, of one row each.
        assert_eq!(order(4, 2, 8).unwrap(), [0, 1, 4, 6, 2, 3, 5, 7]);
        // One key head: nothing moves.
        assert_eq!(order(2, 1, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        for (query, key_value, rows) in [(4, 0, 8), (4, 3, 10), (4, 2, 9), (1, usize::MAX, 1)] {
            assert!(order(query, key_value, rows).is_err());
        }
    }
}
