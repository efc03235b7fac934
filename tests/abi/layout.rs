//! Structs have the same layout in Rust, C and C++, and the header compiles alone in both, without a warning.

use crate::{exports, paths};
use reflex_infer::*;
use std::mem::offset_of;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Size and field offsets of a struct, as assertions in C.
macro_rules! layout {
    ($text:ident, $($name:ident { $($field:ident),* $(,)? })*) => {
        $(
            $text.push_str(&format!("CHECK(sizeof({0}) == {1}, \"{0}\");\n", stringify!($name), size_of::<$name>()));
            $(
                $text.push_str(&format!(
                    "CHECK(offsetof({0}, {1}) == {2}, \"{0}.{1}\");\n",
                    stringify!($name), stringify!($field), offset_of!($name, $field)
                ));
            )*
        )*
        const STRUCTS: &[&str] = &[$(stringify!($name)),*];
    };
}

fn assertions() -> String {
    let mut text = String::new();
    layout! { text,
        reflex_tensor { data, dtype, rank, shape, stride }
        reflex_context_params { struct_size, backend, device, cpu_threads, sm_count, reserved }
        reflex_build_info { version, cuda_archs, nvrtc_version, target, no_kernels }
        reflex_device_info {
            struct_size, backend, name, sm, sm_count, integrated, shared_memory_per_block, l2_bytes, total_memory,
            core_clock_khz, memory_clock_khz, memory_bus_bits, reserved,
        }
        reflex_hardware_profile {
            struct_size, device_class, name, sm, sm_count, integrated, memory_bus_bits, memory_bytes, memory_bandwidth,
            memory_bandwidth_super,
        }
        reflex_telemetry {
            struct_size, throttle, power_mode, cuda_driver, power_w, gpu_power_w, power_limit_w, gpu_clock_mhz,
            gpu_clock_limit_mhz, cpu_clock_mhz, cpu_clock_limit_mhz, memory_clock_mhz, memory_clock_limit_mhz,
            gpu_temperature_c, cpu_temperature_c, memory_temperature_c, hottest_c, gpu_utilization, memory_utilization,
            reserved, memory_total, memory_used, memory_free, over_current_events, energy_counter_j, power_rail, gpu_rail,
            power_mode_name, l4t_version, jetpack_version, driver_version,
        }
        reflex_energy {
            struct_size, source, joules, gpu_joules, seconds, mean_power_w, max_power_w, samples, throttle, hottest_c,
        }
        reflex_activation_params { struct_size, kind, gate, up, y }
        reflex_add_params { struct_size, scale, a, b, y }
        reflex_argmax_params { struct_size, reserved, x, ids, counters, workspace, workspace_size }
        reflex_attention_params { struct_size, mask, scale, reserved, q, k, v, kv_lengths, y }
        reflex_attention_decode_params {
            struct_size, scale, q, k, v, kv_lengths, y, workspace, workspace_size, mode, theta_base, freq_scale,
            magnitude, rotary_dim, norm_epsilon, k_new, v_new, positions, freq_factors, q_norm, k_norm,
        }
        reflex_embedding_params { struct_size, scale, table, ids, y }
        reflex_weight { data, scales, zeros, global_scale, order, group_size, reserved }
        reflex_matmul_product { weight, bias, residual, y, expert_ids }
        reflex_matmul_params {
            struct_size, flags, x, products, product_count, product_size, workspace, workspace_size, activation, reserved,
            norm, norm_epsilon, reserved2, x_squares, y_norm, y_normed, y_squares,
        }
        reflex_norm_params { struct_size, epsilon, x, residual, residual_out, weight, y }
        reflex_quantize_params { struct_size, reserved, x, y }
        reflex_rope_params {
            struct_size, mode, theta_base, freq_scale, magnitude, rotary_dim, q, k, v, q_out, k_out, positions,
            freq_factors, k_cache, v_cache, slots, q_norm, k_norm, norm_epsilon, reserved,
        }
        reflex_sample_params {
            struct_size, temperature, top_k, top_p, min_p, reserved, seed, logits, steps, ids, counters, workspace,
            workspace_size, seeds, temperatures, top_ks, top_ps, min_ps, row_keys,
        }
        reflex_weights_pack_params { struct_size, reserved, source, destination, workspace, workspace_size }
        reflex_weights_unpack_params { struct_size, reserved, source, destination, workspace, workspace_size }
    }
    let header = std::fs::read_to_string(paths::header()).expect("the header");
    let mut in_header: Vec<&str> = header
        .lines()
        .filter_map(|line| line.strip_prefix("typedef struct ")?.strip_suffix(" {"))
        .collect();
    let mut tested = STRUCTS.to_vec();
    in_header.sort_unstable();
    tested.sort_unstable();
    assert_eq!(tested, in_header, "structs tested here (left) and in the header");
    text
}

/// Compiles `include` of a header, twice, and `body` behind it.
fn compile(language: &str, standard: &str, header: &str, body: &str) {
    // Twice: the include guard works.
    let include = format!("#include <reflex/{header}>\n");
    compile_text(language, standard, &[], &format!("{include}{include}{body}\n"));
}

/// Compiles a text as a user of the headers would, at the strictest warnings, as errors.
pub fn compile_text(language: &str, standard: &str, options: &[&str], text: &str) {
    // Tests run at the same time, some with the same standard.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("reflex-abi-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let file = dir.join(if language == "c" { "layout.c" } else { "layout.cpp" });
    std::fs::write(&file, text).expect("write");
    let output = Command::new(if language == "c" { "cc" } else { "c++" })
        .args([
            &format!("-std={standard}"),
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-fsyntax-only",
            "-I",
        ])
        .arg(paths::root().join("include"))
        .args(options)
        .arg(&file)
        .output()
        .expect("a C compiler");
    let _ = std::fs::remove_dir_all(&dir);
    assert!(
        output.status.success(),
        "{standard}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn layouts_are_equal_in_c_and_cpp() {
    let checks = assertions();
    compile(
        "c",
        "c11",
        "infer.h",
        &format!("#define CHECK _Static_assert\n{checks}"),
    );
    compile(
        "cpp",
        "c++17",
        "infer.h",
        &format!("#define CHECK static_assert\n{checks}"),
    );
}

#[test]
fn headers_compile_alone() {
    compile("c", "c99", "infer.h", "");
    compile("cpp", "c++11", "infer.h", "");
    compile("cpp", "c++17", "infer.hpp", "");
    compile("cpp", "c++20", "infer.hpp", "");
    for standard in ["c++17", "c++20"] {
        let text = "#include <reflex/infer.hpp>\n";
        compile_text("cpp", standard, &["-fno-exceptions", "-fno-rtti"], text);
    }
}

/// With exceptions and without: of any array of products, but none that is gone before the call.
#[test]
fn cpp_code_can_set_products() {
    let text = r#"
        #include <reflex/infer.hpp>
        #include <type_traits>

        void set(reflex_matmul_params &p, const reflex_matmul_product *some) {
            reflex_matmul_product two[2] = {};
            reflex::matmul_product three[3];
            two[0].weight = three[2].weight = reflex::weight(reflex_tensor{});
            reflex::set_products(p, two);
            reflex::set_products(p, three);
            reflex::set_products(p, three, 1);
            reflex::set_products(p, some, 2);
        }

        template <typename Products, typename = void> struct takes : std::false_type {};
        template <typename Products>
        struct takes<Products, decltype(reflex::set_products(std::declval<reflex_matmul_params &>(), std::declval<Products>()))>
            : std::true_type {};
        static_assert(takes<reflex_matmul_product (&)[2]>::value, "an array");
        static_assert(takes<const reflex::matmul_product (&)[1]>::value, "of zeroed products");
        static_assert(!takes<reflex_matmul_product (&&)[2]>::value, "a temporary");
        static_assert(sizeof(reflex::matmul_product) == sizeof(reflex_matmul_product), "the same stride");
    "#;
    for options in [&[][..], &["-fno-exceptions", "-fno-rtti"]] {
        compile_text("cpp", "c++17", options, text);
    }
}

/// Initialisers, and every function has an address.
#[test]
fn c_code_can_name_everything() {
    let names: Vec<String> = exports::declared().into_iter().collect();
    let addresses: String = names.iter().map(|n| format!("    (any_function){n},\n")).collect();
    let header = std::fs::read_to_string(paths::header()).expect("the header");
    let values: String = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once("_INIT {"))
        .enumerate()
        .map(|(i, (name, _))| {
            format!("{0} value_{i} = {name}_INIT;\nint check_{i}(void) {{ return value_{i}.struct_size == sizeof({0}); }}\n", name.to_lowercase())
        })
        .collect();
    assert!(values.contains("reflex_norm_params value_"));
    let body = format!(
        "typedef void (*any_function)(void);\nany_function all[];\n{values}\nany_function all[] = {{\n{addresses}}};"
    );
    // Casting a function's type is what -Wextra's cast-function-type is for; here it is the point.
    compile(
        "c",
        "c11",
        "infer.h",
        &format!("#pragma GCC diagnostic ignored \"-Wcast-function-type\"\n{body}")
            .replace("any_function all[];\n", ""),
    );
}
