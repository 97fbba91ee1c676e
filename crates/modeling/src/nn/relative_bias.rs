//! Relative positions as a bias on attention scores, in buckets of distances (Raffel et al. 2020, section 2.1).

use burn::tensor::{Int, Tensor, TensorData};

use super::Embedding;
use crate::Rows;

/// How distances fall into buckets: half of them hold one distance each, the others grow with its logarithm.
#[derive(Debug, Clone, Copy)]
pub struct RelativeBuckets {
    /// How many there are.
    pub count: usize,
    /// From this distance on all are alike.
    pub max_distance: usize,
    /// Half of the buckets is for later keys; else these are all in the bucket of distance zero.
    pub bidirectional: bool,
}

impl RelativeBuckets {
    /// The bucket of a key that is `distance` after its query.
    pub fn bucket(self, distance: i64) -> usize {
        let (count, first) = match self.bidirectional {
            true if distance > 0 => (self.count / 2, self.count / 2),
            true => (self.count / 2, 0),
            false => (self.count, 0),
        };
        let distance = match self.bidirectional {
            true => distance.unsigned_abs(),
            false => distance.min(0).unsigned_abs(),
        } as usize;
        let exact = count / 2;
        if distance < exact {
            return first + distance;
        }
        // In f32 and in this order, as the reference: at the edges of buckets the last bit decides.
        let octaves = (distance as f32 / exact as f32).ln()
            / (self.max_distance as f64 / exact as f64).ln() as f32;
        let beyond = (octaves * (count - exact) as f32) as usize;
        first + (exact + beyond).min(count - 1)
    }

    /// The bias of queries `past..past + q_len` on keys `0..kv_len`, `[1, heads, q_len, kv_len]`, from a `table`
    /// `[buckets, heads]`.
    pub fn bias(self, table: &Embedding, past: usize, q_len: usize, kv_len: usize) -> Tensor<4> {
        let device = table.weight.device();
        let buckets = Rows::row_of((0..self.count as u32).collect());
        // By head first, so that the rows of a head lie next to each other for the kernel.
        let by_head = table
            .forward(buckets.to_tensor(&device))
            .squeeze_dim::<2>(0)
            .transpose();
        let heads = by_head.dims()[0];
        let of_distance: Vec<i32> = (0..q_len + kv_len)
            .map(|key| self.bucket(key as i64 - (past + q_len) as i64) as i32)
            .collect();
        let indices: Vec<i32> = (0..q_len)
            .flat_map(|query| of_distance[q_len - query..][..kv_len].iter().copied())
            .collect();
        let indices = TensorData::new(indices, [q_len * kv_len]);
        by_head
            .select(1, Tensor::<1, Int>::from_data(indices, &device))
            .reshape([1, heads, q_len, kv_len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_the_papers() {
        let decoder = RelativeBuckets {
            count: 32,
            max_distance: 128,
            bidirectional: false,
        };
        let buckets = [5, 0, -1, -15, -16, -17, -21, -64, -127, -500].map(|d| decoder.bucket(d));
        assert_eq!(buckets, [0, 0, 1, 15, 16, 16, 18, 26, 31, 31]);
        let encoder = RelativeBuckets {
            bidirectional: true,
            ..decoder
        };
        let buckets = [7, 1, 0, -1, -7, -8, -16, -32, 64, -63, 500].map(|d| encoder.bucket(d));
        assert_eq!(buckets, [23, 17, 0, 1, 7, 8, 10, 12, 30, 13, 31]);
    }
}
