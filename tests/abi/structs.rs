// Every struct and constant of the C interface, by `./dev header`; do not edit.

structs! {
    reflex_tensor {
        data, dtype, rank, shape, stride
    }
    reflex_weight {
        data, scales, zeros, global_scale, order, group_size, reserved
    }
    reflex_kv_cache {
        struct_size, flags, k, v, k_scale, v_scale, block_table, lengths
    }
    reflex_build_info {
        version, cuda_archs, nvrtc_version, target, no_kernels
    }
    reflex_context_params {
        struct_size, backend, device, cpu_threads, sm_count, reserved
    }
    reflex_device_info {
        struct_size, backend, name, sm, sm_count, integrated, shared_memory_per_block, l2_bytes, total_memory,
        core_clock_khz, memory_clock_khz, memory_bus_bits, reserved
    }
    reflex_hardware_profile {
        struct_size, device_class, name, sm, sm_count, integrated, memory_bus_bits, memory_bytes, memory_bandwidth,
        memory_bandwidth_super
    }
    reflex_telemetry {
        struct_size, throttle, power_mode, cuda_driver, power_w, gpu_power_w, power_limit_w, gpu_clock_mhz,
        gpu_clock_limit_mhz, cpu_clock_mhz, cpu_clock_limit_mhz, memory_clock_mhz, memory_clock_limit_mhz,
        gpu_temperature_c, cpu_temperature_c, memory_temperature_c, hottest_c, gpu_utilization, memory_utilization,
        reserved, memory_total, memory_used, memory_free, over_current_events, energy_counter_j, power_rail, gpu_rail,
        power_mode_name, l4t_version, jetpack_version, driver_version
    }
    reflex_kv_budget_params {
        struct_size, flags, layers, kv_heads, k_head_dim, v_head_dim, k_dtype, v_dtype, k_scale_bytes, v_scale_bytes,
        page_size, reserved, sequences, tokens, bytes
    }
    reflex_kv_sizes {
        struct_size, reserved, token_bytes, page_bytes, tokens, pages, k_layer_bytes, v_layer_bytes, bytes, fit_tokens
    }
    reflex_memory_budget_params {
        struct_size, reserved, free_bytes, reserve_bytes, model_bytes, scratch_bytes, cache
    }
    reflex_memory_fit {
        struct_size, reserved, needed_bytes, shortage_bytes, left_bytes, cache_bytes, cache_room_bytes, fit_tokens
    }
    reflex_energy {
        struct_size, source, joules, gpu_joules, seconds, mean_power_w, max_power_w, samples, throttle, hottest_c
    }
    reflex_activation_params {
        struct_size, kind, gate, up, y
    }
    reflex_add_params {
        struct_size, scale, a, b, y
    }
    reflex_argmax_params {
        struct_size, reserved, x, ids, counters, workspace, workspace_size
    }
    reflex_attention_params {
        struct_size, mask, scale, reserved, q, cache, y
    }
    reflex_rope_params {
        struct_size, mode, theta_base, freq_scale, magnitude, rotary_dim, q, k, v, q_out, k_out, positions,
        freq_factors, cache, slots, q_norm, k_norm, norm_epsilon, reserved
    }
    reflex_attention_decode_params {
        struct_size, scale, q, cache, y, workspace, workspace_size, mode, theta_base, freq_scale, magnitude, rotary_dim,
        norm_epsilon, k_new, v_new, positions, freq_factors, q_norm, k_norm
    }
    reflex_attention_merge_params {
        struct_size, reserved, a, a_lse, b, b_lse, y, y_lse
    }
    reflex_embedding_params {
        struct_size, scale, table, ids, y
    }
    reflex_matmul_product {
        weight, bias, residual, y, expert_ids
    }
    reflex_matmul_params {
        struct_size, flags, x, products, product_count, product_size, workspace, workspace_size, activation, reserved,
        norm, norm_epsilon, reserved2, x_squares, y_norm, y_normed, y_squares
    }
    reflex_norm_params {
        struct_size, epsilon, x, residual, residual_out, weight, y
    }
    reflex_quantize_params {
        struct_size, reserved, x, y
    }
    reflex_sample_params {
        struct_size, temperature, top_k, top_p, min_p, reserved, seed, logits, steps, ids, counters, workspace,
        workspace_size, seeds, temperatures, top_ks, top_ps, min_ps, row_keys
    }
    reflex_softcap_params {
        struct_size, cap, x, y
    }
    reflex_softmax_params {
        struct_size, flags, scale, reserved, x, mask, y
    }
    reflex_weights_pack_params {
        struct_size, reserved, source, destination, workspace, workspace_size
    }
    reflex_weights_unpack_params {
        struct_size, reserved, source, destination, workspace, workspace_size
    }
}

constants! {
    REFLEX_SUCCESS.0;
    REFLEX_INVALID_ARGUMENT.0;
    REFLEX_UNSUPPORTED.0;
    REFLEX_UNSUPPORTED_DEVICE.0;
    REFLEX_WORKSPACE_TOO_SMALL.0;
    REFLEX_MISALIGNED.0;
    REFLEX_ABI_MISMATCH.0;
    REFLEX_NO_DRIVER.0;
    REFLEX_NOT_BUILT.0;
    REFLEX_CUDA_ERROR.0;
    REFLEX_OUT_OF_MEMORY.0;
    REFLEX_INTERNAL.0;
    REFLEX_DTYPE_NONE.0;
    REFLEX_DTYPE_F32.0;
    REFLEX_DTYPE_F16.0;
    REFLEX_DTYPE_BF16.0;
    REFLEX_DTYPE_I32.0;
    REFLEX_DTYPE_ACT_I8.0;
    REFLEX_DTYPE_Q4_0.0;
    REFLEX_DTYPE_Q4_1.0;
    REFLEX_DTYPE_Q5_0.0;
    REFLEX_DTYPE_Q5_1.0;
    REFLEX_DTYPE_Q8_0.0;
    REFLEX_DTYPE_Q2_K.0;
    REFLEX_DTYPE_Q3_K.0;
    REFLEX_DTYPE_Q4_K.0;
    REFLEX_DTYPE_Q5_K.0;
    REFLEX_DTYPE_Q6_K.0;
    REFLEX_DTYPE_IQ4_NL.0;
    REFLEX_DTYPE_IQ4_XS.0;
    REFLEX_DTYPE_TQ2_0.0;
    REFLEX_DTYPE_MXFP4.0;
    REFLEX_DTYPE_PACKED.0;
    REFLEX_BACKEND_AUTO.0;
    REFLEX_BACKEND_CUDA.0;
    REFLEX_BACKEND_CPU.0;
    REFLEX_DEVICE_CLASS_UNKNOWN.0;
    REFLEX_DEVICE_CLASS_CPU.0;
    REFLEX_DEVICE_CLASS_RTX.0;
    REFLEX_DEVICE_CLASS_DATA_CENTER.0;
    REFLEX_DEVICE_CLASS_ORIN_NANO_4GB.0;
    REFLEX_DEVICE_CLASS_ORIN_NANO_8GB.0;
    REFLEX_DEVICE_CLASS_ORIN_NX_8GB.0;
    REFLEX_DEVICE_CLASS_ORIN_NX_16GB.0;
    REFLEX_DEVICE_CLASS_AGX_ORIN_32GB.0;
    REFLEX_DEVICE_CLASS_AGX_ORIN_64GB.0;
    REFLEX_DEVICE_CLASS_THOR_T4000.0;
    REFLEX_DEVICE_CLASS_THOR_T5000.0;
    REFLEX_DEVICE_CLASS_SPARK.0;
    REFLEX_THROTTLE_IDLE;
    REFLEX_THROTTLE_CLOCK_SETTING;
    REFLEX_THROTTLE_POWER_CAP;
    REFLEX_THROTTLE_HARDWARE;
    REFLEX_THROTTLE_SYNC_BOOST;
    REFLEX_THROTTLE_THERMAL;
    REFLEX_THROTTLE_HARDWARE_THERMAL;
    REFLEX_THROTTLE_POWER_BRAKE;
    REFLEX_THROTTLE_OVER_CURRENT;
    REFLEX_THROTTLE_UNKNOWN;
    REFLEX_KV_BUDGET_V_IN_K;
    REFLEX_ENERGY_SOURCE_NONE.0;
    REFLEX_ENERGY_SOURCE_SAMPLES.0;
    REFLEX_ENERGY_SOURCE_COUNTER.0;
    REFLEX_ACTIVATION_SILU.0;
    REFLEX_ACTIVATION_GELU_TANH.0;
    REFLEX_ACTIVATION_GELU_ERF.0;
    REFLEX_ATTENTION_CAUSAL.0;
    REFLEX_ATTENTION_FULL.0;
    REFLEX_ROPE_NEOX.0;
    REFLEX_ROPE_INTERLEAVED.0;
    REFLEX_MATMUL_BATCH_INVARIANT;
    REFLEX_MATMUL_INT8;
    REFLEX_MATMUL_CONSTANT_WEIGHTS;
    REFLEX_MATMUL_GATED;
    REFLEX_SOFTMAX_LOG;
    REFLEX_SOFTMAX_CAUSAL;
}
