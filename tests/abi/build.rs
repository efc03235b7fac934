//! Parts of the build script: ptxas's report, what is done about spills, the list of architectures.

use crate::resources::{Gate, Resources, judge, parse, table};
use crate::{archs, formats};

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
        Some("sm_87\tnorm\treflex_first\t80\t128\t16\t16\t168")
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
