//! What this machine can do at best, measured: the yardstick that tells how much of a limit a kernel reaches.
//!
//! Decoding reads every weight once for a token and is bound by [`read_bandwidth`]; a prompt uses each many times and
//! is bound by [`fma_peak`].

use std::{hint::black_box, sync::Barrier, time::Instant};

use crate::{
    Isa,
    rows::{GROUP, load, sum_group},
    simd::simd_fn,
};

/// Bytes per second at which `threads` threads read a buffer of `bytes` bytes, by the best of several ways.
///
/// The buffer should be many times larger than the caches; 2 GiB take a few seconds.
///
/// # Panics
/// When `threads` is zero, the buffer has less than 4 KiB for each, or a thread cannot be started.
pub fn read_bandwidth(bytes: usize, threads: usize) -> f64 {
    let isa = Isa::current();
    let share = bytes / size_of::<f32>() / threads / PAGE * PAGE;
    assert!(share > 0, "less than 4 KiB for a thread");
    let mut data = vec![0.0f32; share * threads];
    // Memory that was never written has no pages of its own, and a page is best near the thread that reads it.
    std::thread::scope(|scope| {
        for part in data.chunks_mut(share) {
            scope.spawn(|| part.fill(1.0));
        }
    });
    let read_all = |read: Read, part: &[f32]| {
        black_box(read(isa, part));
        size_of_val(part)
    };
    best_rate(&WAYS, threads, |way, thread| match way {
        Way::Streams(read) => read_all(*read, &data[thread * share..(thread + 1) * share]),
        Way::Pages(read) => {
            let pages = data.chunks_exact(PAGE).skip(thread).step_by(threads);
            pages.map(|page| read_all(*read, page)).sum()
        }
    })
}

/// Floating-point operations per second of `threads` threads that only multiply and add, counted as two operations, by
/// the best of several loops.
///
/// # Panics
/// When `threads` is zero, or a thread cannot be started.
pub fn fma_peak(threads: usize) -> f64 {
    let isa = Isa::current();
    let loops: [fn(Isa) -> usize; 5] = [
        multiply_add::<8>,
        multiply_add::<12>,
        multiply_add::<16>,
        multiply_add::<20>,
        multiply_add::<24>,
    ];
    best_rate(&loops, threads, |run, _| run(isa))
}

/// f32 in 4 KiB.
const PAGE: usize = 1024;

type Read = fn(Isa, &[f32]) -> f32;

/// How threads share a buffer.
enum Way {
    /// Each has one part.
    Streams(Read),
    /// They take pages in turn.
    Pages(Read),
}

const WAYS: [Way; 7] = [
    Way::Streams(read::<1, 0>),
    Way::Streams(read::<1, 1024>),
    Way::Streams(read::<1, 4096>),
    Way::Streams(read::<2, 0>),
    Way::Streams(read::<2, 1024>),
    Way::Streams(read::<4, 0>),
    Way::Pages(read::<1, 0>),
];

/// The highest rate of several passes over the ways: what else the machine does can only slow one down.
///
/// `work(way, thread)` says how much it did.
fn best_rate<W: Sync>(ways: &[W], threads: usize, work: impl Fn(&W, usize) -> usize + Sync) -> f64 {
    const PASSES: usize = 4;
    let rate = |way: &W| {
        let ready = Barrier::new(threads);
        let timed = |thread| {
            ready.wait();
            let start = Instant::now();
            (work(way, thread), start, Instant::now())
        };
        let timed = &timed;
        let runs: Vec<_> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|thread| scope.spawn(move || timed(thread)))
                .collect();
            let mine = timed(0);
            // The scope itself panics where one of them did.
            let others = others.into_iter().filter_map(|other| other.join().ok());
            others.chain([mine]).collect()
        });
        let done: usize = runs.iter().map(|run| run.0).sum();
        let start = runs.iter().map(|run| run.1).min();
        let end = runs.iter().map(|run| run.2).max();
        let time = start.zip(end).map(|(start, end)| end - start);
        done as f64 / time.unwrap_or_default().as_secs_f64()
    };
    (0..PASSES).flat_map(|_| ways).map(rate).fold(0.0, f64::max)
}

simd_fn! {
    /// Reads `data` as `STREAMS` streams side by side, prefetching `AHEAD` bytes ahead where that is not zero. Returns
    /// the sum.
    fn read<S; const STREAMS; const AHEAD>(s, data: &[f32]) -> f32 {
        let step = GROUP * S::LANES;
        let part = data.len() / STREAMS;
        let mut sums = [s.zero(); GROUP];
        for i in (0..part).step_by(step) {
            for stream in 0..STREAMS {
                let start = stream * part + i;
                let group = &data[start..(start + step).min((stream + 1) * part)];
                if AHEAD > 0 {
                    for line in (0..step).step_by(16) {
                        s.prefetch(group.as_ptr().wrapping_add(AHEAD / size_of::<f32>() + line));
                    }
                }
                for (sum, v) in sums.iter_mut().zip(load(s, group, 0.0)) {
                    *sum = s.add(*sum, v);
                }
            }
        }
        sum_group(s, sums)
    }
}

simd_fn! {
    /// Multiplies and adds in `CHAINS` vectors that do not wait for each other. Returns the number of operations.
    fn multiply_add<S; const CHAINS>(s) -> usize {
        /// Milliseconds of work: longer than a barrier, shorter than a thread keeps its core. An emulator that runs the
        /// tests needs longer.
        const VECTORS: usize = if cfg!(test) { 1 << 18 } else { 1 << 24 };
        let (a, b) = (s.splat(black_box(0.5)), s.splat(black_box(1.0)));
        let mut chains = [b; CHAINS];
        for _ in 0..VECTORS / CHAINS {
            for x in &mut chains {
                *x = s.mul_add(*x, a, b);
            }
        }
        let mut sum = s.zero();
        for x in chains {
            sum = s.add(sum, x);
        }
        black_box(s.sum(sum));
        VECTORS / CHAINS * CHAINS * S::LANES * 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_reads_everything() {
        let data: Vec<f32> = (0..4 * PAGE).map(|i| (i % 7) as f32).collect();
        for way in &WAYS {
            let (Way::Streams(read) | Way::Pages(read)) = way;
            for &isa in Isa::available() {
                assert_eq!(read(isa, &data), data.iter().sum::<f32>(), "{isa:?}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a billion operations")]
    fn rates_are_those_of_a_computer() {
        // From an emulator's to a large server's.
        for threads in [1, 2] {
            let (bandwidth, peak) = (read_bandwidth(1 << 22, threads), fma_peak(threads));
            assert!(bandwidth > 1e6 && bandwidth < 1e13, "{bandwidth} bytes/s");
            assert!(peak > 1e6 && peak < 1e14, "{peak} operations/s");
        }
    }
}
