//! Which instruction set the kernels run on: found at run time, one binary for all.

use std::{cell::Cell, sync::OnceLock};

/// An instruction set that this CPU has. Only [`Isa::available`] and [`Isa::current`] make one, so a value is proof
/// that its instructions may be executed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Level);

/// The levels, slower ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// Plain Rust.
    Scalar,
    /// 128-bit vectors of every 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON with integer dot products (ARMv8.2 `dotprod`).
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// 256-bit vectors with FMA and f16 conversion (Haswell, Zen and later).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors (Skylake-X and later).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with integer dot products (Ice Lake, Zen 4 and later).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// The same with bf16 dot products (Cooper Lake, Zen 4 and later).
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

/// The variable that forces an instruction set by its [name](Isa::name).
pub const ISA_VARIABLE: &str = "TRANSFORMERS_ISA";

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// What this CPU has, slowest first; never empty.
    pub fn available() -> &'static [Isa] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| detect().into_iter().map(Isa).collect())
    }

    /// What kernels called on this thread use: the one forced by [`with`](Self::with), else by [`ISA_VARIABLE`], else
    /// the fastest.
    ///
    /// A value of the variable that this CPU does not have is ignored; see [`forced_by_variable`](Self::forced_by_variable).
    pub fn current() -> Isa {
        static DEFAULT: OnceLock<Isa> = OnceLock::new();
        FORCED.get().unwrap_or_else(|| {
            *DEFAULT.get_or_init(|| {
                Self::forced_by_variable()
                    .and_then(Result::ok)
                    .unwrap_or_else(Self::fastest)
            })
        })
    }

    /// The instruction set that [`ISA_VARIABLE`] asks for, or its value where this CPU has none of that name.
    pub fn forced_by_variable() -> Option<Result<Isa, String>> {
        let name = std::env::var(ISA_VARIABLE).ok().filter(|n| !n.is_empty())?;
        let found = Self::available().iter().find(|isa| isa.name() == name);
        Some(found.copied().ok_or(name))
    }

    /// Runs `f` with the kernels that it calls on this thread kept to this instruction set.
    pub fn with<R>(self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<Isa>);
        impl Drop for Restore {
            fn drop(&mut self) {
                FORCED.set(self.0);
            }
        }
        let _restore = Restore(FORCED.replace(Some(self)));
        f()
    }

    /// `scalar`, `avx2`, `avx512`, `avx512vnni`, `avx512bf16`, `neon` or `neondot`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot => "neondot",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512bf16",
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }

    fn fastest() -> Isa {
        Self::available()
            .last()
            .copied()
            .unwrap_or(Isa(Level::Scalar))
    }
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

// miri interprets portable code only.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn detect() -> Vec<Level> {
    use std::arch::is_x86_feature_detected as has;
    let mut levels = vec![Level::Scalar];
    if has!("avx2") && has!("fma") && has!("f16c") {
        levels.push(Level::Avx2);
        let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
        if wide {
            levels.push(Level::Avx512);
        }
        if wide && has!("avx512vnni") {
            levels.push(Level::Avx512Vnni);
            if has!("avx512bf16") {
                levels.push(Level::Avx512Bf16);
            }
        }
    }
    levels
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
fn detect() -> Vec<Level> {
    use std::arch::is_aarch64_feature_detected as has;
    let mut levels = vec![Level::Scalar];
    if has!("neon") {
        levels.push(Level::Neon);
        if has!("dotprod") {
            levels.push(Level::NeonDot);
        }
    }
    levels
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn detect() -> Vec<Level> {
    vec![Level::Scalar]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forcing_lasts_for_the_closure_only() {
        let slowest = Isa::available()[0];
        let before = Isa::current();
        assert_eq!(slowest.with(Isa::current), slowest);
        assert_eq!(slowest.name(), "scalar");
        assert_eq!(Isa::current(), before);
    }
}
