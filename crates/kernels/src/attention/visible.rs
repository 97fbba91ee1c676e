//! Which keys a query sees.

use std::ops::Range;

use super::Problem;

/// Farther than any two positions are apart.
const FAR: isize = isize::MAX / 4;

impl Problem<'_> {
    /// The keys that a query sees.
    pub(super) fn visible(&self, batch: usize, query: usize) -> Range<usize> {
        let options = &self.options;
        let len = self.keys.len(batch) as isize;
        let last_at_last = len - self.shape.q_len as isize;
        let first = options.query_offset.map_or(last_at_last, |o| o as isize);
        let position = first + query as isize;
        let window = options.window.map_or(FAR, |w| w.min(FAR as usize) as isize);
        let after = if options.causal { 1 } else { window };
        let key = |position: isize| position.clamp(0, len) as usize;
        let mut seen = key(position - window + 1)..key(position + after);
        if let Some(visible) = options.visible {
            seen = intersection(seen, visible[batch].clone());
        }
        if let Some(segments) = options.segments {
            let next = segments.partition_point(|&start| start <= query);
            seen = intersection(seen, segments[next - 1]..segments[next]);
        }
        seen
    }
}

fn intersection(a: Range<usize>, b: Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// The smallest range that all others are in; empty ones do not count.
pub(super) fn union(ranges: impl Iterator<Item = Range<usize>>) -> Range<usize> {
    ranges
        .filter(|range| !range.is_empty())
        .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
        .unwrap_or(0..0)
}
