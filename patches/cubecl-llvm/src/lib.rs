//! Stand-in for `cubecl-llvm` 0.11.3.
//!
//! cubecl-cuda can compile its kernels in two ways: through LLVM, which the real crate downloads while it builds, or
//! through NVRTC, a library of the CUDA toolkit, at run time (cubecl's feature `cuda-cpp`). We use the second.
//! This crate gives cubecl-cuda the names that it mentions; none of them is reached.
#![forbid(unsafe_code)]

use std::ffi::c_char;
use std::fmt;

use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_server::compiler::CompilationError;
use cubecl_server::kernel::BufferIOAttr;

/// PTX versions.
pub mod nvptx {
    /// The version that a driver takes.
    pub mod ptx_version {
        use std::fmt;

        /// A version of PTX.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct PtxVersion(u32);

        impl PtxVersion {
            /// No driver is served.
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }

        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "ptx{}", self.0)
            }
        }
    }
}

/// What compilers share.
pub mod shared {
    /// Features after lowering.
    pub mod lowered_features {
        /// A kind of GPU.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum GpuTarget {
            /// NVIDIA's.
            Nvptx,
        }

        /// Nothing is lowered, so nothing is restricted.
        pub fn restrict_features(
            _properties: &mut cubecl_core::ir::DeviceProperties,
            _target: GpuTarget,
        ) {
        }
    }
}

/// What LLVM would compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LlvmTarget {
    /// NVIDIA's GPUs.
    Nvptx,
}

/// The compiler that is not there.
#[derive(Clone, Debug)]
pub struct PlironCompiler {
    /// Its target.
    pub target: LlvmTarget,
}

/// Its options.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the fields are cubecl-cuda's")]
pub struct PlironOptions {
    pub arch: Option<()>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
    pub _unused: (),
}

/// What it would make.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are cubecl-cuda's")]
pub struct NvptxModule {
    pub ptx: Vec<c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}

/// One of the things that it would make.
#[derive(Clone)]
#[allow(missing_docs, reason = "the variants are cubecl-cuda's")]
pub enum PlironArtifact {
    NvptxCode(NvptxModule),
    Other,
}

impl fmt::Debug for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlironArtifact")
    }
}

impl PlironCompiler {
    /// Never called: the feature `cuda-cpp` chooses the other compiler.
    pub fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &PlironOptions,
    ) -> Result<PlironArtifact, CompilationError> {
        unreachable!("built without LLVM: cubecl's feature `cuda-cpp` is on")
    }

    /// The name of its language.
    pub fn lang_tag(&self) -> &'static str {
        "pliron"
    }
}
