//! Devices by name.

use burn::tensor::Device;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Why no device was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The name is no device.
    #[error("`{name}` is no device; use auto, cpu, wgpu[:i], metal, vulkan[:i] or cuda[:i]")]
    UnknownDevice {
        /// As typed.
        name: String,
    },
    /// The backend is not in this program.
    #[error("the backend `{name}` is not compiled into this program (it has: {}); build it with `--features {feature}`", available.join(", "))]
    NotCompiled {
        /// Backend asked for.
        name: &'static str,
        /// Feature that compiles it in.
        feature: &'static str,
        /// Backends that are there.
        available: Vec<&'static str>,
    },
}

/// A device as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DevicePreference {
    /// The processor where it is compiled in, else the first backend that is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A GPU through WGSL.
    Wgpu(Option<usize>),
    /// An Apple GPU.
    Metal,
    /// A GPU through SPIR-V.
    Vulkan(Option<usize>),
    /// An NVIDIA GPU.
    Cuda(usize),
}

impl FromStr for DevicePreference {
    type Err = RuntimeError;

    fn from_str(name: &str) -> Result<Self, RuntimeError> {
        let unknown = || RuntimeError::UnknownDevice { name: name.to_owned() };
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse::<usize>().map_err(|_| unknown())?)),
            None => (name, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("wgpu", index) => Ok(Self::Wgpu(index)),
            ("metal", None) => Ok(Self::Metal),
            ("vulkan", index) => Ok(Self::Vulkan(index)),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

/// The name that [`FromStr`] reads back.
impl Display for DevicePreference {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (kind, index) = match self {
            Self::Auto => ("auto", None),
            Self::Cpu => ("cpu", None),
            Self::Wgpu(index) => ("wgpu", *index),
            Self::Metal => ("metal", None),
            Self::Vulkan(index) => ("vulkan", *index),
            Self::Cuda(index) => ("cuda", Some(*index)),
        };
        f.write_str(kind)?;
        index.map_or(Ok(()), |index| write!(f, ":{index}"))
    }
}

impl DevicePreference {
    /// The device that [`open_device`] opens: `auto` with its choice filled in.
    pub fn resolved(self) -> Self {
        match self {
            Self::Auto if cfg!(feature = "flex") => Self::Cpu,
            other => other,
        }
    }
}

/// An open device.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// The device, without autodiff.
    pub device: Device,
    /// Its name.
    pub name: String,
    /// Why it was chosen.
    pub reason: String,
}

/// Backends in this program, the preferred ones first.
pub fn available_backends() -> Vec<&'static str> {
    [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cpu", cfg!(feature = "flex")),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect()
}

/// Opens a device. `auto` takes the processor where it is compiled in: GPUs are asked for by name, so that a run's
/// numbers never depend on what the machine happens to have.
///
/// # Errors
/// A backend that is not compiled in.
pub fn open_device(preference: DevicePreference) -> Result<OpenDevice, RuntimeError> {
    let missing =
        |name, feature| RuntimeError::NotCompiled { name, feature, available: available_backends() };
    let open = |device: Device, name: &str, reason: &str| OpenDevice {
        device,
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    match preference {
        #[cfg(feature = "flex")]
        DevicePreference::Auto => {
            Ok(open(Device::flex(), "cpu", "auto: the processor gives the same bytes everywhere"))
        }
        #[cfg(not(feature = "flex"))]
        DevicePreference::Auto => {
            Ok(open(Device::default(), "default", "auto: the processor is not compiled in"))
        }
        #[cfg(feature = "flex")]
        DevicePreference::Cpu => Ok(open(Device::flex(), "cpu", "asked for")),
        #[cfg(feature = "wgpu")]
        DevicePreference::Wgpu(index) => Ok(open(Device::wgpu(kind(index)), "wgpu", "asked for")),
        #[cfg(feature = "metal")]
        DevicePreference::Metal => Ok(open(Device::metal(kind(None)), "metal", "asked for")),
        #[cfg(feature = "vulkan")]
        DevicePreference::Vulkan(index) => Ok(open(Device::vulkan(kind(index)), "vulkan", "asked for")),
        #[cfg(feature = "cuda")]
        DevicePreference::Cuda(index) => Ok(open(Device::cuda(index), "cuda", "asked for")),
        #[cfg(not(feature = "flex"))]
        DevicePreference::Cpu => Err(missing("cpu", "flex")),
        #[cfg(not(feature = "wgpu"))]
        DevicePreference::Wgpu(_) => Err(missing("wgpu", "wgpu")),
        #[cfg(not(feature = "metal"))]
        DevicePreference::Metal => Err(missing("metal", "metal")),
        #[cfg(not(feature = "vulkan"))]
        DevicePreference::Vulkan(_) => Err(missing("vulkan", "vulkan")),
        #[cfg(not(feature = "cuda"))]
        DevicePreference::Cuda(_) => Err(missing("cuda", "cuda")),
    }
}

#[cfg(feature = "wgpu")]
fn kind(index: Option<usize>) -> burn::tensor::DeviceKind {
    index.map_or(burn::tensor::DeviceKind::DefaultDevice, burn::tensor::DeviceKind::DiscreteGpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_unknown_ones_refused() {
        assert_eq!("cuda:1".parse::<DevicePreference>().unwrap(), DevicePreference::Cuda(1));
        assert_eq!("cpu".parse::<DevicePreference>().unwrap(), DevicePreference::Cpu);
        for name in ["gpu", "cuda:x", "cpu:0"] {
            assert!(name.parse::<DevicePreference>().unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn every_device_is_read_back_from_its_name() {
        use DevicePreference::{Auto, Cpu, Cuda, Metal, Vulkan, Wgpu};
        for device in [Auto, Cpu, Wgpu(None), Wgpu(Some(2)), Metal, Vulkan(None), Vulkan(Some(0)), Cuda(3)] {
            assert_eq!(device.to_string().parse::<DevicePreference>().unwrap(), device);
        }
    }

    #[test]
    fn a_backend_that_is_not_compiled_in_is_refused_by_name() {
        if !cfg!(feature = "cuda") {
            assert!(open_device(DevicePreference::Cuda(0)).unwrap_err().to_string().contains("cuda"));
        }
    }
}
