//! Parts of the build script: ptxas's report, what is done about spills, the list of architectures, formats, constants, instances, entry points.

use crate::resources::{Gate, Resources, judge, parse, table};
use crate::{archs, constants, entries, formats, instances};

/// As NVRTC 13 writes it: a kernel, a function that it calls and that is not inlined, and a second kernel.
const LOG: &str = "\
norm.cu(3): warning #177-D: variable \"x\" was declared but never referenced
ptxas info    : 1764 bytes gmem
ptxas info    : Compiling entry function 'reflex_first' for 'sm_87'
ptxas info    : Function properties for reflex_first
ptxas         .     16 bytes stack frame, 12 bytes spill stores, 160 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 128 bytes smem
ptxas info    : Compile time = 1713.967 ms
ptxas info    : Function properties for _ZN6reflex6calledEv
ptxas         .     8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Compiling entry function 'reflex_second' for 'sm_87'
ptxas info    : Function properties for reflex_second
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 56 registers, used 0 barriers
ptxas info    : Compile time = 12.1 ms
";

fn first() -> Resources {
    Resources {
        kernel: "reflex_first".into(),
        registers: 80,
        static_shared: 128,
        stack: 16,
        spill_stores: 12 + 4,
        spill_loads: 160 + 8,
        code: 0,
    }
}

#[test]
fn resources_are_read_from_the_compilers_log() {
    let kernels = parse(LOG);
    let second = Resources {
        kernel: "reflex_second".into(),
        registers: 56,
        ..Resources::default()
    };
    assert_eq!(kernels, [first(), second]);
    let rows = table([("sm_87", "norm", kernels.as_slice())]);
    assert_eq!(
        rows.lines().nth(1),
        Some("sm_87\tnorm\treflex_first\t80\t128\t16\t16\t168\t0")
    );
    assert_eq!(parse("no report"), []);
}

#[test]
fn a_spill_is_a_warning_and_an_error_for_pinned_compilers() {
    let kernels = parse(LOG);
    let all = || [("sm_87", kernels.as_slice())];
    let line = "reflex_first (sm_87, NVRTC 13.9) spills registers: 16 bytes stored, 168 bytes loaded";
    assert_eq!(judge(all(), "NVRTC 13.9", "", Gate::Warn), Ok(vec![line.to_string()]));
    let message = judge(all(), "NVRTC 13.9", "", Gate::Fail).unwrap_err();
    assert!(message.contains(line), "{message}");
    for gate in [Gate::Warn, Gate::Fail] {
        assert_eq!(judge(all(), "NVRTC 13.9", "reflex_first # why\n", gate), Ok(vec![]));
        let one = |text: &str| judge(all(), "NVRTC 13.9", text, gate);
        assert_eq!(one("# none\n\nreflex_first sm_87 13.9 # why\n"), Ok(vec![]));
        for other in [
            "reflex_first sm_75 13.9",
            "reflex_first sm_87 13.8",
            "reflex_first sm_87",
        ] {
            assert_eq!(one(other).is_err(), gate == Gate::Fail, "{other}");
            assert_ne!(one(other), Ok(vec![]), "{other}");
        }
        assert_eq!(judge([("sm_87", &kernels[1..])], "NVRTC 13.9", "", gate), Ok(vec![]));
    }
    assert_eq!(Gate::parse(""), Ok(Gate::Warn));
    assert_eq!(Gate::parse("warn"), Ok(Gate::Warn));
    assert_eq!(Gate::parse("error"), Ok(Gate::Fail));
    assert!(Gate::parse("no").unwrap_err().contains("expected warn or error"));
}

#[test]
fn architectures_are_named_as_the_list_names_them() {
    for list in [
        "87;90a;80-virtual",
        "75;80;86;87;89;90a;100;110;120;121;75-virtual;120-virtual",
        "100f;110a",
    ] {
        let names: Vec<String> = archs::parse(list).unwrap().iter().map(|a| a.name()).collect();
        assert_eq!(names.join(";"), list);
    }
    for bad in ["9", "sm_87", "87-cubin", "87b", ";"] {
        assert!(archs::parse(bad).is_err(), "{bad}");
    }
}

/// The rows of `kernels/formats.def` and what else the build makes of them.
#[test]
fn formats_come_from_their_rows() {
    const TEXT: &str = "\
// X(Q9_9, q9_9) in a comment
#define REFLEX_BLOCK_FORMATS(X) \\
    X(Q4_1, q4_1, 3, 32, 20, 4, 32, F16(0, 0.2) F16(2, -1.5)) \\
    /* one more */ \\
    X(Q2_K, q2_k, 10, 256, 84, 2, 16, F16(80, 0.066))

#define REFLEX_INT8_GROUPS(X) \\
    X(q2_k_q4_1, Q2_K, Q4_1)
";
    let (rows, groups) = formats::parse(TEXT).unwrap();
    let of = |row: &formats::Format| (row.ggml, row.elements, row.bytes, row.bits, row.group);
    assert_eq!(
        rows.iter().map(of).collect::<Vec<_>>(),
        [(3, 32, 20, 4, 32), (10, 256, 84, 2, 16)]
    );
    assert_eq!(rows[0].scales, "F16(0, 0.2) F16(2, -1.5)");
    assert_eq!((groups.len(), groups[0].formats.join(" ").as_str()), (1, "Q2_K Q4_1"));
    let files = formats::kernel_files(&rows);
    assert_eq!(files[1].0, "matmul_q2_k.cu");
    assert!(files[1].1.contains("REFLEX_MATMUL_KERNELS(q2_k)"), "{}", files[1].1);

    for (from, to, message) in [
        (
            "REFLEX_INT8_GROUPS(X)",
            "OTHERS(X)",
            "does not define REFLEX_INT8_GROUPS(X)",
        ),
        (
            "q4_1, 3,",
            "q4_1, three,",
            "X(Q4_1, q4_1, three, 32, 20, 4, 32, F16(0, 0.2) F16(2, -1.5)): `three` is no number",
        ),
        ("q4_1, 3, 32,", "q4_1, 3,", "expected 8 columns"),
        ("q4_1, 3, 32,", "q4_1, 3, 48,", "expected ELEMENTS of 32 or 256"),
        (
            "q2_k, 10,",
            "q2_k, 3,",
            "a row above has this name or this number of ggml's",
        ),
        ("Q2_K, q2_k,", "Q2_K, q2k,", "name is not NAME in small letters"),
        (
            "Q2_K, Q4_1)",
            "Q2_K, Q4_2)",
            "expected a kernel's name and formats of REFLEX_BLOCK_FORMATS",
        ),
        ("    X(Q2_K", "    Y(Q2_K", "expected X(...), read `Y(Q2_K"),
    ] {
        assert!(TEXT.contains(from), "{from}");
        let error = formats::parse(&TEXT.replacen(from, to, 1)).unwrap_err();
        assert!(
            error.starts_with("kernels/formats.def") && error.contains(message),
            "{error}"
        );
    }
}

/// What host and kernels share is the same text in C++ and in Rust.
#[test]
fn constants_come_from_their_lines() {
    const TEXT: &str = "\
// About the file.
#pragma once

namespace reflex {

// Rows of a tile.
constexpr i32 ROWS = 16;
constexpr u32 THREADS = (ROWS + 16) * 4 << 1;
constexpr i32 STAGES[3] = {3, ROWS / 8, 2};
__host__ __device__ constexpr i32 bytes(i32 group, i32 rows) { return rows * (ROWS / group | 1); }

}  // namespace reflex
";
    let rust = constants::rust(TEXT).unwrap();
    assert_eq!(
        rust,
        "/// Rows of a tile.\n\
         pub(crate) const ROWS: i64 = 16;\n\
         pub(crate) const THREADS: i64 = (ROWS + 16) * 4 << 1;\n\
         pub(crate) const STAGES: [i64; 3] = [3, ROWS / 8, 2];\n\
         pub(crate) const fn bytes(group: i64, rows: i64) -> i64 {\n    rows * (ROWS / group | 1)\n}\n"
    );
    // An image depends on the constants that its texts mention, and on what these are made of.
    let lines = |of: &[&str]| constants::used(TEXT, of).lines().count();
    assert_eq!(lines(&["int ROWS_OF = 1;", "thread"]), 0);
    assert_eq!(
        constants::used(TEXT, &["x", "int a[ROWS];"]),
        "constexpr i32 ROWS = 16;"
    );
    assert_eq!(lines(&["THREADS*2"]), 2);
    assert_eq!(lines(&["bytes(STAGES[0], 1)"]), 3);
    for (from, to, message) in [
        ("= 16;", "= 16", "expected NAME = EXPRESSION;"),
        (
            "= 16;",
            "= 0x10;",
            "`0x10` is neither a decimal number nor a name from above",
        ),
        (
            "= 16;",
            "= 016;",
            "`016` is neither a decimal number nor a name from above",
        ),
        (
            "= 16;",
            "= THREADS;",
            "`THREADS` is neither a decimal number nor a name from above",
        ),
        ("<< 1", "? 1 : 2", "`?` does not mean the same in C++ and Rust"),
        ("<< 1", "< 1", "a comparison is no number"),
        ("i32 rows)", "u32 rows)", "expected i32 arguments"),
        ("{3,", "3,", "expected {EXPRESSION, EXPRESSION}"),
        ("u32 THREADS", "u32 ROWS", "expected a name that no line above has"),
        ("constexpr u32", "const u32", "expected a constant or a function"),
    ] {
        assert!(TEXT.contains(from), "{from}");
        let error = constants::rust(&TEXT.replacen(from, to, 1)).unwrap_err();
        assert!(
            error.starts_with("kernels/constants.def") && error.contains(message),
            "{error}"
        );
    }
}

#[test]
fn instances_come_from_their_rows() {
    const TEXT: &str = "\
#define REFLEX_INSTANCES(X) \\
    X(GROUPS, both, reflex_both_{}, REFLEX_INT8_GROUPS, -, \"a.cuh\", args, __maxnreg__(80), run(a, formats<{formats}>())) \\
    /* a comment */ \\
    X(TILES, tile{}, reflex_tile{}, 8|16, -, \"b.cuh\", args, __launch_bounds__(ROWS * WARP, 1), tile<{} / 8, true>(a)) \\
    X(ALONE, both, reflex_alone, -, -, \"a.cuh\", args, __launch_bounds__(32), alone(a)) \\
    X(ROW_SUM, sum, reflex_row_sum_f16_{}, 64|128, ROWS_{} aligned F16 {}, \"c.cuh\", args, __launch_bounds__(32), row_wait(); row_sum<F16, {}>(a)) \\
    X(ROW_SUM, sum, reflex_row_sum_any, -, ROWS any, \"c.cuh\", args, __launch_bounds__(32), row_sum<F32, 0>(a))
";
    let group = |kernel: &str, names: &[&str]| formats::Group {
        kernel: kernel.into(),
        formats: names.iter().map(|n| n.to_string()).collect(),
    };
    let groups = [group("q4_k_q6_k", &["Q4_K", "Q6_K"]), group("q8_0", &["Q8_0"])];
    let all = instances::parse(TEXT, &groups).unwrap();
    let files = instances::kernel_files(&all);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["both.cu", "sum.cu", "tile16.cu", "tile8.cu"]
    );
    assert_eq!(
        files["tile16.cu"],
        "#include \"b.cuh\"\n\nusing namespace reflex;\n\n\
         extern \"C\" __global__ void __launch_bounds__(ROWS * WARP, 1)\n    reflex_tile16(const __grid_constant__ args a) {\n    \
         tile<16 / 8, true>(a);\n}\n"
    );
    let both = &files["both.cu"];
    for part in [
        "run(a, formats<Q4_K, Q6_K>());",
        "reflex_both_q8_0(",
        "formats<Q8_0>",
        "reflex_alone(",
    ] {
        assert!(both.contains(part), "{part}: {both}");
    }
    let rust = instances::rust(&all);
    assert!(
        rust.contains(
            "pub(crate) const TILES: [Instance; 2] = [\n    Instance { file: \"tile8\", symbol: c\"reflex_tile8\" },"
        ),
        "{rust}"
    );
    // A family of candidates is a macro with a row for each.
    assert!(
        rust.ends_with(
            "macro_rules! row_sum_kernels {\n    ($then:ident) => {\n        $then! {\n            \
             { \"f16_64\" \"sum\" c\"reflex_row_sum_f16_64\" ROWS_64 aligned F16 64 }\n            \
             { \"f16_128\" \"sum\" c\"reflex_row_sum_f16_128\" ROWS_128 aligned F16 128 }\n            \
             { \"any\" \"sum\" c\"reflex_row_sum_any\" ROWS any }\n        \
             }\n    };\n}\npub(crate) use row_sum_kernels;\n\n"
        ) && !rust.contains("ROW_SUM"),
        "{rust}"
    );
    assert!(files["sum.cu"].contains("    row_wait(); row_sum<F16, 128>(a);\n"));
    for (from, to, message) in [
        (", alone(a))", ")", "expected 9 columns"),
        (
            "ROW_SUM, sum, reflex_row_sum_any",
            "ROWS_OF, sum, reflex_row_sum_any",
            "a candidate's kernel begins with reflex_rows_of_",
        ),
        ("ROWS any", "-", "a family's kernels are all candidates, or none is"),
        (
            "aligned F16 {}",
            "aligned F16 {value}",
            "a brace that stands for nothing",
        ),
        ("reflex_alone", "alone", "the kernel's begins with reflex_"),
        (
            "reflex_alone",
            "reflex_alone{}",
            "the kernel's name has {} where there are values",
        ),
        (
            "reflex_tile{}",
            "reflex_tile",
            "the kernel's name has {} where there are values",
        ),
        ("reflex_alone", "reflex_tile8", "a row above has reflex_tile8"),
        ("{formats}", "{format}", "a brace that stands for nothing"),
    ] {
        assert!(TEXT.contains(from), "{from}");
        let error = instances::parse(&TEXT.replacen(from, to, 1), &groups).unwrap_err();
        assert!(
            error.starts_with("kernels/instances.def") && error.contains(message),
            "{error}"
        );
    }
}

#[test]
fn entry_points_are_read_from_the_image() {
    const PTX: &str = "\
.version 9.0
.visible .func called(.param .b64 a)
.visible .entry reflex_second(
	.param .align 8 .b8 reflex_second_param_0[72]
)
.visible .entry reflex_first(
";
    let entry = |name: &str| entries::Entry {
        name: name.into(),
        code: 0,
    };
    let found = entries::of(PTX.as_bytes(), true).unwrap();
    assert_eq!(found, [entry("reflex_first"), entry("reflex_second")]);
    assert!(
        entries::of(b".version 9.0", true)
            .unwrap_err()
            .contains("no entry points")
    );
    assert!(entries::of(b"no ELF file", false).is_err());

    let of = |arch: &str, entries: &[&str]| (arch.to_string(), "norm", entries.iter().map(|n| entry(n)).collect());
    let alike = [of("sm_87", &["a", "b"]), of("sm_90a", &["a", "b"])];
    assert!(entries::rust(&alike).unwrap().contains("(\"norm\", &[\"a\", \"b\"]),"));
    let error = entries::rust(&[of("sm_87", &["a", "b"]), of("sm_90a", &["a", "c"])]).unwrap_err();
    assert_eq!(
        error,
        "kernel file norm: the images for sm_87 and sm_90a differ in b, c"
    );
}
