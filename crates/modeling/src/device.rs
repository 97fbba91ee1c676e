//! Devices by name, chosen at run time.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use burn::tensor::Device;

use crate::ModelError;

/// Where a model shall run: `auto`, `cpu`, `wgpu[:n]` or `cuda[:n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceSpec {
    /// CUDA, then a hardware adapter of WGPU, then the CPU; software Vulkan is never chosen by itself.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A WGPU adapter by its place in [`available_devices`]; `None`: the first hardware one, else the first.
    Wgpu(Option<usize>),
    /// A CUDA device.
    Cuda(usize),
}

impl FromStr for DeviceSpec {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let unknown = || ModelError::UnknownDevice(text.to_owned());
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("wgpu", index) => Ok(Self::Wgpu(index)),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A device that is there.
#[derive(Debug, Clone)]
pub struct AvailableDevice {
    /// The name that chooses it.
    pub spec: DeviceSpec,
    /// What it calls itself.
    pub description: String,
    /// Software that acts as a GPU.
    pub software: bool,
    device: Device,
}

impl AvailableDevice {
    /// Whether `device` is this one, tracking gradients or not.
    pub(crate) fn is(&self, device: &Device) -> bool {
        self.device == device.clone().inner()
    }
}

impl fmt::Display for AvailableDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.spec, self.description)
    }
}

impl DeviceSpec {
    /// The device, if it is there.
    ///
    /// # Errors
    /// [`ModelError::NoSuchDevice`], with those that were found.
    pub fn resolve(self) -> Result<Device, ModelError> {
        if self == Self::Cpu {
            return Ok(Device::flex());
        }
        let found = available_devices();
        let hardware = |kind: fn(&Self) -> bool| {
            found
                .iter()
                .find(move |device| kind(&device.spec) && !device.software)
        };
        let is_cuda = |spec: &Self| matches!(spec, Self::Cuda(_));
        let is_wgpu = |spec: &Self| matches!(spec, Self::Wgpu(_));
        let chosen = match self {
            Self::Auto => hardware(is_cuda)
                .or_else(|| hardware(is_wgpu))
                .or(found.first()),
            Self::Wgpu(None) => {
                hardware(is_wgpu).or_else(|| found.iter().find(|device| is_wgpu(&device.spec)))
            }
            asked => found.iter().find(|device| device.spec == asked),
        };
        chosen.map(|device| device.device.clone()).ok_or_else(|| {
            let names: Vec<_> = found.iter().map(ToString::to_string).collect();
            ModelError::NoSuchDevice {
                asked: self.to_string(),
                found: names.join(", "),
                hint: self.missing_feature(),
            }
        })
    }

    fn missing_feature(self) -> &'static str {
        match self {
            Self::Cuda(_) if !cfg!(feature = "cuda") => {
                " This build lacks the feature `cuda`: build with `--features cuda`."
            }
            Self::Wgpu(_) if !cfg!(feature = "wgpu") => {
                " This build lacks the feature `wgpu`: build with `--features wgpu`."
            }
            _ => "",
        }
    }
}

/// The devices of this machine that this build can use, found once; the CPU comes first.
pub fn available_devices() -> &'static [AvailableDevice] {
    static FOUND: LazyLock<Vec<AvailableDevice>> = LazyLock::new(find);
    &FOUND
}

fn find() -> Vec<AvailableDevice> {
    let cpu = AvailableDevice {
        spec: DeviceSpec::Cpu,
        description: "burn-flex".to_owned(),
        software: false,
        device: Device::flex(),
    };
    let found = std::iter::once(cpu);
    #[cfg(feature = "cuda")]
    let found = found.chain(gpu::cuda());
    #[cfg(feature = "wgpu")]
    let found = found.chain(gpu::wgpu());
    found.collect()
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu {
    use burn::tensor::{Device, DeviceType};

    use super::{AvailableDevice, DeviceSpec};

    #[cfg(feature = "cuda")]
    pub fn cuda() -> Vec<AvailableDevice> {
        list(DeviceType::Cuda, DeviceSpec::Cuda)
    }

    #[cfg(feature = "wgpu")]
    pub fn wgpu() -> Vec<AvailableDevice> {
        list(DeviceType::Wgpu, |index| DeviceSpec::Wgpu(Some(index)))
    }

    fn list(kind: DeviceType, spec: fn(usize) -> DeviceSpec) -> Vec<AvailableDevice> {
        let devices = Device::enumerate(kind).into_iter().enumerate();
        devices
            .map(|(index, device)| describe(device, spec(index)))
            .collect()
    }

    fn describe(device: Device, spec: DeviceSpec) -> AvailableDevice {
        let identity = device.identity();
        // Software renderers know their name but stand for no card.
        let software = identity
            .as_ref()
            .is_none_or(|identity| identity.physical.is_none());
        let description = match identity {
            Some(identity) => identity.name,
            None => format!("{device:?}"),
        };
        AvailableDevice {
            spec,
            description,
            software,
            device,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["auto", "cpu", "wgpu", "wgpu:1", "cuda:0", "cuda:3"] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceSpec>().unwrap(), DeviceSpec::Cuda(0));
        for name in ["", "gpu", "cpu:0", "auto:1", "cuda:", "cuda:-1", "wgpu:x"] {
            assert!(name.parse::<DeviceSpec>().is_err(), "{name}");
        }
    }

    #[test]
    fn software_is_never_chosen_by_itself() {
        let chosen = DeviceSpec::Auto.resolve().unwrap();
        let found = available_devices()
            .iter()
            .find(|found| found.device == chosen)
            .unwrap();
        assert!(!found.software, "{found}");
    }
}
