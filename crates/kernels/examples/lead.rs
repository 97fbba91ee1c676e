use transformers_kernels::*;
use std::time::Instant;
use std::sync::atomic::Ordering::Relaxed;
fn med(mut f: impl FnMut(), n: usize) -> f64 { let mut v: Vec<f64> = (0..n).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() }).collect(); v.sort_by(f64::total_cmp); v[n / 2] }
fn rnd(n: usize) -> Vec<f32> { let mut s = 12345u32; (0..n).map(|_| { s ^= s << 13; s ^= s >> 17; s ^= s << 5; s as f32 / u32::MAX as f32 - 0.5 }).collect() }
fn main() {
    println!("fma {:.0} {:.0}", limits::fma_peak(1) / 1e9, limits::fma_peak(2)/1e9);
    for d in [96, 128, 144, 192, 288, 384, 576] { gemm::D.store(d, Relaxed);
        print!("depth {d}: ");
        for (m, k, n) in [(512, 576, 3072), (512, 576, 576), (512, 1536, 576)] {
            let x = rnd(m * k); let w = rnd(n * k); let mut y = vec![0.0; m * n];
            for t in [1, 2] { pool::set_threads(pool::Phase::Prefill, t); 
              let s = med(|| linear(&x, k, &mut [Projection { weight: Weight::F32(&w), bias: None, out: &mut y }]), 15);
              print!("{:.0} ", (m * k * n) as f64 * 2.0 / s / 1e9); }
            print!(" | ");
        }
        println!();
    }
}
