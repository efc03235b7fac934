//! A call of an op that takes a cache: its params and the cache that they point to, wherever the two are moved; and caches in pages.

use super::buffer::{Spec, encode_ints};
use super::calls::{Launcher, Supported, WorkspaceSize};
use super::env::SelectedKernel;
use super::parity::Io;
use super::random::Random;
use reflex_infer::*;
use std::ops::{Deref, DerefMut};

/// Params with a cache, and their op.
pub trait TakesCache: Copy + Default + 'static {
    const LAUNCH: Launcher<Self>;
    const SUPPORTED: Supported<Self>;
    const SELECTED_KERNEL: SelectedKernel<Self>;
    const WORKSPACE_SIZE: Option<WorkspaceSize<Self>>;

    /// Size and cache.
    fn point_to(&mut self, cache: *const reflex_kv_cache);
}

macro_rules! takes_cache {
    ($params:ident, $launch:ident, $supported:ident, $selected:ident, $size:expr) => {
        impl TakesCache for $params {
            const LAUNCH: Launcher<Self> = $launch;
            const SUPPORTED: Supported<Self> = $supported;
            const SELECTED_KERNEL: SelectedKernel<Self> = $selected;
            const WORKSPACE_SIZE: Option<WorkspaceSize<Self>> = $size;

            fn point_to(&mut self, cache: *const reflex_kv_cache) {
                (self.struct_size, self.cache) = (size_of::<$params>() as u32, cache);
            }
        }
    };
}
takes_cache!(
    reflex_attention_params,
    reflex_attention,
    reflex_attention_supported,
    reflex_attention_selected_kernel,
    None
);
takes_cache!(
    reflex_attention_decode_params,
    reflex_attention_decode,
    reflex_attention_decode_supported,
    reflex_attention_decode_selected_kernel,
    Some(reflex_attention_decode_workspace_size)
);
takes_cache!(
    reflex_rope_params,
    reflex_rope,
    reflex_rope_supported,
    reflex_rope_selected_kernel,
    None
);

/// The params come first, so that a test may take it for any op's params. Their pointer is set by each call to the library alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Cached<P> {
    params: P,
    /// Without a `struct_size` the params have a NULL.
    pub cache: reflex_kv_cache,
}

pub type AttentionCall = Cached<reflex_attention_params>;
pub type DecodeCall = Cached<reflex_attention_decode_params>;
pub type RopeCall = Cached<reflex_rope_params>;

/// A contiguous cache.
pub fn kv_cache(k: reflex_tensor, v: reflex_tensor, lengths: reflex_tensor) -> reflex_kv_cache {
    reflex_kv_cache {
        struct_size: size_of::<reflex_kv_cache>() as u32,
        k,
        v,
        lengths,
        ..Default::default()
    }
}

impl<P: TakesCache> Cached<P> {
    pub fn new(params: P, cache: reflex_kv_cache) -> Cached<P> {
        Cached { params, cache }
    }

    /// What C would pass, as long as this call stays where it is.
    pub fn params(&self) -> P {
        let mut params = self.params;
        params.point_to(match self.cache.struct_size {
            0 => std::ptr::null(),
            _ => &self.cache,
        });
        params
    }

    pub extern "C" fn launch(
        context: *const reflex_context,
        call: *const Cached<P>,
        stream: reflex_stream,
    ) -> reflex_status {
        P::LAUNCH(context, &unsafe { &*call }.params(), stream)
    }

    pub extern "C" fn supported(context: *const reflex_context, call: *const Cached<P>) -> reflex_status {
        P::SUPPORTED(context, &unsafe { &*call }.params())
    }

    pub extern "C" fn selected_kernel(
        context: *const reflex_context,
        call: *const Cached<P>,
        name: *mut *const std::ffi::c_char,
    ) -> reflex_status {
        P::SELECTED_KERNEL(context, &unsafe { &*call }.params(), name)
    }

    pub extern "C" fn workspace_size(
        context: *const reflex_context,
        call: *const Cached<P>,
        bytes: *mut usize,
    ) -> reflex_status {
        let size = P::WORKSPACE_SIZE.expect("an op with a workspace");
        size(context, &unsafe { &*call }.params(), bytes)
    }
}

impl<P> Deref for Cached<P> {
    type Target = P;
    fn deref(&self) -> &P {
        &self.params
    }
}

impl<P> DerefMut for Cached<P> {
    fn deref_mut(&mut self) -> &mut P {
        &mut self.params
    }
}

/// The pages of a batch's sequences: in no order, with some that are nobody's between them.
#[derive(Clone, Debug)]
pub struct Pages {
    pub size: usize,
    /// Those of the pool.
    pub count: usize,
    batch: usize,
    /// Entries of a sequence.
    max: usize,
    pub table: Vec<i32>,
}

impl Pages {
    /// For sequences of these numbers of keys, in caches of `capacity`, a multiple of `size`. Entries behind the last page of a sequence
    /// are of no page.
    pub fn new(size: usize, capacity: usize, lengths: &[usize]) -> Pages {
        assert_eq!(capacity % size, 0, "a capacity of {capacity} with pages of {size}");
        let (max, spare) = (capacity / size, 3);
        let used = |length: &usize| length.div_ceil(size);
        let count = lengths.iter().map(used).sum::<usize>() + spare;
        let mut free: Vec<i32> = (0..count as i32).collect();
        let mut random = Random::new(count as u64);
        for i in (1..count).rev() {
            free.swap(i, random.below(i as u64 + 1) as usize);
        }
        let nobody = [-1, count as i32, i32::MIN, i32::MAX];
        let table = lengths.iter().flat_map(|length| {
            let own = free.split_off(free.len() - used(length));
            let rest = (own.len()..max).map(|i| nobody[i % nobody.len()]);
            own.into_iter().chain(rest).collect::<Vec<i32>>()
        });
        let table = table.collect();
        Pages {
            size,
            count,
            batch: lengths.len(),
            max,
            table,
        }
    }

    pub fn block_table(&self, io: &Io) -> reflex_tensor {
        let spec = Spec::new(REFLEX_DTYPE_I32, &[self.batch as i64, self.max as i64]);
        io.input_bytes(spec, &encode_ints(&self.table))
    }

    /// The slot of key `j` of sequence `b`, which has one.
    pub fn slot(&self, b: usize, j: usize) -> i32 {
        self.table[b * self.max + j / self.size] * self.size as i32 + (j % self.size) as i32
    }

    /// Every page that a sequence has: its place in a contiguous cache, counted in pages, and the page.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let pages = self.table.iter().enumerate();
        pages
            .filter(|(_, page)| (0..self.count as i32).contains(page))
            .map(|(place, &page)| (place, page as usize))
    }

    /// What a contiguous cache holds, `row` things a key, as a pool of pages. `rest` is in those that are nobody's.
    pub fn pool<T: Copy>(&self, contiguous: &[T], row: usize, rest: T) -> Vec<T> {
        let page_size = self.size * row;
        let mut pool = vec![rest; self.count * page_size];
        for (place, page) in self.places() {
            pool[page * page_size..][..page_size].copy_from_slice(&contiguous[place * page_size..][..page_size]);
        }
        pool
    }

    /// Whether each page that a sequence has is the same in both.
    pub fn agree(&self, pool: &[u8], contiguous: &[u8]) -> bool {
        let page_size = pool.len() / self.count;
        self.places()
            .all(|(place, page)| pool[page * page_size..][..page_size] == contiguous[place * page_size..][..page_size])
    }
}
