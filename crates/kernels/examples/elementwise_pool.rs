use std::time::Instant; use transformers_kernels::{*, pool::*};
fn rnd(n: usize) -> Vec<f32> { (0..n).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect() }
fn p10(mut f: impl FnMut()) -> (f64, f64) { let mut v: Vec<f64> = (0..300).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() * 1e6 }).collect(); v.sort_by(f64::total_cmp); (v[3], v[150]) }
fn main() {
    let x = rnd(4096 * 384); let w = rnd(384); let mut o = vec![0.0; x.len()];
    for t in [1, 2, 1, 2] { set_threads(Phase::Prefill, t);
        println!("threads {t}: spin96x5us {:?}", p10(|| run(Phase::Prefill, 96, |_| { let s = Instant::now(); while s.elapsed().as_nanos() < 5000 { std::hint::spin_loop() } })));
        for n in [128, 512, 4096] { println!("  ln {n} {:?}", p10(|| layer_norm(&x[..n * 384], &w, Some(&w), 1e-5, &mut o[..n * 384]))); }
    }
}
