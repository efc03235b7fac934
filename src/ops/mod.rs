//! The ops: one module each, with params, validation and plan, variant table and C exports.

pub(crate) mod activation;
pub(crate) mod add;
pub(crate) mod argmax;
pub(crate) mod attention;
pub(crate) mod attention_decode;
pub(crate) mod embedding;
pub(crate) mod matmul;
pub(crate) mod norm;
mod op;
mod operands;
pub(crate) mod panels;
pub(crate) mod quantize;
pub(crate) mod rope;
mod rows;
pub(crate) mod sample;
pub(crate) mod weights_pack;
mod workspace;

pub(crate) use op::Reference;

pub use activation::*;
pub use add::*;
pub use argmax::*;
pub use attention::*;
pub use attention_decode::*;
pub use embedding::*;
pub use matmul::*;
pub use norm::*;
pub use quantize::*;
pub use rope::*;
pub use sample::*;
pub use weights_pack::*;
