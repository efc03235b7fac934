//! Every op of the library, once. Whatever has to know all ops takes them from here: modules, re-exports, tests,
//! `REFLEX_IMPL`.

/// Calls the macro `$then` with the ops by module: the name, type and params of each, and its functions, which are run,
/// supported, selected_kernel and, where its params have a workspace, workspace_size.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_op {
    ($then:ident) => {
        $then! {
            activation {
                activation(Activation, reflex_activation_params): reflex_activation, reflex_activation_supported, reflex_activation_selected_kernel;
            }
            add {
                add(Add, reflex_add_params): reflex_add, reflex_add_supported, reflex_add_selected_kernel;
            }
            argmax {
                argmax(Argmax, reflex_argmax_params): reflex_argmax, reflex_argmax_supported, reflex_argmax_selected_kernel, reflex_argmax_workspace_size;
            }
            attention {
                attention(Attention, reflex_attention_params): reflex_attention, reflex_attention_supported, reflex_attention_selected_kernel;
            }
            attention_decode {
                attention_decode(AttentionDecode, reflex_attention_decode_params): reflex_attention_decode, reflex_attention_decode_supported, reflex_attention_decode_selected_kernel, reflex_attention_decode_workspace_size;
            }
            attention_merge {
                attention_merge(AttentionMerge, reflex_attention_merge_params): reflex_attention_merge, reflex_attention_merge_supported, reflex_attention_merge_selected_kernel;
            }
            embedding {
                embedding(Embedding, reflex_embedding_params): reflex_embedding, reflex_embedding_supported, reflex_embedding_selected_kernel;
            }
            matmul {
                matmul(Matmul, reflex_matmul_params): reflex_matmul, reflex_matmul_supported, reflex_matmul_selected_kernel, reflex_matmul_workspace_size;
            }
            norm {
                norm(Norm, reflex_norm_params): reflex_norm, reflex_norm_supported, reflex_norm_selected_kernel;
            }
            quantize {
                quantize(Quantize, reflex_quantize_params): reflex_quantize, reflex_quantize_supported, reflex_quantize_selected_kernel;
            }
            rope {
                rope(Rope, reflex_rope_params): reflex_rope, reflex_rope_supported, reflex_rope_selected_kernel;
            }
            sample {
                sample(Sample, reflex_sample_params): reflex_sample, reflex_sample_supported, reflex_sample_selected_kernel, reflex_sample_workspace_size;
            }
            softcap {
                softcap(Softcap, reflex_softcap_params): reflex_softcap, reflex_softcap_supported, reflex_softcap_selected_kernel;
            }
            softmax {
                softmax(Softmax, reflex_softmax_params): reflex_softmax, reflex_softmax_supported, reflex_softmax_selected_kernel;
            }
            weights_pack {
                weights_pack(WeightsPack, reflex_weights_pack_params): reflex_weights_pack, reflex_weights_pack_supported, reflex_weights_pack_selected_kernel, reflex_weights_pack_workspace_size;
                weights_unpack(WeightsUnpack, reflex_weights_unpack_params): reflex_weights_unpack, reflex_weights_unpack_supported, reflex_weights_unpack_selected_kernel, reflex_weights_unpack_workspace_size;
            }
        }
    };
}

macro_rules! names {
    ($($module:ident { $($op:ident($($of:ident),+): $($function:ident),+;)+ })+) => {
        &[$($(stringify!($op)),+),+]
    };
}

/// All ops, in the order of their names.
pub(super) const NAMES: &[&str] = for_each_op!(names);
