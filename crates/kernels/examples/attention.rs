use transformers_kernels::*;
use std::time::Instant;
fn med(mut f: impl FnMut(), n: usize) -> (f64, f64) { f(); let mut v: Vec<f64> = (0..n).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() * 1e6 }).collect(); v.sort_by(f64::total_cmp); (v[n / 2], v[0]) }
#[repr(C)] struct Ts { s: i64, n: i64 }
unsafe extern "C" { fn clock_gettime(id: i32, t: *mut Ts) -> i32; }
fn cpu() -> f64 { let mut t = Ts { s: 0, n: 0 }; unsafe { clock_gettime(3, &mut t) }; t.s as f64 * 1e6 + t.n as f64 / 1e3 }
fn med_cpu(mut f: impl FnMut(), n: usize) -> (f64, f64) { f(); let mut v: Vec<f64> = (0..n).map(|_| { let t = cpu(); f(); cpu() - t }).collect(); v.sort_by(f64::total_cmp); (v[n / 2], v[0]) }
fn rnd(n: usize) -> Vec<f32> { let mut s = 12345u32; (0..n).map(|_| { s ^= s << 13; s ^= s >> 17; s ^= s << 5; s as f32 / u32::MAX as f32 - 0.5 }).collect() }
fn main() {
    let only: Option<String> = std::env::args().nth(1); let name_part = std::env::args().nth(2).unwrap_or_default();
    for &isa in Isa::available().iter().skip(1) { if only.as_ref().is_some_and(|o| o != isa.name()) { continue; } isa.with(|| {
        for (name, batch, heads, kv_heads, q_len, kv_len, d, causal, n) in [
            ("prefill 512", 1, 9, 3, 512, 512, 64, true, 101), ("prefill 2048", 1, 9, 3, 2048, 2048, 64, true, 11),
            ("minilm 32x128", 32, 12, 12, 128, 128, 32, false, 51), ("minilm 1x128", 1, 12, 12, 128, 128, 32, false, 201),
            ("prefill 512 d128 32/8", 1, 32, 8, 512, 512, 128, true, 21),
            ("prefill 512 d256 4/1", 1, 4, 1, 512, 512, 256, true, 21),
            ("prefill 512 d80 9/9", 1, 9, 9, 512, 512, 80, true, 21),
            ("decode 64", 1, 9, 3, 1, 64, 64, true, 1001),
            ("decode 128", 1, 9, 3, 1, 128, 64, true, 1001),
            ("decode 512", 1, 9, 3, 1, 512, 64, true, 1001), ("decode 2048", 1, 9, 3, 1, 2048, 64, true, 401), ("decode 8192", 1, 9, 3, 1, 8192, 64, true, 101),
            ("decode 2048 32/8 d128", 1, 32, 8, 1, 2048, 128, true, 101),
            ("decode 512 16/1 d64", 1, 16, 1, 1, 512, 64, true, 401),
            ("rows4", 1, 4, 1, 1, 512, 64, true, 401), ("rows6", 1, 6, 1, 1, 512, 64, true, 401), ("rows8", 1, 8, 1, 1, 512, 64, true, 401), ("rows12", 1, 12, 1, 1, 512, 64, true, 401), ("rows13", 1, 13, 1, 1, 512, 64, true, 401),("rows16", 1, 16, 1, 1, 512, 64, true, 401),("rows24", 1, 24, 1, 1, 512, 64, true, 401),("rows8 d128", 1, 8, 1, 1, 512, 128, true, 401), ("rows12 d128", 1, 12, 1, 1, 512, 128, true, 401),
("q4 512", 1, 9, 3, 4, 512, 64, true, 401), ("q8 512", 1, 9, 3, 8, 512, 64, true, 401), ("q16 512", 1, 9, 3, 16, 512, 64, true, 401),
        ] {
            if !name.contains(&name_part) { continue; }
 let shape = AttentionShape { batch, heads, kv_heads, q_len, head_dim: d, value_dim: d };
            let (q, k, v) = (rnd(batch * heads * q_len * d), rnd(batch * kv_heads * kv_len * d), rnd(batch * kv_heads * kv_len * d));
            let mut out = vec![0.0; q.len()];
            let keys = Keys { keys: HeadView::by_head(&k, kv_heads, kv_len, d), values: HeadView::by_head(&v, kv_heads, kv_len, d), rows: KeyRows::Dense(kv_len) };
            let options = AttentionOptions { causal, ..AttentionOptions::new(0.125) };
            let qv = HeadView::by_position(&q, heads, q_len, d);
            let mut r = vec![];
            for t in [1, 2] { for p in [pool::Phase::Prefill, pool::Phase::Decode] { pool::set_threads(p, t); }
                r.push(if t == 1 { med_cpu(|| attention(shape, qv, keys, options, &mut out), n) } else { med(|| attention(shape, qv, keys, options, &mut out), n) }); }
            let pairs = if causal && q_len > 1 { q_len * (2 * kv_len - q_len) / 2 } else { q_len * kv_len };
            println!("{isa:?} {name}: {:.1} us 1t cpu, best {:.1} ({:.0} GFLOP/s); 2t {:.1} (median {:.1})", r[0].0, r[0].1, (4.0 * (batch * heads * pairs * d) as f64) / r[0].1 / 1e3, r[1].1, r[1].0);
        }
    }); }
}
