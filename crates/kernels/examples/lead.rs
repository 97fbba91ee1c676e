use transformers_kernels::*;
use std::time::Instant;
fn med(mut f: impl FnMut(), n: usize) -> f64 { let mut v: Vec<f64> = (0..n).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() }).collect(); v.sort_by(f64::total_cmp); v[n / 2] }
fn rnd(n: usize) -> Vec<f32> { let mut s = 12345u32; (0..n).map(|_| { s ^= s << 13; s ^= s >> 17; s ^= s << 5; s as f32 / u32::MAX as f32 - 0.5 }).collect() }
fn main() {
    for &isa in Isa::available().iter().skip(1) { isa.with(|| {
        for (m, k, n) in [(512, 576, 1536), (512, 576, 576), (512, 1536, 576), (2048, 2048, 2048), (16, 576, 1536), (5,576,1536)] {
            let x = rnd(m * k); let w = rnd(n * k); let mut y = vec![0.0; m * n];
            let mut r = vec![];
            for t in [1, 2] { pool::set_threads(pool::Phase::Prefill, t); 
              let s = med(|| linear(&x, k, &mut [Projection { weight: Weight::F32(&w), bias: None, out: &mut y }]), 15);
              r.push((m * k * n) as f64 * 2.0 / s / 1e9); }
            let wb: Vec<half::bf16> = w.iter().map(|&x| half::bf16::from_f32(x)).collect();
            let s = med(|| linear(&x, k, &mut [Projection { weight: Weight::Bf16(&wb), bias: None, out: &mut y }]), 15);
            println!("{isa:?} {m}x{k}x{n}: {:.0} GF 1t, {:.0} 2t; bf16 2t {:.0}", r[0], r[1], (m * k * n) as f64 * 2.0 / s / 1e9);
        }
        let n = 100_000; let k = 576; let w = rnd(n * k); let mut y = vec![0.0; n]; let x = rnd(k);
        let wb: Vec<half::bf16> = w.iter().map(|&x| half::bf16::from_f32(x)).collect();
        for t in [1, 2] { pool::set_threads(pool::Phase::Decode, t);
            let s = med(|| linear(&x, k, &mut [Projection { weight: Weight::F32(&w), bias: None, out: &mut y }]), 15);
            let b = med(|| linear(&x, k, &mut [Projection { weight: Weight::Bf16(&wb), bias: None, out: &mut y }]), 15);
            println!("{isa:?} gemv {t}t f32 {:.1} GB/s bf16 {:.1} GB/s", (n * k * 4) as f64 / s / 1e9, (n * k * 2) as f64 / b / 1e9); }
    }); }
}
