//! One CUDA device: its context, its attributes and the kernels loaded for it.

use super::board::{Board, Emulated};
use super::driver::{Current, Relaxed, check, driver_version, open};
use super::images::{self, KernelImage};
use super::kernel::{Kernel, cluster_attribute};
use super::limits::DeviceLimits;
use crate::abi::{
    Error, REFLEX_INTERNAL, REFLEX_INVALID_ARGUMENT, REFLEX_NO_DRIVER, REFLEX_NOT_BUILT, REFLEX_UNSUPPORTED_DEVICE,
    Result,
};
use crate::tuning::{Overrides, Tuning};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUfunction, CUlibrary};
use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::{Mutex, OnceLock};

/// Turing: the oldest generation the kernels are written for.
const OLDEST_SM: u32 = 75;

pub(crate) struct CudaBackend {
    pub(super) device: sys::CUdevice,
    /// The primary context, for calls that need a current one.
    pub(super) primary: sys::CUcontext,
    /// What kernels are planned for: the device's, with the SMs that the caller's streams can use.
    pub limits: DeviceLimits,
    pub device_limits: DeviceLimits,
    pub name: String,
    pub total_memory: u64,
    /// Loaded images by kernel file.
    libraries: Mutex<HashMap<&'static str, CUlibrary>>,
    kernels: LoadedKernels,
    /// In whose place the device is.
    board: Option<&'static Board>,
    /// The driver captures the dependence between such launches.
    dependent_launches: bool,
}

#[derive(Clone, Copy)]
pub(super) struct LoadedKernel {
    pub function: CUfunction,
    /// Launched so that it may become resident before earlier launches end.
    pub dependent: bool,
    /// What its code was compiled for.
    pub sm: u32,
    /// Most blocks of a cluster; 1: none.
    pub most_cluster: u32,
    /// With a board in the device's place.
    pub emulated: Option<Emulated>,
}

/// Loaded kernels by number, looked up without a lock.
#[derive(Default)]
struct LoadedKernels([OnceLock<Box<[OnceLock<LoadedKernel>]>>; LoadedKernels::CHUNKS]);

impl LoadedKernels {
    const CHUNKS: usize = 32;
    const CHUNK: usize = 512;

    fn slot(&self, number: usize) -> Result<&OnceLock<LoadedKernel>> {
        let chunk = self.0.get(number / Self::CHUNK).ok_or_else(|| {
            let most = Self::CHUNKS * Self::CHUNK;
            Error::new(
                REFLEX_INTERNAL,
                format!("kernel number {number}, expected fewer than {most}"),
            )
        })?;
        let chunk = chunk.get_or_init(|| (0..Self::CHUNK).map(|_| OnceLock::new()).collect());
        Ok(&chunk[number % Self::CHUNK])
    }
}

/// CUDA 12.3: the first driver whose graphs have programmatic edges.
const DEPENDENT_LAUNCHES_DRIVER: i32 = 12030;

// SAFETY: CUDA handles may be used from any thread; the maps have their locks.
unsafe impl Send for CudaBackend {}
unsafe impl Sync for CudaBackend {}

/// Number of CUDA devices, 0 without a driver.
pub(crate) fn device_count() -> i32 {
    let mut count = 0;
    if open().is_err() {
        return 0;
    }
    match check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&mut count) }) {
        Ok(()) => count,
        Err(_) => 0,
    }
}

impl CudaBackend {
    pub fn new(ordinal: i32) -> Result<CudaBackend> {
        if images::files().is_empty() {
            return Err(Error::new(
                REFLEX_NOT_BUILT,
                concat!(
                    "this library was built without CUDA kernels (",
                    env!("REFLEX_NO_KERNELS"),
                    ")"
                ),
            ));
        }
        open()?;
        let count = device_count();
        if count == 0 {
            return Err(Error::new(REFLEX_NO_DRIVER, "the driver sees no CUDA device"));
        }
        if ordinal >= count {
            return Err(Error::new(
                REFLEX_INVALID_ARGUMENT,
                format!("device is {ordinal}, expected 0 to {}", count - 1),
            ));
        }
        let mut device = 0;
        check("cuDeviceGet", unsafe { sys::cuDeviceGet(&mut device, ordinal) })?;
        let limits = limits(device)?;
        let name = name(device)?;
        let mut total = 0;
        check("cuDeviceTotalMem", unsafe {
            sys::cuDeviceTotalMem_v2(&mut total, device)
        })?;
        if limits.sm < OLDEST_SM || images::files().iter().any(|f| images::best(f, limits.sm).is_none()) {
            return Err(Error::new(
                REFLEX_UNSUPPORTED_DEVICE,
                format!(
                    "{name} is sm_{}, this library has kernels for {} (sm_{OLDEST_SM} is the oldest supported)",
                    limits.sm,
                    env!("REFLEX_BUILT_ARCHS")
                ),
            ));
        }
        let mut primary = std::ptr::null_mut();
        check("cuDevicePrimaryCtxRetain", unsafe {
            sys::cuDevicePrimaryCtxRetain(&mut primary, device)
        })?;
        Ok(CudaBackend {
            device,
            primary,
            limits,
            device_limits: limits,
            name,
            total_memory: total as u64,
            libraries: Mutex::default(),
            kernels: LoadedKernels::default(),
            board: None,
            dependent_launches: driver_version().is_some_and(|version| version >= DEPENDENT_LAUNCHES_DRIVER),
        })
    }

    /// Kernels planned for this many of the SMs, 0 for all.
    pub fn planned_for(mut self, sm_count: u32) -> Result<CudaBackend> {
        let all = self.device_limits.sm_count;
        if sm_count > all {
            return Err(Error::invalid(format!(
                "sm_count is {sm_count}, expected 0 to {all}, which {} has",
                self.name
            )));
        }
        if sm_count > 0 {
            self.limits.sm_count = sm_count;
        }
        Ok(self)
    }

    /// The board's limits and occupancy in place of the device's.
    pub fn emulating(mut self, board: &'static Board) -> Result<CudaBackend> {
        let device = self.device_limits.sm;
        let missing = |file: &&str| images::best_up_to(file, device, board.sm).is_none();
        if let Some(file) = images::files().into_iter().find(|file| missing(file)) {
            return Err(Error::new(
                REFLEX_UNSUPPORTED_DEVICE,
                format!(
                    "REFLEX_AS is {}, and kernel file {file} has no PTX for SM {} or older that runs on sm_{device} (this library has kernels for {}, expected {}-virtual)",
                    board.name,
                    board.sm,
                    env!("REFLEX_BUILT_ARCHS"),
                    board.sm
                ),
            ));
        }
        if board.sm_count > self.device_limits.sm_count {
            return Err(Error::invalid(format!(
                "REFLEX_AS is {}, which has {} SMs; {} has {}",
                board.name, board.sm_count, self.name, self.device_limits.sm_count
            )));
        }
        self.limits = board.limits(&self.device_limits);
        self.board = Some(board);
        Ok(self)
    }

    /// Calls planned with these numbers in the table of the device, or of the board.
    pub fn tuned(mut self, overrides: &Overrides) -> CudaBackend {
        self.limits.tuning = overrides.apply(&self.limits.tuning);
        self
    }

    /// What it is, and which kernels it runs: those of `norm` stand for all, as each file has the same images.
    pub fn description(&self) -> String {
        let image = self
            .image("norm")
            .map_or_else(|_| String::new(), |image| format!(", kernels for {}", image.target()));
        let board = self
            .board
            .map_or_else(String::new, |board| format!(", as {}", board.name));
        format!("{} (sm_{}){image}{board}", self.name, self.device_limits.sm)
    }

    /// `0000:65:00.0` for example: what tells the device to NVML.
    pub fn pci_bus_id(&self) -> Option<String> {
        let mut bytes = [0u8; 32];
        check("cuDeviceGetPCIBusId", unsafe {
            sys::cuDeviceGetPCIBusId(bytes.as_mut_ptr().cast(), bytes.len() as i32, self.device)
        })
        .ok()?;
        let text = CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok()?;
        (!text.is_empty()).then(|| text.to_string())
    }

    /// `GPU-` and 32 hexadecimal digits in five groups, as NVML writes it.
    pub fn uuid(&self) -> Option<String> {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        check("cuDeviceGetUuid", unsafe {
            sys::cuDeviceGetUuid(&mut uuid, self.device)
        })
        .ok()?;
        let hex: String = uuid.bytes.iter().map(|&byte| format!("{:02x}", byte as u8)).collect();
        let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Some(format!("GPU-{}", groups.join("-")))
    }

    pub fn preload(&self) -> Result<()> {
        images::files()
            .into_iter()
            .try_for_each(|file| self.library(file).map(drop))
    }

    /// The loaded kernel. The first use of a kernel file loads it, also inside a capture.
    pub(super) fn kernel(&self, kernel: &'static Kernel) -> Result<LoadedKernel> {
        let slot = self.kernels.slot(kernel.number())?;
        match slot.get() {
            Some(&loaded) => Ok(loaded),
            // Of two threads that come at the same time both get the same.
            None => self.load(kernel).map(|loaded| *slot.get_or_init(|| loaded)),
        }
    }

    fn load(&self, kernel: &'static Kernel) -> Result<LoadedKernel> {
        let library = self.library(kernel.file)?;
        let mut handle = std::ptr::null_mut();
        check(&format!("cuLibraryGetKernel({})", kernel.name()), unsafe {
            sys::cuLibraryGetKernel(&mut handle, library, kernel.symbol.as_ptr())
        })?;
        if kernel.large_shared || self.board.is_some() {
            self.allow_all_shared_memory(kernel, handle)?;
        }
        let emulated = self
            .board
            .map(|board| self.emulated(board, kernel, handle))
            .transpose()?;
        let image = self.image(kernel.file)?;
        Ok(LoadedKernel {
            // A CUkernel may be launched as a CUfunction: it runs in the context of the stream.
            function: handle.cast(),
            dependent: kernel.dependent && self.dependent_launches && image.waits_for_earlier_launches(),
            sm: image.sm,
            most_cluster: match kernel.clusters && image.has_clusters() {
                true => self.most_cluster(kernel, handle)?,
                false => 1,
            },
            emulated,
        })
    }

    fn attribute(&self, kernel: &Kernel, handle: sys::CUkernel, which: sys::CUfunction_attribute) -> Result<u32> {
        let mut value = 0;
        check(&format!("cuKernelGetAttribute({})", kernel.name()), unsafe {
            sys::cuKernelGetAttribute(&mut value, which, handle, self.device)
        })?;
        Ok(value.max(0) as u32)
    }

    fn emulated(&self, board: &'static Board, kernel: &Kernel, handle: sys::CUkernel) -> Result<Emulated> {
        use sys::CUfunction_attribute as Attribute;
        Ok(Emulated {
            board,
            registers: self.attribute(kernel, handle, Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            declared: self.attribute(kernel, handle, Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
        })
    }

    /// What a launch gives a kernel comes on top of what the kernel declares.
    fn allow_all_shared_memory(&self, kernel: &Kernel, handle: sys::CUkernel) -> Result<()> {
        let shared = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
        let declared = self.attribute(kernel, handle, shared)?;
        check(&format!("cuKernelSetAttribute({})", kernel.name()), unsafe {
            sys::cuKernelSetAttribute(
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                (self.device_limits.shared_per_block - declared) as i32,
                handle,
                self.device,
            )
        })
    }

    /// Sixteen blocks in a cluster where the device has room for such, else eight, which every device with clusters has.
    fn most_cluster(&self, kernel: &Kernel, handle: sys::CUkernel) -> Result<u32> {
        const PORTABLE: u32 = 8;
        const WIDE: u32 = 16;
        let _current = Current::push(self.primary)?;
        let wide = unsafe {
            sys::cuKernelSetAttribute(
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED,
                1,
                handle,
                self.device,
            )
        };
        if check(kernel.name(), wide).is_err() {
            return Ok(PORTABLE);
        }
        let mut attribute = cluster_attribute(WIDE);
        let config = sys::CUlaunchConfig {
            gridDimX: WIDE,
            gridDimY: 1,
            gridDimZ: 1,
            blockDimX: 128,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: std::ptr::null_mut(),
            attrs: &mut attribute,
            numAttrs: 1,
        };
        let mut clusters = 0;
        let counted = unsafe { sys::cuOccupancyMaxActiveClusters(&mut clusters, handle.cast(), &config) };
        match check(kernel.name(), counted) {
            Ok(()) if clusters > 0 => Ok(WIDE),
            _ => Ok(PORTABLE),
        }
    }

    fn image(&self, file: &str) -> Result<&'static KernelImage> {
        let newest = self.board.map_or(u32::MAX, |board| board.sm);
        images::best_up_to(file, self.device_limits.sm, newest)
            .ok_or_else(|| Error::new(REFLEX_INTERNAL, format!("no image of kernel file {file}")))
    }

    fn library(&self, file: &'static str) -> Result<CUlibrary> {
        let mut libraries = self.libraries.lock().unwrap();
        if let Some(&library) = libraries.get(file) {
            return Ok(library);
        }
        let image = self.image(file)?;
        let _relaxed = Relaxed::enter()?;
        let _current = Current::push(self.primary)?;
        // The driver makes its own copy.
        let code = image.inflate()?;
        let mut library = std::ptr::null_mut();
        check(
            &format!("cuLibraryLoadData({file}, sm_{}{})", image.sm, image.suffix),
            unsafe {
                sys::cuLibraryLoadData(
                    &mut library,
                    code.as_ptr().cast(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    0,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    0,
                )
            },
        )?;
        libraries.insert(file, library);
        Ok(library)
    }
}

impl Drop for CudaBackend {
    fn drop(&mut self) {
        let _relaxed = Relaxed::enter();
        for (_, library) in self.libraries.get_mut().unwrap().drain() {
            unsafe { sys::cuLibraryUnload(library) };
        }
        unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

fn name(device: sys::CUdevice) -> Result<String> {
    let mut bytes = [0u8; 256];
    check("cuDeviceGetName", unsafe {
        sys::cuDeviceGetName(bytes.as_mut_ptr().cast(), bytes.len() as i32 - 1, device)
    })?;
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(0);
    Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

fn limits(device: sys::CUdevice) -> Result<DeviceLimits> {
    let get = |attribute: Attribute| {
        let mut value = 0;
        check("cuDeviceGetAttribute", unsafe {
            sys::cuDeviceGetAttribute(&mut value, attribute, device)
        })
        .map(|()| value.max(0) as u32)
    };
    let major = get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let (sm, integrated) = (major * 10 + minor, get(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)? != 0);
    Ok(DeviceLimits {
        sm,
        sm_count: get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        // The images of one file stand for all, as each file has the same.
        wgmma: images::best("norm", sm).is_some_and(KernelImage::has_wgmma),
        shared_per_block: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        l2_bytes: get(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?,
        integrated,
        core_clock_khz: get(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
        memory_clock_khz: get(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
        memory_bus_bits: get(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
        tuning: *Tuning::of(sm, integrated),
    })
}
