//! Which keys a query sees.

use std::ops::Range;

use super::Problem;

impl Problem<'_> {
    /// The keys that a query sees; an empty range where it sees none.
    pub(super) fn visible(&self, batch: usize, query: usize) -> Range<usize> {
        let options = &self.options;
        let len = self.keys.len(batch);
        let mut seen = 0..len;
        let mut narrow = |range: Range<usize>| {
            seen = seen.start.max(range.start)..seen.end.min(range.end);
        };
        if let Some(visible) = options.visible {
            narrow(visible[batch].clone());
        }
        if let Some(segments) = options.segments {
            let segment = segments.partition_point(|&start| start <= query);
            narrow(segments[segment - 1]..segments[segment]);
        }
        // One more than the position, which may be negative, so that only the sum is; all in wide integers.
        let first = match options.query_offset {
            Some(offset) => offset as i128,
            None => len as i128 - self.shape.q_len as i128,
        };
        let position = first + query as i128;
        let clamp = |position: i128| position.clamp(0, len as i128) as usize;
        if options.causal {
            narrow(0..clamp(position + 1));
        }
        if let Some(window) = options.window {
            let window = window as i128;
            narrow(clamp(position - window + 1)..clamp(position + window));
        }
        seen.start.min(seen.end)..seen.end
    }
}
