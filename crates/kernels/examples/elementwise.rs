use std::time::Instant;
use transformers_kernels::*;
fn med(v: &mut Vec<f64>) -> f64 { v.sort_by(f64::total_cmp); v[v.len() / 10] * 1e3 }
fn time(mut f: impl FnMut()) -> f64 { for _ in 0..3 { f() } let mut v: Vec<f64> = (0..60).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() }).collect(); med(&mut v) }
fn fresh(x: &[f32], mut f: impl FnMut(&mut [f32])) -> f64 { let mut bufs: Vec<Vec<f32>> = (0..4).map(|_| x.to_vec()).collect(); let mut v: Vec<f64> = (0..40).map(|i| { let b = &mut bufs[i % 4]; b.copy_from_slice(x); let t = Instant::now(); f(b); t.elapsed().as_secs_f64() }).collect(); med(&mut v) }
fn ns(mut f: impl FnMut()) -> f64 { let mut b = f64::MAX; for _ in 0..20 { let t = Instant::now(); for _ in 0..2000 { f() } b = b.min(t.elapsed().as_secs_f64() / 2000.0); } b * 1e9 }
fn rnd(n: usize) -> Vec<f32> { let mut s = 12345u32; (0..n).map(|_| { s ^= s << 13; s ^= s >> 17; s ^= s << 5; s as f32 / u32::MAX as f32 * 4.0 - 2.0 }).collect() }
fn main() {
    let only = std::env::args().nth(1);
    if only.as_deref() == Some("limits") { for t in [1, 2] { println!("{t} threads: read {:.1} GB/s, fma {:.0} GFLOP/s", limits::read_bandwidth(2 << 30, t) / 1e9, limits::fma_peak(t) / 1e9); } return; }
    if only.as_deref() == Some("ln") { ln(); return; }
    if only.as_deref() == Some("rows") { for &isa in Isa::available() { isa.with(|| {
        let x = rnd(512 * 9); let w = rnd(576); let mut o = vec![0.0; 512 * 9];
        print!("{isa:?} ns: rms576 {:.0}", ns(|| rms_norm(&x[..576], &w, 0.0, 1e-5, &mut o[..576])));
        print!(" ln384 {:.0}", ns(|| layer_norm(&x[..384], &w[..384], Some(&w[..384]), 1e-5, &mut o[..384])));
        print!(" ln384x8 {:.0}", ns(|| layer_norm(&x[..384*8], &w[..384], Some(&w[..384]), 1e-5, &mut o[..384*8]))/8.0);
        print!(" rms512x8 {:.0}", ns(|| rms_norm(&x[..512*8], &w[..512], 0.0, 1e-5, &mut o[..512*8]))/8.0);
        o[..512].copy_from_slice(&x[..512]);
        print!(" softmax512 {:.0}", ns(|| softmax(&mut o[..512], 512)));
        for a in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh, Activation::Sigmoid] {
            print!(" copy+{a:?}1536 {:.0}", ns(|| { o[..1536].copy_from_slice(&x[..1536]); activate(a, &mut o[..1536]) })); }
        println!();
    }); } return; }
    for &isa in &Isa::available()[1..] { isa.with(|| {
        let mut x = rnd(9 * 512 * 512); let a = time(|| softmax(&mut x, 512));
        let x = rnd(512 * 576); let w = rnd(576); let mut o = vec![0.0; x.len()]; let mut r = x.clone();
        let b = time(|| rms_norm(&x, &w, 0.0, 1e-5, &mut o)); let b2 = time(|| add_rms_norm(&x, &mut r, &w, 0.0, 1e-5, &mut o));
        let x = rnd(4096 * 384); let w = rnd(384); let mut o = vec![0.0; x.len()];
        let c = time(|| layer_norm(&x, &w, Some(&w), 1e-5, &mut o)); let c2 = time(|| add_layer_norm(&x, &x, &w, Some(&w), 1e-5, &mut o));
        let up = rnd(512 * 1536); 
        let d = fresh(&up, |g| gated(Activation::Silu, g, &up)); 
        let g = rnd(4096 * 1536); let e = fresh(&g, |g| activate(Activation::Gelu, g)); let e2 = fresh(&g, |g| activate(Activation::GeluTanh, g));
        let x = rnd(512 * 9 * 64); let cs = rnd(512 * 32); let h = Heads::by_position(1, 9, 512, 64); let mut o = vec![0.0; x.len()];
        let f = time(|| rotary(&x, h, Rotation { cos: &cs, sin: &cs, half: 32 }, &mut o));
        let x = rnd(152_000); let i = time(|| { std::hint::black_box(argmax(&x)); });
        println!("{isa:?} softmax {a:.3} rms {b:.4} add_rms {b2:.4} ln {c:.3} add_ln {c2:.3} silu*up {d:.3} gelu {e:.3} gelu_tanh {e2:.3} rotary {f:.4} argmax152k {i:.4}");
    }); }
}
#[allow(dead_code)] fn ln() { let x = rnd(4096 * 384); let w = rnd(384); let mut o = vec![0.0; x.len()];
 for t in [1, 2] { pool::set_threads(pool::Phase::Prefill, t); for n in [256, 1024, 4096] { let l = n * 384; println!("ln rows {n} threads {t}: {:.1} ns/row", time(|| layer_norm(&x[..l], &w, Some(&w), 1e-5, &mut o[..l])) * 1e6 / n as f64); println!("   copy {:.1}", time(|| o[..l].copy_from_slice(&x[..l])) * 1e6 / n as f64);} } }
