//! A call of `reflex_matmul`: its params and the products that they point to, wherever the two are moved.

use super::env::{ok, selected};
use super::parity::Io;
use reflex_infer::*;
use std::ops::{Deref, DerefMut};

/// The params come first, so that a test may take it for any op's params. `params.products` is set by each call to the library alone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MatmulCall {
    params: reflex_matmul_params,
    /// The first `product_count` of them count.
    pub products: [reflex_matmul_product; 3],
}

/// A weight of a format that has everything in `data`.
pub fn weight_of(data: reflex_tensor) -> reflex_weight {
    reflex_weight {
        data,
        ..Default::default()
    }
}

/// A product without bias and residual.
pub fn product_of(data: reflex_tensor, y: reflex_tensor) -> reflex_matmul_product {
    reflex_matmul_product {
        weight: weight_of(data),
        y,
        ..Default::default()
    }
}

impl MatmulCall {
    pub fn new(flags: u32, x: reflex_tensor, products: &[reflex_matmul_product]) -> MatmulCall {
        let mut call = MatmulCall::default();
        (call.flags, call.x) = (flags, x);
        products.iter().for_each(|product| call.push(*product));
        call
    }

    pub fn push(&mut self, product: reflex_matmul_product) {
        self.products[self.params.product_count as usize] = product;
        self.params.product_count += 1;
    }

    /// What C would pass, as long as this call stays where it is.
    pub fn params(&self) -> reflex_matmul_params {
        reflex_matmul_params {
            products: self.products.as_ptr(),
            ..self.params
        }
    }

    pub extern "C" fn launch(
        context: *const reflex_context,
        call: *const MatmulCall,
        stream: reflex_stream,
    ) -> reflex_status {
        reflex_matmul(context, &unsafe { &*call }.params(), stream)
    }

    pub extern "C" fn supported(context: *const reflex_context, call: *const MatmulCall) -> reflex_status {
        reflex_matmul_supported(context, &unsafe { &*call }.params())
    }

    pub extern "C" fn workspace_size(
        context: *const reflex_context,
        call: *const MatmulCall,
        bytes: *mut usize,
    ) -> reflex_status {
        reflex_matmul_workspace_size(context, &unsafe { &*call }.params(), bytes)
    }

    pub extern "C" fn selected_kernel(
        context: *const reflex_context,
        call: *const MatmulCall,
        name: *mut *const std::ffi::c_char,
    ) -> reflex_status {
        reflex_matmul_selected_kernel(context, &unsafe { &*call }.params(), name)
    }

    /// The kernel that would be launched.
    pub fn selected(&self, env: &super::env::Env) -> String {
        selected(env, reflex_matmul_selected_kernel, &self.params())
    }

    /// The same with a workspace of the size that it asks for.
    pub fn with_workspace(mut self, io: &Io) -> MatmulCall {
        let mut bytes = 0;
        ok(MatmulCall::workspace_size(io.env.context, &self, &mut bytes));
        (self.workspace, self.workspace_size) = (io.workspace(bytes), bytes);
        self
    }
}

impl Default for MatmulCall {
    fn default() -> MatmulCall {
        MatmulCall {
            params: reflex_matmul_params {
                struct_size: size_of::<reflex_matmul_params>() as u32,
                product_size: size_of::<reflex_matmul_product>() as u32,
                ..Default::default()
            },
            products: Default::default(),
        }
    }
}

impl Deref for MatmulCall {
    type Target = reflex_matmul_params;
    fn deref(&self) -> &reflex_matmul_params {
        &self.params
    }
}

impl DerefMut for MatmulCall {
    fn deref_mut(&mut self) -> &mut reflex_matmul_params {
        &mut self.params
    }
}
